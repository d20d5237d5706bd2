"""Price paths from seeds: what markets do, and what strategies trip over."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.domain.window import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS: Final = ("trend", "noise", "flat", "jumps", "ties", "waves", "tiny", "large")

_START_NS: Final = 1_704_186_900_000_000_000  # 2024-01-02 09:15 UTC
_GAPS_NS: Final = (0, 1_000_000, 500_000_000, 4_000_000_000, 61_000_000_000)
_PRICES_SHOWN: Final = 12
_UNCHANGEABLE: Final = frozenset({bool, float, int, str, type(None)})


@dataclass(frozen=True, slots=True, eq=False)
class PricePath:
    """Ticks of one instrument in time order; `rows` makes new ones each time, so that nobody can change another's."""

    kind: str
    seed: int
    token: int
    ticks: tuple[TickRow, ...]

    def __len__(self) -> int:
        return len(self.ticks)

    def rows(self, start: int, stop: int, *, plain: bool = False) -> list[TickRow]:
        """Fresh copies of `ticks[start:stop]`; `plain` leaves out everything but time and price."""
        return [_fresh(row, plain=plain) for row in self.ticks[start:stop]]

    def prices(self) -> NDArray[np.float64]:
        """The prices, float64[len(self)]."""
        return np.array([row.price for row in self.ticks], np.float64)

    def where(self, i: int) -> str:
        """Which tick this is, for people."""
        origin = "your ticks" if self.kind == "own" else f"path {self.kind!r}, seed {self.seed}"
        return f"{origin}, instrument {self.token}, tick {i + 1} of {len(self)}"

    def window_text(self, i: int, need: int) -> str:
        """The prices of the window that ends at tick `i`."""
        return prices_text([row.price for row in self.ticks[max(0, i + 1 - need) : i + 1]])


def prices_text(prices: Sequence[float]) -> str:
    """Prices oldest first, the middle left out where they are many."""
    if len(prices) <= _PRICES_SHOWN:
        return ", ".join(map(repr, prices))
    first, last = ", ".join(map(repr, prices[:3])), ", ".join(map(repr, prices[-8:]))
    return f"{first}, … {last} ({len(prices)} in all, oldest first)"


def filled(rows: Iterable[TickRow], capacity: int) -> Window:
    """A window over the last of these rows."""
    window = Window(capacity)
    for row in rows:
        window.push(row)
    return window


def synthetic_path(kind: str, seed: int, token: int, length: int) -> PricePath:
    """The path of this kind; the same for the same arguments."""
    rng = np.random.Generator(np.random.PCG64([seed, KINDS.index(kind), token & 0x7FFFFFFF]))
    prices = _prices(kind, rng, length)
    times = _START_NS + np.cumsum(rng.choice(np.array(_GAPS_NS), length))
    volumes = np.rint(rng.pareto(1.5, length) * 10.0 + 1.0)
    spreads = rng.uniform(1e-5, 1e-3, length)
    volatility = rng.uniform(0.0, 0.03, length)
    marked = rng.random(length) < (0.5 if kind in {"noise", "waves"} else 0.0)
    ticks = tuple(
        TickRow(
            token,
            int(times[i]),
            price,
            None,
            float(volumes[i]),
            price * (1.0 - float(spreads[i])),
            price * (1.0 + float(spreads[i])),
            metadata={"volatility": float(volatility[i])} if marked[i] else None,
        )
        for i, price in enumerate(prices.tolist())
    )
    return PricePath(kind, seed, token, ticks)


def synthetic_paths(seeds: int, tokens: Sequence[int], length: int) -> Iterator[PricePath]:
    """Every kind for every seed; the instruments take turns."""
    for seed in range(seeds):
        for number, kind in enumerate(KINDS):
            yield synthetic_path(kind, seed, tokens[(seed + number) % len(tokens)], length)


def own_paths(ticks: Iterable[MarketTick]) -> list[PricePath]:
    """Ticks that were given, an instrument a path."""
    by_token: dict[int, list[TickRow]] = {}
    for tick in ticks:
        by_token.setdefault(tick.instrument_token, []).append(row_of(tick))
    return [PricePath("own", 0, token, tuple(rows)) for token, rows in by_token.items()]


def _fresh(row: TickRow, *, plain: bool) -> TickRow:
    if plain:
        return TickRow(row.instrument_token, row.ts_ns, row.price)
    metadata = row.metadata
    if metadata is None:
        return msgspec.structs.replace(row, market=None)
    own = {key: value if type(value) in _UNCHANGEABLE else copy.deepcopy(value) for key, value in metadata.items()}
    return msgspec.structs.replace(row, market=None, metadata=own)


def _prices(kind: str, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    steps = rng.standard_normal(n)
    level = float(rng.uniform(20.0, 500.0))
    prices: NDArray[np.float64]
    if kind == "trend":
        drift = np.where(np.arange(n) < int(rng.integers(n // 3, n)), 0.003, -0.004)
        prices = np.round(level * np.exp(np.cumsum(drift + 0.002 * steps)) + 0.01, 2)
    elif kind == "noise":
        prices = level * np.exp(np.cumsum(0.007 * steps))
    elif kind == "flat":
        prices = np.where(np.arange(n) < int(rng.integers(n // 2, n)), round(level, 1), round(level * 1.03, 1))
    elif kind == "jumps":
        jump = np.where(rng.random(n) < 0.06, rng.choice([-0.09, -0.04, 0.04, 0.1], n), 0.0)
        prices = np.maximum(np.rint(level * np.exp(np.cumsum(jump)) * 20.0), 1.0) / 20.0
    elif kind == "ties":
        prices = np.round(np.rint(level) + 0.05 * rng.integers(-1, 2, n), 2)
    elif kind == "waves":
        wave = 0.04 * np.sin(2.0 * np.pi * np.arange(n) / float(rng.uniform(12.0, 70.0)))
        prices = np.round(level * np.exp(wave + 0.001 * steps), 4)
    elif kind == "tiny":
        prices = np.round(1e-6 * level * np.exp(np.cumsum(0.01 * steps)) + 1e-12, 12)
    else:
        prices = np.round(1e7 * level * np.exp(np.cumsum(0.01 * steps)), 2)
    return prices
