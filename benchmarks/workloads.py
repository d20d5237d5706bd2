"""The ticks and the rules that every engine is given. Needs NumPy alone: engines in other environments import it too.

W1: one instrument, `momentum` over 20 ticks with a threshold of 0.5 %.
W2: 100 instruments in turn, each watched by ten strategies: `momentum` (0.5 %) and `mean_reversion` (z 2) over 5, 10, 20,
50 and 100 ticks.
W3: minute bars of one instrument, long where the mean of 10 closes is above that of 30 and flat where it is below, 100 units,
2 basis points of every fill.
W4: W3 with 20 lengths of the fast mean times 20 of the slow one.

Everything is seeded, and fewer ticks are the beginning of more. A bar opens where the one before closed, so that engines
that fill at the close and engines that fill at the next open pay the same; closes have six decimals, so that means are
hardly ever equal. The first bars fall: an engine that buys wherever the fast mean is above, and one that waits for it to
pass, buy first at the same bar. Prices have four decimals. An instrument's ticks are about
half a second apart in W1 and 50 seconds in W2, so that in W1 the window of the check for duplicates (3 s) matters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

T0_NS: Final = 1_704_153_600_000_000_000  # 2024-01-02T00:00:00Z
SIGMA: Final = 5e-4
THRESHOLD: Final = 0.005
LOOKBACK: Final = 20
INSTRUMENTS: Final = 100
WINDOWS: Final = (5, 10, 20, 50, 100)
Z_ENTRY: Final = 2.0
STRATEGIES: Final = {"W1": 1, "W2": 2 * len(WINDOWS)}
FAST: Final = 10
SLOW: Final = 30
UNITS: Final = 100
CASH: Final = 1_000_000.0
FEE_BPS: Final = 2.0
FASTS: Final = tuple(range(5, 25))
SLOWS: Final = tuple(range(30, 130, 5))
MINUTE_NS: Final = 60_000_000_000
_FALLING: Final = 130


class Ticks(NamedTuple):
    """`n` ticks as columns, in time order."""

    ts_ns: NDArray[np.int64]
    token: NDArray[np.int64]
    price: NDArray[np.float64]


def ticks_of(workload: str, count: int) -> Ticks:
    """The first `count` ticks of a workload."""
    return w1(count) if workload == "W1" else w2(count)


def w1(count: int) -> Ticks:
    steps = SIGMA * np.random.default_rng(7).standard_normal(count)
    price = np.round(100.0 * np.exp(np.cumsum(steps)), 4)
    return Ticks(_times(count, 1007), np.zeros(count, np.int64), price)


def w2(count: int) -> Ticks:
    rounds = -(-count // INSTRUMENTS)
    steps = SIGMA * np.random.default_rng(8).standard_normal((rounds, INSTRUMENTS))
    price = np.round(100.0 * np.exp(np.cumsum(steps, axis=0)), 4).reshape(-1)[:count]
    return Ticks(_times(count, 1008), np.arange(count, dtype=np.int64) % INSTRUMENTS, price)


class Bars(NamedTuple):
    """`n` minute bars as columns; `ts_ns` is when each closes."""

    ts_ns: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]


def bars_of(count: int) -> Bars:
    """The first `count` bars of W3 and W4."""
    steps = SIGMA * np.random.default_rng(9).standard_normal(count)
    steps[:_FALLING] = -np.abs(steps[:_FALLING])
    close = np.round(100.0 * np.exp(np.cumsum(steps)), 6)
    opened = np.concatenate([[100.0], close[:-1]])
    ts = T0_NS + MINUTE_NS * np.arange(1, count + 1, dtype=np.int64)
    return Bars(ts, opened, np.maximum(opened, close), np.minimum(opened, close), close)


def _times(count: int, seed: int) -> NDArray[np.int64]:
    gaps = np.random.default_rng(seed).integers(1_000_000, 1_000_000_001, size=count, dtype=np.int64)
    return T0_NS + np.cumsum(gaps)


def rows_of(workload: str) -> list[dict[str, Any]]:
    """The workload's strategies as rows of a configuration."""
    if workload == "W1":
        return [momentum_row("m20", LOOKBACK, [0])]
    tokens = list(range(INSTRUMENTS))
    rows = []
    for window in WINDOWS:
        rows += [momentum_row(f"m{window}", window, tokens), reversion_row(f"z{window}", window, tokens)]
    return rows


def momentum_row(name: str, lookback: int, tokens: list[int], threshold: float = THRESHOLD) -> dict[str, Any]:
    parameters = {"lookback_periods": lookback, "threshold": threshold}
    return {"id": name, "strategy_type": "momentum", "parameters": parameters, "instruments": tokens}


def reversion_row(name: str, lookback: int, tokens: list[int], z_entry: float = Z_ENTRY) -> dict[str, Any]:
    parameters = {"lookback_periods": lookback, "z_entry": z_entry}
    return {"id": name, "strategy_type": "mean_reversion", "parameters": parameters, "instruments": tokens}


def crossover_row(
    name: str = "sma", tokens: Sequence[int] = (1,), fast: int = FAST, slow: int = SLOW
) -> dict[str, Any]:
    """The strategy of W3, and of W4 as long as its means are those of W3."""
    parameters = {
        "fast_periods": fast,
        "slow_periods": slow,
        "position_size": UNITS,
        "risk": {"long_only": True},
    }
    return {"id": name, "strategy_type": "sma_crossover", "parameters": parameters, "instruments": list(tokens)}


# ------------------------------------------------------------- the rules for engines that call Python on every tick


class Momentum:
    """1 BUY, -1 SELL, 0 nothing; the same few operations a tick whatever the window."""

    __slots__ = ("_prices", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._prices: deque[float] = deque(maxlen=size)

    def update(self, price: float) -> int:
        prices = self._prices
        prices.append(price)
        if len(prices) < self._size:
            return 0
        start = prices[0]
        change = (price - start) / start
        if change > THRESHOLD:
            return 1
        return -1 if change < -THRESHOLD else 0


class Reversion:
    """z-score of the price in its window, from running sums of distances from the first price."""

    __slots__ = ("_base", "_distances", "_size", "_squares", "_sum")

    def __init__(self, size: int) -> None:
        self._size = size
        self._distances: deque[float] = deque()
        self._sum = self._squares = 0.0
        self._base: float | None = None

    def update(self, price: float) -> int:
        if self._base is None:
            self._base = price
        x = price - self._base
        distances, size = self._distances, self._size
        distances.append(x)
        total, squares = self._sum + x, self._squares + x * x
        if len(distances) > size:
            old = distances.popleft()
            total -= old
            squares -= old * old
        self._sum, self._squares = total, squares
        if len(distances) < size:
            return 0
        mean = total / size
        variance = squares / size - mean * mean
        distance = x - mean
        if variance <= 1e-18 or distance * distance < Z_ENTRY * Z_ENTRY * variance:
            return 0
        return -1 if distance > 0.0 else 1


def python_rules(workload: str) -> list[Momentum | Reversion]:
    """New rule objects for one instrument of the workload, in the order of its rows."""
    if workload == "W1":
        return [Momentum(LOOKBACK)]
    rules: list[Momentum | Reversion] = []
    for window in WINDOWS:
        rules += [Momentum(window), Reversion(window)]
    return rules
