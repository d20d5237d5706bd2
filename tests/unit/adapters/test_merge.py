from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.adapters.tick_files import open_ticks
from anystrat.adapters.tick_files.merge import Stream, merged, sliced
from anystrat.domain.columns import TickColumns
from anystrat.domain.tick import TickRow
from anystrat.testing.ticks import synthetic_ticks


def heads_merge(files: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The rule as it is said: repeatedly the head with the smallest time, ties to the earlier file."""
    at = [0] * len(files)
    taken = []
    while True:
        heads = [(file[at[i]], i) for i, file in enumerate(files) if at[i] < len(file)]
        if not heads:
            return taken
        _, i = min(heads)
        taken.append((i, at[i]))
        at[i] += 1


def block_of(file: int, times: Sequence[int], start: int = 0, *, dressed: bool = False) -> TickColumns:
    """Rows that say where they come from: the token is the file, the price the row."""
    n = len(times)
    rows = np.arange(start, start + n)
    return TickColumns(
        np.array(times, np.int64),
        np.full(n, file, np.int64),
        rows + 1.0,
        [Decimal(int(row)) / 7 if row % 3 == 0 else None for row in rows] if dressed else None,
        volume=rows * 10.0 if dressed else None,
        halted=rows % 2 == 0 if dressed else None,
    )


def stream(file: int, times: Sequence[int], size: int, *, dressed: bool = False) -> Stream:
    def blocks(_: int) -> Iterator[TickColumns]:
        for at in range(0, len(times), size):
            yield block_of(file, times[at : at + size], at, dressed=dressed)

    return Stream(lambda: times[0] if times else None, blocks)


times_of_files = st.lists(st.lists(st.integers(-5, 12), max_size=25), max_size=5)


@given(times_of_files, st.integers(1, 7), st.data())
def test_files_merge_as_if_the_smallest_head_were_taken_again_and_again(files, size, data):
    dressed = [data.draw(st.booleans()) for _ in files]
    streams = [stream(i, times, size, dressed=dressed[i]) for i, times in enumerate(files)]
    rows = [row for block in merged(streams, 1) for row in block.rows()]
    assert [(row.instrument_token, int(row.price) - 1) for row in rows] == heads_merge(files)
    for row in rows:
        number = int(row.price) - 1
        full = dressed[row.instrument_token]
        assert row.ts_ns == files[row.instrument_token][number]
        assert row.exact == (Decimal(number) / 7 if full and number % 3 == 0 else None)
        assert row.volume == (number * 10.0 if full else None)
        assert row.halted is (full and number % 2 == 0)


@given(st.lists(st.lists(st.integers(0, 30), max_size=40).map(sorted), min_size=2, max_size=4))
def test_sorted_files_merge_into_one_sorted_stream(files):
    times = [t for block in merged([stream(i, f, 3) for i, f in enumerate(files)], 1) for t in block.ts_ns.tolist()]
    assert times == sorted(t for file in files for t in file)


def test_a_stream_is_opened_only_when_the_others_have_come_to_its_time():
    opened = []

    def daily(file: int) -> Stream:
        inner = stream(file, [file * 100 + i for i in range(10)], 5)

        def blocks(rows: int) -> Iterator[TickColumns]:
            opened.append(file)
            return inner.open(rows)

        return Stream(inner.first_key, blocks)

    running = merged([daily(2), daily(0), daily(1)], 10)
    seen = []
    for block in running:
        seen.append((block.instrument_token[0], list(opened)))
    assert seen == [(0, [0]), (0, [0]), (1, [0, 1]), (1, [0, 1]), (2, [0, 1, 2]), (2, [0, 1, 2])]


def test_a_slice_drops_a_list_of_decimals_that_holds_none():
    block = TickColumns(np.arange(3), np.arange(3), np.arange(3.0), [None, None, Decimal("0.1")])
    assert sliced(block, 0, 2).exact is None
    assert sliced(block, 1, 3).exact == [None, Decimal("0.1")]


def write_csv(path: Path, rows: Sequence[TickRow]) -> Path:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["ts_ns", "instrument_token", "price"])
        out.writerows([row.ts_ns, row.instrument_token, row.price] for row in rows)
    return path


def test_merged_files_give_the_ticks_of_the_one_file_they_were_cut_from(tmp_path: Path):
    rows = [row for block in synthetic_ticks(3, range(1, 9), 4_000) for row in block.rows()]
    paths = [
        write_csv(tmp_path / f"{part}.csv", [row for row in rows if row.instrument_token % 3 == part])
        for part in range(3)
    ]
    reader = open_ticks(paths, block_rows=100)
    found = [row for block in reader for row in block.rows()]
    assert [row.ts_ns for row in found] == [row.ts_ns for row in rows]
    key = [(row.ts_ns, row.instrument_token % 3) for row in found]
    assert key == sorted(key)
    assert sorted((r.instrument_token, r.price, r.ts_ns) for r in found) == sorted(
        (r.instrument_token, r.price, r.ts_ns) for r in rows
    )


def test_equal_times_come_in_the_order_of_the_arguments(tmp_path: Path):
    one = write_csv(tmp_path / "one.csv", [TickRow(1, 5, 1.0), TickRow(1, 3, 2.0), TickRow(1, 5, 3.0)])
    two = write_csv(tmp_path / "two.csv", [TickRow(2, 5, 1.0), TickRow(2, 5, 2.0)])
    order = lambda paths: [(r.instrument_token, r.price) for b in open_ticks(paths) for r in b.rows()]  # noqa: E731
    assert order([one, two]) == [(1, 1.0), (1, 2.0), (1, 3.0), (2, 1.0), (2, 2.0)]
    assert order([two, one]) == [(2, 1.0), (2, 2.0), (1, 1.0), (1, 2.0), (1, 3.0)]


def test_counts_of_merged_files_add_up_and_start_anew_with_every_iteration(tmp_path: Path):
    paths = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.csv"
        path.write_text("ts_ns,instrument_token,price\n1,1,1\n2,1,x\n")
        paths.append(path)
    reader = open_ticks(paths)
    for _ in range(2):
        assert sum(len(block) for block in reader) == 2
        assert reader.malformed == 2
        assert reader.bytes_read == reader.total_bytes > 0
    assert [text.rsplit(":", 2)[0] for text in reader.first_malformed] == [str(path) for path in paths]


@pytest.mark.parametrize("count", [1, 7])
def test_many_files_that_hold_nothing_good_merge_into_nothing(tmp_path: Path, count: int):
    paths = []
    for number in range(count):
        path = tmp_path / f"{number}.csv"
        path.write_text("ts_ns,instrument_token,price\nx,1,1\n")
        paths.append(path)
    reader = open_ticks(paths)
    assert list(reader) == []
    assert reader.malformed == count
