"""Majority: agreement is merged, a sure model wins, otherwise the rules trade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import Doc, Ge, Le, Unit
from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import Decided, Decision, Pairs, answer, numbers_of, told


def majority_core(rs: int, rc: float, rq: int, ms: int, mc: float, mq: int, min_ml_conf: float) -> Decision:
    """Same side: the merge; otherwise ML at or above `min_ml_conf`; otherwise the rules (perhaps none)."""
    if ms in (1, 2):
        if rs == ms:
            return rs, (rc + mc) / 2.0, max(rq, mq), 3
        if mc >= min_ml_conf:
            return ms, mc, mq, 2
    if rs in (1, 2):
        return rs, rc, rq, 1
    return 0, 0.0, 0, 0


def majority_loop(pairs: Pairs, decided: Decided, prices: Sequence[float], first: int, min_ml_conf: float) -> None:  # noqa: ARG001
    """`majority_core` for many ticks; see `ColumnPolicy`."""
    for k in range(len(pairs.ml_side)):
        decided.side[k], decided.confidence[k], decided.quantity[k], _ = majority_core(
            pairs.rules_side[k],
            pairs.rules_confidence[k],
            pairs.rules_quantity[k],
            pairs.ml_side[k],
            pairs.ml_confidence[k],
            pairs.ml_quantity[k],
            min_ml_conf,
        )


@dataclass(frozen=True, slots=True)
class MajorityParameters:
    """Parameters of `majority`."""

    min_ml_conf: Annotated[
        float | None,
        Ge(0),
        Le(1),
        Unit("confidence"),
        Doc("Against other rules, or without any, ML trades at or above this; without it, `min_conf` says."),
    ] = None
    min_conf: Annotated[
        float, Ge(0), Le(1), Unit("confidence"), Doc("Stands for `min_ml_conf` where that is not given.")
    ] = 0.55

    @property
    def threshold(self) -> float:
        """The confidence that ML needs to trade without the rules."""
        return self.min_conf if self.min_ml_conf is None else self.min_ml_conf


@dataclass(frozen=True, slots=True)
class Majority:
    """Same side: the merge; otherwise ML if it is confident enough; otherwise the rules."""

    parameters: MajorityParameters

    def get_required_history_length(self) -> int:
        return 1

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        return majority_loop, (self.parameters.threshold,)

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> SignalResult | None:
        numbers = (*numbers_of(rules_signal), *numbers_of(ml_signal))
        return answer(rules_signal, ml_signal, majority_core(*numbers, self.parameters.threshold))

    def measure(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> Measurement:
        note = told(rules_signal, ml_signal)
        rs, ms, mc = numbers_of(rules_signal)[0], *numbers_of(ml_signal)[:2]
        if ml_signal is None or ms not in (1, 2) or rs == ms:
            return Measurement(note=note)
        needed = self.parameters.threshold
        return Measurement(conditions=(Condition("ml_confidence", mc, ">=", needed, ml_signal.signal_type),), note=note)


MAJORITY = PolicyType("majority", MajorityParameters, Majority, "Agreement is merged; else a sure ML; else the rules.")
