from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.adapters.recording.recorded import writer

from anystrat.adapters import file_history
from anystrat.adapters.file_history import FileHistory
from anystrat.adapters.tick_files.parquet_file import ParquetSource
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import TickFileError
from anystrat.testing.ticks import START_NS, columns, tick

Tick = tuple[int, float, int]


def block(ticks: Sequence[Tick]) -> TickColumns:
    return TickColumns(
        np.array([START_NS + second for _, _, second in ticks], np.int64),
        np.array([token for token, _, _ in ticks], np.int64),
        np.array([price for _, price, _ in ticks], np.float64),
    )


def as_parquet(path: Path, ticks: Sequence[Tick], rows: int = 3) -> Path:
    whole = block(ticks)
    table = pa.table({"ts_ns": whole.ts_ns, "instrument_token": whole.instrument_token, "price": whole.price})
    pq.write_table(table, path, row_group_size=rows)
    return path


def as_jsonl(path: Path, ticks: Sequence[Tick]) -> Path:
    lines = [
        json.dumps({"ts_ns": START_NS + second, "instrument_token": token, "price": str(price)})
        for token, price, second in ticks
    ]
    path.write_text("\n".join([*lines, "nothing"]) + "\n")
    return path


def as_recording(path: Path, ticks: Sequence[Tick]) -> Path:
    recording = writer(path, ticks=4)
    for at in range(0, len(ticks), 3):
        recording.take(0, at, [block(ticks[at : at + 3])])
    recording._release()  # as if killed: the last ones are in no piece yet
    return path


TICKS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from([float(p) for p in range(1, 9)] + [0.0, -1.0, float("nan")]),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=40,
)
WRITERS = (as_parquet, as_jsonl, as_recording)


def naive(files: Sequence[Sequence[Tick]], token: int, count: int, before: int | None) -> list[tuple[float, int]]:
    """In each file the last so many usable ticks in the file's order; of these the last so many by time."""
    found: list[tuple[float, int]] = []
    for file in files:
        mine = [(p, s) for t, p, s in file if t == token and p > 0 and (before is None or s < before)]
        found += mine[max(0, len(mine) - count) :]
    ordered = sorted(found, key=lambda each: each[1])
    return ordered[max(0, len(ordered) - count) :]


@given(
    st.lists(st.tuples(st.sampled_from(WRITERS), TICKS), min_size=1, max_size=3),
    st.dictionaries(st.integers(1, 5), st.integers(0, 9)),
    st.none() | st.integers(0, 31),
)
@settings(max_examples=60)
def test_it_finds_what_a_plain_look_at_everything_finds(tmp_path_factory, files, wanted, before):
    directory = tmp_path_factory.mktemp("h")
    suffixes = {as_parquet: ".parquet", as_jsonl: ".jsonl", as_recording: ""}
    paths = [write(directory / f"{at}{suffixes[write]}", ticks) for at, (write, ticks) in enumerate(files)]
    history = FileHistory(paths, wanted, lambda: None if before is None else START_NS + before)
    for token, count in wanted.items():
        found = [(float(each.last_price), each.ts_ns - START_NS) for each in history.last_ticks(token, count)]
        assert found == naive([ticks for _, ticks in files], token, count, before)
        assert list(history.last_ticks(token, 1)) == list(history.last_ticks(token, count))[-1:]


def test_an_instrument_that_nobody_asked_for_has_no_history(tmp_path):
    path = as_parquet(tmp_path / "t.parquet", [(1, 2.0, 0)])
    assert FileHistory([path], {2: 5}).last_ticks(1, 5) == ()


def test_of_a_large_file_only_its_end_is_read(tmp_path, monkeypatch):
    path = as_parquet(tmp_path / "t.parquet", [(1 + i % 3, 1.0 + i, i) for i in range(3_000)], rows=100)
    read: list[int] = []
    group = ParquetSource._group

    def noted(self: ParquetSource, file: object, number: int, block_rows: int) -> object:
        read.append(number)
        return group(self, file, number, block_rows)

    monkeypatch.setattr(ParquetSource, "_group", noted)
    found = FileHistory([path], {1: 50, 2: 10}).last_ticks(1, 50)
    assert [each.last_price for each in found][-1] == 2_998
    assert len(found) == 50
    assert read == [29, 28]


def test_groups_without_the_instrument_are_passed_over(tmp_path, monkeypatch):
    path = as_parquet(tmp_path / "t.parquet", [(i // 100, 5.0, i) for i in range(3_000)], rows=100)
    read: list[int] = []
    group = ParquetSource._group

    def noted(self: ParquetSource, file: object, number: int, block_rows: int) -> object:
        read.append(number)
        return group(self, file, number, block_rows)

    monkeypatch.setattr(ParquetSource, "_group", noted)
    assert len(FileHistory([path], {3: 5}).last_ticks(3, 5)) == 5
    assert read == [3]


def test_files_are_read_once_whoever_asks(tmp_path, monkeypatch):
    path = as_jsonl(tmp_path / "t.jsonl", [(1, 2.0, 0), (2, 3.0, 1)])
    opened: list[object] = []
    real = file_history.open_ticks

    def counted(paths: object) -> object:
        opened.append(paths)
        return real(paths)  # type: ignore[arg-type]

    monkeypatch.setattr(file_history, "open_ticks", counted)
    history = FileHistory([path], {1: 1, 2: 1})
    assert opened == []
    assert [len(history.last_ticks(token, 1)) for token in (1, 2, 1)] == [1, 1, 1]
    assert opened == [path]


def test_exact_prices_stay_exact(tmp_path):
    path = tmp_path / "r"
    with writer(path, ticks=1) as recording:
        recording.take(0, 0, [columns([tick(1, "0.1000000000000000000001", 0), tick(1, "2.5", 1)])])
    found = FileHistory([path], {1: 2}).last_ticks(1, 2)
    assert [str(each.last_price) for each in found] == ["0.1000000000000000000001", "2.5"]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TickFileError, match="there is no such file"):
        FileHistory([tmp_path / "gone.parquet"], {1: 1}).last_ticks(1, 1)
