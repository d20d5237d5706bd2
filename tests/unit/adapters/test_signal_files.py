from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.adapters.signal_files import SignalFileError, open_signals
from anystrat.adapters.signal_files.values import encoded, price_text, signal_ids
from anystrat.domain.errors import MissingExtra
from anystrat.domain.exact import plain_text
from anystrat.domain.outcomes import Dropped, Emitted, Held, Noted, Reason
from anystrat.domain.signal import EmittedSignal, SignalResult

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT64 = st.integers(0, (1 << 64) - 1)
PRICES = st.decimals(min_value="0", max_value="1e9", allow_nan=False, allow_infinity=False, places=30) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(1, 10**12), st.integers(-18, 7)
)
TEXT = st.text(max_size=8)


def emitted(number: int = 0, **fields: Any) -> EmittedSignal:
    known: dict[str, Any] = {
        "signal_type": "BUY",
        "confidence": 0.75,
        "quantity": 75,
        "price": Decimal("100.50"),
        "strategy_id": "strat-001",
        "broker": "paper",
        "instrument_token": 256265,
        "ts_ns": 1_700_000_000_000_000_000 + number,
        "id_bases": (1, 2),
        "price_bucket": 10_050,
        "dedupe_epoch": number,
    }
    return EmittedSignal(**{**known, **fields})


def dropped(**fields: Any) -> Dropped:
    known = {"signal_type": "SELL", "confidence": 0.5, "quantity": 5, "price": Decimal("1.25")}
    return Dropped(SignalResult(**{**known, **fields}), Reason.COOLDOWN, "strat-001", "paper", 7, 99)


signals = st.builds(
    emitted,
    signal_type=st.sampled_from(["BUY", "SELL"]),
    confidence=st.floats(0, 1),
    quantity=st.integers(1, 10**12),
    price=PRICES,
    reasoning=TEXT,
    metadata=st.none() | st.dictionaries(TEXT, st.none() | st.booleans() | INT64 | TEXT, max_size=3),
    strategy_id=TEXT,
    broker=TEXT,
    instrument_token=INT64,
    ts_ns=INT64,
    id_bases=st.tuples(UINT64, UINT64),
    price_bucket=st.integers(-(1 << 80), 1 << 80),
    dedupe_epoch=INT64,
)


def write(path: Path, items: Any, **options: Any) -> Path:
    with open_signals(path, **options) as writer:
        writer.write(items)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


# ---- what is in a file


def test_a_jsonl_line_has_the_documented_fields_in_their_order(tmp_path: Path):
    path = write(tmp_path / "s.jsonl", [Emitted(emitted())])
    assert path.read_text() == (
        '{"ts_ns":1700000000000000000,"strategy_id":"strat-001","broker":"paper","instrument_token":256265,'
        '"signal_type":"BUY","confidence":0.75,"quantity":75,"price":"100.5",'
        f'"signal_id":"{emitted().signal_id}"}}\n'
    )


def test_with_reasons_a_line_says_why_and_a_drop_carries_its_reason_instead_of_an_id(tmp_path: Path):
    path = write(
        tmp_path / "d.jsonl", [dropped(reasoning="c > 1%", metadata={"c": Decimal("0.02")})], reasons=True, drops=True
    )
    assert path.read_text() == (
        '{"ts_ns":99,"strategy_id":"strat-001","broker":"paper","instrument_token":7,"signal_type":"SELL",'
        '"confidence":0.5,"quantity":5,"price":"1.25","reason":"cooldown","reasoning":"c > 1%","metadata":{"c":"0.02"}}\n'
    )


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@given(found=st.lists(signals, max_size=40), reasons=st.booleans())
def test_signals_are_read_back_as_they_were_written(suffix: str, found: list[EmittedSignal], reasons: bool):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"s.{suffix}", found, reasons=reasons)
        rows = lines(path) if suffix == "jsonl" else pq.read_table(path).to_pylist()
    assert len(rows) == len(found)
    for row, signal in zip(rows, found, strict=True):
        assert list(row)[:9] == [
            "ts_ns", "strategy_id", "broker", "instrument_token", "signal_type", "confidence", "quantity", "price", "signal_id",
        ]  # fmt: skip
        for name in list(row)[:7]:
            assert row[name] == getattr(signal, name)
        assert row["signal_id"] == signal.signal_id
        assert Decimal(row["price"]) == signal.price
        if suffix == "jsonl":
            assert row["price"] == plain_text(signal.price)
        if reasons:
            metadata = row["metadata"]
            if suffix == "parquet" and metadata is not None:
                metadata = json.loads(metadata)
            assert (row["reasoning"], metadata) == (signal.reasoning, signal.metadata)
        else:
            assert len(row) == 9


def test_parquet_columns_have_the_documented_types(tmp_path: Path):
    for name, options in {"s": {"reasons": True}, "d": {"drops": True}}.items():
        schema = pq.read_schema(write(tmp_path / f"{name}.parquet", [], **options))
        assert [str(field.type) for field in schema][:9] == [
            "int64", "string", "string", "int64", "string", "double", "int64", "decimal128(38, 18)", "string",
        ]  # fmt: skip
        assert schema.names[8:] == (["signal_id", "reasoning", "metadata"] if name == "s" else ["reason"])


@given(st.lists(signals, max_size=60))
def test_ids_by_the_column_are_the_signals_own(found: list[EmittedSignal]):
    assert signal_ids(found) == [signal.signal_id for signal in found]


@given(PRICES | st.decimals() | st.floats() | st.integers())
def test_a_price_is_plain_text(price: Any):
    text = price_text(price)
    assert "E" not in text.upper() or not Decimal(price).is_finite() or abs(Decimal(str(price)).adjusted()) > 10_000
    if isinstance(price, Decimal) and price.is_finite() and abs(price.adjusted()) < 10_000:
        assert text == plain_text(price)


def test_only_what_belongs_into_a_file_is_written(tmp_path: Path):
    held = Held(SignalResult("HOLD", 1.0, 1, Decimal(1)), "s", "b", 1, 1)
    stream = [Emitted(emitted(1)), dropped(), held, Noted("kind", 1), emitted(2), None]
    with open_signals(tmp_path / "s.jsonl") as kept, open_signals(tmp_path / "d.jsonl", drops=True) as refused:
        assert (kept.write(stream), refused.write(stream)) == (2, 1)
        assert (kept.rows, refused.rows) == (2, 1)
    assert [row["ts_ns"] % 10 for row in lines(kept.path)] == [1, 2]
    assert [row["reason"] for row in lines(refused.path)] == ["cooldown"]


# ---- bytes


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("reasons", [False, True])
def test_the_same_signals_give_the_same_bytes_however_they_come(
    tmp_path: Path, suffix: str, reasons: bool, monkeypatch
):
    monkeypatch.setattr("anystrat.adapters.signal_files.parquet._ROW_GROUP", 100)
    found = [
        emitted(i, price=Decimal(i) / 8, metadata={"of": {"b", "a", "c", str(i)}, "thing": object(), 3: 4})
        for i in range(450)
    ]
    whole = write(tmp_path / f"whole.{suffix}", found, reasons=reasons)
    with open_signals(tmp_path / f"parts.{suffix}", reasons=reasons) as writer:
        for at in range(0, 450, 7):
            writer.write(Emitted(signal) for signal in found[at : at + 7])
    assert whole.read_bytes() == writer.path.read_bytes()
    if suffix == "parquet":
        metadata = pq.read_metadata(whole)
        assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [100, 100, 100, 100, 50]


def test_metadata_does_not_depend_on_the_hash_seed_or_on_addresses(tmp_path: Path):
    import subprocess

    code = (
        "from anystrat.adapters.signal_files.values import encoded\n"
        "class Thing: pass\n"
        "print(encoded({'set': {'x', 'y', 'z', 'w'}, 'mixed': {1, 'a', (2, 3)}, 'thing': Thing(), 'f': len, 'l': lambda: 0}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert " at 0x" not in outputs.pop()


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError


def cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": Decimal("1.50")}, {"a": "1.50"}),
        ({"a": float("nan"), "b": float("inf")}, {"a": None, "b": None}),
        ({"a": np.float64(0.5), "b": np.int64(3), "c": np.array([1.0, 2.0]), "d": np.bool_(True)}, {"a": 0.5, "b": 3, "c": [1.0, 2.0], "d": True}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({"a": datetime(2024, 1, 1, tzinfo=UTC)}, {"a": "2024-01-01T00:00:00Z"}),
        ({(1, 2): 3, None: 4}, {"(1, 2)": 3, "None": 4}),
        ({"a": 10**30, 2: 10**30}, {"a": 10**30, "2": 10**30}),
        ({"a": "\ud800"}, {"a": "\\ud800"}),
        ({"a": Rude()}, {"a": "<Rude>"}),
        ({"a": {1, 2}, "b": (1, "x")}, {"a": [1, 2], "b": [1, "x"]}),
        ({"a": 1 + 2j}, {"a": "(1+2j)"}),
        ({"a": type}, {"a": "<class 'type'>"}),
    ],
)  # fmt: skip
def test_metadata_becomes_json_whatever_it_holds(value: Any, expected: Any):
    assert json.loads(encoded(value)) == expected


def test_metadata_that_holds_itself_ends(tmp_path: Path):
    assert "nested too deeply" in encoded({"a": cycle()}).decode()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.none() | st.integers() | st.text() | st.floats(), inner, max_size=3)))  # fmt: skip
def test_any_metadata_is_valid_json_and_always_the_same(value: Any):
    text = encoded(value)
    assert json.loads(text) == json.loads(encoded(value))
    assert b"NaN" not in text or "NaN" in str(value)
    assert b"\n" not in text


# ---- odd values of refused signals


ODD = [
    {"confidence": float("nan")},
    {"confidence": float("inf")},
    {"confidence": "high"},
    {"confidence": np.float64(0.5)},
    {"quantity": 1 << 70},
    {"quantity": np.int64(5)},
    {"quantity": -3},
    {"price": Decimal("NaN")},
    {"price": Decimal("Infinity")},
    {"price": Decimal("1E+999999999")},
    {"price": Decimal("1E-999999999")},
    {"price": Decimal("1." + "0" * 100_000)},
    {"price": Decimal("9" * 100_000)},
    {"price": float("nan")},
    {"price": 1.5},
    {"price": None},
    {"price": "cheap"},
    {"reasoning": "\ud800"},
    {"signal_type": "\ud800"},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("reasons", [False, True])
def test_a_refused_signal_is_written_whatever_it_holds(tmp_path: Path, odd: dict[str, Any], reasons: bool):
    found = [dropped(), dropped(**odd), dropped()]
    path = write(tmp_path / "d.jsonl", found, drops=True, reasons=reasons)
    for line in path.read_text().split("\n")[:-1]:
        json.loads(line, parse_constant=pytest.fail)
    assert len(lines(path)) == 3
    assert (
        lines(path)[0]
        == lines(path)[2]
        == lines(write(tmp_path / "one.jsonl", [dropped()], drops=True, reasons=reasons))[0]
    )
    table = pq.read_table(write(tmp_path / "d.parquet", found, drops=True, reasons=reasons))
    assert table.num_rows == 3
    assert table.column("price").to_pylist()[0] == Decimal("1.25")


def test_what_json_and_parquet_cannot_say_is_null(tmp_path: Path):
    odd = [dropped(confidence=float("nan"), price=Decimal("NaN")), dropped(confidence=float("-inf"), quantity=1 << 70)]
    assert [row["confidence"] for row in lines(write(tmp_path / "d.jsonl", odd, drops=True))] == [None, None]
    assert [row["price"] for row in lines(tmp_path / "d.jsonl")] == ["NaN", "1.25"]
    assert lines(tmp_path / "d.jsonl")[1]["quantity"] == 1 << 70
    table = pq.read_table(write(tmp_path / "d.parquet", odd, drops=True))
    assert table.column("price").to_pylist() == [None, Decimal("1.25")]
    assert table.column("quantity").to_pylist() == [5, None]


def test_metadata_may_be_changed_after_it_was_written(tmp_path: Path):
    shared = {"n": 0}
    with open_signals(tmp_path / "s.parquet", reasons=True) as writer:
        for number in range(3):
            shared["n"] = number
            writer.write([emitted(number, metadata=shared)])
    texts = pq.read_table(writer.path).column("metadata").to_pylist()
    assert texts == ['{"n":0}', '{"n":1}', '{"n":2}']


# ---- prices in Parquet


def test_a_price_of_more_digits_widens_the_whole_parquet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("anystrat.adapters.signal_files.parquet._ROW_GROUP", 4)
    prices = [Decimal("100.25")] * 9 + [Decimal("1e-30"), Decimal(10) ** 37] + [Decimal("3")] * 5
    path = write(tmp_path / "s.parquet", [emitted(i, price=price) for i, price in enumerate(prices)])
    file = pq.ParquetFile(path)
    assert str(file.schema_arrow.field("price").type) == "decimal256(76, 38)"
    assert file.read().column("price").to_pylist() == prices
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 4, 4]
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.parquet"]


def test_a_price_that_no_decimal_of_parquet_holds_is_an_error_and_what_came_before_is_kept(tmp_path: Path):
    with (
        pytest.raises(SignalFileError, match="the price 1E-60 has more digits than Parquet decimals hold"),
        open_signals(tmp_path / "s.parquet") as writer,
    ):
        writer.write([emitted(1), emitted(2), emitted(3, price=Decimal("1E-60")), emitted(4)])
    assert pq.read_table(writer.partial_path).num_rows == 2
    assert not writer.path.exists()


# ---- the life of a file


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
class TestAFileUnderItsOwnName:
    def test_appears_only_at_a_clean_end(self, tmp_path: Path, suffix: str):
        path = tmp_path / f"s.{suffix}"
        path.write_text("what was there before")
        writer = open_signals(path)
        writer.write([emitted()])
        assert path.read_text() == "what was there before"
        assert writer.partial_path.exists()
        writer.close()
        writer.close()
        assert not writer.partial_path.exists()
        assert count(path) == 1

    def test_is_left_as_it_was_after_an_error_and_the_rows_so_far_are_beside_it(self, tmp_path: Path, suffix: str):
        path = tmp_path / f"s.{suffix}"
        path.write_text("what was there before")

        def outcomes() -> Iterator[Emitted]:
            for number in range(10_000):
                yield Emitted(emitted(number))
            raise RuntimeError("the engine failed")

        with pytest.raises(RuntimeError, match="the engine failed"), open_signals(path) as writer:
            writer.write(outcomes())
        assert path.read_text() == "what was there before"
        assert writer.partial_path == path.with_name(path.name + ".partial")
        assert count(writer.partial_path) == 10_000
        assert writer.rows == 10_000

    def test_is_complete_even_without_a_signal(self, tmp_path: Path, suffix: str):
        assert count(write(tmp_path / f"s.{suffix}", [])) == 0

    def test_is_not_written_to_after_its_end(self, tmp_path: Path, suffix: str):
        with open_signals(tmp_path / f"s.{suffix}") as writer:
            pass
        with pytest.raises(SignalFileError, match="the writer is closed"):
            writer.write([emitted()])

    def test_may_be_a_link_to_elsewhere(self, tmp_path: Path, suffix: str):
        (tmp_path / "elsewhere").mkdir()
        target = tmp_path / "elsewhere" / f"target.{suffix}"
        (tmp_path / f"link.{suffix}").symlink_to(target)
        write(tmp_path / f"link.{suffix}", [emitted()])
        assert count(target) == 1
        assert (tmp_path / f"link.{suffix}").is_symlink()


def count(path: Path) -> int:
    return pq.read_table(path).num_rows if ".parquet" in path.name else len(lines(path))


def test_a_full_disk_is_said_readably_and_whole_lines_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer = open_signals(tmp_path / "s.jsonl")
    writer.write([emitted(1)])
    rows: Any = writer._format

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    writing = rows._file
    rows._file = type("Full", (), {"write": staticmethod(full)})()
    with pytest.raises(
        SignalFileError, match=r"cannot be written: .* No space left on device; see .*s\.jsonl\.partial"
    ):
        writer.write([emitted(2)])
    rows._file = writing
    writer.abandon()
    assert count(writer.partial_path) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s.jsnl", "names no signal format; did you mean '.jsonl'?"),
        ("s.csv", "expected one of .jsonl, .ndjson, .parquet, .pq"),
        ("s", "the suffix ''"),
        ("nowhere/s.jsonl", "its directory does not exist; make it first: mkdir -p "),
        ("folder.jsonl", "is a directory"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused_at_once(tmp_path: Path, name: str, said: str):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(SignalFileError) as caught:
        open_signals(tmp_path / name)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_place_that_refuses_files_is_said_readably(tmp_path: Path, suffix: str):
    (tmp_path / f"s.{suffix}.partial").mkdir()
    with pytest.raises(SignalFileError, match="cannot be written"):
        open_signals(tmp_path / f"s.{suffix}")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"writing s\.parquet needs the extra 'parquet'"):
        open_signals(tmp_path / "s.parquet")
    assert count(write(tmp_path / "s.jsonl", [emitted()])) == 1
