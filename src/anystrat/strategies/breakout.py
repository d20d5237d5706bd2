"""Breakout: trade with a price that leaves the range of the ticks before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from anystrat.domain.parameters import Doc, Ge, Gt, Lt, Unit
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.price_rule import price_rule_signal


def breakout_kernel(prices: Sequence[float], end: int, lookback: int, buffer: float) -> tuple[int, float, float]:
    """(side, confidence, excess) from `prices[end - lookback - 1 : end]`; side 0 is no signal, with an excess of 0."""
    now = prices[end - 1]
    low = prices[end - 2]
    high = low
    for price in prices[end - lookback - 1 : end - 1]:
        if price < low:
            low = price
        elif price > high:
            high = price
    upper = high * (1.0 + buffer)
    lower = low * (1.0 - buffer)
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


@dataclass(frozen=True, slots=True)
class BreakoutParameters:
    """Parameters of `breakout`."""

    lookback_periods: Annotated[
        int, Ge(1), Unit("ticks"), Doc("High and low are taken over this many ticks before the current one.")
    ] = 20
    buffer: Annotated[
        float, Ge(0), Lt(1), Unit("ratio"), Doc("How far beyond the high or the low the price must be.")
    ] = 0.0
    position_size: Annotated[int, Gt(0), Unit("units"), Doc("Quantity of every signal.")] = 100


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

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        level = "above the high" if side == 1 else "below the low"
        return f"price {value:.2%} {level} of the {self.parameters.lookback_periods} ticks before", {"excess": value}


def _build(parameters: BreakoutParameters, context: BuildContext) -> Breakout:  # noqa: ARG001  rules need no model
    return Breakout(parameters)


BREAKOUT = StrategyType(
    "breakout", "rules", BreakoutParameters, _build, "Trade with a price that leaves its recent range."
)
