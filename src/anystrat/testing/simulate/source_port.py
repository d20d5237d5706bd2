"""A source under faults: a server that keeps what was not acknowledged, and a connection to it that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, TickBatch
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.faults import Fault
from anystrat.testing.simulate.process import first_of

if TYPE_CHECKING:
    from anystrat.testing.simulate.process import Process
    from anystrat.testing.simulate.scenario import Message
    from anystrat.testing.simulate.world import World

_SILENCE_SEC: Final = 8.0
_SLOW_SEC: Final = 1.0
_BACK: Final = 6


class Server:
    """What outlives every connection: the messages, and up to where each partition was acknowledged."""

    def __init__(self, messages: Mapping[str, tuple[Message, ...]]) -> None:
        self.messages = messages
        self.acknowledged = dict.fromkeys(messages, -1)
        #: The last message of each partition that anybody was sent, and those that went before anybody was.
        self.read = dict.fromkeys(messages, -1)
        self.forgotten: dict[str, set[int]] = {name: set() for name in messages}


class SimulatedSource:
    """A `LiveSource`: one connection of one process to the server."""

    resumable = True

    def __init__(self, process: Process, world: World) -> None:
        self._process = process
        self._world = world
        self._dice = Dice(world.scenario.seed, f"source of {process}")

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        world, process, dice = self._world, self._process, self._dice
        server = world.server
        at = {name: self._resumed(name, after.get(name, -1)) for name in server.messages}
        while True:
            ready = [name for name in at if self._published(name, at[name])]
            if not ready:
                if world.finished.is_set():
                    return
                await self._more(at)
                continue
            name = dice.one_of(ready)
            if at[name] in server.forgotten[name]:
                at[name] += 1
                yield SourceNotice(NoticeKind.GAP, name, {"first": at[name] - 1, "last": at[name] - 1})
                continue
            fault = world.faults.draw("source.batch")
            await process.reach(world.pace.source)
            if fault is Fault.CRASH_BEFORE:
                await process.die("before source.batch")
            elif fault is Fault.FAIL:
                world.trace.happened("source failed")
                raise SourceFailed("the simulated source is gone")
            elif fault is Fault.SILENT:
                world.trace.happened("silent feed")
                await asyncio.sleep(dice.between(0.4, _SILENCE_SEC))
            elif fault is Fault.GAP and at[name] > server.read[name] and server.messages[name][at[name]].places:
                world.trace.happened("gap")
                self._forget(name, at[name])
                continue
            elif fault is Fault.CUT:
                # Everything that is not acknowledged comes once more.
                world.trace.happened("reconnected")
                at[name] = server.acknowledged[name] + 1
                yield SourceNotice(NoticeKind.RECONNECTED, name)
            elif fault is Fault.AGAIN:
                world.trace.happened("redelivered")
                first = max(server.acknowledged[name] + 1, at[name] - dice.integer(1, _BACK))
                last = at[name] - 1 if dice.chance(0.5) else at[name] + 1
                if first <= last and self._published(name, last):
                    yield self._batch(name, first, last)
            last = at[name]
            most = dice.one_of([1, 1, 4, 30])
            gone = server.forgotten[name]
            while last - at[name] + 1 < most and self._published(name, last + 1) and last + 1 not in gone:
                last += 1
            if not self._published(name, at[name]):
                continue
            first, at[name] = at[name], last + 1
            yield self._batch(name, first, last)
            world.look(process)

    def _resumed(self, name: str, after: int) -> int:
        """Where the server goes on: what was acknowledged is forgotten."""
        return max(after + 1, self._world.server.acknowledged[name] + 1)

    def _forget(self, name: str, offset: int) -> None:
        """The server loses a message that it could not keep."""
        world = self._world
        world.trace.say(f"source {name} {offset} is lost")
        world.server.forgotten[name].add(offset)
        world.forgotten.update(world.server.messages[name][offset].places)

    def _published(self, name: str, offset: int) -> bool:
        messages = self._world.server.messages[name]
        return offset < len(messages) and messages[offset].second <= self._world.loop.time()

    async def _more(self, at: Mapping[str, int]) -> None:
        """Wait for the next message, or for the end."""
        world = self._world
        coming = [
            messages[at[name]].second for name, messages in world.server.messages.items() if at[name] < len(messages)
        ]
        if coming:
            await asyncio.sleep(max(1e-6, min(coming) - world.loop.time()))
        else:
            await first_of(world.finished.wait())

    def _batch(self, name: str, first: int, last: int) -> TickBatch:
        server = self._world.server
        gone = server.forgotten[name]
        messages = [each for each in server.messages[name][first : last + 1] if each.offset not in gone]
        server.read[name] = max(server.read[name], last)
        places = np.array([place for each in messages for place in each.places], np.int64)
        offsets = np.array([each.offset for each in messages for _ in each.places], np.int64)
        malformed = np.array([each.offset for each in messages if not each.places], np.int64)
        self._world.trace.say(f"{self._process} source {name} {first}..{last}")
        return TickBatch(name, self._world.scenario.block.taken(places), offsets, last, len(malformed), malformed)

    async def acknowledge(self, partition: str, offset: int) -> None:
        world, process = self._world, self._process
        fault = world.faults.draw("source.acknowledge")
        await process.reach(_SLOW_SEC if fault is Fault.SLOW else world.pace.source)
        if fault is Fault.CRASH_BEFORE:
            await process.die("before source.acknowledge")
        if fault is Fault.LOST:
            world.trace.happened("acknowledgement lost")
            return
        world.acknowledged(process, partition, offset)
        if fault is Fault.CRASH_AFTER:
            await process.die("after source.acknowledge")

    async def close(self) -> None:
        await self._process.reach(0.0)
