"""Momentum: trade with a move that is larger than a threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import LARGEST_SIZE, LONGEST_WINDOW, Doc, Ge, Gt, Le, Unit
from anystrat.domain.signal import BUY, SELL, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.price_rule import (
    REASONS_KEPT,
    SignalColumns,
    dense_columns,
    price_rule_signal,
    settled_by_doubles,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def momentum_kernel(prices: Sequence[float], end: int, lookback: int, threshold: float) -> tuple[int, float, float]:
    """(side, confidence, change) from `prices[end - lookback : end]`; side 0 is no signal."""
    start = prices[end - lookback]
    change = (prices[end - 1] - start) / start
    if change > threshold:
        side = 1
    elif change < -threshold:
        side = 2
    else:
        return 0, 0.0, change
    confidence = 5.0 * abs(change)
    if not confidence < 1.0:
        confidence = 1.0
    return side, confidence, change


def surely_small(now: float, start: float, threshold: float) -> bool:
    """Whether a move gives no signal, without a division, which is most of the formula's time.

    The product is rounded twice and the quotient that it stands for once, each by at most one part in 10^15; a product
    that overflows is of a threshold that no two doubles' quotient exceeds by more than that.
    """
    return abs(now - start) < threshold * start * 0.999999


def momentum_fired(
    prices: Sequence[float],
    first: int,
    at: MutableSequence[int],
    side: MutableSequence[int],
    confidence: MutableSequence[float],
    value: MutableSequence[float],
    lookback: int,
    threshold: float,
) -> int:
    """See `ColumnRule.fired`."""
    count = 0
    for j in range(max(first, lookback - 1), len(prices)):
        if surely_small(prices[j], prices[j + 1 - lookback], threshold):
            continue
        found, sure, change = momentum_kernel(prices, j + 1, lookback, threshold)
        if found != 0:
            at[count] = j
            side[count] = found
            confidence[count] = sure
            value[count] = change
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class MomentumParameters:
    """Parameters of `momentum`."""

    lookback_periods: Annotated[
        int,
        Ge(1),
        Le(LONGEST_WINDOW),
        Unit("ticks"),
        Doc("The move is measured from the first of this many ticks to the last."),
    ] = 20
    threshold: Annotated[float, Ge(0), Unit("ratio"), Doc("A signal needs a relative move larger than this.")] = 0.01
    position_size: Annotated[int, Gt(0), Le(LARGEST_SIZE), Unit("units"), Doc("Quantity of every signal.")] = 100


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
        parameters = self.parameters
        decision = momentum_kernel(prices, end, parameters.lookback_periods, parameters.threshold)
        return decision if decision[0] else None

    def measure(self, prices: Sequence[float], end: int) -> Measurement:
        parameters = self.parameters
        _, _, change = momentum_kernel(prices, end, parameters.lookback_periods, parameters.threshold)
        return Measurement(
            {"start": prices[end - parameters.lookback_periods], "now": prices[end - 1]},
            (
                Condition("change", change, ">", parameters.threshold, BUY),
                Condition("change", change, "<", -parameters.threshold, SELL),
            ),
        )

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:  # noqa: ARG002
        return momentum_fired, (self.parameters.lookback_periods, self.parameters.threshold)

    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:  # noqa: ARG002
        return settled_by_doubles(self, prices, end)

    def process_columns(self, prices: NDArray[np.float64], first: int) -> SignalColumns:
        return dense_columns(self, prices, first)

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:  # noqa: ARG002
        return _reason((value * 10_000.0 + 0.5) // 1.0, self.parameters.lookback_periods), {"change": value}


@lru_cache(REASONS_KEPT)
def _reason(hundredths_of_percent: float, lookback: int) -> str:
    return f"price moved {hundredths_of_percent / 100.0:+.2f}% over {lookback} ticks"


def _build(parameters: MomentumParameters, context: BuildContext) -> Momentum:  # noqa: ARG001  rules need no model
    return Momentum(parameters)


MOMENTUM = StrategyType("momentum", "rules", MomentumParameters, _build, "Trade with a move larger than a threshold.")
