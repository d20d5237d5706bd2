"""Curves in bounded room: whatever is left out, it is no spike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.backtest.curves import BucketColumns, Curve, CurveColumns, curve_of, push, tables_of
from anystrat.engine.state import views


def curve(points: list[tuple[int, float]], room: int) -> Curve:
    curves, buckets = tables_of([room, 8])
    columns = views(CurveColumns, curves), views(BucketColumns, buckets)
    for ts, value in points:
        push(*columns, 0, ts, value, abs(value))
    assert int(curves["used"][1]) == 0
    return curve_of(curves, buckets, 0)


_points = st.lists(st.tuples(st.integers(-(2**61), 2**61), st.floats(-1e9, 1e9)), min_size=1, max_size=300).map(
    lambda points: sorted(points, key=lambda point: point[0])
)


@given(_points, st.integers(4, 40))
def test_the_extremes_the_end_and_the_deepest_survive(points: list[tuple[int, float]], room: int):
    made = curve(points, room)
    values = [value for _, value in points]
    assert 1 <= len(made.ts) <= room
    assert (min(made.low), max(made.high), made.last[-1]) == (min(values), max(values), values[-1])
    assert max(made.worst) == max(abs(value) for value in values)
    assert (made.first[0], made.ts[-1]) == (points[0][0], points[-1][0])
    assert (made.first <= made.ts).all()
    assert (np.diff(made.first) > 0).all()


@given(_points, st.integers(4, 40))
def test_a_bucket_holds_the_values_of_its_time_and_no_others(points: list[tuple[int, float]], room: int):
    made = curve(points, room)
    for at in range(len(made.ts)):
        inside = [value for ts, value in points if made.first[at] <= ts <= made.ts[at]]
        assert (made.low[at], made.high[at], made.last[at]) == (min(inside), max(inside), inside[-1])


def test_what_fits_is_kept_as_it_is():
    made = curve([(10, 1.0), (20, 3.0), (30, 2.0)], 4)
    assert made.ts.tolist() == [10, 20, 30]
    assert made.last.tolist() == [1.0, 3.0, 2.0]


@pytest.mark.parametrize("step", [1, 1_000, 86_400_000_000_000])
def test_at_least_half_of_the_room_is_used(step: int):
    made = curve([(at * step, 0.0) for at in range(5_000)], 128)
    assert 48 <= len(made.ts) <= 128
