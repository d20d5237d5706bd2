"""A `TickSource` of one's own as a live source: ticks one by one become batches of what has come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.columns import columns_of_ticks
from anystrat.domain.errors import AnystratError
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, TickBatch
from anystrat.domain.tick import MarketTick

if TYPE_CHECKING:
    from anystrat.domain.protocols import TickSource

_ROOM: Final = 8_192
#: What is no tick is told of so often, and always counted.
_SHOWN: Final = 5


class SubscribedFeed:
    """A `LiveSource` over a subscription. An offset counts what was received, from 1 or from after the run before.

    The subscription is held back while nobody takes its ticks; what it does meanwhile is its own business. Of a tick's
    metadata, `halted` and `auction` go with it.
    """

    resumable = False

    def __init__(self, source: TickSource, name: str, instruments: Sequence[int]) -> None:
        self._source = source
        self.partition = name
        self._instruments = instruments
        self._waiting: deque[Any] = deque()
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._shown = 0

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        offset = after.get(self.partition, 0)
        taking = asyncio.create_task(self._take(), name=f"source {self.partition}")
        taking.add_done_callback(lambda _: self._something.set())
        try:
            while self._waiting or not taking.done():
                self._something.clear()
                if not self._waiting:
                    await self._something.wait()
                if self._waiting:
                    found = list(self._waiting)
                    self._waiting.clear()
                    self._room.set()
                    ticks = [each for each in found if isinstance(each, MarketTick)]
                    for each in found if len(ticks) < len(found) else ():
                        if not isinstance(each, MarketTick) and self._shown < _SHOWN:
                            self._shown += 1
                            what = f"expected a MarketTick, found {type(each).__name__}"
                            yield SourceNotice(NoticeKind.QUARANTINED, self.partition, {"what": what})
                    offsets = np.arange(offset + 1, offset + len(ticks) + 1, dtype=np.int64)
                    offset += len(found)
                    malformed = len(found) - len(ticks)
                    yield TickBatch(self.partition, columns_of_ticks(ticks), offsets, offset, malformed)
        finally:
            taking.cancel()
            await asyncio.wait([taking])
        self._raise(taking)

    async def acknowledge(self, partition: str, offset: int) -> None:
        pass  # a subscription forgets by itself

    async def close(self) -> None:
        close = getattr(self._source, "close", None)
        result = close() if callable(close) else None
        if asyncio.iscoroutine(result):
            await result

    async def _take(self) -> None:
        ticks = self._source.subscribe(self._instruments)
        try:
            async for tick in ticks:
                self._waiting.append(tick)
                self._something.set()
                while len(self._waiting) >= _ROOM:
                    self._room.clear()
                    await self._room.wait()
        finally:
            aclose = getattr(ticks, "aclose", None)
            if aclose is not None:
                await aclose()

    def _raise(self, taking: asyncio.Task[None]) -> None:
        error = None if taking.cancelled() else taking.exception()
        if isinstance(error, AnystratError):
            raise error
        if error is not None:
            raise SourceFailed(f"the source {self.partition!r} failed: {type(error).__name__}: {error}") from error
