"""A journal in the tables of a database, with the async face that the port asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from anystrat.adapters.journal_tables.lanes import Call, InlineLane, Lane, ThreadLane
from anystrat.adapters.journal_tables.writer import TablesWriter
from anystrat.domain.journal import Fate, JournalFailed, OutboxEntry, Settled, ShardRecord, Step


class TableJournal:
    """The port's calls, on whatever writes the tables: each becomes one piece of the writer's work.

    With `inline`, each is a transaction of its own, in the caller; otherwise a thread takes what waits as one. A full disk is
    waited for, but not `inline`: `problem` says so meanwhile.
    """

    def __init__(self, writer: TablesWriter, *, inline: bool = False) -> None:
        self._writer = writer
        self._inline = inline
        self._lane: Lane | None = None

    async def open(self, fingerprint: str | None) -> None:
        writer = self._writer
        if self._lane is not None:
            raise JournalFailed(f"{writer.place}: `open` is called once")
        lane = InlineLane if self._inline else ThreadLane
        self._lane = lane(writer.serve, writer.rest)
        try:
            await self._lane.alone(lambda: writer.open(fingerprint))
        except BaseException:
            await self.close()
            raise
        if not self._inline:
            writer.room.be_patient()

    @property
    def problem(self) -> str:
        return self._writer.room.problem

    def give_up(self) -> None:
        self._writer.room.give_up()

    @property
    def epoch(self) -> int:
        return self._writer.epoch

    async def shard(self, shard: int) -> ShardRecord | None:
        record: ShardRecord | None = await self._read(lambda: self._writer.tables.shard(shard))
        return record

    async def commit(self, steps: Sequence[Step]) -> None:
        size = sum(len(step.inputs) + len(step.checkpoint or b"") + 512 * len(step.signals) for step in steps)
        await self._write(lambda: self._writer.tables.commit(steps), size)

    async def sending(self, broker: str, first: int, last: int) -> None:
        await self._write(lambda: self._writer.tables.sending(broker, first, last))

    async def settle(self, outcomes: Sequence[Settled]) -> None:
        await self._write(lambda: self._writer.tables.settle(outcomes))

    async def last_number(self, broker: str) -> int:
        number: int = await self._read(lambda: self._writer.tables.last_number(broker))
        return number

    async def unsettled(self, broker: str, after: int, limit: int) -> Sequence[OutboxEntry]:
        entries: list[OutboxEntry] = await self._read(lambda: self._writer.tables.unsettled(broker, after, limit))
        return entries

    async def fates(self) -> Mapping[str, Mapping[Fate, int]]:
        fates: Mapping[str, Mapping[Fate, int]] = await self._read(self._fates)
        return fates

    async def dead_letters(self, broker: str | None = None) -> Sequence[OutboxEntry]:
        entries: list[OutboxEntry] = await self._read(lambda: self._writer.tables.dead_letters(broker))
        return entries

    async def revive(self, broker: str, numbers: Sequence[int], expires_ns: int) -> int:
        count: int = await self._write(lambda: self._writer.tables.revive(broker, numbers, expires_ns))
        return count

    async def killed(self) -> bool:
        return bool(await self._read(lambda: self._writer.tables.meta.get("killed", False)))

    async def set_killed(self, killed: bool) -> None:  # noqa: FBT001  as the port has it
        await self._write(lambda: self._writer.tables.set_meta("killed", killed))

    async def compact(self, *, keep_inputs: int, keep_settled: int) -> None:
        def piece() -> bool:
            return self._writer.tables.forget(keep_inputs=keep_inputs, keep_settled=keep_settled)

        while await self._write(piece):
            pass

    async def reset(self) -> None:
        """Forget the state of all shards and their inputs, so that another configuration can begin; the outbox stays."""
        await self._write(self._reset)

    async def inputs(self, shard: int, first: int = 0) -> AsyncIterator[tuple[int, int, bytes]]:
        def read() -> list[tuple[int, int, bytes]]:
            return self._writer.tables.inputs(shard, first)

        while page := await self._read(read):
            for step in page:
                yield step
            first = page[-1][0] + page[-1][1]

    async def close(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            self.give_up()
            await lane.alone(self._writer.close)
            lane.stop()

    def _reset(self) -> None:
        self._writer.tables.reset()

    def _fates(self) -> Mapping[str, Mapping[Fate, int]]:
        return self._writer.tables.book.fates()

    async def _read(self, work: Callable[[], Any]) -> Any:
        return await self._do(Call(work, writes=False))

    async def _write(self, work: Callable[[], Any], size: int = 0) -> Any:
        return await self._do(Call(work, size=size))

    async def _do(self, call: Call) -> Any:
        if self._lane is None:
            raise JournalFailed(f"{self._writer.place}: the journal is not open")
        return await self._lane.do(call)
