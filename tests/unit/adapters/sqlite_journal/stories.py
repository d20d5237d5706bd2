"""A short run on a journal, and what can be asked of one afterwards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.contract.journal_places import QUICK, signal, step

from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.journal import Fate, Journal, Settled

SIGNALS = 4
FILES = ("", "-wal", "-shm", ".lock")


async def live(journal: Journal, acknowledged: list[str], count: int = SIGNALS) -> None:
    """Commit signals one at a time, send each; what was acknowledged is told as it happens."""
    for at in range(count):
        checkpoint = b"state" * 500 if at == 1 else None
        accepted = signal(at + 1, body=b"x" * 700)
        await journal.commit([step(at, 1, signals=[accepted], watermarks={"p": at}, checkpoint=checkpoint)])
        acknowledged.append(f"committed {at + 1}")
        await journal.sending("out", at + 1, at + 1)
        await journal.settle([Settled("out", at + 1, at + 1, Fate.DEAD if at == 2 else Fate.ACKED, "why")])
        acknowledged.append(f"settled {at + 1}")
    await journal.compact(keep_inputs=0, keep_settled=1)


async def contents(journal: Journal) -> list[Any]:
    """Everything that the port tells of a journal."""
    return [
        await journal.shard(0),
        await journal.unsettled("out", 0, 1_000),
        await journal.dead_letters(),
        await journal.fates(),
        await journal.last_number("out"),
        await journal.killed(),
        [each async for each in journal.inputs(0)],
    ]


def read(path: Path, *, further: bool = True) -> list[Any]:
    """The contents of a journal that is opened and, if `further`, taken a step on, as a runner would."""

    async def story() -> list[Any]:
        journal = SqliteFileJournal(path, vfs=QUICK, inline=True)
        await journal.open("config")
        try:
            found = await contents(journal)
            number = await journal.last_number("out") + 1
            begin = 0 if found[0] is None else found[0].next_input
            if further:
                await journal.commit([step(begin, 1, signals=[signal(number)])])
            return found
        finally:
            await journal.close()

    return asyncio.run(story())


def holds(path: Path, acknowledged: Sequence[str]) -> None:
    """Nothing that was acknowledged is missing, and nothing is there by half."""
    shard, _, _, fates, last, _, _ = read(path)
    counts = fates.get("out", {})
    committed = sum(each.startswith("committed") for each in acknowledged)
    settled = sum(each.startswith("settled") for each in acknowledged)
    inputs = 0 if shard is None else shard.next_input
    assert committed <= inputs <= committed + 1
    assert last == inputs  # a signal and its input are kept together, or not at all
    assert sum(counts.values()) == last
    assert settled <= last - counts.get(Fate.PENDING, 0) - counts.get(Fate.SENDING, 0) <= settled + 1


def copy(journal: Path, target: Path) -> Path:
    """The journal with the files beside it, as a crash at this moment would leave them."""
    for each in FILES:
        target.with_name(target.name + each).unlink(missing_ok=True)
        source = journal.with_name(journal.name + each)
        if source.exists() and each != "-shm":
            shutil.copy(source, target.with_name(target.name + each))
    return target
