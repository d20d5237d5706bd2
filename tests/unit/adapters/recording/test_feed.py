from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.unit.adapters.recording.recorded import one_by_one, recorded, writer

from anystrat.adapters.offload import on_the_spot
from anystrat.adapters.recording.feed import FeedRecorder
from anystrat.domain.configuration import FeedSettings, OnGap, OnStale
from anystrat.domain.events import FeedFresh, FeedGap, FeedStale
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, TickBatch
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import START_NS, columns, tick

FEED = FeedSettings(on_gap=OnGap.REWARM, on_stale=OnStale.PAUSE)


def batch(first: int, count: int, *, malformed: int = 0, partition: str = "p") -> TickBatch:
    ticks = columns([tick(1, 100 + i, i) for i in range(first, first + count)])
    offsets = np.arange(first + 1, first + count + 1, dtype=np.int64)
    return TickBatch(partition, ticks, offsets, first + count + malformed, malformed)


class Feed:
    """Says one thing a second; knows what was acknowledged, and when."""

    resumable = True

    def __init__(self, items: Sequence[TickBatch | SourceNotice | Exception], *, endless: bool = False) -> None:
        self.items = items
        self.endless = endless
        self.after: dict[str, int] = {}
        self.acknowledged: list[tuple[float, str, int]] = []

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        self.after = dict(after)
        for item in self.items:
            await asyncio.sleep(1)
            if isinstance(item, Exception):
                raise item
            yield item
        if self.endless:
            await asyncio.sleep(1e9)

    async def acknowledge(self, partition: str, offset: int) -> None:
        self.acknowledged.append((asyncio.get_running_loop().time(), partition, offset))

    async def close(self) -> None: ...


def record(feed: Feed, directory: Path, *, stop_after: float | None = None, flush_sec: float = 1.25) -> FeedRecorder:
    async def story() -> FeedRecorder:
        stop = asyncio.Event()
        with writer(directory) as recording:
            recorder = FeedRecorder(feed, recording, FEED, offload=on_the_spot, flush_sec=flush_sec)
            if stop_after is not None:
                asyncio.get_running_loop().call_later(stop_after, stop.set)
            await recorder.run(stop)
        return recorder

    return simulate(story)


def test_each_tick_is_recorded_once_and_acknowledged_when_it_is_durable(tmp_path):
    feed = Feed([batch(0, 3), batch(1, 4), batch(5, 2, malformed=2), batch(5, 2, malformed=2)])
    recorder = record(feed, tmp_path)
    assert recorded(tmp_path) == one_by_one([batch(0, 7).ticks])
    assert (recorder.tally.ticks, recorder.tally.duplicates, recorder.tally.malformed) == (7, 4, 2)
    assert feed.acknowledged == [(1.25, "p", 3), (2.5, "p", 5), (3.75, "p", 9)]


def test_it_goes_on_where_the_recording_ends(tmp_path):
    record(Feed([batch(0, 3)]), tmp_path)
    again = Feed([batch(3, 2), batch(0, 1, partition="q")])
    record(again, tmp_path)
    assert again.after == {"p": 3}
    assert recorded(tmp_path) == one_by_one([batch(0, 5).ticks, batch(0, 1).ticks])


def test_a_stop_ends_it_with_all_that_came_before(tmp_path):
    feed = Feed([batch(0, 3), batch(3, 1)], endless=True)
    recorder = record(feed, tmp_path, stop_after=100, flush_sec=1_000)
    assert recorder.tally.ticks == 4
    assert feed.acknowledged == [(100, "p", 4)]
    assert len(recorded(tmp_path)) == 4


def test_what_a_source_says_of_itself_is_recorded_among_the_ticks(tmp_path):
    kinds = (NoticeKind.GAP, NoticeKind.STALE, NoticeKind.FRESH, NoticeKind.RECONNECTED, NoticeKind.QUARANTINED)
    feed = Feed([batch(0, 1), *(SourceNotice(kind, "p", {"n": 1}) for kind in kinds), batch(1, 1)])
    record(feed, tmp_path)
    details = {"partition": "p", "n": 1}
    assert recorded(tmp_path) == one_by_one(
        [
            batch(0, 1).ticks,
            FeedGap(START_NS, None, True, details),
            FeedStale(START_NS, True, details),
            FeedFresh(START_NS),
            batch(1, 1).ticks,
        ]
    )


def test_a_source_that_fails_leaves_what_it_brought(tmp_path):
    feed = Feed([batch(0, 3), SourceFailed("gone")])
    with pytest.raises(SourceFailed, match="gone"):
        record(feed, tmp_path)
    assert len(recorded(tmp_path)) == 3
    assert feed.acknowledged[-1][1:] == ("p", 3)


def test_being_cancelled_loses_nothing_either(tmp_path):
    async def story() -> None:
        with writer(tmp_path) as recording:
            recorder = FeedRecorder(Feed([batch(0, 3)], endless=True), recording, FEED, offload=on_the_spot)
            task = asyncio.create_task(recorder.run(asyncio.Event()))
            await asyncio.sleep(5)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}

    simulate(story)
    assert len(recorded(tmp_path)) == 3
