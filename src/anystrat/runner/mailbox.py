"""A shard's mailbox: bounded, with an explicit policy for what does not fit."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.columns import joined
from anystrat.domain.configuration import Overload
from anystrat.domain.events import Conflated
from anystrat.runner.parcel import Parcel

if TYPE_CHECKING:
    from anystrat.domain.events import RecordedEvent


class Mailbox:
    """Parcels in order, from one intake to one shard; holds `capacity` ticks and one batch more at most.

    BLOCK: `put` waits while the mailbox is full, so that the source is held back. CONFLATE: of the ticks that wait since
    the last event, only the latest of each instrument stay; how many were left out is an event before them.
    """

    def __init__(self, capacity: int, overload: Overload = Overload.BLOCK) -> None:
        self.capacity = capacity
        self.overload = overload
        self.waiting_ticks = 0
        #: Ticks that conflation left out so far.
        self.shed = 0
        self._parcels: deque[Parcel] = deque()
        self._closed = False
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._parcels)

    async def put(self, parcel: Parcel) -> None:
        """Add ticks. Waits for room, or makes it."""
        if self.overload is Overload.BLOCK:
            while self.waiting_ticks >= self.capacity:
                self._room.clear()
                await self._room.wait()
        self._add(parcel)
        if self.overload is Overload.CONFLATE and self.waiting_ticks > self.capacity:
            self._conflate()

    def put_event(self, event: RecordedEvent, *, kept: asyncio.Future[None] | None = None) -> None:
        """Add an event, behind all ticks that wait; never refused. `kept` is resolved once it is committed."""
        self._add(Parcel(event=event, kept=kept))

    def put_first(self, event: RecordedEvent) -> None:
        """Add an event before all that waits: it has happened already, as a swap of a model has."""
        self._parcels.appendleft(Parcel(event=event))
        self._something.set()

    def _add(self, parcel: Parcel) -> None:
        self._parcels.append(parcel)
        self.waiting_ticks += len(parcel)
        self._something.set()

    async def take(self, at_most: int) -> list[Parcel]:
        """Wait for something, and take what is there: whole parcels, until they hold `at_most` ticks. Empty: closed."""
        while not self._parcels:
            if self._closed:
                return []
            self._something.clear()
            self._idle.set()
            await self._something.wait()
        self._idle.clear()
        return self._taken(at_most)

    def _taken(self, at_most: int) -> list[Parcel]:
        taken: list[Parcel] = []
        ticks = 0
        while self._parcels and (not taken or ticks + len(self._parcels[0]) <= at_most):
            parcel = self._parcels.popleft()
            taken.append(parcel)
            ticks += len(parcel)
        self.waiting_ticks -= ticks
        if self.waiting_ticks < self.capacity:
            self._room.set()
        return taken

    async def idle(self) -> None:
        """Wait until everything was taken, and whoever takes has come back for more."""
        while self._parcels or not self._idle.is_set():
            self._idle.clear()
            await self._idle.wait()

    def close(self) -> None:
        """Nothing more will be put: `take` answers with nothing once it is empty."""
        self._closed = True
        self._something.set()

    def _conflate(self) -> None:
        """Make one parcel a partition of the ticks behind the last event, of the latest tick of each instrument.

        What was left out before them, and waits there still, becomes one event with what is left out now: however long
        nobody takes, there is one such event an instrument.
        """
        run: list[Parcel] = []
        while self._parcels and self._parcels[-1].event is None:
            run.append(self._parcels.pop())
        run.reverse()
        kept, left_out = _latest(run)
        events = {event.instrument_token: event for event in left_out}
        for event in left_out:
            self.shed += event.ticks
            self.waiting_ticks -= event.ticks
        while self._parcels and isinstance(before := self._parcels[-1].event, Conflated):
            self._parcels.pop()
            now = events.get(before.instrument_token, before)
            ticks = before.ticks + (now.ticks if now is not before else 0)
            events[before.instrument_token] = Conflated(now.ts_ns, before.instrument_token, ticks)
        self._parcels.extend(Parcel(event=events[token]) for token in sorted(events))
        self._parcels.extend(kept)


def _latest(run: list[Parcel]) -> tuple[list[Parcel], list[Conflated]]:
    """The parcels with the latest tick of each instrument alone, and what was left out, by instrument."""
    tokens = np.concatenate([parcel.ticks.instrument_token for parcel in run if parcel.ticks is not None])
    places = np.arange(len(tokens))
    different, last = np.unique(tokens[::-1], return_index=True)
    chosen = np.zeros(len(tokens), np.bool_)
    chosen[len(tokens) - 1 - last] = True
    counts = np.unique(tokens, return_counts=True)[1]
    kept: list[Parcel] = []
    at = 0
    times = []
    for parcel in run:
        assert parcel.ticks is not None
        mine = places[: len(parcel)][chosen[at : at + len(parcel)]]
        at += len(parcel)
        times.append(parcel.ticks.ts_ns)
        ticks = parcel.ticks.taken(mine)
        same = kept and kept[-1].partition == parcel.partition
        if same:
            before = kept[-1]
            assert before.ticks is not None
            before.ticks = joined([before.ticks, ticks])
            before.last, before.arrived_ns = parcel.last, parcel.arrived_ns
            before.malformed += parcel.malformed
            before.duplicates += parcel.duplicates
        else:
            kept.append(replace(parcel, ticks=ticks))
    latest_ts = np.concatenate(times)[len(tokens) - 1 - last]
    events = [
        Conflated(ts, token, count - 1)
        for token, ts, count in zip(different.tolist(), latest_ts.tolist(), counts.tolist(), strict=True)
        if count > 1
    ]
    return kept, events
