"""Two strategies: a processor with parameters of its own, and a rule of one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from anystrat import History, MarketTick, SignalResult, rule
from anystrat.domain.parameters import Doc, Ge, Gt, Unit
from anystrat.strategies.catalog import BuildContext, StrategyType


@dataclass(frozen=True, slots=True)
class FadeParameters:
    """Parameters of `fade`."""

    periods: Annotated[int, Ge(2), Unit("ticks"), Doc("The extremes are those of this many ticks.")] = 8
    position_size: Annotated[int, Gt(0), Unit("units"), Doc("Quantity of every signal.")] = 10


@dataclass(frozen=True, slots=True)
class Fade:
    """Sells a new high, buys a new low."""

    parameters: FadeParameters

    def get_required_history_length(self) -> int:
        """The current tick and those before it."""
        return self.parameters.periods

    def supports_instrument(self, token: int) -> bool:
        """Every instrument."""
        return token >= 0

    def get_strategy_name(self) -> str:
        """Its name."""
        return "fade"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        """A signal on a price that is alone at an end of its window's range."""
        *before, now = history.prices.tolist()
        if now > max(before):
            side = "SELL"
        elif now < min(before):
            side = "BUY"
        else:
            return None
        return SignalResult(side, _certainty(before, now), self.parameters.position_size, tick.last_price, "an extreme")


def _certainty(before: Sequence[float], now: float) -> float:
    nearest = max(before) if now > max(before) else min(before)
    return min(1.0, 0.6 + 20.0 * abs(now / nearest - 1.0))


def build(parameters: FadeParameters, context: BuildContext) -> Fade:
    """A processor of these parameters."""
    return Fade(parameters)


FADE = StrategyType("fade", "rules", FadeParameters, build, "Sell new highs, buy new lows.", origin="anystrat-fade")


@rule(history=2)
def chase(prices, least: float = 0.0):
    """Buy what ticked up by more than `least`."""
    return "BUY" if prices[-1] / prices[0] - 1.0 > least else None
