"""From the source to the shards: each batch once, split by instrument."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.domain.intake import LiveSource, SourceNotice, TickBatch
from anystrat.runner.parcel import Parcel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.clock import Clock
    from anystrat.domain.columns import TickColumns
    from anystrat.runner.acknowledging import Acknowledgements
    from anystrat.runner.hand_over import HandOver
    from anystrat.runner.mailbox import Mailbox
    from anystrat.runner.plan import ShardPlan

OnNotice = Callable[[SourceNotice], object]
_AT_MOST: Final = 8_192


@dataclass(slots=True)
class Heard:
    """What came from one partition since the run began; `at_ns`: when the last of it did, wall time."""

    received: int = 0
    duplicates: int = 0
    malformed: int = 0
    at_ns: int = 0


class Intake:
    """Reads one source into the mailboxes, `at_most` so many ticks at once: a shard does one piece without a pause.

    A source may deliver a batch again. What a shard has had is known by its offset: the shard's watermark after a
    restart, what was handed to it since then. Such ticks are counted as duplicates, and go nowhere.
    """

    def __init__(
        self,
        plan: ShardPlan,
        mailboxes: Sequence[Mailbox],
        acknowledgements: Acknowledgements,
        clock: Clock,
        *,
        on_notice: OnNotice | None = None,
        at_most: int = _AT_MOST,
    ) -> None:
        #: For each partition, the offset up to which each shard has been handed everything.
        self.handed: dict[str, list[int]] = {}
        #: The last offset of each partition that was read.
        self.read: dict[str, int] = {}
        self.heard: dict[str, Heard] = {}
        self._plan = plan
        self._mailboxes = mailboxes
        self._acknowledgements = acknowledgements
        self._clock = clock
        self._on_notice = on_notice
        self._at_most = at_most
        #: Looks at what follows on a history; None where there is none.
        self.hand_over: HandOver | None = None
        self._open = asyncio.Event()
        self._open.set()

    def pause(self) -> None:
        """Hand nothing out until `go_on`, whatever room the mailboxes have."""
        self._open.clear()

    def go_on(self) -> None:
        """Hand out again."""
        self._open.set()

    def use(self, plan: ShardPlan) -> None:
        """From the next batch on: another plan, in which no instrument has moved."""
        self._plan = plan

    def resume(self, watermarks: Sequence[Mapping[str, int]], *, resumable: bool = True) -> dict[str, int]:
        """Go on after what each shard has committed; where the source has to begin, by partition.

        One that is not `resumable` numbers what is new after all that any shard has had: nothing of it comes again.
        """
        for partition in {name for each in watermarks for name in each}:
            self.handed[partition] = [each.get(partition, -1) for each in watermarks]
        first = min if resumable else max
        return {partition: first(handed) for partition, handed in self.handed.items() if first(handed) >= 0}

    async def run(self, source: LiveSource, after: Mapping[str, int]) -> None:
        """Read until the source ends, or until this is cancelled between two batches."""
        async with aclosing(source.batches(after)) as batches:
            async for item in batches:
                if isinstance(item, TickBatch):
                    for piece in _pieces(item, self._at_most):
                        await self.hand_out(piece)
                elif self._on_notice is not None:
                    self._on_notice(item)

    async def hand_out(self, batch: TickBatch) -> None:
        """Split a batch among the shards; waits where a mailbox is full, and while paused."""
        await self._open.wait()
        handed = self.handed.setdefault(batch.partition, [-1] * self._plan.count)
        if self.hand_over is not None:
            self.hand_over.see(batch.ticks)
        arrived = self._clock.now_ns()
        parts = self._parts(batch, handed)
        fresh = batch.last > self.read.get(batch.partition, -1)
        heard = self.heard.setdefault(batch.partition, Heard())
        heard.at_ns = arrived
        heard.received += len(batch.ticks)
        heard.duplicates += sum(duplicates for _, _, duplicates in parts)
        # Shard 0 has them in its accounts, and knows after a restart whether it had them.
        malformed = _malformed(batch, handed[0])
        heard.malformed += malformed
        for shard, _, _ in parts if fresh else ():
            # Before any of them waits for room: a part that is committed first must not speak for the others.
            self._acknowledgements.handed(batch.partition, shard, batch.last)
        for shard, ticks, duplicates in parts:
            last = max(batch.last, handed[shard])
            handed[shard] = last
            bad = 0 if shard else malformed
            parcel = Parcel(None, ticks, batch.partition, last, arrived, bad, duplicates)
            await self._mailboxes[shard].put(parcel)
        if fresh:
            # Only now: a shard that waits for nothing counts as having had everything up to here.
            self.read[batch.partition] = batch.last
            self._acknowledgements.read(batch.partition, batch.last)

    def _parts(self, batch: TickBatch, handed: list[int]) -> list[tuple[int, TickColumns, int]]:
        """(shard, its ticks that are new, how many it has had already), for each shard that the batch concerns."""
        ticks, offsets = batch.ticks, batch.offsets
        if self._plan.count == 1:
            return [(0, *_new(ticks, offsets, handed[0]))]
        shards = self._plan.of(ticks.instrument_token)
        parts = []
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            parts.append((shard, *_new(ticks.taken(places), offsets[places], handed[shard])))
        if not parts or (batch.malformed and parts[0][0]):
            # A batch without ticks moves the watermark all the same, and what was malformed has to be counted.
            parts.insert(0, (0, ticks.taken(np.empty(0, np.int64)), 0))
        return parts


def _pieces(batch: TickBatch, at_most: int) -> Iterator[TickBatch]:
    """The batch in pieces of about so many ticks. They end where messages end: each is a batch by itself."""
    ticks, offsets, bad = batch.ticks, batch.offsets, batch.malformed_at
    start = 0
    while len(ticks) - start > at_most:
        # Behind the last tick of the message that the piece would end in.
        end = int(np.searchsorted(offsets, offsets[start + at_most - 1], "right"))
        if end == len(ticks):
            break
        part = ticks.taken(np.arange(start, end))
        last = int(offsets[end - 1])
        among = 0 if bad is None else int(np.searchsorted(bad, last, "right"))
        yield TickBatch(batch.partition, part, offsets[start:end], last, among, None if bad is None else bad[:among])
        start, bad = end, None if bad is None else bad[among:]
    if not start:
        yield batch
        return
    rest = replace(batch, ticks=ticks.taken(np.arange(start, len(ticks))), offsets=offsets[start:])
    yield rest if bad is None else replace(rest, malformed=len(bad), malformed_at=bad)


def _malformed(batch: TickBatch, handed: int) -> int:
    """How many malformed ones are new to a shard that had everything up to `handed`."""
    if batch.malformed_at is None:
        return batch.malformed if handed < batch.last else 0
    return int(np.count_nonzero(batch.malformed_at > handed))


def _new(ticks: TickColumns, offsets: NDArray[np.int64], handed: int) -> tuple[TickColumns, int]:
    if not len(offsets) or offsets[0] > handed:
        return ticks, 0
    places = np.flatnonzero(offsets > handed)
    return ticks.taken(places), len(offsets) - len(places)
