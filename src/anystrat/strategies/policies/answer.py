"""What all policies share: two signals as numbers, and from a core's numbers back to one signal.

Each policy has a core: a function of plain numbers that compiles as it stands, so that a tick and a block of ticks are
decided by the same lines. A core takes `(rs, rc, rq, ms, mc, mq, …)`: side, confidence and quantity of the rules and of
the ML signal, side 0 for none, 1 BUY, 2 SELL; any other side (3 is HOLD) counts as none. It gives
`(side, confidence, quantity, source)`: source 0 is no signal, 1 the rules' signal with this quantity, 2 ML's signal as
it is, 3 the merge with this quantity.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from anystrat.domain.signal import SIDE_CODE, SIDE_NAME, SignalResult

#: What a core answers: side, confidence, quantity, source.
Decision = tuple[int, float, int, int]

FROM_NOTHING: Final = 0
FROM_RULES: Final = 1
FROM_ML: Final = 2
FROM_BOTH: Final = 3


class Pairs(NamedTuple):
    """The rules' and ML's answers to many ticks, an entry a tick: what a core takes, in its order.

    Quantities are 0 where there is no signal.
    """

    rules_side: Sequence[int]
    rules_confidence: Sequence[float]
    rules_quantity: Sequence[int]
    ml_side: Sequence[int]
    ml_confidence: Sequence[float]
    ml_quantity: Sequence[int]


class Decided(NamedTuple):
    """Room for the policy's answers to the same ticks; side 0 is no signal."""

    side: MutableSequence[int]
    confidence: MutableSequence[float]
    quantity: MutableSequence[int]


@runtime_checkable
class ColumnPolicy(Protocol):
    """An optional capability of a policy: its decisions over many ticks, as one loop that can be compiled."""

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        """(loop, arguments) with `loop(pairs, decided, prices, first, *arguments)`.

        Entry `k` of `pairs` and `decided` belongs to the tick of `prices[first + k]`; the history that the policy needs
        stands before it. The loop writes what `decide` has, to the last bit, where a tick has no metadata.
        """
        ...


#: Floors are taken of doubles below this: beyond it (or for NaN) there is no quantity to speak of.
LARGEST_QUANTITY: Final = 9e18


def told(rules: SignalResult | None, ml: SignalResult | None) -> str:
    """What the two said, in words; HOLD is no signal."""
    named = [SIDE_NAME[side] if (side := numbers_of(each)[0]) in (1, 2) else "nothing" for each in (rules, ml)]
    return f"rules say {named[0]}, ML says {named[1]}"


def numbers_of(signal: SignalResult | None) -> tuple[int, float, int]:
    """(side, confidence, quantity) of a signal; (0, 0.0, 0) for none. Raises `KeyError` for an unknown side."""
    if signal is None:
        return 0, 0.0, 0
    return SIDE_CODE[signal.signal_type], signal.confidence, signal.quantity


def merged(rules: SignalResult, ml: SignalResult, confidence: float, quantity: int) -> SignalResult:
    """The merge: both agree on a side; the price is ML's, and the metadata keeps what each of them said."""
    metadata = {"rules": _facts(rules), "ml": _facts(ml)}
    return SignalResult(rules.signal_type, confidence, quantity, ml.price, "rules+ml agree", metadata)


def answer(rules: SignalResult | None, ml: SignalResult | None, decision: Decision) -> SignalResult | None:
    """The signal that a core decided for, where it leaves the rules' quantity as it was."""
    _, confidence, quantity, source = decision
    if source == FROM_ML:
        return ml
    if source == FROM_RULES:
        return rules
    if source == FROM_BOTH and rules is not None and ml is not None:
        return merged(rules, ml, confidence, quantity)
    return None


def _facts(signal: SignalResult) -> dict[str, Any]:
    return {
        "side": signal.signal_type,
        "confidence": signal.confidence,
        "quantity": signal.quantity,
        "reasoning": signal.reasoning,
    }
