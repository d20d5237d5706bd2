"""Sizer: the rules say what to trade, ML says how much of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from anystrat.domain.measurement import Measurement
from anystrat.domain.parameters import Doc, Ge, ParameterError, Unit
from anystrat.domain.signal import SignalResult
from anystrat.strategies.catalog import PolicyType
from anystrat.strategies.policies.answer import LARGEST_QUANTITY, Decided, Decision, Pairs, numbers_of, told


def sizer_scale(rs: int, ms: int, mc: float, min_scale: float, max_scale: float) -> float:
    """What the rules' quantity is multiplied with: `min_scale`, up to `max_scale` with an agreeing ML's confidence."""
    agreement = 0.0
    if rs == ms:
        agreement = mc
    return min_scale + (max_scale - min_scale) * agreement


def sizer_core(
    rs: int,
    rc: float,
    rq: int,
    ms: int,
    mc: float,
    mq: int,  # noqa: ARG001  all cores begin with the same six
    min_scale: float,
    max_scale: float,
) -> Decision:
    """The rules' side and confidence with `floor(rq * scale)`, in doubles; none if that is 0."""
    if rs not in (1, 2):
        return 0, 0.0, 0, 0
    size = rq * sizer_scale(rs, ms, mc, min_scale, max_scale)
    if not abs(size) < LARGEST_QUANTITY:
        return 0, 0.0, 0, 0
    quantity = math.floor(size)
    if quantity == 0:
        return 0, 0.0, 0, 0
    return rs, rc, quantity, 1


def sizer_loop(
    pairs: Pairs,
    decided: Decided,
    prices: Sequence[float],  # noqa: ARG001  all loops begin with the same four
    first: int,  # noqa: ARG001
    min_scale: float,
    max_scale: float,
) -> None:
    """`sizer_core` for many ticks; see `ColumnPolicy`."""
    for k in range(len(pairs.ml_side)):
        decided.side[k], decided.confidence[k], decided.quantity[k], _ = sizer_core(
            pairs.rules_side[k],
            pairs.rules_confidence[k],
            pairs.rules_quantity[k],
            pairs.ml_side[k],
            pairs.ml_confidence[k],
            pairs.ml_quantity[k],
            min_scale,
            max_scale,
        )


@dataclass(frozen=True, slots=True)
class SizerParameters:
    """Parameters of `sizer`."""

    min_scale: Annotated[
        float, Ge(0), Unit("ratio"), Doc("The part of the rules' quantity that is traded without ML's agreement.")
    ] = 0.0
    max_scale: Annotated[
        float, Ge(0), Unit("ratio"), Doc("The part of the rules' quantity that is traded at an ML confidence of 1.")
    ] = 1.0

    def __post_init__(self) -> None:
        if self.max_scale < self.min_scale:
            raise ParameterError("max_scale", f"must be at least min_scale ({self.min_scale})", self.max_scale)


@dataclass(frozen=True, slots=True)
class Sizer:
    """Side, confidence and price from the rules; the quantity scaled by ML's confidence where it agrees."""

    parameters: SizerParameters

    def get_required_history_length(self) -> int:
        return 1

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        return sizer_loop, (self.parameters.min_scale, self.parameters.max_scale)

    def decide(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> SignalResult | None:
        low, high = self.parameters.min_scale, self.parameters.max_scale
        rs, rc, rq = numbers_of(rules_signal)
        ms, mc, mq = numbers_of(ml_signal)
        _, _, quantity, source = sizer_core(rs, rc, rq, ms, mc, mq, low, high)
        if source == 0 or rules_signal is None:
            return None
        reasoning = f"{rules_signal.reasoning}; sized by {sizer_scale(rs, ms, mc, low, high):.4g}".removeprefix("; ")
        side, price = rules_signal.signal_type, rules_signal.price
        return SignalResult(side, rc, quantity, price, reasoning, rules_signal.metadata)

    def measure(
        self,
        rules_signal: SignalResult | None,
        ml_signal: SignalResult | None,
        context: Mapping[str, Any],  # noqa: ARG002  the protocol's signature
    ) -> Measurement:
        rs, _, rq = numbers_of(rules_signal)
        ms, mc, _ = numbers_of(ml_signal)
        if rs not in (1, 2):
            return Measurement(note="the rules trade, and they have no signal")
        scale = sizer_scale(rs, ms, mc, self.parameters.min_scale, self.parameters.max_scale)
        return Measurement({"scale": scale, "size": rq * scale}, note=f"{told(rules_signal, ml_signal)}; rounded down")


SIZER = PolicyType("sizer", SizerParameters, Sizer, "The rules trade; ML's confidence sizes them.")
