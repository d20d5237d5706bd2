"""A source that is listened to for silence: what reached nobody is no news, so that a dead feed has to be told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from anystrat.domain.intake import LiveSource, NoticeKind, SourceNotice, TickBatch


class WatchedFeed:
    """Another `LiveSource`, with a STALE notice where a partition has no tick for so long, and FRESH with its next one.

    Only the time counts in which somebody waited for the source: a reader that is busy makes no feed stale.
    `partitions` are those that may be silent from the beginning; others are watched from their first batch on. With `as_one` all
    partitions are watched as one of that name: those of a group come and go.
    """

    def __init__(
        self, source: LiveSource, stale_after_sec: float, partitions: Sequence[str] = (), *, as_one: str | None = None
    ) -> None:
        self._source = source
        self._patience = stale_after_sec
        # How long each partition that speaks has been waited for in vain; those that fell silent are in the set.
        self._waited = dict.fromkeys(partitions, 0.0)
        self._silent: set[str] = set()
        self._as_one = as_one

    @property
    def resumable(self) -> bool:
        return self._source.resumable

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        for partition in after if self._as_one is None else ():
            self._waited.setdefault(partition, 0.0)
        inner = self._source.batches(after)
        waiting: asyncio.Task[TickBatch | SourceNotice] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(inner))
                for partition in await self._wait(waiting):
                    yield SourceNotice(NoticeKind.STALE, partition, {"silent_sec": self._patience})
                if not waiting.done():
                    continue
                done, waiting = waiting, None
                try:
                    item = done.result()
                except StopAsyncIteration:
                    return
                if isinstance(item, TickBatch) and len(item.ticks):
                    name = self._as_one or item.partition
                    self._waited[name] = 0.0
                    if name in self._silent:
                        self._silent.discard(name)
                        yield SourceNotice(NoticeKind.FRESH, name)
                yield item
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait([waiting])
            await inner.aclose()

    async def acknowledge(self, partition: str, offset: int) -> None:
        await self._source.acknowledge(partition, offset)

    async def close(self) -> None:
        await self._source.close()

    async def _wait(self, waiting: asyncio.Task[TickBatch | SourceNotice]) -> list[str]:
        """Wait for the source until somebody's patience ends; whose silence began with that."""
        heard = {name: waited for name, waited in self._waited.items() if name not in self._silent}
        loop = asyncio.get_running_loop()
        start = loop.time()
        longest = max(heard.values(), default=None)
        await asyncio.wait([waiting], timeout=None if longest is None else max(0.0, self._patience - longest))
        passed = loop.time() - start
        for name, waited in heard.items():
            self._waited[name] = waited + passed
        if waiting.done():
            return []
        # The one that was waited for is due, whatever the rounding says.
        due = [name for name, waited in heard.items() if waited == longest or waited + passed >= self._patience]
        self._silent.update(due)
        return due
