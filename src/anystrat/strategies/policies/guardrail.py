"""Guardrail: ML trades, but buys nothing overbought and sells nothing oversold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import LONGEST_WINDOW, Doc, Ge, Le, Unit
from anystrat.domain.signal import BUY, HOLD, SELL, SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.indicators import rsi
from anystrat.strategies.policies.answer import Decided, Decision, Pairs, answer, numbers_of


def guardrail_core(
    rs: int,  # noqa: ARG001  all cores begin with the same six
    rc: float,  # noqa: ARG001
    rq: int,  # noqa: ARG001
    ms: int,
    mc: float,
    mq: int,
    is_overbought: int,
    is_oversold: int,
) -> Decision:
    """ML's signal, except a BUY of what is overbought and a SELL of what is oversold."""
    if (ms == 1 and not is_overbought) or (ms == 2 and not is_oversold):
        return ms, mc, mq, 2
    return 0, 0.0, 0, 0


def guardrail_loop(
    pairs: Pairs,
    decided: Decided,
    prices: Sequence[float],
    first: int,
    overbought: float,
    oversold: float,
    rsi_periods: int,
) -> None:
    """`guardrail_core` for many ticks; see `ColumnPolicy`. For rules whose metadata holds no flags."""
    for k in range(len(pairs.ml_side)):
        decided.side[k] = 0
        decided.confidence[k] = 0.0
        decided.quantity[k] = 0
        if pairs.ml_side[k] == 1 or pairs.ml_side[k] == 2:
            end = first + k + 1
            strength = rsi(prices, end - 5 * rsi_periods - 1, end, rsi_periods)
            decided.side[k], decided.confidence[k], decided.quantity[k], _ = guardrail_core(
                pairs.rules_side[k],
                pairs.rules_confidence[k],
                pairs.rules_quantity[k],
                pairs.ml_side[k],
                pairs.ml_confidence[k],
                pairs.ml_quantity[k],
                int(strength >= overbought),
                int(strength <= oversold),
            )


@dataclass(frozen=True, slots=True)
class GuardrailParameters:
    """Parameters of `guardrail`."""

    overbought: Annotated[float, Ge(0), Le(100), Unit("RSI"), Doc("At or above this RSI nothing is bought.")] = 70.0
    oversold: Annotated[float, Ge(0), Le(100), Unit("RSI"), Doc("At or below this RSI nothing is sold.")] = 30.0
    rsi_periods: Annotated[
        int,
        Ge(1),
        Le(LONGEST_WINDOW),
        Unit("ticks"),
        Doc("The n of the RSI, which is taken over the last 5n + 1 prices."),
    ] = 14


@dataclass(frozen=True, slots=True)
class Guardrail:
    """ML alone trades; the RSI, or the flags of the rules' signal in its place, can hold it back.

    `overbought: true` or `oversold: true` in the metadata of a rules signal that is no HOLD decides instead of the RSI.
    """

    parameters: GuardrailParameters

    def get_required_history_length(self) -> int:
        return 5 * self.parameters.rsi_periods + 1

    #: What rules say in their metadata can decide here, and columns have no metadata.
    reads_rules_metadata: ClassVar[bool] = True

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        parameters = self.parameters
        return guardrail_loop, (parameters.overbought, parameters.oversold, parameters.rsi_periods)

    def decide(
        self, rules_signal: SignalResult | None, ml_signal: SignalResult | None, context: Mapping[str, Any]
    ) -> SignalResult | None:
        if ml_signal is None or ml_signal.signal_type == HOLD:
            return None
        overbought, oversold = self._flags(rules_signal)
        if not (overbought or oversold):
            strength = self._strength(context)
            overbought, oversold = strength >= self.parameters.overbought, strength <= self.parameters.oversold
        numbers = (*numbers_of(rules_signal), *numbers_of(ml_signal))
        return answer(rules_signal, ml_signal, guardrail_core(*numbers, overbought, oversold))

    def measure(
        self, rules_signal: SignalResult | None, ml_signal: SignalResult | None, context: Mapping[str, Any]
    ) -> Measurement:
        if ml_signal is None or ml_signal.signal_type == HOLD:
            return Measurement(note="ML trades, and it has no signal")
        overbought, oversold = self._flags(rules_signal)
        if overbought or oversold:
            flags = " and ".join(name for name, on in (("overbought", overbought), ("oversold", oversold)) if on)
            return Measurement(note=f"the rules say {flags}")
        strength = self._strength(context)
        return Measurement(
            conditions=(
                Condition("rsi", strength, "<", self.parameters.overbought, BUY)
                if ml_signal.signal_type == BUY
                else Condition("rsi", strength, ">", self.parameters.oversold, SELL),
            )
        )

    def _strength(self, context: Mapping[str, Any]) -> float:
        prices = context["history"].prices.tolist()
        end = len(prices)
        return rsi(prices, end - self.get_required_history_length(), end, self.parameters.rsi_periods)

    @staticmethod
    def _flags(signal: SignalResult | None) -> tuple[bool, bool]:
        if signal is None or signal.signal_type == HOLD or not signal.metadata:
            return False, False
        return _is_true(signal.metadata.get("overbought")), _is_true(signal.metadata.get("oversold"))


def _is_true(flag: object) -> bool:
    # A number or a text under this name is a measurement, no flag.
    return isinstance(flag, bool | np.bool_) and bool(flag)


GUARDRAIL = PolicyType("guardrail", GuardrailParameters, Guardrail, "ML trades, within an RSI's bounds.")
