"""Confirm: trade only where rules and ML agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anystrat.domain.measurement import Measurement
from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import Decided, Decision, Pairs, answer, numbers_of, told


def confirm_core(rs: int, rc: float, rq: int, ms: int, mc: float, mq: int) -> Decision:
    """The merge if both give the same side; else none."""
    if rs in (1, 2) and rs == ms:
        return rs, (rc + mc) / 2.0, max(rq, mq), 3
    return 0, 0.0, 0, 0


def confirm_loop(pairs: Pairs, decided: Decided, prices: Sequence[float], first: int) -> None:  # noqa: ARG001
    """`confirm_core` for many ticks; see `ColumnPolicy`."""
    for k in range(len(pairs.ml_side)):
        decided.side[k], decided.confidence[k], decided.quantity[k], _ = confirm_core(
            pairs.rules_side[k],
            pairs.rules_confidence[k],
            pairs.rules_quantity[k],
            pairs.ml_side[k],
            pairs.ml_confidence[k],
            pairs.ml_quantity[k],
        )


@dataclass(frozen=True, slots=True)
class ConfirmParameters:
    """`confirm` has no parameters."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The merge if both give the same side; else none."""

    parameters: ConfirmParameters

    def get_required_history_length(self) -> int:
        return 1

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        return confirm_loop, ()

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> SignalResult | None:
        return answer(rules_signal, ml_signal, confirm_core(*numbers_of(rules_signal), *numbers_of(ml_signal)))

    def measure(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> Measurement:
        return Measurement(note=f"{told(rules_signal, ml_signal)}; it takes the same side of both")


CONFIRM = PolicyType("confirm", ConfirmParameters, Confirm, "Trade only where rules and ML agree.")
