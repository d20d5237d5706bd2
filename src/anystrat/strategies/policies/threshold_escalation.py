"""Threshold escalation: ML trades, and has to be surer while the market is wild."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import Doc, Ge, Le, Unit
from anystrat.domain.signal import HOLD, SignalResult
from anystrat.domain.window import History
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.indicators import volatility as return_deviation
from anystrat.strategies.policies.answer import Decided, Decision, Pairs, answer, numbers_of

#: The one-step returns in `vol_20`, and the prices that they need.
VOLATILITY_PERIODS: Final = 20
VOLATILITY_HISTORY: Final = VOLATILITY_PERIODS + 1


def threshold_escalation_core(
    rs: int,  # noqa: ARG001  all cores begin with the same six
    rc: float,  # noqa: ARG001
    rq: int,  # noqa: ARG001
    ms: int,
    mc: float,
    mq: int,
    volatility: float,
    min_conf: float,
    high_vol_conf: float,
    vol_threshold: float,
) -> Decision:
    """ML's signal if it reaches `high_vol_conf` while `volatility > vol_threshold`, `min_conf` otherwise; else none."""
    needed = min_conf
    if volatility > vol_threshold:
        needed = high_vol_conf
    if ms in (1, 2) and mc >= needed:
        return ms, mc, mq, 2
    return 0, 0.0, 0, 0


def threshold_escalation_loop(
    pairs: Pairs,
    decided: Decided,
    prices: Sequence[float],
    first: int,
    min_conf: float,
    high_vol_conf: float,
    vol_threshold: float,
) -> None:
    """`threshold_escalation_core` for many ticks; see `ColumnPolicy`. The volatility is that of the prices."""
    for k in range(len(pairs.ml_side)):
        decided.side[k] = 0
        decided.confidence[k] = 0.0
        decided.quantity[k] = 0
        if pairs.ml_side[k] == 1 or pairs.ml_side[k] == 2:
            end = first + k + 1
            decided.side[k], decided.confidence[k], decided.quantity[k], _ = threshold_escalation_core(
                pairs.rules_side[k],
                pairs.rules_confidence[k],
                pairs.rules_quantity[k],
                pairs.ml_side[k],
                pairs.ml_confidence[k],
                pairs.ml_quantity[k],
                return_deviation(prices, end - VOLATILITY_HISTORY, end),
                min_conf,
                high_vol_conf,
                vol_threshold,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdEscalationParameters:
    """Parameters of `threshold_escalation`."""

    vol_threshold: Annotated[
        float, Ge(0), Unit("ratio"), Doc("Above this volatility of one-tick returns `high_vol_conf` is needed.")
    ]
    min_conf: Annotated[float, Ge(0), Le(1), Unit("confidence"), Doc("What ML needs in a calm market.")] = 0.55
    high_vol_conf: Annotated[float, Ge(0), Le(1), Unit("confidence"), Doc("What ML needs in a wild market.")] = 0.75


@dataclass(frozen=True, slots=True)
class ThresholdEscalation:
    """ML alone trades; the volatility says how sure it must be.

    The volatility is `volatility` in the tick's metadata, else `vol_20`: the population standard deviation of the last
    20 one-tick returns.
    """

    parameters: ThresholdEscalationParameters

    def get_required_history_length(self) -> int:
        return VOLATILITY_HISTORY

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        parameters = self.parameters
        return threshold_escalation_loop, (parameters.min_conf, parameters.high_vol_conf, parameters.vol_threshold)

    def decide(
        self, rules_signal: SignalResult | None, ml_signal: SignalResult | None, context: Mapping[str, Any]
    ) -> SignalResult | None:
        if ml_signal is None or ml_signal.signal_type == HOLD:
            return None
        volatility = _volatility(context)
        parameters = self.parameters
        decision = threshold_escalation_core(
            *numbers_of(rules_signal),
            *numbers_of(ml_signal),
            volatility,
            parameters.min_conf,
            parameters.high_vol_conf,
            parameters.vol_threshold,
        )
        return answer(rules_signal, ml_signal, decision)

    def measure(
        self,
        rules_signal: SignalResult | None,  # noqa: ARG002  the protocol's signature
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],
    ) -> Measurement:
        parameters, volatility = self.parameters, _volatility(context)
        high = volatility > parameters.vol_threshold
        values = {"volatility": volatility, "vol_threshold": parameters.vol_threshold}
        if ml_signal is None or ml_signal.signal_type == HOLD:
            return Measurement(values, note="ML trades, and it has no signal")
        needed = parameters.high_vol_conf if high else parameters.min_conf
        return Measurement(
            values,
            (Condition("ml_confidence", ml_signal.confidence, ">=", needed, ml_signal.signal_type),),
            f"volatility is {'high' if high else 'not high'}",
        )


def _volatility(context: Mapping[str, Any]) -> float:
    metadata = context["tick"].metadata
    given = metadata.get("volatility") if metadata else None
    return _measured(context["history"]) if given is None else float(given)


def _measured(history: History) -> float:
    # The model may have read the same feature at this tick, and another strategy too.
    known = history.memo.get("vol_20")
    if known is None:
        prices = history.prices[-VOLATILITY_HISTORY:].tolist()
        known = history.memo["vol_20"] = return_deviation(prices, 0, VOLATILITY_HISTORY)
    return known


THRESHOLD_ESCALATION = PolicyType(
    "threshold_escalation",
    ThresholdEscalationParameters,
    ThresholdEscalation,
    "ML trades, and must be surer while volatility is high.",
)
