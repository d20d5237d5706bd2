"""Recorded time played in the loop's time: at a multiple of real time, or as fast as it is taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pacer:
    """Says when ticks are due. The first tick that it is shown is due at once, every other by its event time after that.

    A reader that was held up finds all that fell due meanwhile, and catches up.
    """

    def __init__(self, pace: float | Literal["max"]) -> None:
        self._multiple = None if pace == "max" else pace
        self._start: tuple[float, int] | None = None

    def schedule(self, ts_ns: NDArray[np.int64]) -> Schedule:
        """When the ticks of one block, shape (n,), are due."""
        if self._multiple is None or not len(ts_ns):
            return Schedule(None, len(ts_ns))
        if self._start is None:
            self._start = (asyncio.get_running_loop().time(), int(ts_ns[0]))
        since, first_ns = self._start
        # A tick that is older than the one before it is due with that one.
        elapsed: NDArray[np.float64] = (np.maximum.accumulate(ts_ns) - first_ns) / (1e9 * self._multiple)
        return Schedule(since + elapsed, len(ts_ns))


class Schedule:
    """The due times of a block's ticks, in the loop's time; None: all are due at once."""

    def __init__(self, due: NDArray[np.float64] | None, count: int) -> None:
        self._due = due
        self._count = count

    async def after(self, done: int) -> int:
        """Wait until tick `done` is due; how many of the block's ticks are due then."""
        if self._due is None:
            return self._count
        due, loop = self._due, asyncio.get_running_loop()
        now, next_due = loop.time(), float(due[done])
        if next_due > now:
            await asyncio.sleep(next_due - now)
            now = max(loop.time(), next_due)  # a sleep may end a rounding error too soon
        return int(np.searchsorted(due, now, "right"))
