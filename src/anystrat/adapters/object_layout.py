"""Where CPython keeps what is in a `datetime` and in a `Decimal`, and what it says there, as numbers.

For compiled code that is handed objects: `Decimal` and `datetime` tell Python what they hold in half a microsecond each, and
their memory in a few nanoseconds. The layouts are those of `datetime.h` and of libmpdec, the same since Python 3.3; whoever
reads them asks `is_as_expected` first. The functions are of the part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

import ctypes
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

__all__ = [
    "DATE",
    "DIGITS_AT",
    "EXPONENT",
    "KIND",
    "LENGTH",
    "TIME",
    "ZONE",
    "double_of",
    "is_as_expected",
    "nanoseconds_of",
    "word_of",
]

#: A datetime: whether it has a zone, year, month, day, hour, minute and second, a byte each but for the year's two; then
#: three bytes of microseconds; then the zone.
DATE: Final = 24
TIME: Final = 32
ZONE: Final = 40
#: A decimal: its sign and kind (a byte); its exponent; how many words its coefficient has, and where they are.
KIND: Final = 24
EXPONENT: Final = 32
LENGTH: Final = 48
DIGITS_AT: Final = 64

_SIGN_OR_SPECIAL: Final = 15
_MOST: Final = 10**15
_SMALLEST_EXPONENT: Final = -22
_EXAMPLES: Final = (
    (datetime(2001, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC), 981_173_106_789_012_007),
    (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -993),
    (datetime(2100, 3, 1, tzinfo=UTC), 4_107_542_400_000_000_007),
)
_DECIMALS: Final = ("1.5", "100.1234", "7", "0.00000012", "123456789012345")
_NOT_SURE: Final = (
    "-1.5",
    "0",
    "NaN",
    "sNaN",
    "Infinity",
    "1234567890123456",
    "1E+2",
    "1E-40",
    "12345678901234567890123",
)


def nanoseconds_of(date: int, time: int, nanosecond: int) -> tuple[int, bool]:
    """(nanoseconds since 1970 UTC, whether they are sure) from a datetime's words at `DATE` and `TIME`.

    Not sure is what has no zone, or is so far away that 64 bits may not hold it. Days from a civil date as in Howard
    Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    """
    year = (date >> 8 & 255) * 256 + (date >> 16 & 255)
    month = date >> 24 & 255
    if date & 255 != 1 or not 1900 <= year < 2200 or not 0 <= nanosecond < 1_000:
        return 0, False
    if month <= 2:
        year -= 1
        month += 12
    days = (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + (date >> 32 & 255) - 719_469
    )
    seconds = days * 86_400 + (date >> 40 & 255) * 3_600 + (date >> 48 & 255) * 60 + (date >> 56 & 255)
    microseconds = (time & 255) * 65_536 + (time >> 8 & 255) * 256 + (time >> 16 & 255)
    return seconds * 1_000_000_000 + microseconds * 1_000 + nanosecond, True


def double_of(kind: int, exponent: int, length: int, coefficient: int) -> tuple[float, bool]:
    """(a decimal's double, whether it is sure): of positive numbers of at most 15 digits, not too many of them behind the point.

    The coefficient and the power of ten are doubles exactly, so that their quotient is rounded once, as it is when
    text is read; and a decimal of at most 15 digits is the shortest of its double.
    """
    if kind & _SIGN_OR_SPECIAL != 0 or length != 1 or not 0 < coefficient < _MOST:
        return 0.0, False
    if not _SMALLEST_EXPONENT <= exponent <= 0:
        return 0.0, False
    power = 1.0
    for _ in range(-exponent):
        power *= 10.0
    return coefficient / power, True


def word_of(thing: object, offset: int) -> int:
    """The whole number of 64 bits that lies so many bytes from where an object begins."""
    return ctypes.c_int64.from_address(id(thing) + offset).value


def is_as_expected() -> bool:
    """Whether datetimes and decimals are laid out as this module says; seen by looking at some."""
    if sys.byteorder != "little" or Decimal.__basicsize__ <= DIGITS_AT or datetime.__basicsize__ <= ZONE:
        return False
    for stamp, wanted in _EXAMPLES:
        found = nanoseconds_of(word_of(stamp, DATE), word_of(stamp, TIME), 7)
        if word_of(stamp, ZONE) != id(UTC) or found != (wanted, True):
            return False
    sure = all(_double(Decimal(text)) == (float(text), True) for text in _DECIMALS)
    return sure and not any(_double(Decimal(text))[1] for text in _NOT_SURE)


def _double(number: Decimal) -> tuple[float, bool]:
    kind, exponent, length, at = (word_of(number, place) for place in (KIND, EXPONENT, LENGTH, DIGITS_AT))
    # It is there where the number is, unless it is a long one.
    coefficient = ctypes.c_int64.from_address(at).value if length == 1 else 0
    return double_of(kind, exponent, length, coefficient)
