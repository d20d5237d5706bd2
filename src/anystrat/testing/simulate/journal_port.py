"""A journal under faults: calls take effect in their order and their time, or the process ends, or the disk is full."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anystrat.domain.journal import Fate, JournalFailed, JournalRefused, OutboxEntry, Settled, ShardRecord, Step
from anystrat.testing.simulate.faults import Fault

if TYPE_CHECKING:
    from anystrat.domain.journal import Journal
    from anystrat.testing.simulate.process import Process
    from anystrat.testing.simulate.world import World

T = TypeVar("T")

_SLOW_SEC: Final = 2.0


def at_once(call: Coroutine[Any, Any, T]) -> T:
    """The answer of a coroutine that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    call.close()
    raise AssertionError("a journal under simulation has to answer at once")


@dataclass(slots=True, eq=False)
class _Call:
    operation: str
    work: Callable[[], Any]
    note: Callable[[], None] | None
    answer: asyncio.Future[Any]


class SimulatedJournal:
    """A `Journal` over one that answers at once; what took effect is noted in the world's ledger."""

    def __init__(self, journal: Journal, process: Process, world: World) -> None:
        self._journal = journal
        self._process = process
        self._world = world
        self._calls: deque[_Call] = deque()
        self._something = asyncio.Event()
        self._failed = ""
        self._worker: asyncio.Task[None] | None = None

    # -- writes ----------------------------------------------------------------------------------------------------

    async def open(self, fingerprint: str | None) -> None:
        self._worker = self._process.spawn(self._work())
        await self._do(
            "open",
            lambda: at_once(self._journal.open(fingerprint)),
            lambda: self._world.took_over(self._process, self._journal),
        )

    async def commit(self, steps: Sequence[Step]) -> None:
        await self._do(
            "commit",
            lambda: at_once(self._journal.commit(steps)),
            lambda: self._world.committed(self._process, steps),
        )

    async def sending(self, broker: str, first: int, last: int) -> None:
        def note() -> None:
            self._world.wrote(self._process, f"sending {broker} {first}..{last}")
            self._world.ledger.sending(self._process.number, broker, first, last)

        await self._do("sending", lambda: at_once(self._journal.sending(broker, first, last)), note)

    async def settle(self, outcomes: Sequence[Settled]) -> None:
        def note() -> None:
            said = ", ".join(f"{each.broker} {each.first}..{each.last} {each.fate.name}" for each in outcomes)
            self._world.wrote(self._process, f"settle {said}")
            for broker, number in self._world.ledger.untold(outcomes):
                self._world.broken("I4", f"{broker} {number}: given up before that its strategy pauses was durable")
            self._world.ledger.settled(outcomes)

        await self._do("settle", lambda: at_once(self._journal.settle(outcomes)), note)

    async def revive(self, broker: str, numbers: Sequence[int], expires_ns: int) -> int:
        def note() -> None:
            self._world.wrote(self._process, f"revive {broker} {list(numbers)}")
            self._world.ledger.revived(broker, numbers, expires_ns)

        count: int = await self._do("revive", lambda: at_once(self._journal.revive(broker, numbers, expires_ns)), note)
        return count

    async def set_killed(self, killed: bool) -> None:  # noqa: FBT001  as the port has it
        def note() -> None:
            self._world.wrote(self._process, f"kill switch {'on' if killed else 'off'}")
            self._world.switched(self._process, on=killed)

        await self._do("switch", lambda: at_once(self._journal.set_killed(killed)), note)

    async def compact(self, *, keep_inputs: int, keep_settled: int) -> None:
        await self._do(
            "compact",
            lambda: at_once(self._journal.compact(keep_inputs=keep_inputs, keep_settled=keep_settled)),
            lambda: self._world.trace.happened("compacted"),
        )

    # -- questions -------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._journal.epoch

    @property
    def problem(self) -> str:
        return self._journal.problem

    def give_up(self) -> None:
        self._journal.give_up()

    async def shard(self, shard: int) -> ShardRecord | None:
        record: ShardRecord | None = await self._read(lambda: at_once(self._journal.shard(shard)))
        return record

    async def last_number(self, broker: str) -> int:
        number: int = await self._read(lambda: at_once(self._journal.last_number(broker)))
        return number

    async def unsettled(self, broker: str, after: int, limit: int) -> Sequence[OutboxEntry]:
        entries: Sequence[OutboxEntry] = await self._read(
            lambda: at_once(self._journal.unsettled(broker, after, limit))
        )
        return entries

    async def fates(self) -> Mapping[str, Mapping[Fate, int]]:
        fates: Mapping[str, Mapping[Fate, int]] = await self._read(lambda: at_once(self._journal.fates()))
        return fates

    async def dead_letters(self, broker: str | None = None) -> Sequence[OutboxEntry]:
        letters: Sequence[OutboxEntry] = await self._read(lambda: at_once(self._journal.dead_letters(broker)))
        return letters

    async def killed(self) -> bool:
        killed: bool = await self._read(lambda: at_once(self._journal.killed()))
        return killed

    async def inputs(self, shard: int, first: int = 0) -> AsyncIterator[tuple[int, int, bytes]]:
        found: list[tuple[int, int, bytes]] = await self._read(lambda: at_once(all_inputs(self._journal, shard, first)))
        for each in found:
            yield each

    async def close(self) -> None:
        await self._process.reach(0.0)
        if self._worker is not None:
            await self._queue(
                "close", lambda: at_once(self._journal.close()), lambda: self._world.closed(self._process)
            )
            self._worker.cancel()

    # -- the lane --------------------------------------------------------------------------------------------------

    async def _read(self, work: Callable[[], T]) -> T:
        answer: T = await self._do("read", work)
        return answer

    async def _do(self, operation: str, work: Callable[[], Any], note: Callable[[], None] | None = None) -> Any:
        await self._process.reach(0.0)
        if self._worker is None or self._worker.done():
            raise JournalFailed("the simulated journal is not open")
        return await self._queue(operation, work, note)

    async def _queue(self, operation: str, work: Callable[[], Any], note: Callable[[], None] | None) -> Any:
        call = _Call(operation, work, note, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._something.set()
        return await call.answer

    async def _work(self) -> None:
        """Calls take effect in their order, whoever waits for them still."""
        while True:
            while not self._calls:
                self._something.clear()
                await self._something.wait()
            call = self._calls.popleft()
            try:
                result = await self._one(call)
            except Exception as error:  # noqa: BLE001  it is the caller's
                if not call.answer.done():
                    call.answer.set_exception(error)
            else:
                if not call.answer.done():
                    call.answer.set_result(result)

    async def _one(self, call: _Call) -> Any:
        process, world = self._process, self._world
        if call.operation == "close":
            result = self._worked(call, None)
            if call.note is not None:
                call.note()
            return result
        if self._failed:
            raise JournalFailed(self._failed)
        fault = world.faults.draw(f"journal.{call.operation}")
        await process.reach(_SLOW_SEC if fault is Fault.SLOW else world.pace.journal)
        if fault is Fault.CRASH_BEFORE or (fault is Fault.CRASH_WITHIN and world.disk is None):
            await process.die(f"before journal.{call.operation}")
        if fault is Fault.FAIL and world.disk is None:
            world.trace.happened("disk full")
            self._failed = "no space is left on the simulated disk"
            raise (JournalRefused if call.operation == "open" else JournalFailed)(self._failed)
        try:
            result = self._worked(call, fault)
        except (JournalFailed, JournalRefused) as error:
            self._failed = str(error)
            if not process.alive:
                await process.die(f"within journal.{call.operation}")
            world.trace.say(f"{process} journal.{call.operation} fails")
            raise
        if not process.alive:
            await process.die(f"within journal.{call.operation}")
        if call.note is not None:
            call.note()
        if fault is Fault.CRASH_AFTER:
            await process.die(f"after journal.{call.operation}")
        await process.reach(world.pace.journal)
        return result

    def _worked(self, call: _Call, fault: Fault | None) -> Any:
        """Let it take effect; where the disk fails in the middle of it, nobody knows whether it did."""
        process, world, disk = self._process, self._world, self._world.disk
        if disk is None:
            return call.work()
        disk.process = process
        torn = fault if fault in {Fault.FAIL, Fault.CRASH_WITHIN} else None
        if torn is not None:
            after = world.torn.integer(0, 6)
            disk.arm(**{"full_after" if torn is Fault.FAIL else "dies_after": after})
        owner = world.ledger.owner is process
        try:
            result = call.work()
        except JournalFailed:
            if torn is not None and owner:
                world.ledger.doubt = call.note
            world.trace.happened("disk full" if torn is Fault.FAIL else "journal failed")
            raise
        else:
            if not process.alive and owner:
                world.ledger.doubt = call.note
            return result
        finally:
            disk.arm()


async def all_inputs(journal: Journal, shard: int, first: int) -> list[tuple[int, int, bytes]]:
    """All kept inputs of a shard from `first` on."""
    return [each async for each in journal.inputs(shard, first)]
