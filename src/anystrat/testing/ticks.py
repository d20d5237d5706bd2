"""Ticks for tests and measurements: small ones by hand, many from a seed. None of them ever came from a market."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anystrat.domain.columns import TickColumns, columns_of_ticks
from anystrat.domain.exact import to_decimal
from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.domain.walks import popularity, running_sums

#: Second 0 of the small builders: a Tuesday's open on a fictitious exchange that keeps UTC.
START: Final = datetime(2024, 1, 2, 9, 15, tzinfo=UTC)
START_NS: Final = int(START.timestamp()) * 1_000_000_000
#: The session of the synthetic ticks: 09:15 to 15:30, as at START.
SESSION_SECONDS: Final = 22_500

_CHUNK = 65_536
_DAY_NS = 86_400 * 1_000_000_000
_HALT_SECONDS = 300


def tick(token: int = 1, price: Decimal | float | str = "100", second: float = 0, **fields: object) -> MarketTick:
    """A tick `second` seconds after `START`; `fields` are further fields of `MarketTick`."""
    stamp = START + timedelta(seconds=second)
    return MarketTick(token, to_decimal(price), stamp, **fields)  # type: ignore[arg-type]  # passed through as given


def row(token: int = 1, price: Decimal | float | str = "100", second: float = 0, **fields: object) -> TickRow:
    """As `tick`, in the engine's form."""
    return row_of(tick(token, price, second, **fields))


#: Rows, or ticks, as a block of columns.
columns = columns_of_ticks


def synthetic_ticks(
    seed: int,
    instruments: Sequence[int],
    count: int,
    *,
    start_ns: int = START_NS,
    ticks_per_day: int | None = None,
    tick_size: Decimal = Decimal("0.05"),
    halts: float = 0.001,
    block_rows: int = _CHUNK,
) -> Iterator[TickColumns]:
    """`count` synthetic ticks of `instruments`, in time order: the same for the same arguments, whatever `block_rows`.

    Nothing here comes from a market. Every instrument's price is a random walk over whole ticks of `tick_size`, kept
    above zero by reflection; few instruments trade much and many little; the ticks of a day lie within a session of 6¼
    hours, denser near its ends, weekends left out; times are whole milliseconds, and about one in five is equal to the
    one before. Sizes are whole lots, mostly small. `halts` is the share of five-minute stretches, by instrument, in
    which it is halted: its price stands still. `ticks_per_day` (all `count` in one day by default) sets how many days
    there are; `start_ns` is the first session's open.
    """
    if not instruments or count < 0 or block_rows < 1:
        raise ValueError(
            "synthetic ticks need at least one instrument, a count of 0 or more, blocks of at least one row"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    tokens = np.array(instruments, np.int64)
    numerator, denominator = tick_size.as_integer_ratio()
    reach = np.cumsum(popularity(len(tokens)))
    levels = np.rint(np.exp(rng.uniform(np.log(1_000), np.log(60_000), len(tokens)))).astype(np.int64)
    halt_key = rng.integers(0, 1 << 63, dtype=np.uint64)
    # By default so many that the last of `count` ticks stays within the day, however the gaps are drawn.
    per_day = float(ticks_per_day or count + 10.0 * count**0.5 + 20.0)
    clock = _Clock(start_ns)
    elapsed = 0.0
    for begin in range(0, count, _CHUNK):
        n = min(_CHUNK, count - begin)
        # Drawn by whole chunks, so that a longer run begins like a shorter one of as many ticks a day.
        gaps = rng.exponential(1.25, _CHUNK) * (rng.random(_CHUNK) >= 0.2)
        which = np.minimum(np.searchsorted(reach, rng.random(_CHUNK), "right"), len(tokens) - 1)[:n]
        steps = rng.choice(np.array([-3, -2, -1, 0, 1, 2, 3]), _CHUNK, p=[0.03, 0.09, 0.2, 0.36, 0.2, 0.09, 0.03])[:n]
        sizes = (1.0 + np.floor(rng.pareto(1.6, _CHUNK)))[:n]
        passed = elapsed + np.cumsum(gaps[:n] / per_day)
        elapsed = float(passed[-1])
        ts_ns = clock.times(passed)
        halted = _halted(halt_key, which, ts_ns, halts)
        walk, levels = _walk(which, np.where(halted, 0, steps), levels)
        prices = ((np.abs(walk) + 1) * numerator) / denominator  # whole numbers divided once: the nearest double
        block = TickColumns(
            ts_ns, tokens[which], prices, volume=np.minimum(sizes, 100_000.0), halted=halted if halted.any() else None
        )
        for at in range(0, n, block_rows):
            yield _part(block, slice(at, at + block_rows))


class _Clock:
    """From days passed, a fraction of a session each, to times: denser at both ends of the session."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._weekday = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC).weekday()
        self._x = np.linspace(0.0, 1.0, 1_001)
        density = 1.0 + 3.0 * (2.0 * self._x - 1.0) ** 2
        summed = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2.0)])
        self._share = summed / summed[-1]

    def times(self, passed: NDArray[np.float64]) -> NDArray[np.int64]:
        day = np.floor(passed)
        millis = np.floor(np.interp(passed - day, self._share, self._x) * SESSION_SECONDS * 1_000.0).astype(np.int64)
        weekday = min(self._weekday, 4)  # a start at the weekend counts as a Friday
        workday = weekday + day.astype(np.int64)
        days = day.astype(np.int64) + 2 * (workday // 5)
        times: NDArray[np.int64] = self._start_ns + days * _DAY_NS + millis * 1_000_000
        return times


def _walk(
    which: NDArray[np.intp], steps: NDArray[np.int64], levels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every instrument's running level at each of its ticks, and its level at the end."""
    walk: NDArray[np.int64] = running_sums(which, steps) + levels[which]
    after = levels.copy()
    np.add.at(after, which, steps)
    return walk, after


def _halted(key: np.uint64, which: NDArray[np.intp], ts_ns: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Whether each tick's stretch of five minutes is one in which its instrument is halted."""
    stretch = (ts_ns // (_HALT_SECONDS * 1_000_000_000)).astype(np.uint64)
    x = (stretch * np.uint64(0x9E3779B97F4A7C15)) ^ (which.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)) ^ key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    halted: NDArray[np.bool_] = x.astype(np.float64) < share * 2.0**64
    return halted


def _part(block: TickColumns, cut: slice) -> TickColumns:
    return TickColumns(
        block.ts_ns[cut],
        block.instrument_token[cut],
        block.price[cut],
        volume=None if block.volume is None else block.volume[cut],
        halted=None if block.halted is None else block.halted[cut],
    )
