"""Breakout: trade with a price that leaves the range of the ticks before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import LARGEST_SIZE, LONGEST_WINDOW, Doc, Ge, Gt, Le, Lt, Unit
from anystrat.domain.signal import BUY, SELL, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.indicators import extremes
from anystrat.strategies.price_rule import (
    REASONS_KEPT,
    SignalColumns,
    dense_columns,
    price_rule_signal,
    settled_by_doubles,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def breakout_kernel(prices: Sequence[float], end: int, lookback: int, buffer: float) -> tuple[int, float, float]:
    """(side, confidence, excess) from `prices[end - lookback - 1 : end]`; side 0 is no signal, with an excess of 0."""
    low, high = extremes(prices, end - lookback - 1, end - 1)
    return breakout_decision(prices[end - 1], low, high, buffer)


def breakout_levels(low: float, high: float, buffer: float) -> tuple[float, float]:
    """(lower, upper): the levels beyond which a price has left the range."""
    return low * (1.0 - buffer), high * (1.0 + buffer)


def breakout_decision(now: float, low: float, high: float, buffer: float) -> tuple[int, float, float]:
    """(side, confidence, excess) for a price against the range of the ticks before it."""
    lower, upper = breakout_levels(low, high, buffer)
    if now > upper:
        side = 1
        excess = now / upper - 1.0
    elif now < lower:
        side = 2
        excess = 1.0 - now / lower
    else:
        return 0, 0.0, 0.0
    confidence = 0.5 + 50.0 * excess
    if not confidence < 1.0:
        confidence = 1.0
    return side, confidence, excess


def breakout_fired(
    prices: Sequence[float],
    first: int,
    at: MutableSequence[int],
    side: MutableSequence[int],
    confidence: MutableSequence[float],
    value: MutableSequence[float],
    lookback: int,
    buffer: float,
) -> int:
    """See `ColumnRule.fired`.

    Ranges as van Herk (1992) and Gil and Werman (1993) take them: ticks are walked in stretches of `lookback`; the
    window before the `i`-th of a stretch is the end of the stretch before it, whose extremes are summed up backwards
    once, and the beginning of this one, whose extremes are carried along. Three comparisons a tick, whatever the window.
    """
    count = 0
    size = len(prices)
    low_from = np.empty(lookback)
    high_from = np.empty(lookback)
    start = max(first, lookback)
    while start < size:
        low = prices[start - 1]
        high = low
        for back in range(lookback):
            price = prices[start - 1 - back]
            low = price if price < low else low
            high = price if price > high else high
            low_from[back] = low
            high_from[back] = high
        # Nothing of this stretch is in its first window. Prices are finite and above zero.
        low = math.inf
        high = 0.0
        for i in range(min(lookback, size - start)):
            now = prices[start + i]
            oldest = lookback - 1 - i
            below = min(low, float(low_from[oldest]))
            above = max(high, float(high_from[oldest]))
            found, sure, excess = breakout_decision(now, below, above, buffer)
            if found != 0:
                at[count] = start + i
                side[count] = found
                confidence[count] = sure
                value[count] = excess
                count += 1
            low = now if now < low else low
            high = now if now > high else high
        start += lookback
    return count


@dataclass(frozen=True, slots=True)
class BreakoutParameters:
    """Parameters of `breakout`."""

    lookback_periods: Annotated[
        int,
        Ge(1),
        Le(LONGEST_WINDOW),
        Unit("ticks"),
        Doc("High and low are taken over this many ticks before the current one."),
    ] = 20
    buffer: Annotated[
        float, Ge(0), Lt(1), Unit("ratio"), Doc("How far beyond the high or the low the price must be.")
    ] = 0.0
    position_size: Annotated[int, Gt(0), Le(LARGEST_SIZE), Unit("units"), Doc("Quantity of every signal.")] = 100


@dataclass(frozen=True, slots=True)
class Breakout:
    """Above the high `H(1 + buffer)` of the ticks before the current one BUY, below their low `L(1 - buffer)` SELL."""

    parameters: BreakoutParameters

    def get_required_history_length(self) -> int:
        return self.parameters.lookback_periods + 1

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return "breakout"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        return price_rule_signal(self, tick, history)

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        parameters = self.parameters
        decision = breakout_kernel(prices, end, parameters.lookback_periods, parameters.buffer)
        return decision if decision[0] else None

    def measure(self, prices: Sequence[float], end: int) -> Measurement:
        low, high = extremes(prices, end - self.parameters.lookback_periods - 1, end - 1)
        lower, upper = breakout_levels(low, high, self.parameters.buffer)
        now = prices[end - 1]
        return Measurement(
            {"low": low, "high": high},
            (Condition("price", now, ">", upper, BUY), Condition("price", now, "<", lower, SELL)),
        )

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:  # noqa: ARG002
        return breakout_fired, (self.parameters.lookback_periods, self.parameters.buffer)

    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:  # noqa: ARG002
        return settled_by_doubles(self, prices, end)

    def process_columns(self, prices: NDArray[np.float64], first: int) -> SignalColumns:
        return dense_columns(self, prices, first)

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        return _reason(side, (value * 10_000.0 + 0.5) // 1.0, self.parameters.lookback_periods), {"excess": value}


@lru_cache(REASONS_KEPT)
def _reason(side: int, hundredths_of_percent: float, lookback: int) -> str:
    level = "above the high" if side == 1 else "below the low"
    return f"price {hundredths_of_percent / 100.0:.2f}% {level} of the {lookback} ticks before"


def _build(parameters: BreakoutParameters, context: BuildContext) -> Breakout:  # noqa: ARG001  rules need no model
    return Breakout(parameters)


BREAKOUT = StrategyType(
    "breakout", "rules", BreakoutParameters, _build, "Trade with a price that leaves its recent range."
)
