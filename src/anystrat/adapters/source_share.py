"""A source of which one of several workers takes its share: the ticks of its own instruments, out of all that come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from anystrat.domain.intake import LiveSource, SourceNotice, TickBatch


class SharedFeed:
    """Another `LiveSource`, without what other workers take from it. Positions are the source's own.

    `mine` are the worker's instruments. With `others`, it is the worker that also takes what is nobody's: all but the
    instruments in `others`, and what could not be decoded. So every tick is in the accounts of one worker.
    """

    def __init__(self, source: LiveSource, mine: Collection[int], *, others: Collection[int] | None = None) -> None:
        self._source = source
        self._left_out = others is not None
        self._named = np.array(sorted(mine if others is None else others), np.int64)

    @property
    def resumable(self) -> bool:
        return self._source.resumable

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        async with aclosing(self._source.batches(after)) as items:
            async for item in items:
                yield self._share(item) if isinstance(item, TickBatch) else item

    async def acknowledge(self, partition: str, offset: int) -> None:
        await self._source.acknowledge(partition, offset)

    async def close(self) -> None:
        await self._source.close()

    def _share(self, batch: TickBatch) -> TickBatch:
        ticks = batch.ticks
        places = np.flatnonzero(np.isin(ticks.instrument_token, self._named, invert=self._left_out))
        if len(places) < len(ticks):
            ticks = ticks.taken(places)
            batch = replace(batch, ticks=ticks, offsets=batch.offsets[places])
        return batch if self._left_out else replace(batch, malformed=0, malformed_at=None)
