from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from anystrat.adapters.offload import on_the_spot
from anystrat.adapters.source_file import FileFeed
from anystrat.adapters.tick_files import open_ticks
from anystrat.domain.intake import SourceFailed, TickBatch
from anystrat.testing.loop import simulate


def written(path: Path, seconds: list[float]) -> Path:
    lines = [f"{round(s * 1e9)},1,{100 + i}\n" for i, s in enumerate(seconds)]
    path.write_text("ts_ns,instrument_token,price\n" + "".join(lines))
    return path


def times(path: Path, pace: float, after: int = 0, busy: float = 0.0, rows: int = 4) -> list[tuple[float, int]]:
    """(seconds since the start, last offset) of each batch; after each one the reader is busy for a while."""

    async def story() -> list[tuple[float, int]]:
        loop = asyncio.get_running_loop()
        start, found = loop.time(), []
        feed = FileFeed(open_ticks(path, block_rows=rows), pace=pace, offload=on_the_spot)
        async with aclosing(feed.batches({"file": after})) as batches:
            async for item in batches:
                assert isinstance(item, TickBatch)
                found.append((round(loop.time() - start, 6), item.last))
                if busy:
                    await asyncio.sleep(busy)
        return found

    return simulate(story)


def test_at_a_pace_ticks_come_as_far_apart_as_they_were(tmp_path):
    path = written(tmp_path / "t.csv", [10, 10, 11.5, 12, 20, 20.25])
    assert times(path, 1.0) == [(0, 2), (1.5, 3), (2, 4), (10, 5), (10.25, 6)]
    assert times(path, 10.0) == [(0, 2), (0.15, 3), (0.2, 4), (1, 5), (1.025, 6)]


def test_a_restart_does_not_wait_for_what_was_before(tmp_path):
    path = written(tmp_path / "t.csv", [10, 10, 11.5, 12, 20, 20.25])
    assert times(path, 1.0, after=3) == [(0, 4), (8, 5), (8.25, 6)]


def test_a_reader_that_was_held_up_catches_up(tmp_path):
    path = written(tmp_path / "t.csv", [0, 1, 2, 3, 4, 5, 6, 7])
    assert times(path, 1.0, busy=3.5, rows=64) == [(0, 1), (3.5, 4), (7, 8)]


def test_a_tick_that_is_older_than_the_one_before_it_is_due_with_that_one(tmp_path):
    path = written(tmp_path / "t.csv", [0, 5, 1, 6])
    assert times(path, 1.0) == [(0, 1), (5, 3), (6, 4)]


def test_another_recording_than_the_one_that_was_begun_with_is_refused(tmp_path):
    path = written(tmp_path / "t.csv", [0, 1, 2])
    with pytest.raises(SourceFailed, match=r"t\.csv: 3 rows; 7 were read before"):
        times(path, 1e9, after=7)


def test_what_is_wrong_with_a_file_ends_the_source_in_words(tmp_path):
    path = tmp_path / "t.csv.gz"
    import gzip

    whole = gzip.compress(
        b"ts_ns,instrument_token,price\n" + b"1,2,3.0000000000000000000000000000000000000000\n" * 40_000
    )
    path.write_bytes(whole[: len(whole) - 20])
    with pytest.raises(SourceFailed, match="gzip data is truncated"):
        times(path, 1e9)


def test_reading_goes_on_beside_the_loop_and_is_waited_for_at_the_end(tmp_path):
    """Leaving while a thread reads neither breaks the file under it nor leaves it open."""
    path = written(tmp_path / "t.csv", [float(i) for i in range(20_000)])

    async def story() -> None:
        for _ in range(20):
            feed = FileFeed(open_ticks(path, block_rows=64))
            async with aclosing(feed.batches({})) as batches:
                assert (await anext(batches)).last == 63  # the header is a line too

    asyncio.run(story())


def test_prices_are_exact(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"ts_ns":1,"instrument_token":1,"price":"0.1000000000000000000001"}\n' * 5)

    async def story() -> list[TickBatch]:
        feed = FileFeed(open_ticks(path, block_rows=2), pace=1.0, offload=on_the_spot)
        return [item async for item in feed.batches({"file": 1}) if isinstance(item, TickBatch)]

    found = simulate(story)
    assert [str(row.decimal) for batch in found for row in batch.ticks.rows()] == ["0.1000000000000000000001"] * 4
    assert np.concatenate([batch.offsets for batch in found]).tolist() == [2, 3, 4, 5]
