from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import numpy as np

from anystrat.adapters.source_watch import WatchedFeed
from anystrat.domain.intake import NoticeKind, SourceNotice, TickBatch
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import columns, tick


class Scripted:
    """Waits so long, then says that: a partition's name for a tick of it, a notice's kind for a notice."""

    resumable = True

    def __init__(self, script: Sequence[tuple[float, str | NoticeKind]]) -> None:
        self.script = script
        self.ended = False

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        try:
            for at, (pause, what) in enumerate(self.script):
                await asyncio.sleep(pause)
                if isinstance(what, NoticeKind):
                    yield SourceNotice(what, "a")
                else:
                    ticks = columns([tick()] if what.islower() else [])
                    yield TickBatch(what.lower(), ticks, np.full(len(ticks), at), at)
        finally:
            self.ended = True

    async def acknowledge(self, partition: str, offset: int) -> None: ...

    async def close(self) -> None: ...


def told(
    script: Sequence[tuple[float, str | NoticeKind]], partitions: Sequence[str] = ("a",), busy: float = 0.0
) -> list[tuple[float, str]]:
    async def story() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        start, found = loop.time(), []
        async for item in WatchedFeed(Scripted(script), 5.0, partitions).batches({}):
            name = f"{item.kind.value} {item.partition}" if isinstance(item, SourceNotice) else item.partition
            found.append((round(loop.time() - start, 6), name))
            await asyncio.sleep(busy)
        return found

    return simulate(story)


def test_silence_is_told_of_once_and_so_is_its_end():
    assert told([(1, "a"), (20, "a"), (4.9, "a"), (5.1, "a")]) == [
        (1, "a"),
        (6, "stale a"),
        (21, "fresh a"),
        (21, "a"),
        (25.9, "a"),
        (30.9, "stale a"),
        (31, "fresh a"),
        (31, "a"),
    ]


def test_a_feed_that_never_spoke_is_silent_too():
    assert told([(7, "a")]) == [(5, "stale a"), (7, "fresh a"), (7, "a")]


def test_a_message_without_ticks_and_a_notice_break_no_silence():
    assert told([(3, "A"), (1, NoticeKind.RECONNECTED), (3, "a")]) == [
        (3, "a"),
        (4, "reconnected a"),
        (5, "stale a"),
        (7, "fresh a"),
        (7, "a"),
    ]


def test_each_partition_is_listened_to_by_itself():
    assert told([(1, "a"), (1, "b"), (3.5, "a"), (4, "a")], ()) == [
        (1, "a"),
        (2, "b"),
        (5.5, "a"),
        (7, "stale b"),
        (9.5, "a"),
    ]


def test_a_reader_that_is_busy_makes_no_feed_stale():
    assert [what for _, what in told([(1, "a"), (4, "a"), (4, "a")], busy=60)] == ["a", "a", "a"]


def test_a_reader_that_leaves_leaves_nothing_behind():
    async def story() -> bool:
        source = Scripted([(1, "a"), (1_000, "a")])
        watched = WatchedFeed(source, 5.0, ["a"])
        async with aclosing(watched.batches({})) as batches:
            await anext(batches)
            await anext(batches)  # STALE: the source is being waited for
        assert len(asyncio.all_tasks()) == 1
        return source.ended

    assert simulate(story)


def test_what_goes_wrong_in_the_source_is_raised_to_the_reader():
    class Broken(Scripted):
        async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
            raise ValueError("broken")
            yield

    async def story() -> str:
        try:
            async for _ in WatchedFeed(Broken([]), 5.0).batches({}):
                pass
        except ValueError as error:
            return str(error)
        return ""

    assert simulate(story) == "broken"
