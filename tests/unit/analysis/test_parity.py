"""`first_difference`: the first place where two streams part, or that they never do."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anystrat import StrategyRunnerService
from anystrat.analysis import first_difference, rows_of
from anystrat.domain.outcomes import Emitted, Filled, Outcome
from anystrat.testing.ticks import START_NS, columns, row

SECOND = 1_000_000_000


def signal(second: int, **fields: Any) -> dict[str, Any]:
    return {
        "ts_ns": START_NS + second * SECOND,
        "strategy_id": "mom",
        "broker": "paper",
        "instrument_token": 1,
        "signal_type": "BUY",
        "confidence": 0.5,
        "quantity": 10,
        "price": "100",
        "signal_id": f"{second:032x}",
        **fields,
    }


def test_equal_streams_have_none_nan_included():
    rows = [signal(at, confidence=math.nan) for at in range(3)]
    assert first_difference(rows, [dict(each) for each in rows]) is None
    assert first_difference([], []) is None


def test_a_field_that_differs_is_named_with_both_values():
    found = first_difference([signal(0), signal(1)], [signal(0), signal(1, quantity=11)])
    assert found is not None
    assert (found.number, found.field, found.left, found.right) == (1, "quantity", 10, 11)
    assert found.text == "2024-01-02T09:15:01Z instrument 1, mom on paper: quantity is 10 on the left, 11 on the right"


def test_the_last_bit_counts():
    found = first_difference([signal(0)], [signal(0, confidence=math.nextafter(0.5, 1))])
    assert found is not None
    assert found.field == "confidence"


def test_a_row_that_only_one_side_has_is_told_as_such():
    left, right = [signal(0), signal(1), signal(2)], [signal(0), signal(2)]
    found = first_difference(left, right)
    assert found is not None
    assert (
        found.text == "2024-01-02T09:15:01Z instrument 1, mom on paper: BUY 10 at 100 on the left, and not on the right"
    )
    mirrored = first_difference(right, left)
    assert mirrored is not None
    assert mirrored.text.endswith("on the right, and not on the left")
    assert mirrored.ts_ns == found.ts_ns


def test_a_stream_that_ends_early_differs_where_it_ends():
    found = first_difference([signal(0)], [signal(0), signal(1, reason="cooldown")])
    assert found is not None
    assert (found.number, found.left) == (1, None)
    assert "BUY 10 at 100, dropped for cooldown on the right" in found.text


def test_fields_that_one_side_does_not_have_are_not_compared_and_ids_only_if_they_should():
    assert first_difference([signal(0, reasoning="because")], [signal(0)]) is None
    assert first_difference([signal(0)], [signal(0, signal_id="x")]) is not None
    assert first_difference([signal(0)], [signal(0, signal_id="x")], ids=False) is None


@given(st.lists(st.integers(0, 50), unique=True, min_size=1), st.data())
def test_taking_a_row_out_is_found_at_that_row(seconds: list[int], data: st.DataObject):
    rows = [signal(at) for at in sorted(seconds)]
    out = data.draw(st.integers(0, len(rows) - 1))
    found = first_difference(rows, rows[:out] + rows[out + 1 :])
    assert found is not None
    assert (found.number, found.ts_ns) == (out, rows[out]["ts_ns"])


def outcomes(**parameters: Any) -> list[Outcome]:
    service = StrategyRunnerService(observers=[])
    service.register("momentum", instruments=[1], id="mom", lookback_periods=2, threshold=0.005, **parameters)
    block = columns([row(1, 100 + at % 3, at) for at in range(30)])
    return [each for tick in block.rows() for each in service.handle(tick)]


def test_outcomes_of_every_kind_are_rows_and_a_run_equals_itself():
    found = outcomes(risk={"cooldown_sec": 3})
    kinds = {type(each) for each in found}
    assert {Emitted, Filled} < kinds
    assert len(list(rows_of(found))) == len(found)
    assert first_difference(rows_of(found), rows_of(outcomes(risk={"cooldown_sec": 3}))) is None


def test_fills_and_transitions_are_compared_too():
    less = first_difference(rows_of(outcomes()), rows_of(outcomes(position_size=7)))
    assert less is not None
    assert less.field == "quantity"
    only_fills = first_difference(rows_of(outcomes(), Filled), rows_of(outcomes(position_size=7), Filled))
    assert only_fills is not None
    assert (only_fills.field, only_fills.left, only_fills.right) == ("quantity", 100, 7)
