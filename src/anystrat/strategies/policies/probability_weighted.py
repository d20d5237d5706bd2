"""Probability weighted: where rules and ML agree, both confidences shrink the quantity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anystrat.domain.measurement import Measurement
from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import LARGEST_QUANTITY, Decided, Decision, Pairs, answer, numbers_of, told


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


def probability_weighted_loop(pairs: Pairs, decided: Decided, prices: Sequence[float], first: int) -> None:  # noqa: ARG001
    """`probability_weighted_core` for many ticks; see `ColumnPolicy`."""
    for k in range(len(pairs.ml_side)):
        decided.side[k], decided.confidence[k], decided.quantity[k], _ = probability_weighted_core(
            pairs.rules_side[k],
            pairs.rules_confidence[k],
            pairs.rules_quantity[k],
            pairs.ml_side[k],
            pairs.ml_confidence[k],
            pairs.ml_quantity[k],
        )


@dataclass(frozen=True, slots=True)
class ProbabilityWeightedParameters:
    """`probability_weighted` has no parameters."""


@dataclass(frozen=True, slots=True)
class ProbabilityWeighted:
    """The merge with the larger quantity times both confidences; none on different sides, or where that is below 1."""

    parameters: ProbabilityWeightedParameters

    def get_required_history_length(self) -> int:
        return 1

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        return probability_weighted_loop, ()

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> SignalResult | None:
        numbers = (*numbers_of(rules_signal), *numbers_of(ml_signal))
        return answer(rules_signal, ml_signal, probability_weighted_core(*numbers))

    def measure(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> Measurement:
        rs, rc, rq = numbers_of(rules_signal)
        ms, mc, mq = numbers_of(ml_signal)
        if rs not in (1, 2) or rs != ms:
            return Measurement(note=f"{told(rules_signal, ml_signal)}; it takes the same side of both")
        size = max(rq, mq) * rc * mc
        return Measurement(
            {"size": size}, note="the larger quantity times both confidences, rounded down; 0 is no signal"
        )


PROBABILITY_WEIGHTED = PolicyType(
    "probability_weighted",
    ProbabilityWeightedParameters,
    ProbabilityWeighted,
    "Where both agree, both confidences shrink the quantity.",
)
