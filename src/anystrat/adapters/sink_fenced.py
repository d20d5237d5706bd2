"""The end of a lease, as the process that works under it sees it: nothing is sent from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from anystrat.domain.delivery import SinkUnavailable

if TYPE_CHECKING:
    from anystrat.domain.delivery import Guarantee, SendResult, Sink
    from anystrat.domain.journal import OutboxSignal


class FencedSink:
    """A sink that is sent nothing while `closed()` says why; asked as the last thing before a send, not when it was decided on."""

    def __init__(self, sink: Sink, closed: Callable[[], str]) -> None:
        self._sink = sink
        self._closed = closed

    @property
    def guarantee(self) -> Guarantee:
        return self._sink.guarantee

    @property
    def largest_group(self) -> int:
        return self._sink.largest_group

    async def open(self) -> None:
        await self._sink.open()

    async def send(self, signals: Sequence[OutboxSignal]) -> Sequence[SendResult]:
        if why := self._closed():
            raise SinkUnavailable(why)
        return await self._sink.send(signals)

    async def has(self, signals: Sequence[OutboxSignal]) -> Sequence[bool | None]:
        return await self._sink.has(signals)

    async def close(self) -> None:
        await self._sink.close()
