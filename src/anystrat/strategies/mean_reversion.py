"""Mean reversion: trade against a price that has gone far from its recent mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from anystrat.domain.parameters import Doc, Ge, Gt, Unit
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.indicators import deviation_around, is_flat, mean
from anystrat.strategies.price_rule import price_rule_signal


def mean_reversion_kernel(prices: Sequence[float], end: int, lookback: int, z_entry: float) -> tuple[int, float, float]:
    """(side, confidence, z) from `prices[end - lookback : end]`; side 0 is no signal, z is 0 where the window is flat."""
    start = end - lookback
    if is_flat(prices, start, end):
        return 0, 0.0, 0.0
    centre = mean(prices, start, end)
    deviation = deviation_around(prices, start, end, centre)
    # Squares of distances below 1e-162 underflow to zero: such a window is as good as flat.
    if deviation == 0.0:
        return 0, 0.0, 0.0
    z = (prices[end - 1] - centre) / deviation
    if z <= -z_entry:
        side = 1
    elif z >= z_entry:
        side = 2
    else:
        return 0, 0.0, z
    confidence = abs(z) / 3.0
    if not confidence < 1.0:
        confidence = 1.0
    return side, confidence, z


@dataclass(frozen=True, slots=True)
class MeanReversionParameters:
    """Parameters of `mean_reversion`."""

    lookback_periods: Annotated[
        int,
        Ge(1),
        Unit("ticks"),
        Doc("Mean and standard deviation are taken over this many ticks, the current included."),
    ] = 20
    z_entry: Annotated[
        float, Ge(0), Unit("standard deviations"), Doc("A signal needs a z-score at least this far from 0.")
    ] = 1.0
    position_size: Annotated[int, Gt(0), Unit("units"), Doc("Quantity of every signal.")] = 100


@dataclass(frozen=True, slots=True)
class MeanReversion:
    """z-score of the price in its window: at or below `-z_entry` BUY, at or above `z_entry` SELL; flat: no signal."""

    parameters: MeanReversionParameters

    def get_required_history_length(self) -> int:
        return self.parameters.lookback_periods

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return "mean_reversion"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        return price_rule_signal(self, tick, history)

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        parameters = self.parameters
        decision = mean_reversion_kernel(prices, end, parameters.lookback_periods, parameters.z_entry)
        return decision if decision[0] else None

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        where = "below" if side == 1 else "above"
        lookback = self.parameters.lookback_periods
        return f"price {abs(value):.2f} standard deviations {where} its mean of {lookback} ticks", {"z": value}


def _build(parameters: MeanReversionParameters, context: BuildContext) -> MeanReversion:  # noqa: ARG001
    return MeanReversion(parameters)


MEAN_REVERSION = StrategyType(
    "mean_reversion", "rules", MeanReversionParameters, _build, "Trade against a price far from its recent mean."
)
