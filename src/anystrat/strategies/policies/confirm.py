"""Confirm: trade only where rules and ML agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import Decision, answer, numbers_of


def confirm_core(rs: int, rc: float, rq: int, ms: int, mc: float, mq: int) -> Decision:
    """The merge if both give the same side; else none."""
    if rs in (1, 2) and rs == ms:
        return rs, (rc + mc) / 2.0, max(rq, mq), 3
    return 0, 0.0, 0, 0


@dataclass(frozen=True, slots=True)
class ConfirmParameters:
    """`confirm` has no parameters."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The merge if both give the same side; else none."""

    parameters: ConfirmParameters

    def get_required_history_length(self) -> int:
        return 1

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> SignalResult | None:
        return answer(rules_signal, ml_signal, confirm_core(*numbers_of(rules_signal), *numbers_of(ml_signal)))


CONFIRM = PolicyType("confirm", ConfirmParameters, Confirm, "Trade only where rules and ML agree.")
