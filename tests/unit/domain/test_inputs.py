"""A shard's inputs as bytes, and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.columns import TickColumns
from anystrat.domain.events import Arrived, Command, Conflated, FeedGap, FeedStale, ModelSwapped, Operation, TimerDue
from anystrat.domain.inputs import count_of, decoded_inputs, encoded_inputs, joined_inputs
from anystrat.testing.ticks import columns, row

EVENTS = st.sampled_from(
    [
        Arrived(5),
        Command(Operation.PAUSE, 7, "a", "paper"),
        Conflated(1, 2, 3),
        FeedGap(9, (1, 2), details={"from": 1}),
        FeedStale(3, pause=True),
        ModelSwapped(4, "m.onnx", "ab"),
        TimerDue(11),
    ]
)
TICKS = st.lists(
    st.builds(
        row,
        st.integers(0, 2**62),
        st.decimals("0.0001", "99999", places=4).map(str),
        st.integers(0, 10**6),
        volume=st.none() | st.floats(0, 1e6),
        bid=st.none() | st.floats(1, 1e6),
        metadata=st.none() | st.just({"halted": True}),
    ),
    max_size=8,
)


@given(st.lists(EVENTS | TICKS.map(columns), max_size=8))
def test_inputs_come_back_as_they_were(inputs):
    back = list(decoded_inputs(encoded_inputs(inputs)))
    assert len(back) == len(inputs)
    assert count_of(back) == count_of(inputs)
    for before, after in zip(inputs, back, strict=True):
        if hasattr(before, "price"):
            assert list(before.rows()) == list(after.rows())
            assert np.array_equal(before.price, after.price)
        else:
            assert before == after


def one_by_one(data):
    return [
        one for each in decoded_inputs(data) for one in (list(each.rows()) if isinstance(each, TickColumns) else [each])
    ]


@settings(max_examples=40)
@given(st.lists(st.lists(EVENTS | TICKS.map(columns), max_size=4), max_size=6))
def test_joined_they_are_the_same_one_after_the_other_however_they_are_joined(steps):
    parts = [encoded_inputs(each) for each in steps]
    joined = joined_inputs(parts)
    assert repr(one_by_one(joined)) == repr([one for each in parts for one in one_by_one(each)])
    assert joined_inputs([joined_inputs(parts[:2]), *parts[2:]]) == joined


def test_single_ticks_become_one_block():
    parts = [encoded_inputs([columns([row(7, "1.5", at)])]) for at in range(5)]
    (block,) = decoded_inputs(joined_inputs(parts))
    assert len(block) == 5
