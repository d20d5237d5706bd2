"""From what a file holds to exact values; what cannot be decoded is told to a tally, never raised to the reader."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.adapters.tick_files.source import BARS
from anystrat.domain.columns import TickColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
#: Up to this many significant digits, a decimal is the shortest one of the double nearest to it.
SURE_DIGITS: Final = 15
#: ... unless the double is so small that it has fewer digits to give.
SURE_MAGNITUDE: Final = 1e-290
#: More text than any price needs; without a bound, one row could keep exact arithmetic busy for minutes.
MAX_PRICE_TEXT: Final = 400
_SHOWN = 5
_INTEGER = re.compile(r"\s*[+-]?\d{1,30}\s*", re.ASCII)
_STAMP = re.compile(
    r"\s*(?P<date>\d{4}-?\d\d-?\d\d)"
    r"(?:[Tt ](?P<time>\d\d(?::?\d\d(?::?\d\d)?)?)(?:(?<=\d\d\d\d\d\d|:\d\d:\d\d)[.,](?P<fraction>\d+))?"
    r"\s?(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)?)?\s*",
    re.ASCII,
)
_EPOCH_ORDINAL = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


class MalformedRow(ValueError):
    """A row that cannot be decoded; the text says what was found."""


@dataclass(slots=True)
class Tally:
    """How many rows were malformed, and what the first few were."""

    malformed: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Count one row."""
        self.malformed += 1
        if len(self.first) < _SHOWN:
            self.first.append(f"{place}: {what}")

    def include(self, other: Tally) -> None:
        """Count what another tally counted."""
        self.malformed += other.malformed
        self.first = (self.first + other.first)[:_SHOWN]

    @property
    def wants_more(self) -> bool:
        """Whether the next row's text would be kept."""
        return len(self.first) < _SHOWN


def shown(value: object) -> str:
    """What was found, on one line and not too long."""
    text = ascii(value[:200] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def integer_of_text(name: str, text: str) -> int:
    """A whole number within 64 bits."""
    if _INTEGER.fullmatch(text) is None:
        raise MalformedRow(f"{name} is {shown(text)}, expected a whole number")
    value = int(text)
    if not INT64_MIN <= value <= INT64_MAX:
        raise MalformedRow(f"{name} is {value}, beyond 64 bits")
    return value


def number_of_text(name: str, text: str) -> float:
    """A number as the double nearest to it; `nan` and `inf` are numbers here."""
    # float() would also take 1_000 and the digits of other scripts, which no writer of market data means.
    if text.isascii() and "_" not in text and len(text) <= MAX_PRICE_TEXT:
        try:
            return float(text)
        except ValueError:
            pass
    raise MalformedRow(f"{name} is {shown(text)}, expected a number")


def price_of_text(text: str) -> tuple[float, Decimal | None]:
    """A price as the nearest double, and its decimal where that double's shortest decimal is another."""
    price = number_of_text("price", text)
    if len(text) <= SURE_DIGITS and abs(price) >= SURE_MAGNITUDE:
        return price, None
    return price, exact_of_text(text, price)


def exact_of_text(text: str, price: float) -> Decimal | None:
    """The decimal that `text` stands for, None where the shortest decimal of `price`, its nearest double, is the same."""
    if len(text) > MAX_PRICE_TEXT:
        raise MalformedRow(f"price is {shown(text)}, longer than {MAX_PRICE_TEXT} characters")
    # Beyond the doubles' range the engine refuses the price anyway, and its decimal may be a billion digits long.
    if not math.isfinite(price) or price == 0.0 or repr(price) == text:
        return None
    return exact_of_decimal(Decimal(text), price)


def exact_of_decimal(value: Decimal, price: float) -> Decimal | None:
    """`value`, or None where the shortest decimal of `price`, its nearest double, is the same number."""
    if not math.isfinite(price) or price == 0.0:
        return None
    return None if Decimal(repr(price)) == value else value


def price_of_decimal(value: Decimal) -> tuple[float, Decimal | None]:
    """A decimal price as the nearest double, and itself where that says less."""
    try:
        price = float(value)
    except (OverflowError, InvalidOperation) as error:
        raise MalformedRow(f"price is {shown(str(value))}, expected a number") from error
    return price, exact_of_decimal(value, price)


_TRUE = frozenset({"1", "true", "t", "yes", "y"})
_FALSE = frozenset({"", "0", "false", "f", "no", "n"})


def flag_of_text(name: str, text: str) -> bool:
    """`true` or `1`, `false`, `0` or nothing, whatever the case."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise MalformedRow(f"{name} is {shown(text)}, expected true, false, 1 or 0")


class StampReader:
    """ISO 8601 text to nanoseconds since 1970 UTC; remembers the last second, which the next row mostly shares."""

    def __init__(self) -> None:
        self._last = ""
        self._seconds = 0
        # A head of a newline fits no text that could then be decoded.
        self._head = "\n"
        self._head_ns = 0
        self._zone = ""

    def ns(self, name: str, text: str) -> int:
        """The time that `text` says, naive text being in UTC; more than nine decimals of a second are cut off."""
        # The same second and zone as before, with decimals: most rows of a busy file.
        if text[:20] == self._head and text.endswith(self._zone) and text.isascii():
            decimals = text[20 : len(text) - len(self._zone)]
            if decimals.isdigit():
                return self._head_ns + int(decimals[:9].ljust(9, "0"))
        return self._ns(name, text)

    def _ns(self, name: str, text: str) -> int:
        match = _STAMP.fullmatch(text)
        if match is None:
            raise MalformedRow(f"{name} is {shown(text)}, expected an ISO 8601 time")
        date, time, fraction, zone = match.groups()
        whole = f"{date}T{time or '00'}{zone or 'Z'}"
        if whole != self._last:
            self._seconds = _seconds(name, text, date, time or "00", (zone or "Z").upper())
            self._last = whole
        ns = self._seconds * 1_000_000_000 + (int(fraction[:9].ljust(9, "0")) if fraction else 0)
        if not INT64_MIN <= ns <= INT64_MAX:
            raise MalformedRow(f"{name} is {shown(text)}, beyond what 64 bits of nanoseconds hold")
        self._head_ns = self._seconds * 1_000_000_000
        within = INT64_MIN <= self._head_ns <= INT64_MAX - 1_000_000_000
        self._head = text[:20] if match.start("fraction") == 20 and within else "\n"
        self._zone = text[match.end("fraction") :]
        return ns


def _seconds(name: str, text: str, date: str, time: str, zone: str) -> int:
    digits = date.replace("-", "") + time.replace(":", "").ljust(6, "0")
    offset = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[3:].replace(':', '') or '00'}"
    try:
        moment = datetime.fromisoformat(
            f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:14]}{offset}"
        )
    except ValueError as error:
        raise MalformedRow(f"{name} is {shown(text)}: {error}") from error
    shift = moment.utcoffset()
    assert shift is not None  # the text above always has an offset
    clock = moment.hour * 3600 + moment.minute * 60 + moment.second
    return (moment.toordinal() - _EPOCH_ORDINAL) * 86_400 + clock - (shift.days * 86_400 + shift.seconds)


@dataclass(slots=True)
class RowValues:
    """One decoded row of a text file."""

    ts_ns: int
    instrument: int
    price: float
    exact: Decimal | None
    numbers: tuple[float, ...]
    flags: tuple[bool, ...]


def decoded_closely(
    place: str, number: int, lines: Sequence[bytes | None], decode: Callable[[bytes], RowValues], tally: Tally
) -> list[RowValues]:
    """The rows of lines that need a close look, from line `number` on; None is a line that is too long to look at."""
    rows = []
    for at, line in enumerate(lines, start=number):
        if line is None:
            tally.add(f"{place}:{at}", "a line of over a million bytes")
        elif line.strip():
            try:
                rows.append(decode(line))
            except MalformedRow as error:
                tally.add(f"{place}:{at}", str(error))
    return rows


def columns_of_rows(rows: Sequence[RowValues], numbers: Sequence[str], flags: Sequence[str]) -> TickColumns:
    """Decoded rows as columns; `numbers` and `flags` name the optional columns that are there, as in the file."""
    return columns_of(
        np.array([row.ts_ns for row in rows], np.int64),
        np.array([row.instrument for row in rows], np.int64),
        np.array([row.price for row in rows], np.float64),
        [row.exact for row in rows],
        {
            **{name: np.array([row.numbers[i] for row in rows], np.float64) for i, name in enumerate(numbers)},
            **{name: np.array([row.flags[i] for row in rows], np.bool_) for i, name in enumerate(flags)},
        },
    )


def columns_of(
    ts_ns: NDArray[np.int64],
    instrument: NDArray[np.int64],
    price: NDArray[np.float64],
    exact: list[Decimal | None] | None,
    optional: Mapping[str, NDArray[Any]],
) -> TickColumns:
    """A block from its columns, the optional ones under their names in a file."""
    return TickColumns(
        ts_ns,
        instrument,
        price,
        exact if exact is not None and any(value is not None for value in exact) else None,
        volume=optional.get("size"),
        bid=optional.get("bid"),
        ask=optional.get("ask"),
        halted=optional.get("halted"),
        auction=optional.get("auction"),
        open=optional.get(BARS[0]),
        high=optional.get(BARS[1]),
        low=optional.get(BARS[2]),
    )


def exact_of_texts(texts: Sequence[Any], prices: NDArray[np.float64]) -> list[Decimal | None] | None:
    """`exact_of_text` over a column of bytes or alike whose doubles are known; looks only at what may say more."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    with np.errstate(invalid="ignore"):
        unsure = np.flatnonzero((lengths > SURE_DIGITS) | (np.abs(prices) < SURE_MAGNITUDE)).tolist()
    if not unsure:
        return None
    exact: list[Decimal | None] = [None] * len(texts)
    for i in unsure:
        exact[i] = exact_of_text(bytes(texts[i]).decode("ascii"), float(prices[i]))
    return exact if any(exact[i] is not None for i in unsure) else None
