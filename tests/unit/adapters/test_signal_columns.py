"""Columns into signal files: the files come out as if every row had been an object."""

from __future__ import annotations

import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anystrat.adapters.signal_files import SignalFileError, open_signals
from anystrat.adapters.signal_files.columns import decimal_limbs, objects_of, places_of, printed, without_point
from anystrat.domain.columns import SignalColumns
from anystrat.domain.exact import to_decimal
from anystrat.domain.outcomes import REASONS, Dropped, Emitted
from anystrat.domain.signal import EmittedSignal
from anystrat.domain.signal_id import id_bases

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
PRICES = (
    st.floats(1e-20, 1e37)
    | st.floats(1e-4, 1e6)
    | st.builds(lambda digits, scale: digits / 10**scale, st.integers(1, 10**16), st.integers(0, 20))
    | st.integers(1, 10**17).map(float)
)
EXACT = st.none() | st.decimals("0.000001", "1e12", places=10) | st.decimals("1e-30", "1e30", places=30)
CONFIDENCES = st.floats() | st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.6, 1e-7, 1e300, float("nan")])
SUFFIXES = pytest.mark.parametrize("suffix", ["jsonl", "parquet"])


@st.composite
def columns(draw: st.DrawFn, prices: st.SearchStrategy[float] = PRICES) -> SignalColumns:
    executors = draw(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=4))
    n = draw(st.integers(0, 25))

    def column(values: st.SearchStrategy[Any], kind: Any) -> Any:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), kind)

    return SignalColumns(
        column(INT64, np.int64),
        column(st.integers(0, len(executors) - 1), np.int64),
        column(INT64, np.int64),
        column(st.sampled_from([1, 2]), np.int8),
        column(CONFIDENCES, np.float64),
        column(INT64, np.int64),
        column(prices, np.float64),
        draw(st.none() | st.lists(EXACT, min_size=n, max_size=n)),
        column(st.integers(0, len(REASONS) - 1) | st.just(0), np.int64),
        column(INT64, np.int64),
        column(INT64, np.int64),
        tuple(executors),
        np.array([id_bases(*pair) for pair in executors], np.uint64),
    )


def as_objects(found: SignalColumns, *, drops: bool) -> list[Any]:
    return list(objects_of(found.taken(places_of(found, drops=drops)), drops=drops))


def many(n: int, price: Any = None) -> SignalColumns:
    """Signals of two executors, every third one dropped."""
    at = np.arange(n, dtype=np.int64)
    executors = (("one", "paper"), ("two", "out"))
    bases = np.array([id_bases(*pair) for pair in executors], np.uint64)
    prices = 100 + at / 8 if price is None else price
    side = (1 + at % 2).astype(np.int8)
    code = np.where(at % 3 == 2, 16, 0)
    return SignalColumns(at, at % 2, at % 5, side, at / 1000, at + 1, prices, None, code, at, at, executors, bases)


def files(folder: Path, suffix: str, found: list[SignalColumns], *, drops: bool) -> tuple[bytes, bytes]:
    with open_signals(folder / f"columns.{suffix}", drops=drops) as one:
        for part in found:
            assert one.write_columns(part) == len(places_of(part, drops=drops))
    with open_signals(folder / f"objects.{suffix}", drops=drops) as other:
        for part in found:
            other.write(as_objects(part, drops=drops))
    assert one.rows == other.rows
    return one.path.read_bytes(), other.path.read_bytes()


@SUFFIXES
@pytest.mark.parametrize("drops", [False, True])
@settings(max_examples=40)
@given(found=st.lists(columns(), max_size=3))
def test_columns_and_objects_give_the_same_bytes(suffix: str, drops: bool, found: list[SignalColumns]):
    with tempfile.TemporaryDirectory() as folder:
        one, other = files(Path(folder), suffix, found, drops=drops)
    assert one == other


@SUFFIXES
@settings(max_examples=50)
@given(found=st.lists(columns(st.floats(1e-4, 1e6)), max_size=4), first=st.booleans())
def test_columns_and_objects_may_take_turns(suffix: str, found: list[SignalColumns], first: bool):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("anystrat.adapters.signal_files.parquet._ROW_GROUP", 7)
        patch.setattr("anystrat.adapters.signal_files.jsonl._AT_ONCE", 5)
        with open_signals(Path(folder) / f"mixed.{suffix}") as mixed:
            for number, part in enumerate(found):
                if number % 2 == first:
                    mixed.write_columns(part)
                else:
                    mixed.write(map(Emitted, as_objects(part, drops=False)))
        _, objects = files(Path(folder), suffix, found, drops=False)
        assert mixed.path.read_bytes() == objects
        if suffix == "parquet":
            file = pq.read_metadata(mixed.path)
            sizes = [file.row_group(i).num_rows for i in range(file.num_row_groups)]
            assert all(size == 7 for size in sizes[:-1])
            assert sum(sizes) == mixed.rows


@SUFFIXES
@pytest.mark.parametrize("drops", [False, True])
def test_row_groups_end_where_they_do_for_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, drops: bool
):
    monkeypatch.setattr("anystrat.adapters.signal_files.parquet._ROW_GROUP", 2_048)
    monkeypatch.setattr("anystrat.adapters.signal_files.jsonl._AT_ONCE", 512)
    found = many(4_700)
    parts = [found.taken(np.arange(at, min(at + 1_250, 4_700))) for at in range(0, 4_700, 1_250)]
    one, other = files(tmp_path, suffix, parts, drops=drops)
    assert one == other


def test_the_objects_are_those_that_the_columns_say():
    found = many(6)
    signals, drops = as_objects(found, drops=False), as_objects(found, drops=True)
    assert [signal.ts_ns for signal in signals] == [0, 1, 3, 4]
    assert all(type(signal) is EmittedSignal and signal.signal_type == "BUY" for signal in signals[::3])
    assert [signal.price for signal in signals] == [Decimal("100"), *map(Decimal, ("100.125", "100.375", "100.5"))]
    halves = found.ids()[np.array([0, 1, 3, 4])].tolist()
    assert [signal.signal_id for signal in signals] == [f"{first:016x}{second:016x}" for first, second in halves]
    assert all(type(drop) is Dropped and drop.reason == REASONS[16] for drop in drops)
    assert [(drop.strategy_id, drop.broker) for drop in drops] == [("one", "paper"), ("two", "out")]


@given(st.lists(PRICES, min_size=1, max_size=30))
@example([999999999999999.0, 0.1, 1e-18, 123456789.123456, 1e15, 2.5e-7])
def test_limbs_are_the_shortest_decimal_times_ten_to_the_18(prices: list[float]):
    limbs, sure = decimal_limbs(np.array(prices))
    for price, (low, high), known in zip(prices, limbs.tolist(), sure.tolist(), strict=True):
        if known:
            assert Decimal((high << 64) | low).scaleb(-18) == to_decimal(price)
        else:
            digits, exponent = to_decimal(price).normalize().as_tuple()[1:]
            assert len(digits) + max(0, int(exponent)) > 15 or int(exponent) < -18


@given(st.lists(st.floats(1e-3, 1e15, exclude_max=True) | st.integers(1, 10**14).map(float), min_size=1))
def test_doubles_are_printed_as_plain_prices(prices: list[float]):
    values = np.array(prices)
    text, ends = without_point(*printed(values), values == np.floor(values))
    assert text.tobytes().decode().split(",")[:-1] == [
        format(to_decimal(price), "f").removesuffix(".0") for price in prices
    ]
    assert len(text) == ends[-1]


@SUFFIXES
def test_a_price_of_more_digits_widens_the_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("anystrat.adapters.signal_files.parquet._ROW_GROUP", 16)
    price = 100 + np.arange(100) / 8
    price[51] = 1e-25
    one, other = files(tmp_path, suffix, [many(100, price)], drops=False)
    assert one == other
    if suffix == "parquet":
        table = pq.read_table(tmp_path / "columns.parquet")
        assert str(table.schema.field("price").type) == "decimal256(76, 38)"
        assert table.column("price").to_pylist()[:2] == [Decimal("100"), Decimal("100.125")]


def test_without_arrow_lines_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with open_signals(tmp_path / "with.jsonl") as one:
        one.write_columns(many(100))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with open_signals(tmp_path / "without.jsonl") as other:
        other.write_columns(many(100))
    assert one.path.read_bytes() == other.path.read_bytes()


@SUFFIXES
def test_columns_cannot_say_why_and_a_closed_writer_takes_none(tmp_path: Path, suffix: str):
    with (
        open_signals(tmp_path / f"why.{suffix}", reasons=True) as writer,
        pytest.raises(ValueError, match="do not say why"),
    ):
        writer.write_columns(many(3))
    with pytest.raises(SignalFileError, match="closed"):
        writer.write_columns(many(3))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(tmp_path: Path):
    (tmp_path / "s.jsonl.partial").symlink_to("/dev/full")
    writer = open_signals(tmp_path / "s.jsonl")
    with pytest.raises(SignalFileError, match="cannot be written"):
        [writer.write_columns(many(50_000)) for _ in range(3)]  # they are written behind
    with pytest.raises(SignalFileError, match="cannot be written"):
        writer.abandon()
