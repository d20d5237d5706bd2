"""A processor's answer is a signal, or an error that says what it was instead."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from anystrat.domain.signal import SignalResult
from anystrat.engine.answers import LARGEST_QUANTITY, NoSignal, checked_answer


def signal(**fields: Any) -> SignalResult:
    return SignalResult(**{"signal_type": "BUY", "confidence": 0.5, "quantity": 10, "price": Decimal(100), **fields})


@pytest.mark.parametrize(("name", "code"), [("BUY", 1), ("SELL", 2), ("HOLD", 3)])
def test_a_signal_is_taken_as_plain_numbers(name: str, code: int) -> None:
    assert checked_answer(signal(signal_type=name)) == (code, 0.5, 10, Decimal(100), 100.0)


@pytest.mark.parametrize("quantity", [10, np.int64(10), np.int32(10), LARGEST_QUANTITY, -LARGEST_QUANTITY, 0])
def test_a_quantity_is_any_whole_number(quantity: Any) -> None:
    found = checked_answer(signal(quantity=quantity))[2]
    assert found == quantity
    assert type(found) is int


@pytest.mark.parametrize(
    ("price", "exact"),
    [
        (100.25, "100.25"),
        (0.1, "0.1"),
        (7, "7"),
        ("99.995", "99.995"),
        (Decimal("1.10"), "1.10"),
        (np.float64(0.3), "0.3"),
    ],
)
def test_a_price_is_taken_as_the_decimal_that_it_stands_for(price: Any, exact: str) -> None:
    assert checked_answer(signal(price=price))[3] == Decimal(exact)


def test_the_reference_price_comes_from_the_metadata_where_it_is_given() -> None:
    assert checked_answer(signal(metadata={"ref_price": "99.5"}))[4] == 99.5
    assert checked_answer(signal(metadata={"ref_price": None}))[4] == 100.0
    assert checked_answer(signal(metadata={}))[4] == 100.0
    assert math.isnan(checked_answer(signal(price=Decimal("sNaN")))[4])


def test_a_confidence_may_be_any_number_and_is_judged_by_the_checks() -> None:
    assert checked_answer(signal(confidence=np.float32(0.5)))[1] == 0.5
    assert checked_answer(signal(confidence=7))[1] == 7.0
    assert math.isnan(checked_answer(signal(confidence=float("nan")))[1])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("BUY", r"process_tick returned 'BUY' \(str\); expected None or a SignalResult"),
        (("BUY", 0.5, 1), "expected None or a SignalResult"),
        (True, "expected None or a SignalResult"),
        (0, "expected None or a SignalResult"),
        ({"signal_type": "BUY"}, "expected None or a SignalResult"),
        (SignalResult, "expected None or a SignalResult"),
        (signal(signal_type="LONG"), r"signal_type is 'LONG' \(str\); expected 'BUY', 'SELL' or 'HOLD'"),
        (signal(signal_type="buy"), "signal_type is"),
        (signal(signal_type=1), "signal_type is 1"),
        (signal(quantity=10.0), r"quantity is 10.0 \(float\); expected a whole number"),
        (signal(quantity="10"), "quantity is"),
        (signal(quantity=None), "quantity is None"),
        (signal(quantity=True), "quantity is True"),
        (signal(quantity=Decimal(10)), "quantity is"),
        (signal(quantity=LARGEST_QUANTITY + 1), "beyond 2\\^53"),
        (signal(confidence=None), "confidence is None"),
        (signal(confidence="sure"), "confidence is 'sure'"),
        (signal(confidence=10**400), "confidence is 1000"),
        (signal(price=None), "price is None"),
        (signal(price="cheap"), "price is 'cheap'"),
        (signal(price=True), "price is True"),
        (signal(price=[100]), "price is"),
        (signal(metadata={"ref_price": "cheap"}), r"metadata\['ref_price'\] is 'cheap'"),
        (signal(quantity="9" * 500), r"\.\.\. \(str\)"),
    ],
    ids=str,
)
def test_what_is_no_signal_is_refused_with_what_was_found(answer: Any, text: str) -> None:
    with pytest.raises(NoSignal, match=text):
        checked_answer(answer)
