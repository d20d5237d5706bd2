from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.source_places import chunked

from anystrat.adapters.source_stdin import StdinFeed, reader_of
from anystrat.domain.endpoints import TickFormat
from anystrat.domain.intake import SourceFailed, SourceNotice, TickBatch

LINE = b'{"ts_ns":%d,"instrument_token":1,"price":"%d.5"}\n'


async def told(feed: StdinFeed) -> list[TickBatch | SourceNotice]:
    return [item async for item in feed.batches({})]


def read_all(data: bytes, size: int, lines: TickFormat = TickFormat.JSONL) -> tuple[list[float], int]:
    found = asyncio.run(told(StdinFeed(lines, read=chunked(data, size))))  # type: ignore[arg-type]
    batches = [item for item in found if isinstance(item, TickBatch)]
    return [price for batch in batches for price in batch.ticks.price.tolist()], sum(b.malformed for b in batches)


@given(st.integers(1, 400))
def test_it_does_not_matter_how_the_text_is_cut(size):
    data = b"".join(LINE % (i, i) for i in range(1, 11)) + b"wrong\n\n" + LINE % (11, 11)
    assert read_all(data, size) == ([i + 0.5 for i in range(1, 12)], 1)


def test_csv_has_a_header_wherever_it_comes():
    assert read_all(b"\n\nts_ns,instrument_token,price\n1,1,2.5\n2,1,x\n3,1,4\n", 7, TickFormat.CSV) == ([2.5, 4.0], 1)


@pytest.mark.parametrize("header", [b"1,2,3\n", b"ts_ns;price\n", b"ts,instrument,prize\n"])
def test_a_header_that_is_none_ends_the_source_in_words(header):
    with pytest.raises(SourceFailed, match="standard input"):
        read_all(header + b"1,1,1\n", 100, TickFormat.CSV)


@given(st.binary(max_size=3_000), st.integers(1, 700), st.sampled_from(TickFormat))
def test_no_bytes_whatever_end_it_otherwise_than_in_words(data, size, lines):
    head = b"ts_ns,instrument_token,price\n" if lines is TickFormat.CSV else b""
    prices, malformed = read_all(head + LINE % (1, 1) + data + b"\n", size, lines)
    assert len(prices) + malformed >= 1


def piped(write: Callable[[int], Awaitable[None]]) -> list[tuple[int, int]]:
    """(ticks, last offset) of each batch that came through a pipe of the system."""

    async def story() -> list[tuple[int, int]]:
        read_end, write_end = os.pipe()
        found: list[tuple[int, int]] = []
        try:
            feed = StdinFeed(read=reader_of(read_end))

            async def writing() -> None:
                await write(write_end)
                os.close(write_end)

            task = asyncio.create_task(writing())
            async for item in feed.batches({}):
                assert isinstance(item, TickBatch)
                found.append((len(item.ticks), item.last))
            await task
        finally:
            os.close(read_end)
        return found

    return asyncio.run(story())


def test_a_line_that_comes_alone_is_told_at_once():
    seen: list[int] = []

    async def write(descriptor: int) -> None:
        for i in range(3):
            os.write(descriptor, LINE % (i, i + 1))
            await asyncio.sleep(0.02)
            seen.append(i)

    assert piped(write) == [(1, 1), (1, 2), (1, 3)]


def test_many_that_wait_come_together():
    async def write(descriptor: int) -> None:
        os.write(descriptor, b"".join(LINE % (i, i + 1) for i in range(1_000)))

    assert piped(write) == [(1_000, 1_000)]


def test_a_regular_file_can_be_standard_input_too(tmp_path):
    path = tmp_path / "ticks.jsonl"
    path.write_bytes(b"".join(LINE % (i, i + 1) for i in range(100)))

    async def story() -> int:
        with path.open("rb") as stream:
            found = await told(StdinFeed(read=reader_of(stream.fileno())))
        return sum(len(item.ticks) for item in found if isinstance(item, TickBatch))

    assert asyncio.run(story()) == 100


def test_a_reader_that_leaves_while_nothing_comes_is_not_held():
    async def story() -> None:
        read_end, write_end = os.pipe()
        try:
            feed = StdinFeed(read=reader_of(read_end))

            async def read() -> None:
                async with aclosing(feed.batches({})) as batches:
                    await anext(batches)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read(), 0.01)
        finally:
            os.close(read_end)
            os.close(write_end)

    asyncio.run(story())
