"""Ticks from a Kafka topic, shared out by a consumer group or read whole; each message once, by this run's own positions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.adapters.kafka_client import library
from anystrat.adapters.kafka_reader import Away, KafkaReader, Round
from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.adapters.tick_messages import MessageDecoder
from anystrat.domain.intake import NoticeKind, SourceNotice, TickBatch

if TYPE_CHECKING:
    from anystrat.domain.endpoints import KafkaSource

_FIRST_WAIT_SEC: Final = 0.25
_LONGEST_WAIT_SEC: Final = 10.0

Make = Callable[[dict[str, Any]], Any]


class KafkaFeed:
    """A `LiveSource` over one topic. A partition is called `topic[3]`; an offset is the position after a tick's message.

    Where to go on is this source's own: the group's committed offsets serve other programs, and runs without a journal.
    They are committed after the journal's commit, and only of partitions that are this run's now.
    """

    resumable = True

    def __init__(
        self, options: KafkaSource, random: Random, *, offload: Offload = in_a_thread, make: Make | None = None
    ) -> None:
        library()
        self._options = options
        self._random = random
        self._offload = offload
        self._make = make
        self._decoder = MessageDecoder()
        self._reader: KafkaReader | None = None

    @property
    def owned(self) -> frozenset[str]:
        """The partitions that are this run's now."""
        return frozenset() if self._reader is None else frozenset(map(self._name, self._reader.owned))

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        self._reader = reader = KafkaReader(self._options, self._positions(after), self._make)
        failures = 0
        while True:
            # A round that has begun goes to its end: what it takes must not be lost, nor two of them run at once.
            under_way = asyncio.ensure_future(self._offload(reader.round))
            try:
                found = await asyncio.shield(under_way)
            except Away:
                failures += 1
                await asyncio.sleep(self._wait(failures))
                continue
            finally:
                if not under_way.done():
                    await asyncio.wait([under_way])
                    under_way.exception()  # nobody waits for it any more
            failures = 0
            for item in self._items(found):
                yield item

    async def acknowledge(self, partition: str, offset: int) -> None:
        number = self._number(partition)
        if number is not None and self._reader is not None:
            self._reader.durable(number, offset)

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await self._offload(reader.close)

    def _wait(self, failures: int) -> float:
        longest = min(_LONGEST_WAIT_SEC, _FIRST_WAIT_SEC * 2.0 ** min(failures - 1, 20))
        return longest * (0.5 + 0.5 * self._random.random())

    def _name(self, partition: int) -> str:
        return f"{self._options.topic}[{partition}]"

    def _number(self, name: str) -> int | None:
        topic, bracket, number = name.removesuffix("]").rpartition("[")
        mine = bool(bracket) and topic == self._options.topic and number.isascii() and number.isdigit()
        return int(number) if mine else None

    def _positions(self, after: Mapping[str, int]) -> dict[int, int]:
        found = ((self._number(name), offset) for name, offset in after.items())
        return {number: offset for number, offset in found if number is not None}

    def _items(self, found: Round) -> Iterable[TickBatch | SourceNotice]:
        for partition, first, last in found.missed:
            gap = {"first": first, "last": last, "certain": True}
            yield SourceNotice(NoticeKind.GAP, self._name(partition), gap)
        for partition, messages in found.messages.items():
            name = self._name(partition)
            offsets = np.array([offset for offset, _ in messages], np.int64)
            decoded = self._decoder.decoded([data for _, data in messages], [offset - 1 for offset in offsets.tolist()])
            if decoded.tally.malformed:
                details = {"what": decoded.tally.first[0], "count": decoded.tally.malformed}
                yield SourceNotice(NoticeKind.QUARANTINED, name, details)
            bad = np.repeat(offsets, decoded.malformed)
            yield TickBatch(name, decoded.ticks, np.repeat(offsets, decoded.counts), int(offsets[-1]), len(bad), bad)
