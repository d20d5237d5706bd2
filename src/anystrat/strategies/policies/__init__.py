"""Decision policies, one a file: how a hybrid strategy makes one decision of two."""

from __future__ import annotations

from typing import Final

from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.confirm import CONFIRM
from anystrat.strategies.policies.guardrail import GUARDRAIL
from anystrat.strategies.policies.majority import MAJORITY
from anystrat.strategies.policies.probability_weighted import PROBABILITY_WEIGHTED
from anystrat.strategies.policies.sizer import SIZER
from anystrat.strategies.policies.threshold_escalation import THRESHOLD_ESCALATION

__all__ = ["POLICIES"]

POLICIES: Final[tuple[PolicyType, ...]] = (
    MAJORITY,
    CONFIRM,
    SIZER,
    GUARDRAIL,
    THRESHOLD_ESCALATION,
    PROBABILITY_WEIGHTED,
)
