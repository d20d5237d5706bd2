"""Strategies with one fault each, of the kind that trust checks are there to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anystrat.domain.signal import SignalResult
from anystrat.domain.window import History
from anystrat.plugins import NoParameters
from anystrat.strategies.catalog import StrategyType

PRICES = np.round(100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.004, 1_500))), 2).tolist()


class Base:
    """A rule over the last three prices: up BUY, down SELL."""

    need = 3

    def get_required_history_length(self) -> int:
        return self.need

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return type(self).__name__

    def process_tick(self, tick: Any, history: History) -> SignalResult | None:
        return self.say(tick, self.moved(tick, history))

    def moved(self, tick: Any, history: History) -> float:
        prices = history.prices
        return float(prices[-1] / prices[0] - 1)

    def say(self, tick: Any, move: float) -> SignalResult | None:
        if abs(move) < 0.006:
            return None
        return SignalResult("BUY" if move > 0 else "SELL", 0.5, 10, tick.last_price)


class Clean(Base):
    """Nothing wrong with it."""


#: What comes after each tick of the recording, by time and by price: global data that a strategy should not have.
NEXT_BY_TIME: dict[int, float] = {}
NEXT_BY_PRICE: dict[tuple[float, ...], float] = {}


class ByDate(Base):
    """Looks the next price up by the time."""

    def moved(self, tick: Any, history: History) -> float:
        later = NEXT_BY_TIME.get(tick.ts_ns)
        return 0.0 if later is None else later / float(tick.last_price) - 1


class ByPrice(Base):
    """Finds the window in the recording, and looks one further."""

    def moved(self, tick: Any, history: History) -> float:
        later = NEXT_BY_PRICE.get(tuple(history.prices.tolist()))
        return 0.0 if later is None else later / float(tick.last_price) - 1


class Centred(Base):
    """Right tick by tick; over columns its mean is centred, as a careless vectorised rule's."""

    def process_columns(self, prices: Any, first: int) -> Any:
        count = len(prices) - first
        sides, values = np.zeros(count, np.int8), np.zeros(count)
        for k in range(count):
            end = first + k + 1
            if end < self.need:
                continue
            middle = prices[max(0, end - 2) : end + 2].mean()
            move = prices[end - 1] / middle - 1
            sides[k] = 0 if abs(move) < 0.002 else 1 if move > 0 else 2
        return sides, np.full(count, 0.5), values, np.full(count, 10, np.int64)


class Reader(Base):
    """Reads the tick file for what comes next."""

    path = ""

    def moved(self, tick: Any, history: History) -> float:
        with open(self.path, encoding="utf-8") as file:  # noqa: PTH123  as a user would write it
            lines = file.readlines()[1:]
        later = [float(line.split(",")[2]) for line in lines if int(line.split(",")[0]) > tick.ts_ns]
        return later[0] / float(tick.last_price) - 1 if later else 0.0


class Scribbler(Base):
    """Writes into what all strategies of the instrument share."""

    def process_tick(self, tick: Any, history: History) -> SignalResult | None:
        history.memo["another"] = 2.0
        return super().process_tick(tick, history)


class Averaging(Base):
    """An exponential average that is carried on: three ticks are declared, and dozens are in it."""

    def __init__(self) -> None:
        self.mean = 0.0

    def moved(self, tick: Any, history: History) -> float:
        price = float(tick.last_price)
        self.mean = price if not self.mean else 0.9 * self.mean + 0.1 * price
        return price / self.mean - 1


class TooShort(Base):
    """Declares two ticks, and wants eight before it speaks."""

    need = 2

    def moved(self, tick: Any, history: History) -> float:
        prices = history.prices
        return float(prices[-1] / prices[-8] - 1) if len(prices) >= 8 else 0.0


class Wasteful(Base):
    """Declares thirty ticks, and reads three."""

    need = 30

    def moved(self, tick: Any, history: History) -> float:
        return float(history.prices[-1] / history.prices[-3] - 1)


class Counting(Base):
    """Speaks every tenth time that it is asked: hidden state."""

    def __init__(self) -> None:
        self.calls = 0

    def moved(self, tick: Any, history: History) -> float:
        self.calls += 1
        return 0.01 if self.calls % 10 == 0 else 0.0


SHARED: list[float] = []


class Sharing(Base):
    """Remembers the last price in a place that all instances share; the latest of them clears it."""

    def __init__(self) -> None:
        SHARED.clear()

    def moved(self, tick: Any, history: History) -> float:
        before = SHARED[-1] if SHARED else float(tick.last_price)
        SHARED[:] = [float(tick.last_price)]
        return float(tick.last_price) / before - 1


class Clockwork(Base):
    """Takes its answer from outside: another one each time."""

    times = 0

    def moved(self, tick: Any, history: History) -> float:
        type(self).times += 1
        return 0.01 if type(self).times % 11 == 0 else 0.0


def strategy(build: Callable[[], Any], kind: Any = "rules") -> StrategyType:
    """A strategy type of a class above."""
    name = str(getattr(build, "__name__", "planted")).lower()
    return StrategyType(name, kind, NoParameters, lambda _values, _context: build(), "planted")


def remember(times: Sequence[int], prices: Sequence[float], need: int = 3) -> None:
    """Fill the global data with what comes after each tick."""
    for at in range(len(prices) - 1):
        NEXT_BY_TIME[times[at]] = prices[at + 1]
        if at >= need - 1:
            NEXT_BY_PRICE[tuple(prices[at + 1 - need : at + 1])] = prices[at + 1]
