"""Probability weighted: where rules and ML agree, both confidences shrink the quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import LARGEST_QUANTITY, Decision, answer, numbers_of


def probability_weighted_core(rs: int, rc: float, rq: int, ms: int, mc: float, mq: int) -> Decision:
    """The merge with `floor(max(rq, mq) * rc * mc)`, in doubles from left to right; none if that is 0."""
    if rs not in (1, 2) or rs != ms:
        return 0, 0.0, 0, 0
    size = max(rq, mq) * rc * mc
    if not abs(size) < LARGEST_QUANTITY:
        return 0, 0.0, 0, 0
    quantity = math.floor(size)
    if quantity == 0:
        return 0, 0.0, 0, 0
    return rs, (rc + mc) / 2.0, quantity, 3


@dataclass(frozen=True, slots=True)
class ProbabilityWeightedParameters:
    """`probability_weighted` has no parameters."""


@dataclass(frozen=True, slots=True)
class ProbabilityWeighted:
    """The merge with the larger quantity times both confidences; none on different sides, or where that is below 1."""

    parameters: ProbabilityWeightedParameters

    def get_required_history_length(self) -> int:
        return 1

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> SignalResult | None:
        numbers = (*numbers_of(rules_signal), *numbers_of(ml_signal))
        return answer(rules_signal, ml_signal, probability_weighted_core(*numbers))


PROBABILITY_WEIGHTED = PolicyType(
    "probability_weighted",
    ProbabilityWeightedParameters,
    ProbabilityWeighted,
    "Where both agree, both confidences shrink the quantity.",
)
