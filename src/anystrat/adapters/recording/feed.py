"""A source straight into a recording, without any engine: what `anystrat record` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.adapters.recording.writer import RecordingWriter
from anystrat.domain.configuration import FeedSettings, OnGap, OnStale
from anystrat.domain.events import FeedFresh, FeedGap, FeedStale, RecordedEvent
from anystrat.domain.intake import LiveSource, NoticeKind, SourceNotice, TickBatch

#: Ticks are made durable, and the source is told so, about that often.
FLUSH_SEC: Final = 1.0
_SHARD: Final = 0


@dataclass(slots=True)
class FeedTally:
    """What came: ticks that were recorded, messages and rows that were none, ticks that were there already."""

    ticks: int = 0
    malformed: int = 0
    duplicates: int = 0
    gaps: int = 0


class FeedRecorder:
    """Records one source. It goes on where the recording ends, and takes each tick once, whatever comes again."""

    def __init__(
        self,
        source: LiveSource,
        recording: RecordingWriter,
        feed: FeedSettings,
        *,
        on_notice: Callable[[SourceNotice], object] | None = None,
        offload: Offload = in_a_thread,
        flush_sec: float = FLUSH_SEC,
    ) -> None:
        self.tally = FeedTally()
        self._source = source
        self._recording = recording
        self._feed = feed
        self._on_notice = on_notice
        self._offload = offload
        self._flush_sec = flush_sec
        self._last_ns = 0
        self._acknowledged: dict[str, int] = {}
        # One of them at a time: what is being synced is not to be closed meanwhile.
        self._writing = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Record until the source ends, or `stop` is set; everything is durable on return. Raises what the source raises."""
        reading = asyncio.create_task(self._read(), name="recording")
        flushing = asyncio.create_task(self._flush_now_and_then(), name="flushing")
        stopping = asyncio.create_task(stop.wait(), name="stopping")
        try:
            await asyncio.wait([reading, flushing, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, flushing, stopping):
                task.cancel()
            await asyncio.wait([reading, flushing, stopping])
            await self._flush()
        for task in (reading, flushing):
            with suppress(asyncio.CancelledError):
                task.result()

    async def _read(self) -> None:
        after = dict(self._recording.marks(_SHARD))
        self._acknowledged = dict(after)
        async with aclosing(self._source.batches(after)) as items:
            async for item in items:
                async with self._writing:
                    if isinstance(item, TickBatch):
                        self._take(item)
                    else:
                        self._note(item)

    def _take(self, batch: TickBatch) -> None:
        mark = self._recording.marks(_SHARD).get(batch.partition, -1)
        ticks = batch.ticks
        if len(ticks) and batch.offsets[0] <= mark:
            new = np.flatnonzero(batch.offsets > mark)
            self.tally.duplicates += len(ticks) - len(new)
            ticks = ticks.taken(new)
        if batch.last <= mark:
            return
        self._recording.take(_SHARD, self._next(), [ticks] if len(ticks) else [], {batch.partition: batch.last})
        self.tally.ticks += len(ticks)
        self.tally.malformed += batch.malformed
        if len(ticks):
            self._last_ns = max(self._last_ns, int(ticks.ts_ns.max()))

    def _note(self, notice: SourceNotice) -> None:
        event = self._event(notice)
        if event is not None:
            self._recording.take(_SHARD, self._next(), [event])
        if self._on_notice is not None:
            self._on_notice(notice)

    def _event(self, notice: SourceNotice) -> RecordedEvent | None:
        details = {"partition": notice.partition, **notice.details}
        if notice.kind is NoticeKind.GAP:
            self.tally.gaps += 1
            return FeedGap(self._last_ns, None, self._feed.on_gap is OnGap.REWARM, details)
        if notice.kind is NoticeKind.STALE:
            return FeedStale(self._last_ns, self._feed.on_stale is OnStale.PAUSE, details)
        return FeedFresh(self._last_ns) if notice.kind is NoticeKind.FRESH else None

    def _next(self) -> int:
        return self._recording.next_input(_SHARD) or 0

    async def _flush_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._flush_sec)
            if dict(self._recording.marks(_SHARD)) != self._acknowledged:
                await self._flush()

    async def _flush(self) -> None:
        async with self._writing:
            marks = dict(self._recording.marks(_SHARD))
            await asyncio.shield(asyncio.ensure_future(self._offload(self._recording.flush)))
        for partition, last in marks.items():
            if self._acknowledged.get(partition, -1) < last:
                self._acknowledged[partition] = last
                await self._source.acknowledge(partition, last)
