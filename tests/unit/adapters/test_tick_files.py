from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.adapters.tick_files import TickReader, open_ticks
from anystrat.adapters.tick_files.decode import StampReader
from anystrat.adapters.tick_files.parquet_file import ParquetSource
from anystrat.domain.errors import MissingExtra, TickFileError
from anystrat.domain.exact import to_decimal
from anystrat.domain.tick import TickRow

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(
    min_value="1e-12", max_value="1e12", allow_nan=False, allow_infinity=False, places=12
) | st.builds(lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(1, 10**34), st.integers(-40, 10))
OPTIONAL = st.none() | DOUBLES


def rows_of(reader: TickReader) -> list[TickRow]:
    rows = []
    for block in reader:
        assert len(block)
        rows += block.rows()
    return rows


def ticks_of(rows: Sequence[TickRow]) -> list[tuple[Any, ...]]:
    return [
        (r.ts_ns, r.instrument_token, r.price, r.decimal if math.isfinite(r.price) else None, r.volume, r.bid, r.ask)
        for r in rows
    ]


def read(path: Path, **options: Any) -> tuple[list[TickRow], TickReader]:
    reader = open_ticks(path, **options)
    return rows_of(reader), reader


@pytest.fixture
def text_file(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        return path

    return write


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def message_of(*paths: Path) -> str:
    with pytest.raises(TickFileError) as caught:
        rows_of(open_ticks(paths))
    assert caught.value.exit_code == 2
    return str(caught.value)


# ---- round trips


class TestWhatIsWrittenIsRead:
    @given(
        st.lists(st.tuples(INT64, INT64, DOUBLES, OPTIONAL, OPTIONAL)),
        st.integers(1, 5),
        st.sampled_from(["csv", "jsonl"]),
    )
    def test_as_text_with_doubles(self, ticks, block_rows, suffix):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"t.{suffix}"
            with path.open("w", newline="") as file:
                if suffix == "csv":
                    out = csv.writer(file)
                    out.writerow(["ts_ns", "instrument_token", "price", "size", "bid"])
                    out.writerows(ticks)
                else:
                    for ts, token, price, size, bid in ticks:
                        fields = {"ts_ns": ts, "instrument_token": token, "price": price, "size": size, "bid": bid}
                        file.write(json.dumps(fields) + "\n")
                    file.write("\n")
            rows, reader = read(path, block_rows=block_rows)
        assert reader.malformed == 0
        assert ticks_of(rows) == [(ts, tok, p, to_decimal(p), size, bid, None) for ts, tok, p, size, bid in ticks]
        assert all(row.exact is None for row in rows)

    @given(
        st.lists(DECIMALS), st.sampled_from(["csv", "number.jsonl", "string.jsonl", "parquet"]), st.sampled_from("fgE")
    )
    def test_as_exact_decimals(self, prices, suffix, style):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"t.{suffix}"
            texts = [format(price, style) if style != "g" else str(price) for price in prices]
            if suffix == "csv":
                path.write_text("price,ts_ns,instrument_token\n" + "".join(f"{t},1,2\n" for t in texts))
            elif suffix == "parquet":
                kinds = {"ts_ns": [1] * len(texts), "instrument_token": [2] * len(texts)}
                parquet(
                    path,
                    {**kinds, "price": pa.array(texts, pa.string())}
                    if texts
                    else {name: pa.array([], pa.int64()) for name in ("ts_ns", "instrument_token", "price")},
                )
            else:
                quote = '"' if suffix.startswith("string") else ""
                path.write_text(
                    "".join(f'{{"ts_ns":1,"instrument_token":2,"price":{quote}{t}{quote}}}\n' for t in texts) or "\n"
                )
            rows, reader = read(path)
        written = [Decimal(text) for text in texts]
        assert reader.malformed == 0
        assert [row.decimal for row in rows] == written
        assert [row.price for row in rows] == [float(price) for price in written]
        for row in rows:
            assert (row.exact is None) == (Decimal(repr(row.price)) == row.decimal)

    @given(
        st.lists(st.none() | st.integers(-(10**18), 10**18), max_size=20),
        st.integers(0, 12),
        st.sampled_from([pa.decimal128, pa.decimal256, pa.decimal64]),
        st.booleans(),
    )
    def test_as_parquet_decimals(self, digits, scale, kind, dictionary):
        prices = [None if n is None else Decimal(n).scaleb(-scale) for n in digits]
        precision = 18 if kind is pa.decimal64 else 30
        if kind is pa.decimal64:
            prices = [None if p is None or abs(p.scaleb(scale)) >= 10**18 else p for p in prices]
        with tempfile.TemporaryDirectory() as folder:
            path = parquet(
                Path(folder) / "t.parquet",
                {
                    "ts_ns": pa.array(range(len(prices)), pa.int64()),
                    "instrument_token": pa.array([1] * len(prices), pa.int64()),
                    "price": pa.array(prices, kind(precision, scale)),
                },
                use_dictionary=dictionary,
            )
            rows, reader = read(path, block_rows=7)
        kept = [(ts, price) for ts, price in enumerate(prices) if price is not None]
        assert [(row.ts_ns, row.decimal) for row in rows] == [(ts, price if float(price) else 0) for ts, price in kept]
        assert [row.price for row in rows] == [float(price) for _, price in kept]
        assert reader.malformed == prices.count(None)

    @given(
        st.lists(st.tuples(INT64, INT64, st.none() | st.floats(), OPTIONAL, st.none() | st.booleans()), max_size=30),
        st.sampled_from(["snappy", "zstd", "none"]),
        st.integers(1, 10),
        st.integers(1, 40),
    )
    def test_as_parquet_doubles(self, ticks, compression, group, block_rows):
        ts, token, price, size, halted = (list(c) for c in zip(*ticks, strict=True)) if ticks else ([],) * 5
        with tempfile.TemporaryDirectory() as folder:
            path = parquet(
                Path(folder) / "t.pq",
                {
                    "instrument_token": pa.array(token, pa.int64()),
                    "ts_ns": pa.array(ts, pa.int64()),
                    "halted": pa.array(halted, pa.bool_()),
                    "price": pa.array(price, pa.float64()),
                    "size": pa.array(size, pa.float64()),
                    "venue": pa.array(["ignored"] * len(ts), pa.string()),
                },
                compression=compression,
                row_group_size=group,
            )
            rows, reader = read(path, block_rows=block_rows)
        kept = [tick for tick in ticks if tick[2] is not None]
        assert [repr((r.ts_ns, r.instrument_token, r.price, r.volume, r.halted)) for r in rows] == [
            repr((a, b, p, s, bool(h))) for a, b, p, s, h in kept
        ]
        assert reader.malformed == len(ticks) - len(kept)
        assert reader.total_rows == len(ticks)


# ---- times


MOMENTS = [
    ("2024-03-01T09:15:00.123456789Z", 1_709_284_500_123_456_789),
    ("2024-03-01T09:15:00.123456789", 1_709_284_500_123_456_789),
    ("2024-03-01 14:45:00.5+05:30", 1_709_284_500_500_000_000),
    ("2024-03-01T14:45:00,5+0530", 1_709_284_500_500_000_000),
    ("20240301T091500Z", 1_709_284_500_000_000_000),
    ("2024-03-01T09:15z", 1_709_284_500_000_000_000),
    ("2024-03-01", 1_709_251_200_000_000_000),
    ("1969-12-31T23:59:59.9Z", -100_000_000),
    ("2024-03-01T09:15:00.1234567899Z", 1_709_284_500_123_456_789),
    ("2024-03-01T10:15:00 +01", 1_709_284_500_000_000_000),
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_iso_times_are_read_to_the_nanosecond_and_naive_ones_are_in_utc(tmp_path: Path, suffix: str):
    path = tmp_path / f"t.{suffix}"
    texts = [text for text, _ in MOMENTS for _ in range(2)]
    if suffix == "csv":
        path.write_text("timestamp,instrument_token,price\n" + "".join(f'"{t}",1,1\n' for t in texts))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps({"timestamp": t, "instrument_token": 1, "price": 1}) + "\n" for t in texts))
    else:
        parquet(path, {"timestamp": texts, "instrument_token": [1] * len(texts), "price": [1.0] * len(texts)})
    rows, reader = read(path)
    assert reader.first_malformed == []
    assert [row.ts_ns for row in rows] == [ns for _, ns in MOMENTS for _ in range(2)]


def test_a_malformed_time_does_not_move_the_rows_that_share_a_second_around_it(text_file):
    stamps = ["2024-01-01T00:00:00.1Z", "2300-01-01T00:00:00Z", "2024-01-01T00:00:00.2Z", "2024-01-01T00:00:00.3+01:00"]
    path = text_file("t.csv", "timestamp,instrument_token,price\n" + "".join(f"{stamp},1,1\n" for stamp in stamps))
    rows, reader = read(path)
    start = 1_704_067_200_000_000_000
    assert [row.ts_ns - start for row in rows] == [100_000_000, 200_000_000, -3_599_700_000_000]
    assert reader.malformed == 1


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime.fromisoformat("1700-01-01"), datetime.fromisoformat("2260-01-01")),
            st.integers(-14 * 60, 14 * 60),
        )
    )
)
def test_any_moment_in_any_zone_is_read_exactly(moments):
    stamps = [moment.replace(tzinfo=timezone(timedelta(minutes=minutes))) for moment, minutes in moments]
    stamps = [stamp for stamp in stamps for _ in range(2)]
    text = "timestamp,instrument_token,price\n" + "".join(f"{stamp.isoformat()},1,1\n" for stamp in stamps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(text)
        rows, reader = read(path)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert reader.malformed == 0
    assert [row.ts_ns for row in rows] == [(s - epoch) // timedelta(microseconds=1) * 1_000 for s in stamps]


@pytest.mark.parametrize(
    "stamp",
    [
        "", "now", "2024-13-01T00:00:00Z", "2024-02-30", "2024-01-01T25:00:00Z", "2024-01-01T00:00:60Z", "1e18", "12",
        "2300-01-01T00:00:00Z", "1600-01-01", "2024-01-01T00:00:00+99:00", "2024-01-01x00:00:00", "٢٠٢٤-01-01",
        "2024-01-01T00:00:00.", "2024-01-01T00:00.5Z",
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_malformed(tmp_path: Path, stamp: str):
    rows = [{"timestamp": text, "instrument_token": 1, "price": 1} for text in ("2024-01-01T00:00:00.1Z", stamp)]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, reader = read(path)
    assert (len(found), reader.malformed) == (1, 1)
    assert reader.first_malformed[0].startswith(f"{path}:2: timestamp is ")


@pytest.mark.parametrize("name", ["timestamp", "ts_ns"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_parquet_timestamps_of_any_unit_and_zone_are_read(tmp_path: Path, name: str, unit: str, zone: str | None):
    moment = datetime(2024, 3, 1, 9, 15, tzinfo=UTC)
    stamps = pa.array([int(moment.timestamp())] * 2, pa.timestamp("s", "UTC")).cast(pa.timestamp(unit, "UTC"))
    stamps = stamps.cast(pa.timestamp(unit, zone)) if zone else stamps.cast(pa.timestamp(unit))
    path = parquet(tmp_path / "t.parquet", {name: stamps, "instrument_token": [1, 1], "price": [1.0, 2.0]})
    rows, _ = read(path)
    assert [row.ts_ns for row in rows] == [1_709_284_500_000_000_000] * 2


def test_parquet_times_beyond_64_bits_of_nanoseconds_are_malformed(tmp_path: Path):
    far = pa.array([0, 1 << 60, None, -(1 << 62)], pa.timestamp("us"))
    path = parquet(tmp_path / "t.parquet", {"ts_ns": far, "instrument_token": [1] * 4, "price": [1.0] * 4})
    rows, reader = read(path)
    assert ([row.ts_ns for row in rows], reader.malformed) == ([0], 3)


# ---- values


PASSED_ON = ["nan", "inf", "-inf", "0", "-1.5", "NaN", "Infinity"]


@pytest.mark.parametrize("kind", ["csv", "jsonl string", "jsonl literal", "parquet", "parquet text"])
def test_prices_that_the_engine_refuses_are_not_malformed(tmp_path: Path, kind: str):
    path = tmp_path / f"t.{kind.split(maxsplit=1)[0]}"
    texts = PASSED_ON if kind != "jsonl literal" else ["NaN", "Infinity", "-Infinity", "0", "-1.5"]
    if kind == "csv":
        path.write_text("ts_ns,instrument_token,price\n" + "".join(f"1,1,{t}\n" for t in texts))
    elif kind.startswith("jsonl"):
        quote = '"' if kind == "jsonl string" else ""
        path.write_text("".join(f'{{"ts_ns":1,"instrument_token":1,"price":{quote}{t}{quote}}}\n' for t in texts))
    else:
        prices = pa.array([float(t) for t in texts]) if kind == "parquet" else pa.array(texts)
        parquet(path, {"ts_ns": [1] * len(texts), "instrument_token": [1] * len(texts), "price": prices})
    rows, reader = read(path)
    assert reader.malformed == 0
    assert [repr(row.price) for row in rows] == [repr(float(text)) for text in texts]
    assert all(row.exact is None for row in rows)


@pytest.mark.parametrize(
    "text",
    ["1e-999999999", "1e999999999", "1e-99999999999999999999", "1e99999999999999999999", "1e400", "-1e400", "1e-400"],
)
def test_a_price_beyond_the_doubles_has_no_endless_decimal(text_file, text: str):
    rows, reader = read(text_file("t.csv", f"ts_ns,instrument_token,price\n1,1,{text}\n"))
    assert reader.malformed == 0
    assert rows[0].price == float(text)
    assert rows[0].exact is None


@pytest.mark.parametrize(
    ("price", "exact"),
    [
        ("100.10", None), ("1e-7", None), ("0.1000000000000000000000", None), ("123456789012345678", None),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("9007199254740993", Decimal(9007199254740993)), ("5e-324", None), ("4.9e-324", Decimal("4.9e-324")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["{}", '"{}"', '" {} "'])
def test_an_exact_decimal_is_kept_only_where_the_double_says_less(
    text_file, price: str, exact: Decimal | None, form: str
):
    line = f'{{"ts_ns":1,"instrument_token":1,"price":{form.format(price)}}}\n'
    rows, _ = read(text_file("t.jsonl", line))
    if price == "123456789012345678":
        exact = Decimal(price)
    assert (rows[0].price, rows[0].exact) == (float(price), exact)


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.float16(), pa.int32(), pa.uint64(), pa.large_string(), pa.string_view()]
)
def test_parquet_prices_may_have_any_numeric_type(tmp_path: Path, kind: Any):
    prices = pa.array(["1.5", "100"]) if "string" in str(kind) else pa.array([2, 100])
    path = parquet(
        tmp_path / "t.parquet",
        {
            "ts_ns": pa.array([1, 2], pa.int32()),
            "instrument_token": pa.array([1, 2], pa.uint64()),
            "price": prices.cast(kind),
        },
    )
    rows, _ = read(path)
    assert [row.price for row in rows] == [1.5 if "string" in str(kind) else 2.0, 100.0]


def test_a_float32_price_is_the_double_of_it(tmp_path: Path):
    path = parquet(
        tmp_path / "t.parquet", {"ts_ns": [1], "instrument_token": [1], "price": pa.array([100.1], pa.float32())}
    )
    rows, _ = read(path)
    assert rows[0].decimal == Decimal("100.0999984741211")


def test_large_whole_prices_stay_exact(tmp_path: Path):
    path = parquet(tmp_path / "t.parquet", {"ts_ns": [1, 2], "instrument_token": [1, 1], "price": [2**53 + 1, 5]})
    rows, _ = read(path)
    assert [row.exact for row in rows] == [Decimal(2**53 + 1), None]


def test_dictionary_encoded_parquet_columns_are_read(tmp_path: Path):
    path = parquet(
        tmp_path / "t.parquet",
        {
            "timestamp": pa.array(["2024-01-01", None]).dictionary_encode(),
            "instrument_token": [1, 1],
            "price": pa.array(["1.25", "2"]).dictionary_encode(),
        },
    )
    rows, reader = read(path)
    assert ([row.price for row in rows], reader.malformed) == ([1.25], 1)


def test_optional_columns_may_be_partly_there(tmp_path: Path):
    path = parquet(
        tmp_path / "t.parquet",
        {
            "ts_ns": [1, 2, 3],
            "instrument_token": [1, 1, 1],
            "price": [1.0, 2.0, 3.0],
            "size": pa.array([1, None, 3], pa.int64()),
            "bid": pa.array([None, Decimal("1.5"), None]),
            "ask": pa.array([None, None, None], pa.null()),
            "halted": pa.array([1, 0, None], pa.int8()),
            "auction": pa.array([None, True, False]),
        },
    )
    rows, reader = read(path)
    assert reader.malformed == 0
    assert [(r.volume, r.bid, r.ask, r.halted, r.auction) for r in rows] == [
        (1.0, None, None, True, False),
        (None, 1.5, None, False, True),
        (3.0, None, None, False, False),
    ]


def test_flags_in_csv_are_words_or_digits(text_file):
    text = "ts_ns,instrument_token,price,halted,auction,size\n1,1,1,1,true,\r\n2,1,1,0,False,5\r\n3,1,1,,TRUE,\r\n"
    rows, reader = read(text_file("t.csv", text))
    assert reader.malformed == 0
    assert [(r.halted, r.auction, r.volume) for r in rows] == [
        (True, True, None),
        (False, False, 5.0),
        (False, True, None),
    ]


def test_a_part_of_a_column_is_read_from_where_it_begins(tmp_path: Path):
    path = parquet(tmp_path / "t.parquet", {"ts_ns": [1], "instrument_token": [1], "price": [1.0]})
    source = ParquetSource(path)
    whole = [1, 0, None, 1, 1, 0, None, 0, 1, 1, 0, 1]
    for kind in (pa.int64(), pa.int8(), pa.bool_(), pa.decimal128(5, 1), pa.float32(), pa.string()):
        array = (
            pa.array(whole).cast(kind)
            if kind != pa.decimal128(5, 1)
            else pa.array([None if value is None else Decimal(value) for value in whole], kind)
        )
        for start in (0, 3, 9):
            column = (
                source._column("size", pa.record_batch({"size": array.slice(start, 3)}), StampReader())
                if kind != pa.bool_()
                else source._column("halted", pa.record_batch({"halted": array.slice(start, 3)}), StampReader())
            )
            expected = [
                math.nan if value is None and kind != pa.bool_() else float(value or 0)
                for value in whole[start : start + 3]
            ]
            assert repr([float(value) for value in column.values]) == repr(expected)


# ---- malformed rows


GOOD_JSON = '{"ts_ns": 1, "instrument_token": 7, "price": 100.5, "extra": [1, {"a": null}]}'
BAD_JSON = [
    '{"ts_ns": 1, "instrument_token": 7, "price": null}',
    '{"ts_ns": 1, "instrument_token": 7}',
    '{"instrument_token": 7, "price": 1}',
    '{"ts_ns": 1, "price": 1}',
    '{"ts_ns": 1, "instrument_token": 7, "price": true}',
    '{"ts_ns": 1, "instrument_token": 7, "price": "abc"}',
    '{"ts_ns": 1, "instrument_token": 7, "price": "1_0"}',
    '{"ts_ns": 1, "instrument_token": 7, "price": "١"}',
    '{"ts_ns": 1, "instrument_token": 7, "price": ""}',
    '{"ts_ns": 1, "instrument_token": 7, "price": [1]}',
    '{"ts_ns": 1, "instrument_token": 7, "price": {"a": 1}}',
    '{"ts_ns": 1, "instrument_token": 7, "price": ' + "1" * 500 + "}",
    '{"ts_ns": 1.0, "instrument_token": 7, "price": 1}',
    '{"ts_ns": true, "instrument_token": 7, "price": 1}',
    '{"ts_ns": "1", "instrument_token": 7, "price": 1}',
    '{"ts_ns": 9223372036854775808, "instrument_token": 7, "price": 1}',
    '{"ts_ns": 1, "instrument_token": 18446744073709551616, "price": 1}',
    '{"ts_ns": 1, "instrument_token": ' + "9" * 5000 + ', "price": 1}',
    '{"ts_ns": 1, "instrument_token": 7.5, "price": 1}',
    '{"ts_ns": null, "instrument_token": 7, "price": 1}',
    '{"timestamp": 1, "instrument_token": 7, "price": 1}',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "size": "many"}',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "size": true}',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "halted": "maybe"}',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "halted": 2}',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1} {}',
    "[1, 2, 3]",
    "null",
    "ts_ns,instrument_token,price",
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "deep": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "long": "' + "x" * 1_000_000 + '"}',
    '{"ts_ns": 1, "instrument_token": 7, "price": 1, "long": "' + "x" * 5_000_000 + '"}',
    "\udcff\udcfe",
    "\x00",
]


@pytest.mark.parametrize("bad", BAD_JSON, ids=range(len(BAD_JSON)))
def test_a_bad_json_line_is_counted_and_the_rest_goes_on(text_file, bad: str):
    path = text_file("t.jsonl", f"{GOOD_JSON}\n{bad}\n{GOOD_JSON}\n")
    rows, reader = read(path)
    assert [(r.ts_ns, r.instrument_token, r.price) for r in rows] == [(1, 7, 100.5)] * 2
    assert reader.malformed == 1
    assert reader.first_malformed[0].startswith(f"{path}:2: ")
    assert len(reader.first_malformed[0]) < len(str(path)) + 200


def test_all_bad_json_lines_together_are_counted_one_by_one(text_file):
    path = text_file("t.jsonl", "".join(f"{bad}\n{GOOD_JSON}\n" for bad in BAD_JSON))
    rows, reader = read(path, block_rows=10)
    assert (len(rows), reader.malformed) == (len(BAD_JSON), len(BAD_JSON))
    assert len(reader.first_malformed) == 5


BAD_CSV = [
    "1,7", "1,7,1,2,3", "x,7,1,", "1,x,1,", "1,7,x,", ",7,1,", "1,,1,", "1,7,,", "1.0,7,1,", "1,7.0,1,", "1,7,1_0,",
    "9223372036854775808,7,1,", "1,-9223372036854775809,1,", "1,7,1,lots", '1,7,"1,', '"1,7,1,', "ts_ns,instrument_token,price,size",
    "1,7,\udcff,", "١,7,1,", "1,7,true,", "0x1,7,1,", "x" * 2_000_000, "1,7," + "1" * 500 + ",", "\x00,7,1,",
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_CSV, ids=range(len(BAD_CSV)))
def test_a_bad_csv_line_is_counted_and_the_rest_goes_on(text_file, bad: str):
    path = text_file("t.csv", f"ts_ns,instrument_token,price,size\n1,7,100.5,3\n{bad}\n1,7,100.5,3\n")
    rows, reader = read(path)
    assert [(r.ts_ns, r.instrument_token, r.price, r.volume) for r in rows] == [(1, 7, 100.5, 3.0)] * 2
    assert reader.malformed == 1
    assert reader.first_malformed[0].startswith(f"{path}:3: ")


def test_lines_whose_fields_only_add_up_together_are_malformed(text_file):
    header = "ts_ns,instrument_token,price\n"
    for text in ("1\n2\n3\n4,5,6\n", "1,7,5,2\n8,6\n4,5,6\n"):
        rows, reader = read(text_file("t.csv", header + text))
        assert [row.ts_ns for row in rows] == [4]
        assert reader.malformed == text.count("\n") - 1


def test_quotes_and_blank_lines_are_no_fault_but_an_open_quote_is_one(text_file):
    text = 'ts_ns,instrument_token,price,venue\n1,7,"1.5","a, b"\n\n2,7,1.5,"x\n \n3,7,1.5,"say ""x"""\n'
    path = text_file("t.csv", text)
    rows, reader = read(path)
    assert [row.ts_ns for row in rows] == [1, 3]
    assert reader.malformed == 1
    assert reader.first_malformed[0].startswith(f"{path}:4: no CSV: ")
    rows, reader = read(text_file("t.csv", 'ts_ns,instrument_token,price,venue\n1,7,1.5,a\n2,7,1.5,"x\n'))
    assert ([row.ts_ns for row in rows], reader.malformed) == ([1], 1)
    rows, reader = read(text_file("t.jsonl", f"\n{GOOD_JSON}\r\n  \n{GOOD_JSON}\n\n"))
    assert (len(rows), reader.malformed) == (2, 0)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_text_file_cut_in_its_last_line_has_one_malformed_row(text_file, suffix: str):
    text = "ts_ns,instrument_token,price\n1,7,1\n2,7\n" if suffix == "csv" else f"{GOOD_JSON}\n{GOOD_JSON}\n"
    rows, reader = read(text_file(f"t.{suffix}", text[:-2]))
    assert (len(rows), reader.malformed) == (1, 1)


def test_malformed_parquet_rows_are_named_with_their_row(tmp_path: Path):
    path = parquet(
        tmp_path / "t.parquet",
        {
            "ts_ns": pa.array([1, None, 3, 4, 5, 6, 7], pa.int64()),
            "instrument_token": pa.array([1, 1, 2**64 - 1, 1, 1, 1, 1], pa.uint64()),
            "price": ["1", "2", "3", None, "five", "6.00000000000000000001", "7"],
            "size": ["1", "1", "1", "1", "1", None, "lots"],
        },
    )
    rows, reader = read(path)
    assert [(row.ts_ns, row.decimal, row.volume) for row in rows] == [
        (1, 1, 1.0),
        (6, Decimal("6.00000000000000000001"), None),
    ]
    assert reader.malformed == 5
    assert reader.first_malformed == [
        f"{path}:row 2: ts_ns is null",
        f"{path}:row 3: instrument_token is null or beyond 64 bits (18446744073709551615)",
        f"{path}:row 4: price is null",
        f"{path}:row 5: price is 'five', expected a number",
        f"{path}:row 7: size is 'lots', expected a number",
    ]


def test_only_the_first_few_malformed_rows_are_kept_but_all_are_counted(tmp_path: Path):
    path = parquet(
        tmp_path / "t.parquet",
        {"ts_ns": pa.array([None] * 100, pa.int64()), "instrument_token": [1] * 100, "price": [1.0] * 100},
    )
    rows, reader = read(path, block_rows=30)
    assert (rows, reader.malformed, len(reader.first_malformed)) == ([], 100, 5)


# ---- files that cannot be used


class TestAFileThatCannotBeUsedIsRefusedBeforeItsFirstTick:
    def test_because_it_is_not_there(self, tmp_path: Path, text_file):
        text_file("monday.csv", "x")
        assert message_of(tmp_path / "mondya.csv").endswith(
            f"there is no such file; did you mean {tmp_path}/monday.csv?"
        )

    def test_because_its_name_cannot_be_one(self, tmp_path: Path):
        assert "cannot be opened" in message_of(tmp_path / ("x" * 5_000 + ".csv"))

    def test_because_it_is_a_directory(self, tmp_path: Path):
        (tmp_path / "d.csv").mkdir()
        assert "is a directory" in message_of(tmp_path / "d.csv")

    @pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
    def test_because_it_is_empty(self, text_file, name: str):
        assert "the file is empty" in message_of(text_file(name, ""))

    def test_because_it_is_no_regular_file(self, tmp_path: Path):
        import os

        os.mkfifo(tmp_path / "t.csv")
        assert "is not a regular file" in message_of(tmp_path / "t.csv")

    def test_because_nothing_was_named(self):
        with pytest.raises(TickFileError, match="no tick file was named"):
            open_ticks([])

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("t.parqet", "did you mean '.parquet'"),
            ("t", "the suffix ''"),
            ("t.zip.gz", "the suffix '.zip.gz'"),
            ("t.xlsx", ".csv"),
        ],
    )
    def test_because_its_suffix_names_no_format(self, text_file, name: str, said: str):
        assert said in message_of(text_file(name, "x"))

    def test_because_a_csv_lacks_a_column(self, text_file):
        said = message_of(text_file("t.csv", "ts_ns,instrument_token,prcie\n1,1,1\n"))
        assert "there is no column 'price'; did you mean 'price' by 'prcie'?" in said
        assert "'instrument_token', 'prcie'" in said

    def test_because_a_csv_has_a_column_twice(self, text_file):
        assert "'price' is there 2 times" in message_of(text_file("t.csv", "ts_ns,instrument_token,price,price\n"))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("ts_ns;instrument_token;price\n", "separated by semicolons; expected commas"),
            ("ts_ns\tinstrument_token\tprice\n", "separated by tabs"),
            ("1,2,100.5\n", "expected a header"),
            ("\n \n", "holds blank lines only"),
            ('"ts_ns,instrument_token\n', "expected a header"),
            ("x" * 2_000_000, "expected a header"),
        ],
    )
    def test_because_a_csv_has_no_fit_header(self, text_file, text: str, said: str):
        assert said in message_of(text_file("t.csv", text))

    def test_because_the_text_is_utf_16(self, tmp_path: Path):
        (tmp_path / "t.csv").write_text("ts_ns,instrument_token,price\n", encoding="utf-16")
        assert "UTF-16" in message_of(tmp_path / "t.csv")

    def test_because_no_line_is_a_json_object(self, text_file):
        assert "expected one object a line; a JSON array is not read" in message_of(text_file("t.jsonl", "[{},\n{}]\n"))
        assert "not one of the first 1 lines" in message_of(text_file("t.jsonl", "{'ts_ns': 1}\n"))

    def test_because_a_name_in_every_json_line_is_misspelt(self, text_file):
        text = '{"ts_ns": 1, "instrument_tokn": 1, "price": 1}\n' * 3
        assert "did you mean 'instrument_token' by 'instrument_tokn'" in message_of(text_file("t.jsonl", text))

    def test_because_a_parquet_lacks_a_column(self, tmp_path: Path):
        path = parquet(tmp_path / "t.parquet", {"time_stamp": [1], "instrument_token": [1], "price": [1.0]})
        assert "no column 'ts_ns' or 'timestamp'; did you mean 'ts_ns' by 'time_stamp'" in message_of(path)

    @pytest.mark.parametrize(
        ("column", "values", "said"),
        [
            ("instrument_token", pa.array([1.0]), "'instrument_token' has the type double; expected a 64-bit integer"),
            ("instrument_token", pa.array(["1"]), "has the type string"),
            ("instrument_token", pa.array([None], pa.null()), "has the type null"),
            ("ts_ns", pa.array([1.0]), "'ts_ns' has the type double"),
            ("price", pa.array([True]), "'price' has the type bool; expected a float, a decimal or text"),
            ("price", pa.array([[1.0]]), "has the type list"),
            ("size", pa.array([{"a": 1}]), "'size' has the type struct"),
            ("halted", pa.array(["yes"]), "'halted' has the type string"),
        ],
    )
    def test_because_a_parquet_column_has_a_wrong_type(self, tmp_path: Path, column: str, values: Any, said: str):
        columns = {"ts_ns": [1], "instrument_token": [1], "price": [1.0], column: values}
        assert said in message_of(parquet(tmp_path / "t.parquet", columns))

    def test_because_whole_numbers_are_called_a_timestamp(self, tmp_path: Path):
        path = parquet(tmp_path / "t.parquet", {"timestamp": [1], "instrument_token": [1], "price": [1.0]})
        assert "whole nanoseconds belong in a column 'ts_ns'" in message_of(path)

    def test_because_it_is_no_parquet_file(self, text_file):
        assert "no Parquet file that can be read" in message_of(
            text_file("t.parquet", "ts_ns,instrument_token,price\n")
        )

    def test_even_as_the_second_of_two(self, tmp_path: Path, text_file):
        good = text_file("good.csv", "ts_ns,instrument_token,price\n1,1,1\n")
        with pytest.raises(TickFileError, match=r"missing\.csv"):
            open_ticks([good, tmp_path / "missing.csv"])


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text_file):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"anystrat\[parquet\]"):
        open_ticks(text_file("t.parquet", "PAR1"))
    rows, _ = read(text_file("t.csv", "ts_ns,instrument_token,price\n1,1,1\n"))
    assert len(rows) == 1


# ---- damage


@pytest.fixture(scope="module")
def parquet_bytes() -> bytes:
    rows = 12_000
    buffer = io.BytesIO()
    table = pa.table(
        {
            "ts_ns": pa.array(range(rows), pa.int64()),
            "instrument_token": pa.array([i % 50 for i in range(rows)], pa.int64()),
            "price": pa.array([100 + i / 100 for i in range(rows)], pa.float64()),
        }
    )
    pq.write_table(table, buffer, row_group_size=3_000, compression="none")
    return buffer.getvalue()


def test_a_truncated_parquet_file_never_gives_a_tick(tmp_path: Path, parquet_bytes: bytes):
    path = tmp_path / "t.parquet"
    lengths = {*range(1, len(parquet_bytes), 1_021), *range(len(parquet_bytes) - 40, len(parquet_bytes)), 4, 8, 12}
    for length in sorted(lengths):
        path.write_bytes(parquet_bytes[:length])
        with pytest.raises(TickFileError, match=r"t\.parquet"):
            open_ticks(path)


def test_a_parquet_file_with_a_hole_is_refused_before_its_first_tick(tmp_path: Path, parquet_bytes: bytes):
    path = tmp_path / "t.parquet"
    footer = 8 + int.from_bytes(parquet_bytes[-8:-4], "little")
    path.write_bytes(parquet_bytes[: len(parquet_bytes) // 2] + parquet_bytes[-footer:])
    with pytest.raises(TickFileError, match=r"row group [23] ends beyond the file"):
        open_ticks(path)


def test_a_row_group_that_changes_a_columns_type_is_named(tmp_path: Path, parquet_bytes: bytes):
    # In a column chunk's metadata the type comes first: field 1, an integer (0x15), DOUBLE (5, as zigzag 0x0a).
    at = parquet_bytes.rindex(b"\x15\x0a\x19")
    path = tmp_path / "t.parquet"
    path.write_bytes(parquet_bytes[: at + 1] + b"\x04" + parquet_bytes[at + 2 :])
    with pytest.raises(TickFileError, match=r"t\.parquet: row group 3 holds the column 'price' as INT64; .* as DOUBLE"):
        open_ticks(path)


def test_a_row_group_that_cannot_be_read_is_named_with_the_rows_before_it(tmp_path: Path, parquet_bytes: bytes):
    path = tmp_path / "t.parquet"
    groups = pq.ParquetFile(io.BytesIO(parquet_bytes)).metadata
    start = groups.row_group(2).column(0).dictionary_page_offset or groups.row_group(2).column(0).data_page_offset
    path.write_bytes(parquet_bytes[:start] + b"\xff" * 64 + parquet_bytes[start + 64 :])
    seen: list[int] = []
    with pytest.raises(TickFileError, match=r"t\.parquet: row group 2 cannot be read after row 6000"):
        seen.extend(len(block) for block in open_ticks(path, block_rows=1_000))
    assert sum(seen) == 6_000


@given(st.data())
def test_damaged_parquet_bytes_raise_nothing_but_a_readable_error(parquet_bytes: bytes, data):
    damaged = bytearray(parquet_bytes)
    footer = int.from_bytes(parquet_bytes[-8:-4], "little") + 8
    for _ in range(data.draw(st.integers(1, 6))):
        in_footer = data.draw(st.booleans())
        span = footer if in_footer else len(damaged)
        damaged[-data.draw(st.integers(1, span))] = data.draw(st.integers(0, 255))
    survives(bytes(damaged), "t.parquet")


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")), st.data())
def test_any_bytes_raise_nothing_but_a_readable_error(content: bytes, data):
    suffix = data.draw(st.sampled_from(["csv", "jsonl", "parquet", "csv.gz", "jsonl.gz"]))
    heads = [b"", b"ts_ns,instrument_token,price,size,halted\n", GOOD_JSON.encode() + b"\n", b"PAR1", b"\xef\xbb\xbf"]
    content = data.draw(st.sampled_from(heads)) + content
    if suffix.endswith("gz") and data.draw(st.booleans()):
        content = gzip.compress(content)[: -data.draw(st.integers(1, 12)) or None]
    survives(content, f"t.{suffix}")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["ts_ns", "timestamp", "instrument_token", "price", "size", "halted", "x"]),
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
            | st.sampled_from(["2024-01-01T00:00:00.5Z", "1.5", 1, 2, "nan"]),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_any_json_objects_are_read_or_counted(objects):
    lines = [GOOD_JSON, *(json.dumps(fields) for fields in objects)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_text("\n".join(lines))
        together, reader = read(path)
        one_by_one, slow = read(path, block_rows=1)
    assert len(together) + reader.malformed == len(lines)
    assert repr(together) == repr(one_by_one)
    assert reader.first_malformed == slow.first_malformed


def survives(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            rows_of(open_ticks(path))
        except TickFileError as error:
            said = str(error)
        else:
            said = name
    assert name in said
    assert said.isprintable()


# ---- the rest


def test_a_gzip_file_is_read_and_a_truncated_one_is_refused(tmp_path: Path):
    path = tmp_path / "t.csv.gz"
    content = gzip.compress(b"ts_ns,instrument_token,price\n" + b"".join(b"%d,1,1.5\n" % i for i in range(1_000)))
    path.write_bytes(content)
    rows, reader = read(path)
    assert len(rows) == 1_000
    assert reader.bytes_read == reader.total_bytes == len(content)
    path.write_bytes(content[:-20])
    assert "truncated or damaged" in message_of(path)


def test_a_byte_order_mark_and_a_quoted_header_are_no_obstacle(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf\r\n"ts_ns", instrument_token ,"price"\r\n1,2,3\r\n\r\n4,5,6')
    rows, reader = read(path)
    assert [(r.ts_ns, r.instrument_token, r.price) for r in rows] == [(1, 2, 3.0), (4, 5, 6.0)]
    assert reader.malformed == 0


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_lines_across_the_chunks_of_reading_stay_whole(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("anystrat.adapters.tick_files.lines._CHUNK", 7)
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        path.write_text("ts_ns,instrument_token,price\n" + "".join(f"{i},1,{i}.5\n" for i in range(50)))
    else:
        path.write_text(
            "".join(json.dumps({"ts_ns": i, "instrument_token": 1, "price": i + 0.5}) + "\n" for i in range(50))
        )
    rows, reader = read(path, block_rows=3)
    assert [(row.ts_ns, row.price) for row in rows] == [(i, i + 0.5) for i in range(50)]
    assert reader.malformed == 0


def test_blocks_are_never_larger_than_asked_for(text_file, tmp_path: Path):
    text = text_file("t.csv", "ts_ns,instrument_token,price\n" + "1,1,1\n" * 1_000)
    columns = parquet(
        tmp_path / "t.parquet", {"ts_ns": [1] * 1_000, "instrument_token": [1] * 1_000, "price": [1.0] * 1_000}
    )
    for path in (text, columns):
        assert {len(block) for block in open_ticks(path, block_rows=300)} <= {300, 299, 100, 101}
    with pytest.raises(ValueError, match="block_rows must be at least 1"):
        open_ticks(text, block_rows=0)


def test_progress_is_known_while_reading(tmp_path: Path):
    path = parquet(tmp_path / "t.parquet", {"ts_ns": [1] * 100, "instrument_token": [1] * 100, "price": [1.0] * 100})
    reader = open_ticks(str(path), block_rows=25)
    assert [round(reader.bytes_read * 4 / reader.total_bytes) for _ in reader] == [1, 2, 3, 4]
    assert (reader.total_rows, reader.paths) == (100, [path])


def test_reading_parquet_does_not_import_pandas(tmp_path: Path):
    import subprocess

    path = parquet(
        tmp_path / "t.parquet",
        {
            "timestamp": pa.array([1, None], pa.timestamp("us")),
            "instrument_token": [1, 1],
            "price": pa.array([Decimal("1.5"), None]),
            "halted": [True, None],
        },
    )
    code = (
        "import sys; from anystrat.adapters.tick_files import open_ticks; "
        f"print(sum(map(len, open_ticks({str(path)!r}))), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
