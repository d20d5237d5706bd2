from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.columns import TickColumns
from anystrat.domain.tick import EXACT_FLAG, HALTED_FLAG, MarketTick, TickRow, datetime_of, row_of

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
NOON_NS = 1_714_996_800_000_000_000


def test_a_tick_is_made_of_three_names():
    tick = MarketTick(instrument_token=1, last_price=Decimal("100.5"), timestamp=NOON)
    assert (tick.volume, tick.bid, tick.ask, tick.metadata) == (None, None, None, None)
    with pytest.raises(AttributeError):
        tick.last_price = Decimal(1)


@pytest.mark.parametrize(("given_price", "exact"), [(0.1, "0.1"), ("0.10", "0.10"), (3, "3"), (1e-7, "1E-7")])
def test_a_price_is_the_decimal_it_stands_for(given_price, exact: str):
    price = MarketTick(1, given_price, NOON).last_price
    assert isinstance(price, Decimal)
    assert str(price) == str(Decimal(exact))


def test_a_price_that_is_no_number_raises():
    with pytest.raises(InvalidOperation):
        MarketTick(1, "dear", NOON)


@pytest.mark.parametrize(
    "stamp",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
    ],
    ids=["utc", "naive", "aware"],
)
def test_a_timestamp_is_utc_and_a_naive_one_is_taken_as_such(stamp: datetime):
    tick = MarketTick(1, Decimal(1), stamp)
    assert tick.timestamp == NOON
    assert tick.timestamp.tzinfo is UTC
    assert tick.ts_ns == NOON_NS


def test_nanoseconds_survive_what_a_datetime_cannot_hold():
    row = TickRow(1, NOON_NS + 123_456_789, 5.0)
    tick = row.market_tick()
    assert (tick.timestamp.microsecond, tick.nanosecond) == (123_456, 789)
    assert tick.ts_ns == row.ts_ns


@given(st.integers(-(2**62), 2**62), st.floats(1e-6, 1e9))
def test_a_row_becomes_a_tick_and_a_row_again(ts_ns: int, price: float):
    row = TickRow(7, ts_ns, price)
    again = row_of(row.market_tick())
    assert (again.ts_ns, again.price, again.decimal) == (ts_ns, price, Decimal(repr(price)))
    assert again.market_tick() is row.market_tick()


def test_a_row_without_an_exact_price_stands_for_its_shortest_decimal():
    assert TickRow(1, 0, 0.1).decimal == Decimal("0.1")
    assert TickRow(1, 0, 0.1, Decimal("0.10000000000000000001")).decimal == Decimal("0.10000000000000000001")


def test_flags_are_in_the_metadata_of_the_public_tick_and_come_back_from_it():
    tick = TickRow(1, 0, 5.0, halted=True, metadata={"volatility": 0.1}).market_tick()
    assert tick.metadata == {"volatility": 0.1, "halted": True}
    row = row_of(msgspec.structs.replace(tick, metadata={"auction": True}))
    assert (row.halted, row.auction) == (False, True)


def test_the_datetime_of_a_timestamp_is_cut_to_the_microsecond():
    assert datetime_of(NOON_NS + 1_999) == NOON + timedelta(microseconds=1)
    assert datetime_of(-1) == datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


def test_columns_give_rows_in_order_with_none_for_what_a_row_lacks():
    fine = Decimal("2.000000000000000000001")
    columns = TickColumns(
        np.array([1, 2]),
        np.array([7, 8]),
        np.array([1.5, 2.0]),
        exact=[None, fine],
        bid=np.array([np.nan, 1.9]),
        halted=np.array([True, False]),
    )
    assert len(columns) == 2
    first, second = columns.rows()
    assert (first.instrument_token, first.ts_ns, first.price, first.exact, first.bid) == (7, 1, 1.5, None, None)
    assert (second.exact, second.bid, second.ask, second.volume) == (fine, 1.9, None, None)
    assert (first.halted, second.halted, second.auction) == (True, False, False)
    assert type(first.instrument_token) is int


def test_what_the_engine_reads_of_a_tick_follows_from_its_public_fields() -> None:
    stamp = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    tick = MarketTick(7, Decimal("100.25"), stamp, nanosecond=12)
    assert tick.ts_ns == int(stamp.timestamp()) * 1_000_000_000 + 678_901_012
    assert (tick.price, tick.flags) == (100.25, 0)
    assert "flags" not in repr(tick)
    later = msgspec.structs.replace(tick, last_price=Decimal("1.0000000000000000001"), metadata={"halted": True})
    assert later.price == 1.0
    assert later.flags == HALTED_FLAG | EXACT_FLAG
