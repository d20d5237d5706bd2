"""Momentum: trade with a move that is larger than a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from anystrat.domain.parameters import Doc, Ge, Gt, Unit
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.price_rule import price_rule_signal


@dataclass(frozen=True, slots=True)
class MomentumParameters:
    """Parameters of `momentum`."""

    lookback_periods: Annotated[int, Ge(1), Unit("ticks"), Doc("The move is measured from the first of this many ticks to the last.")] = 20
    threshold: Annotated[float, Ge(0), Unit("ratio"), Doc("A signal needs a relative move larger than this.")] = 0.01
    position_size: Annotated[int, Gt(0), Unit("units"), Doc("Quantity of every signal.")] = 100


@dataclass(frozen=True, slots=True)
class Momentum:
    """`c = (now - start) / start` over the window: above `threshold` BUY, below `-threshold` SELL."""

    parameters: MomentumParameters

    def get_required_history_length(self) -> int:
        return self.parameters.lookback_periods

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return "momentum"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        return price_rule_signal(self, tick, history)

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        start = prices[end - self.parameters.lookback_periods]
        change = (prices[end - 1] - start) / start
        if change > self.parameters.threshold:
            return 1, min(1.0, 5.0 * abs(change)), change
        if change < -self.parameters.threshold:
            return 2, min(1.0, 5.0 * abs(change)), change
        return None

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:  # noqa: ARG002
        return f"price moved {value:+.2%} over {self.parameters.lookback_periods} ticks", {"change": value}


def _build(parameters: MomentumParameters, context: BuildContext) -> Momentum:  # noqa: ARG001  rules need no model
    return Momentum(parameters)


MOMENTUM = StrategyType("momentum", "rules", MomentumParameters, _build, "Trade with a move larger than a threshold.")
