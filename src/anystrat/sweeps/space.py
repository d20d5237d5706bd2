"""What a sweep varies: settings, and the values that each of them may take."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any, Final

from anystrat.domain.errors import AnystratError

Settings = dict[str, Any]

#: What values of a setting look like, for messages.
FORMS: Final = "5,10,20 or 5..50 or 5..50:5 or 0.001..0.1:log"
#: A grid of more trials is a mistake more often than a plan.
MOST_TRIALS: Final = 1_000_000
#: How many times in a row a draw may repeat one that there was before the space counts as exhausted.
_PATIENCE: Final = 1_000


class SpaceError(AnystratError):
    """What is to be varied cannot be: the text says what was found, and what may stand there."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Span:
    """All numbers from `low` to `high`, both included; `log` draws them so that every power of ten is as likely.

    Whole numbers if both ends are. With a `step` (or ends that are whole) it has a grid.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(each, int) for each in (self.low, self.high)) and not isinstance(self.step, float)


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting (`parameters.threshold`), and its values: a list of them, or a span of numbers."""

    key: str
    values: tuple[Any, ...] | Span

    def grid(self) -> tuple[Any, ...]:
        """Every value. Raises `SpaceError` for a span without steps."""
        span = self.values
        if isinstance(span, tuple):
            return span
        step = span.step or (1 if span.whole else None)
        if step is None:
            raise SpaceError(
                f"{self.key}: {span.low}..{span.high} has no steps, and a grid needs them: "
                f"write {span.low}..{span.high}:STEP, or draw from it with --search random or optuna"
            )
        low, high, by = (Decimal(str(each)) for each in (span.low, span.high, step))
        found = [low + k * by for k in range(int((high - low) / by) + 1)]
        return tuple(int(each) for each in found) if span.whole else tuple(float(each) for each in found)

    def drawn(self, random: Random) -> Any:
        """One value, by chance."""
        span = self.values
        if isinstance(span, tuple):
            return random.choice(span)
        if span.step is not None:
            return random.choice(self.grid())
        if span.log:
            value = math.exp(random.uniform(math.log(span.low), math.log(span.high)))
            return min(max(round(value) if span.whole else value, span.low), span.high)
        return random.randint(int(span.low), int(span.high)) if span.whole else random.uniform(span.low, span.high)


class Space:
    """Everything that a sweep varies."""

    def __init__(self, axes: Iterable[Axis]) -> None:
        self.axes = tuple(axes)
        if not self.axes:
            raise SpaceError(f"there is nothing to vary: name a setting and its values, KEY={FORMS}")
        twice = [key for key in self.keys if self.keys.count(key) > 1]
        if twice:
            raise SpaceError(f"{twice[0]} is varied twice; put all of its values into one")

    @property
    def keys(self) -> list[str]:
        """The settings' names."""
        return [axis.key for axis in self.axes]

    def grid(self) -> Iterator[Settings]:
        """Every combination, the last setting varying quickest. Raises `SpaceError` for spans without steps, too many."""
        grids = [axis.grid() for axis in self.axes]
        many = math.prod(map(len, grids))
        if many > MOST_TRIALS:
            raise SpaceError(
                f"the grid has {many:,} trials; at most {MOST_TRIALS:,} are run: draw some with --search random"
            )
        return (dict(zip(self.keys, values, strict=True)) for values in itertools.product(*grids))

    def drawn(self, random: Random) -> Iterator[Settings]:
        """Combinations by chance, none twice; ends when no new one turns up."""
        seen: set[str] = set()
        missed = 0
        while missed < _PATIENCE:
            settings = {axis.key: axis.drawn(random) for axis in self.axes}
            key = key_of(settings)
            if key in seen:
                missed += 1
                continue
            missed = 0
            seen.add(key)
            yield settings


def key_of(settings: Mapping[str, Any]) -> str:
    """The one text of these settings, whatever their order."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), default=str)


def space_of(over: Mapping[str, Any] | Sequence[str]) -> Space:
    """The space that texts (`KEY=VALUES`) or a mapping (`{key: values}`) describe.

    In a mapping, values are a list, a range, a `Span`, or a text as on the command line. Raises `SpaceError`.
    """
    if isinstance(over, Mapping):
        return Space(_axis(key, values) for key, values in over.items())
    return Space(_axis(*_halves(text)) for text in over)


def _halves(text: str) -> tuple[str, str]:
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise SpaceError(f"--over {text}: found no KEY=VALUES; write for example parameters.threshold={FORMS}")
    return key.strip(), values.strip()


def _axis(key: str, values: Any) -> Axis:
    if isinstance(values, str):
        values = _read(key, values)
    if isinstance(values, Span):
        return Axis(key, _sound(key, values))
    if not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise SpaceError(f"{key}: found {values!r} for its values; give a list, a range, a Span, or a text: {FORMS}")
    found = tuple(values)
    if not found:
        raise SpaceError(f"{key} has no value")
    if len({key_of({"": each}) for each in found}) < len(found):
        raise SpaceError(f"{key} has a value twice: {', '.join(map(str, found))}")
    return Axis(key, found)


def _read(key: str, text: str) -> Span | tuple[Any, ...]:
    low, dots, rest = text.partition("..")
    if not dots:
        return tuple(_scalar(each.strip()) for each in text.split(","))
    high, _, more = rest.partition(":")
    numbers = [_number(each) for each in (low, high)]
    step = None if more in {"", "log"} else _number(more)
    if None in numbers or (step is None and more not in {"", "log"}):
        raise SpaceError(f"{key}: found {text!r}, which is no span of numbers; write {FORMS}")
    first, last = numbers
    assert first is not None
    assert last is not None
    return Span(first, last, step, log=more == "log")


def _sound(key: str, span: Span) -> Span:
    shown = f"{span.low}..{span.high}"
    if not all(math.isfinite(each) for each in (span.low, span.high, span.step or 1)):
        raise SpaceError(f"{key}: {shown} is not finite")
    if span.low > span.high:
        raise SpaceError(f"{key}: {shown} begins above its end; write {span.high}..{span.low}")
    if span.step is not None and span.step <= 0:
        raise SpaceError(f"{key}: found a step of {span.step}; a step is above 0")
    if span.log and (span.low <= 0 or span.step is not None):
        raise SpaceError(f"{key}: {shown}:log needs a beginning above 0, and no step")
    return span


def _number(text: str) -> float | None:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    whole = value.is_finite() and value == value.to_integral_value() and not set(text.lower()) & {".", "e"}
    return int(value) if whole else float(value)


def _scalar(text: str) -> Any:
    number = _number(text)
    if number is not None:
        return number
    return {"true": True, "false": False, "null": None}.get(text, text)
