"""Answers as values that can be compared bit for bit and shown to people."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from anystrat.domain.errors import StaleHistory
from anystrat.domain.signal import HOLD, SignalResult
from anystrat.engine.answers import NoSignal, checked_answer

_PLAIN: Final = frozenset({str, bytes, bool, int, type(None)})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave: a value, or the error that it raised (as text, so that no frame is kept alive)."""

    value: Any = None
    error: str = ""
    stale: bool = False

    @property
    def form(self) -> Hashable:
        """Equal for answers that are the same to the last bit. Two errors are the same if they are of one type."""
        return ("raised", self.error.partition(":")[0]) if self.error else form(self.value)

    def __str__(self) -> str:
        return f"raised {self.error}" if self.error else shown(self.value)


def ask(call: Callable[[], Any]) -> Answer:
    """What `call` gives, or raises."""
    try:
        return Answer(call())
    except Exception as error:  # noqa: BLE001  a strategy may raise anything, and the caller says what it means
        return Answer(None, f"{type(error).__name__}: {error}", isinstance(error, StaleHistory))


def form(value: Any) -> Hashable:
    """A value to compare by: floats by their bits, mappings by content, objects of unknown kind by their type alone."""
    exactly = type(value)
    kind = exactly.__name__
    if exactly in _PLAIN:  # most are: nothing else is asked of them
        return kind, value
    content: Hashable
    if isinstance(value, float):
        content = "nan" if math.isnan(value) else float.hex(float(value))
    elif isinstance(value, str | bytes | int):
        content = value
    elif isinstance(value, Decimal):
        content = str(value)
    elif isinstance(value, np.ndarray):
        content = (str(value.dtype), value.shape, value.tobytes())
    elif isinstance(value, np.generic):
        content = value.tobytes()
    elif isinstance(value, msgspec.Struct):
        content = form(msgspec.structs.asdict(value))
    elif isinstance(value, Mapping):
        content = tuple((form(key), form(item)) for key, item in value.items())
    elif isinstance(value, list | tuple):
        # A snapshot brings tuples back as lists: that is the same content.
        kind, content = "sequence", tuple(form(item) for item in value)
    else:
        content = type(value).__qualname__
    return kind, content


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "no signal"
    if not isinstance(value, SignalResult):
        text = repr(value)
        return f"{text if len(text) <= 120 else text[:117] + '...'} ({type(value).__name__})"
    text = f"{value.signal_type}, confidence {value.confidence!r}, quantity {value.quantity!r}, price {value.price}"
    if value.reasoning:
        text += f", reasoning {value.reasoning!r}"
    return f"{text}, metadata {value.metadata!r}" if value.metadata else text


def fault(answer: Any) -> str:
    """What keeps an answer from being a signal that the engine could ever emit; empty where nothing does."""
    if answer is None:
        return ""
    try:
        _side, confidence, quantity, price, _reference = checked_answer(answer)
    except NoSignal as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  metadata that is no mapping, for one
        return f"{type(error).__name__}: {error}"
    wrong = ""
    if not isinstance(answer.metadata, Mapping | None):
        wrong = f"metadata is {answer.metadata!r}; expected a mapping or None"
    elif not isinstance(answer.reasoning, str):
        wrong = f"reasoning is {answer.reasoning!r}; expected text"
    elif answer.signal_type == HOLD:
        pass
    elif not 0.0 <= confidence <= 1.0:
        wrong = f"confidence is {confidence!r}; expected a number within 0..1"
    elif quantity <= 0:
        wrong = f"quantity is {quantity}; expected a positive whole number (None means no signal)"
    elif not price.is_finite() or price <= 0:
        wrong = f"price is {price}; expected a positive number"
    return wrong


def side_by_side(one: Answer, other: Answer) -> tuple[str, str]:
    """Both answers as text; where they read alike, with what tells them apart."""
    left, right = str(one), str(other)
    return (left, right) if left != right else (f"{left} {one.form!r}", f"{right} {other.form!r}")
