"""Ticks in memory, in whatever they come: the same columns from each of them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from anystrat.adapters.tick_frames import blocks_of, ticks_of
from anystrat.domain.errors import TickFileError
from anystrat.testing.ticks import columns, row, tick

TS = [1_704_186_900_000_000_000, 1_704_186_901_000_000_001, 1_704_186_902_000_000_002]
TOKENS = [1, 2, 1]
PRICES = [100.5, 20.25, 101.0]
STAMPS = pd.to_datetime(pd.Series(TS), unit="ns")

ROWS = {
    "arrays": {"ts_ns": np.array(TS), "instrument_token": np.array(TOKENS), "price": np.array(PRICES)},
    "lists": {"ts_ns": TS, "instrument_token": TOKENS, "price": PRICES},
    "texts": {"ts_ns": TS, "instrument_token": TOKENS, "price": ["100.5", "20.25", "101.0"]},
    "decimals": {"ts_ns": TS, "instrument_token": TOKENS, "price": [Decimal("100.5"), Decimal("20.25"), Decimal(101)]},
    "numpy times": {"timestamp": np.array(TS, "datetime64[ns]"), "instrument_token": TOKENS, "price": PRICES},
    "iso texts": {
        "timestamp": [f"{np.datetime64(ts, 'ns')!s}Z" for ts in TS],
        "instrument_token": TOKENS,
        "price": PRICES,
    },
    "structured": np.array(
        list(zip(TS, TOKENS, PRICES, strict=True)),
        [("ts_ns", np.int64), ("instrument_token", np.int64), ("price", np.float64)],
    ),
    "pandas": pd.DataFrame({"ts_ns": TS, "instrument_token": TOKENS, "price": PRICES}),
    "pandas times": pd.DataFrame({"timestamp": STAMPS, "instrument_token": TOKENS, "price": PRICES}),
    "pandas with a zone": pd.DataFrame(
        {"timestamp": STAMPS.dt.tz_localize("UTC").dt.tz_convert("Asia/Kolkata"), "instrument_token": TOKENS, "price": PRICES}
    ),
    "pandas index": pd.DataFrame(
        {"instrument_token": TOKENS, "price": PRICES},
        index=pd.DatetimeIndex(STAMPS).tz_localize("UTC").tz_convert("America/New_York"),
    ),
    "arrow": pa.table({"ts_ns": TS, "instrument_token": TOKENS, "price": PRICES}),
    "arrow times": pa.table({"timestamp": pa.array(TS, pa.timestamp("ns", "UTC")), "instrument_token": TOKENS, "price": PRICES}),
    "arrow chunks": pa.concat_tables(
        [pa.table({"ts_ns": TS[:1], "instrument_token": TOKENS[:1], "price": PRICES[:1]}),
         pa.table({"ts_ns": TS[1:], "instrument_token": TOKENS[1:], "price": PRICES[1:]})]
    ),
    "arrow batch": pa.record_batch({"ts_ns": TS, "instrument_token": TOKENS, "price": PRICES}),
    "rows": [row(1, "100.5"), row(2, "20.25", 1.000000001), row(1, "101", 2.000000002)],
}  # fmt: skip


@pytest.mark.parametrize("source", ROWS.values(), ids=ROWS.keys())
def test_every_form_gives_the_same_columns(source: Any):
    found = ticks_of(source)
    if not isinstance(source, list):  # the rows' seconds are doubles
        assert found.ts_ns.tolist() == TS
    assert found.instrument_token.tolist() == TOKENS
    assert found.price.tolist() == PRICES
    assert found.exact is None
    assert (found.ts_ns.dtype, found.instrument_token.dtype, found.price.dtype) == (np.int64, np.int64, np.float64)


def test_optional_columns_come_along():
    found = ticks_of(
        {"ts_ns": TS, "instrument_token": TOKENS, "price": PRICES, "size": [1, 2, 3], "bid": [1.0, None, 3.0],
         "halted": [0, 1, 0], "note": ["a", "b", "c"]}
    )  # fmt: skip
    assert found.volume is not None
    assert found.bid is not None
    assert found.halted is not None
    assert found.volume.tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(found.bid).tolist() == [False, True, False]
    assert found.halted.tolist() == [False, True, False]
    assert (found.ask, found.auction) == (None, None)


def test_a_price_that_doubles_do_not_hold_keeps_its_digits():
    text = "0.1000000000000000055511151231257827"
    found = ticks_of({"ts_ns": TS[:2], "instrument_token": TOKENS[:2], "price": [text, "1.5"]})
    assert found.exact == [Decimal(text), None]


def test_rows_are_taken_in_the_order_of_time_and_equal_ones_as_they_come():
    found = ticks_of({"ts_ns": [30, 10, 20, 10], "instrument_token": [1, 2, 3, 4], "price": [1.0, 2.0, 3.0, 4.0]})
    assert found.instrument_token.tolist() == [2, 4, 3, 1]


def test_what_is_missing_is_left_to_the_engine_to_count():
    found = ticks_of(
        {"timestamp": [datetime(2024, 1, 2, tzinfo=UTC), None], "instrument_token": [1, 1], "price": [None, "?"]}
    )
    assert np.isnan(found.price).all()
    assert found.ts_ns[0] == np.iinfo(np.int64).min


def test_one_instrument_needs_no_column():
    assert ticks_of({"ts_ns": TS, "price": PRICES}, instrument=7).instrument_token.tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"ts_ns": TS, "instrument_token": TOKENS, "prize": PRICES}, "did you mean 'price' by 'prize'?"),
        ({"price": PRICES, "instrument_token": TOKENS}, "no column 'ts_ns' or 'timestamp'"),
        ({"ts_ns": TS, "price": PRICES}, "no column 'instrument_token'"),
        ({"ts_ns": TS, "instrument_token": TOKENS[:2], "price": PRICES}, "differ in length: 2, 3"),
        (
            {"timestamp": TS, "instrument_token": TOKENS, "price": PRICES},
            "whole nanoseconds belong in a column 'ts_ns'",
        ),
        ({"ts_ns": [0.5, 1.5, 2.5], "instrument_token": TOKENS, "price": PRICES}, "expected times"),
        ({"ts_ns": TS, "instrument_token": [1.5, 2.0, 3.0], "price": PRICES}, "fractions"),
        ({"ts_ns": TS, "instrument_token": ["a", "b", "c"], "price": PRICES}, "expected whole numbers"),
        ([tick(), 5], "found int"),
        (42, "a int holds no ticks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused_in_words(source: Any, said: str):
    with pytest.raises(TickFileError, match=said.replace("?", r"\?")):
        ticks_of(source)


def test_blocks_share_the_memory_of_the_columns():
    found = columns([row(1, 100 + k, k) for k in range(10)])
    blocks = blocks_of(found, 4)
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.shares_memory(blocks[1].price, found.price)
    assert ticks_of(blocks).price.tolist() == found.price.tolist()
    assert ticks_of(found) is found
