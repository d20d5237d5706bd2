"""Seeded ticks that never came from a market, as a live source: endless if wanted, and the same from any place on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.adapters.pacing import Pacer
from anystrat.adapters.tick_files.merge import sliced
from anystrat.domain.columns import TickColumns
from anystrat.domain.intake import SourceNotice, TickBatch
from anystrat.domain.walks import popularity, running_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.clock import Clock
    from anystrat.domain.endpoints import SyntheticSource

PARTITION: Final = "synthetic"
#: Ticks that are made together. Another number would make other ticks of the same seed.
CHUNK: Final = 8_192
#: The logarithm of the furthest that a price goes from its start.
_REACH: Final = 2.0
_SIZES: Final = 100_000.0


class SyntheticFeed:
    """A `LiveSource` of made-up ticks. A tick's offset is its number, from 1.

    Tick `k` is due `k` intervals after the start, and few instruments have many of the ticks. Prices are random walks of
    normal steps over whole ticks of `tick_size`. The walk of each chunk leads from one anchor to the next, and anchors
    are near the start price: so prices never run away, and any chunk can be made without those before it. With `start:
    now`, times follow the clock at each start of the run; prices and instruments are the same all the same.
    """

    resumable = True

    def __init__(self, options: SyntheticSource, instruments: Sequence[int], clock: Clock) -> None:
        self._options = options
        self._tokens = np.array(options.instruments or instruments, np.int64)
        if not len(self._tokens):
            raise ValueError("a synthetic source needs at least one instrument")
        self._clock = clock
        self._share = popularity(len(self._tokens))

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        options = self._options
        at = after.get(PARTITION, 0)
        interval = options.interval_ms * 1e6
        start_ns = self._clock.now_ns() - round(at * interval) if options.start == "now" else options.start_ns()
        pacer = Pacer(options.pace)
        while options.ticks == "endless" or at < options.ticks:
            chunk, skipped = divmod(at, CHUNK)
            end = CHUNK if options.ticks == "endless" else min(CHUNK, options.ticks - chunk * CHUNK)
            ticks = sliced(self._chunk(chunk, start_ns, interval), skipped, end)
            offsets = np.arange(at + 1, at + len(ticks) + 1, dtype=np.int64)
            schedule = pacer.schedule(ticks.ts_ns)
            done = 0
            while done < len(ticks):
                due = await schedule.after(done)
                yield TickBatch(PARTITION, sliced(ticks, done, due), offsets[done:due], int(offsets[due - 1]))
                done = due
            at += len(ticks)
            await asyncio.sleep(0)  # at full pace nothing else here waits

    async def acknowledge(self, partition: str, offset: int) -> None:
        pass  # any tick can be made again

    async def close(self) -> None:
        pass

    def _chunk(self, number: int, start_ns: int, interval: float) -> TickColumns:
        options, count = self._options, len(self._tokens)
        rng = self._rng(number)
        which = np.minimum(np.searchsorted(np.cumsum(self._share), rng.random(CHUNK), "right"), count - 1)
        steps = rng.normal(0.0, options.volatility, CHUNK)
        last_steps = rng.normal(0.0, options.volatility, count)
        sizes = np.minimum(1.0 + np.floor(rng.pareto(1.6, CHUNK)), _SIZES)
        # Each instrument's first tick stands on the anchor; its last one is a step before the next chunk's.
        steps[np.unique(which, return_index=True)[1]] = 0.0
        walk = running_sums(which, steps)
        nth = running_sums(which, np.ones(CHUNK)) - 1.0
        ticks_of = np.bincount(which, minlength=count).astype(np.float64)
        walked = np.bincount(which, steps, count) + last_steps
        anchor = self._anchors(number)
        drift = (self._anchors(number + 1) - anchor - walked) / np.maximum(ticks_of, 1.0)
        level = _folded(anchor[which] + walk + nth * drift[which])
        numerator, denominator = options.tick_size.as_integer_ratio()
        whole = np.maximum(1.0, np.rint(options.start_price * denominator / numerator * np.exp(level)))
        places = np.arange(number * CHUNK, (number + 1) * CHUNK, dtype=np.int64)
        ts_ns = start_ns + np.rint(places * interval).astype(np.int64)
        # Whole numbers divided once give the double nearest to the price.
        return TickColumns(ts_ns, self._tokens[which], whole * numerator / denominator, volume=sizes)

    def _anchors(self, number: int) -> NDArray[np.float64]:
        """Where each instrument's walk is as a chunk begins, as the logarithm of its price to the start price."""
        if number == 0:
            return np.zeros(len(self._tokens))
        wide = self._options.volatility * np.sqrt(CHUNK * self._share)
        return self._rng(number, 1).normal(0.0, 1.0, len(self._tokens)) * wide

    def _rng(self, *place: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._options.seed, *place])))


def _folded(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level, reflected at both ends of its reach."""
    folded: NDArray[np.float64] = _REACH - np.abs((level + _REACH) % (4.0 * _REACH) - 2.0 * _REACH)
    return folded
