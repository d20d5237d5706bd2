"""Curves of any length in bounded room: every bucket keeps its lowest, its highest and its last value, so that no spike is lost.

A curve has room for so many buckets. They begin as short as time can be told; where the room is used up, neighbours
are merged until a quarter of it is free, and their length doubles as often as that takes. A stretch without a change has no bucket: a value
holds until the next one. Written in the part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anystrat.engine.state import LONG_AGO, Floats, Ints, table_type

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CurveColumns(NamedTuple):
    """A row a curve: its buckets are those at `base` and on, `used` of `room`; each is `2^shift` nanoseconds long.

    The last one takes what comes before `until`.
    """

    base: Ints
    room: Ints
    used: Ints
    shift: Ints
    until: Ints


class BucketColumns(NamedTuple):
    """A row a bucket: the times of its first and last value; `worst` is the deepest drawdown within it."""

    first: Ints
    ts: Ints
    low: Floats
    high: Floats
    last: Floats
    worst: Floats


class Curve(NamedTuple):
    """One curve as arrays of shape (n,), n ≤ its room. Times in nanoseconds, ascending."""

    first: NDArray[np.int64]
    ts: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last: NDArray[np.float64]
    worst: NDArray[np.float64]


def push(curves: CurveColumns, buckets: BucketColumns, c: int, ts: int, value: float, worst: float) -> None:
    """Enter a value at `ts`, which is no earlier than the last one."""
    if ts >= curves.until[c] and curves.used[c] == curves.room[c]:
        coarsen(curves, buckets, c, shift_that_fits(curves, buckets, c))
    k = curves.base[c] + curves.used[c] - 1
    if ts < curves.until[c]:
        buckets.ts[k] = ts
        buckets.last[k] = value
        buckets.low[k] = min(buckets.low[k], value)
        buckets.high[k] = max(buckets.high[k], value)
        buckets.worst[k] = max(buckets.worst[k], worst)
        return
    k += 1
    buckets.first[k] = ts
    buckets.ts[k] = ts
    buckets.low[k] = value
    buckets.high[k] = value
    buckets.last[k] = value
    buckets.worst[k] = worst
    curves.used[c] += 1
    curves.until[c] = ((ts >> curves.shift[c]) + 1) << curves.shift[c]


def shift_that_fits(curves: CurveColumns, buckets: BucketColumns, c: int) -> int:
    """The least shift above a curve's own at which its buckets would take no more than three quarters of its room."""
    low, high = curves.shift[c] + 1, 63
    start = curves.base[c]
    while low < high:
        middle = (low + high) // 2
        used = 1
        for k in range(start + 1, start + curves.used[c]):
            used += 1 if buckets.first[k - 1] >> middle != buckets.first[k] >> middle else 0
        if used > curves.room[c] * 3 // 4:
            low = middle + 1
        else:
            high = middle
    return low


def coarsen(curves: CurveColumns, buckets: BucketColumns, c: int, shift: int) -> None:
    """Let a curve's buckets be `2^shift` long, and merge those that now are one."""
    base = curves.base[c]
    kept = 0
    for k in range(base, base + curves.used[c]):
        into = base + kept - 1
        if kept > 0 and buckets.first[into] >> shift == buckets.first[k] >> shift:
            buckets.ts[into] = buckets.ts[k]
            buckets.last[into] = buckets.last[k]
            buckets.low[into] = min(buckets.low[into], buckets.low[k])
            buckets.high[into] = max(buckets.high[into], buckets.high[k])
            buckets.worst[into] = max(buckets.worst[into], buckets.worst[k])
            continue
        into += 1
        kept += 1
        buckets.first[into] = buckets.first[k]
        buckets.ts[into] = buckets.ts[k]
        buckets.low[into] = buckets.low[k]
        buckets.high[into] = buckets.high[k]
        buckets.last[into] = buckets.last[k]
        buckets.worst[into] = buckets.worst[k]
    curves.used[c] = kept
    curves.shift[c] = shift
    curves.until[c] = ((buckets.first[base + kept - 1] >> shift) + 1) << shift


def tables_of(rooms: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Empty curves with these rooms, and their buckets, as structured arrays."""
    curves = np.zeros(len(rooms), table_type(CurveColumns))
    curves["room"] = rooms
    curves["until"] = LONG_AGO
    curves["base"] = np.cumsum([0, *rooms])[:-1]
    return curves, np.zeros(sum(rooms), table_type(BucketColumns))


def curve_of(curves: NDArray[Any], buckets: NDArray[Any], c: int) -> Curve:
    """One curve, copied."""
    base, count = int(curves["base"][c]), int(curves["used"][c])
    part = buckets[base : base + count]
    return Curve(*(part[name].copy() for name in BucketColumns._fields))
