from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.exact import floor_product, floor_ratio, plain_text, seconds_to_ns, to_decimal

POSITIVE = st.decimals(min_value="1e-30", max_value="1e30", allow_nan=False)


def test_a_float_stands_for_its_shortest_decimal():
    assert to_decimal(0.1) == Decimal("0.1")
    assert to_decimal(1e22) == Decimal(10**22)
    assert to_decimal("2.50") == Decimal("2.50")
    assert to_decimal(3) == Decimal(3)
    with pytest.raises(InvalidOperation):
        to_decimal("three")


def test_sizes_do_not_lose_a_unit_to_binary():
    # 100 * 0.29 is 28.999999999999996 in doubles.
    assert floor_product(100, to_decimal(0.29)) == 29


def test_buckets_do_not_lose_one_to_binary():
    # 0.29 / 0.01 is 28.999999999999996 in doubles.
    assert floor_ratio(to_decimal(0.29), to_decimal(0.01)) == 29


def test_durations_are_whole_nanoseconds():
    assert seconds_to_ns(0.1) == 100_000_000
    assert seconds_to_ns(3) == 3_000_000_000
    assert seconds_to_ns(Decimal("1e-9")) == 1
    assert seconds_to_ns(1e-10) == 0


@pytest.mark.parametrize(
    ("value", "text"), [("100.50", "100.5"), ("1E+2", "100"), ("1E-7", "0.0000001"), ("100", "100"), ("-0.00", "0")]
)
def test_text_has_no_exponent_and_no_trailing_zeros(value: str, text: str):
    assert plain_text(Decimal(value)) == text


@given(st.integers(-(10**18), 10**18), POSITIVE)
def test_products_are_floored_exactly(quantity: int, factor: Decimal):
    assert floor_product(quantity, factor) == math.floor(quantity * Fraction(factor))


@given(POSITIVE, POSITIVE)
def test_ratios_are_floored_exactly(value: Decimal, step: Decimal):
    assert floor_ratio(value, step) == math.floor(Fraction(value) / Fraction(step))


@given(POSITIVE)
def test_plain_text_is_the_same_number(value: Decimal):
    text = plain_text(value)
    assert Decimal(text) == value
    assert "E" not in text.upper()
