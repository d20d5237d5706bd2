from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.columns import TickColumns
from anystrat.domain.tick import MarketTick, TickRow
from anystrat.testing.ticks import SESSION_SECONDS, START, START_NS, columns, row, synthetic_ticks, tick


def whole(*arguments: Any, **options: Any) -> dict[str, Any]:
    blocks = list(synthetic_ticks(*arguments, **options))

    def halted(block: TickColumns) -> Any:
        return block.halted if block.halted is not None else np.zeros(len(block), np.bool_)

    return {
        "ts_ns": np.concatenate([b.ts_ns for b in blocks]),
        "token": np.concatenate([b.instrument_token for b in blocks]),
        "price": np.concatenate([b.price for b in blocks]),
        "size": np.concatenate([b.volume for b in blocks if b.volume is not None]),
        "halted": np.concatenate([halted(b) for b in blocks]),
    }


def same(one: dict[str, Any], other: dict[str, Any], rows: int | None = None) -> bool:
    return all(np.array_equal(one[name][:rows], other[name][:rows]) for name in one)


@given(st.integers(0, 2**32), st.integers(1, 3_000), st.integers(1, 40), st.integers(1, 999))
def test_the_same_seed_gives_the_same_ticks_in_blocks_of_any_size(seed, count, instruments, block_rows):
    tokens = range(100, 100 + instruments)
    one = whole(seed, tokens, count)
    assert same(one, whole(seed, tokens, count, block_rows=block_rows))
    assert len(one["ts_ns"]) == count
    assert not count > 50 or not same(one, whole(seed + 1, tokens, count))
    assert set(one["token"].tolist()) <= set(tokens)


@given(st.integers(0, 2**32), st.integers(1, 3_000))
def test_ticks_are_in_time_order_within_the_session_and_above_zero(seed, count):
    found = whole(seed, [1, 2, 3], count)
    since = found["ts_ns"] - START_NS
    assert (np.diff(found["ts_ns"]) >= 0).all()
    assert since.min() >= 0
    assert since.max() < SESSION_SECONDS * 1_000_000_000
    assert (found["price"] > 0).all()
    assert (found["size"] >= 1).all()


def test_prices_are_whole_ticks_and_walk_in_small_steps():
    found = whole(11, range(5), 100_000, tick_size=Decimal("0.05"))
    assert all(Decimal(repr(price)) % Decimal("0.05") == 0 for price in found["price"][:5_000].tolist())
    for token in range(5):
        path = found["price"][found["token"] == token]
        assert np.abs(np.diff(path)).max() < 0.16
        assert path.std() > 0


def test_a_longer_run_over_days_begins_like_a_shorter_one():
    short = whole(5, [7, 8], 10_000, ticks_per_day=4_000)
    assert same(short, whole(5, [7, 8], 150_000, ticks_per_day=4_000), 10_000)


def test_days_are_weekdays():
    found = whole(5, [7], 20_000, ticks_per_day=1_000)
    days = {datetime.fromtimestamp(ts // 10**9, UTC) for ts in found["ts_ns"].tolist()}
    assert {day.weekday() for day in days} == {0, 1, 2, 3, 4}
    assert 18 <= len({day.date() for day in days}) <= 22


def test_some_times_are_equal_some_instruments_trade_more_and_some_are_halted():
    found = whole(1, range(20), 200_000, halts=0.05)
    equal = float((np.diff(found["ts_ns"]) == 0).mean())
    assert 0.15 < equal < 0.4
    counts = np.bincount(found["token"])
    assert counts[0] > 4 * counts[-1] > 0
    assert 0.01 < float(found["halted"].mean()) < 0.2
    of_one = found["token"] == found["token"][found["halted"]][0]
    price, halted = found["price"][of_one], found["halted"][of_one]
    assert (np.diff(price)[halted[1:]] == 0).all()
    assert not whole(1, range(20), 10_000, halts=0.0)["halted"].any()


@pytest.mark.parametrize("arguments", [(1, [], 10), (1, [1], -1)])
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError, match="at least one instrument"):
        list(synthetic_ticks(*arguments))
    assert list(synthetic_ticks(1, [1], 0)) == []


def test_the_small_builders_make_ticks_by_the_second():
    assert tick(5, "1.25", 3) == MarketTick(5, Decimal("1.25"), START.replace(second=3))
    assert tick(5, 0.1, 0, metadata={"halted": True}).last_price == Decimal("0.1")
    assert row(5, "1.25", 3).ts_ns == START_NS + 3_000_000_000
    assert row(metadata={"halted": True}).halted is True


def test_rows_become_columns_and_come_back():
    rows = [
        TickRow(1, 5, 0.1),
        TickRow(2, 6, 0.1, Decimal("0.10000000000000000001"), 3.0, None, Decimal("1.5"), halted=True),
    ]
    block = columns(rows)
    assert list(block.rows()) == [rows[0], TickRow(2, 6, 0.1, rows[1].exact, 3.0, None, 1.5, halted=True)]
    assert (block.bid, block.auction) == (None, None)
    assert columns([tick(1, "0.10"), tick(1, "NaN")]).exact is None
    assert len(columns([])) == 0
