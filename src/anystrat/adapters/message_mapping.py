"""A venue's own messages to ticks, by configuration: which part of a message is a tick, and where its parts are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from anystrat.adapters.tick_files.decode import (
    INT64_MAX,
    INT64_MIN,
    MAX_PRICE_TEXT,
    MalformedRow,
    RowValues,
    StampReader,
    Tally,
    columns_of_rows,
    number_of_text,
    price_of_text,
    shown,
)
from anystrat.adapters.tick_files.source import NUMBERS
from anystrat.adapters.tick_messages import Decoded
from anystrat.domain.websocket import MessageFormat, TimeUnit

if TYPE_CHECKING:
    from anystrat.domain.websocket import TickMapping

_NS_IN: Final = {TimeUnit.S: 1_000_000_000, TimeUnit.MS: 1_000_000, TimeUnit.US: 1_000, TimeUnit.NS: 1}
_NOTHING: Final = object()
#: A symbol without a token is told of so often.
_STRANGERS_SHOWN: Final = 1
_BROKEN: Final = (msgspec.MsgspecError, RecursionError, ValueError, TypeError)


class _NumberText(str):
    """The text of a JSON number with a fraction, so that no digit is lost."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Path:
    """Where something stands: in the message itself, or in the tick within it."""

    steps: tuple[str | int, ...]
    from_message: bool

    def found(self, message: Any, tick: Any) -> Any:
        """What stands there; `_NOTHING` where nothing does."""
        here = message if self.from_message else tick
        for step in self.steps:
            if isinstance(here, dict):
                here = here.get(step, here.get(str(step), _NOTHING))
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            else:
                return _NOTHING
        return here


def path_of(text: str) -> Path:
    """`/data.0.p` as a path."""
    steps = text.removeprefix("/").split(".") if text.removeprefix("/") else []
    return Path(tuple(int(step) if step.isascii() and step.isdigit() else step for step in steps), text.startswith("/"))


class Rule:
    """One mapping, ready to be used."""

    def __init__(self, mapping: TickMapping, tokens: Mapping[str, int]) -> None:
        self.mapping = mapping
        self.tokens = tokens
        self.stamps = StampReader()
        #: Symbols that have no token, the first few.
        self.strangers: dict[str, None] = {}
        self._each = path_of(mapping.each)
        self._where = [(path_of(path), text) for path, text in mapping.where.items()]
        self._price, self._instrument, self._time = map(path_of, (mapping.price, mapping.instrument, mapping.time))
        self._numbers = [path_of(text) if text else None for text in (mapping.size, mapping.bid, mapping.ask)]

    def ticks(self, message: Any) -> list[Any]:
        """The parts of the message that are ticks by this mapping."""
        found = self._each.found(message, message)
        candidates = found if isinstance(found, list) and not self._is_tick(found) else [found]
        return [each for each in candidates if isinstance(each, dict | list) and self._fits(message, each)]

    def row(self, message: Any, tick: Any, arrived_ns: int) -> RowValues | None:
        """A tick; None where its symbol has no token. Raises `MalformedRow`."""
        token = self._token(message, tick)
        if token is None:
            return None
        price = _text("the price", self.mapping.price, self._price.found(message, tick))
        value, exact = price_of_text(price)
        numbers = tuple(
            float("nan") if path is None else _number(name, path.found(message, tick))
            for name, path in zip(NUMBERS, self._numbers, strict=True)
        )
        ts_ns = self._ns(message, tick) if self.mapping.time else arrived_ns
        return RowValues(ts_ns, token, value, exact, numbers, ())

    def _is_tick(self, found: list[Any]) -> bool:
        """Whether a list is one tick, whose parts have numbers for names, and no list of ticks."""
        return bool(found) and not isinstance(found[0], dict | list)

    def _fits(self, message: Any, tick: Any) -> bool:
        return all(_plain(path.found(message, tick)) == text for path, text in self._where)

    def _token(self, message: Any, tick: Any) -> int | None:
        if self.mapping.token is not None:
            return self.mapping.token
        found = self._instrument.found(message, tick)
        if isinstance(found, int) and not isinstance(found, bool) and INT64_MIN <= found <= INT64_MAX:
            return self.tokens.get(str(found), found)
        if not isinstance(found, str):
            raise MalformedRow(f"the instrument at {self.mapping.instrument} is {_shown(found)}")
        token = self.tokens.get(found)
        if token is None and len(self.strangers) < _STRANGERS_SHOWN:
            self.strangers[found] = None
        return token

    def _ns(self, message: Any, tick: Any) -> int:
        found, place = self._time.found(message, tick), self.mapping.time
        unit = self.mapping.time_unit
        if unit is TimeUnit.ISO:
            if not isinstance(found, str):
                raise MalformedRow(f"the time at {place} is {_shown(found)}, expected ISO 8601 text")
            return self.stamps.ns("the time", found)
        scale = _NS_IN[unit]
        ns = found * scale if type(found) is int else _scaled(_text("the time", place, found), scale)
        if not INT64_MIN <= ns <= INT64_MAX:
            raise MalformedRow(f"the time at {place} is {_shown(found)}, beyond 64 bits of nanoseconds")
        return ns


class MessageMapper:
    """Decodes the messages of one feed. What fits no mapping (an acknowledgement, a heartbeat) is passed over."""

    def __init__(self, mappings: Sequence[TickMapping], written: MessageFormat, tokens: Mapping[str, int]) -> None:
        self._rules = [Rule(mapping, tokens) for mapping in mappings]
        json, packed = msgspec.json.Decoder(float_hook=_NumberText).decode, msgspec.msgpack.Decoder().decode
        self._decode: Callable[[Any], Any] = json if written is MessageFormat.JSON else packed
        self._written = "JSON" if written is MessageFormat.JSON else "MessagePack"

    @property
    def strangers(self) -> list[str]:
        """Symbols that came and have no token, the first of each mapping."""
        return list(dict.fromkeys(name for rule in self._rules for name in rule.strangers))

    def decoded(self, messages: Sequence[tuple[bytes | str, int]], first: int) -> Decoded:
        """The ticks of messages with the times of their arrival; `first` is the first one's number."""
        rows: list[RowValues] = []
        tally = Tally()
        counts, malformed = np.zeros(len(messages), np.int64), np.zeros(len(messages), np.int64)
        for at, (message, arrived_ns) in enumerate(messages):
            had, bad = len(rows), tally.malformed
            self._rows(message, arrived_ns, f"message {first + at}", rows, tally)
            counts[at], malformed[at] = len(rows) - had, tally.malformed - bad
        return Decoded(columns_of_rows(rows, NUMBERS, ()), counts, malformed, tally)

    def _rows(self, message: bytes | str, arrived_ns: int, name: str, rows: list[RowValues], tally: Tally) -> None:
        try:
            found = self._decode(message)
        except _BROKEN as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            tally.add(name, f"no {self._written}: {why}; found {shown(message)}")
            return
        for rule in self._rules:
            ticks = rule.ticks(found)
            for at, tick in enumerate(ticks, start=1):
                try:
                    row = rule.row(found, tick, arrived_ns)
                except MalformedRow as error:
                    tally.add(name if len(ticks) == 1 else f"{name}[{at}]", str(error))
                    continue
                if row is not None:
                    rows.append(row)
            if ticks:
                return


def _plain(value: Any) -> str | None:
    """A value as it would be written in a configuration."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _shown(value: Any) -> str:
    return "not there" if value is _NOTHING else shown(value)


def _text(what: str, place: str, value: Any) -> str:
    """The digits of a number or a text. A double stands for its shortest decimal."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value) if isinstance(value, float) or abs(value) < 10**MAX_PRICE_TEXT else ""
    raise MalformedRow(f"{what} at {place} is {_shown(value)}, expected a number")


def _number(name: str, value: Any) -> float:
    """An optional number: NaN where there is none."""
    if value is _NOTHING or value is None or value == "":
        return float("nan")
    return number_of_text(name, _text(name, "its path", value))


def _scaled(text: str, unit_ns: int) -> int:
    """A decimal number of units as whole nanoseconds, cut off."""
    if len(text) > MAX_PRICE_TEXT or "_" in text:
        raise MalformedRow(f"the time is {shown(text)}, expected a number")
    try:
        value = Decimal(text)
        if not value.is_finite() or value.adjusted() > 30:
            raise MalformedRow(f"the time is {shown(text)}, beyond 64 bits of nanoseconds")
        return int(value * unit_ns)
    except InvalidOperation:
        raise MalformedRow(f"the time is {shown(text)}, expected a number") from None
