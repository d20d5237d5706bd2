"""What compiled code reads of a `datetime` and a `Decimal` is what they say themselves."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.adapters.object_layout import (
    DATE,
    DIGITS_AT,
    EXPONENT,
    KIND,
    LENGTH,
    TIME,
    double_of,
    is_as_expected,
    nanoseconds_of,
    word_of,
)
from anystrat.domain.tick import MarketTick, datetime_of

pytestmark = pytest.mark.skipif(not is_as_expected(), reason="this interpreter lays objects out otherwise")


def double(number: Decimal) -> tuple[float, bool]:
    length = word_of(number, LENGTH)
    coefficient = ctypes.c_int64.from_address(word_of(number, DIGITS_AT)).value if length else 0
    return double_of(word_of(number, KIND), word_of(number, EXPONENT), length, coefficient)


@given(st.integers(-2_208_988_800 * 10**6, 7_258_118_400 * 10**6 - 1), st.integers(0, 999))
def test_a_time_is_read_to_the_nanosecond(microseconds: int, nanosecond: int) -> None:
    stamp = datetime_of(microseconds * 1_000)
    wanted = MarketTick(1, Decimal(1), stamp, nanosecond=nanosecond).ts_ns
    assert nanoseconds_of(word_of(stamp, DATE), word_of(stamp, TIME), nanosecond) == (wanted, True)


@pytest.mark.parametrize(
    ("stamp", "nanosecond"),
    [
        (datetime(2024, 1, 2), 0),  # noqa: DTZ001  a naive one is meant
        (datetime(1899, 12, 31, tzinfo=UTC), 0),
        (datetime(2200, 1, 1, tzinfo=UTC), 0),
        (datetime(2024, 1, 2, tzinfo=UTC), 1_000),
        (datetime(2024, 1, 2, tzinfo=UTC), -1),
    ],
)
def test_a_time_that_may_not_fit_is_not_sure(stamp: datetime, nanosecond: int) -> None:
    assert not nanoseconds_of(word_of(stamp, DATE), word_of(stamp, TIME), nanosecond)[1]


@given(st.integers(1, 10**15 - 1), st.integers(-22, 0))
def test_a_decimal_of_at_most_fifteen_digits_is_its_nearest_double(coefficient: int, exponent: int) -> None:
    number = Decimal(coefficient).scaleb(exponent)
    assert double(number) == (float(str(number)), True)


@given(st.decimals())
def test_a_decimal_is_either_read_right_or_not_sure(number: Decimal) -> None:
    found, sure = double(number)
    assert not sure or found == float(str(number))


@pytest.mark.parametrize("text", ["0", "-1.5", "NaN", "sNaN", "Infinity", "1234567890123456", "1E+2", "1E-23"])
def test_other_decimals_are_not_sure(text: str) -> None:
    assert not double(Decimal(text))[1]
