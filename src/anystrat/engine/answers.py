"""A processor's answer, checked for being one: side, confidence, quantity, price, reference price."""

from __future__ import annotations

import math
import operator
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from anystrat.domain.exact import to_decimal
from anystrat.domain.signal import SIDE_CODE, SignalResult

#: Quantities beyond this are not exact in doubles, in which fills are computed.
LARGEST_QUANTITY: Final = 2**53


class NoSignal(TypeError):
    """A processor answered with something that is neither None nor a usable `SignalResult`."""


def checked_answer(answer: Any) -> tuple[int, float, int, Decimal, float]:
    """(side code, confidence, quantity, price, reference price) of an answer.

    The price may be NaN or negative: checks name such drops. Raises `NoSignal` for what is no signal at all.
    """
    if not isinstance(answer, SignalResult):
        raise NoSignal(f"process_tick returned {_shown(answer)}; expected None or a SignalResult")
    side = SIDE_CODE.get(answer.signal_type)
    if side is None:
        raise NoSignal(f"signal_type is {_shown(answer.signal_type)}; expected 'BUY', 'SELL' or 'HOLD'")
    quantity = _whole(answer.quantity)
    try:
        confidence = float(answer.confidence)
    except (TypeError, ValueError, OverflowError):
        raise NoSignal(f"confidence is {_shown(answer.confidence)}; expected a number within 0..1") from None
    price = _number("price", answer.price)
    metadata = answer.metadata
    reference = price
    if metadata is not None and (given := metadata.get("ref_price")) is not None:
        reference = _number("metadata['ref_price']", given)
        if not reference.is_finite():
            raise NoSignal(f"metadata['ref_price'] is {_shown(given)}; expected a number")
    return side, confidence, quantity, price, float(reference) if not reference.is_snan() else math.nan


def checked_verdict(answer: Any) -> SignalResult | str:
    """What a validator answered: a signal to go on with, or a drop reason. Raises `NoSignal` for anything else."""
    if not isinstance(answer, str | SignalResult):
        raise NoSignal(f"the validator returned {_shown(answer)}; expected a SignalResult or a drop reason")
    return answer


def _whole(quantity: Any) -> int:
    if isinstance(quantity, bool):
        raise NoSignal(f"quantity is {quantity!r}; expected a whole number")
    try:
        whole = operator.index(quantity)
    except TypeError:
        raise NoSignal(f"quantity is {_shown(quantity)}; expected a whole number") from None
    if abs(whole) > LARGEST_QUANTITY:
        raise NoSignal(f"quantity is {whole}; quantities beyond 2^53 are not supported")
    return whole


def _number(what: str, value: Any) -> Decimal:
    if isinstance(value, bool):
        raise NoSignal(f"{what} is {value!r}; expected a number")
    try:
        return to_decimal(value)
    except (TypeError, ValueError, InvalidOperation):
        raise NoSignal(f"{what} is {_shown(value)}; expected a number") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"
