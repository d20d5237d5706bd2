"""What a compaction does to the file, beyond what the contract sees of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import msgspec
import pytest
from tests.contract.journal_places import QUICK, signal, step

from anystrat.adapters.journal_tables import compaction
from anystrat.adapters.sqlite_journal import JournalFile, SqliteFileJournal
from anystrat.domain.inputs import encoded_inputs, joined_inputs
from anystrat.domain.journal import Fate, Settled
from anystrat.testing.ticks import columns, row

MANY = 1_000_000


def rows(path: Path, statement: str) -> list[tuple[int, ...]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found = connection.execute(statement).fetchall()
    connection.close()
    return found


def test_signals_that_were_committed_one_by_one_are_joined_into_full_rows(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path, vfs=QUICK, inline=True)
        await journal.open("config")
        for number in range(1, 601):
            await journal.commit([step(number - 1, 1, signals=[signal(number)])])
        await journal.settle([Settled("out", 100, 100, Fate.DEAD)])
        await journal.compact(keep_inputs=MANY, keep_settled=MANY)
        assert rows(path, "SELECT first, last, count FROM signal WHERE count > 1") == [(1, 256, 256), (257, 512, 256)]
        assert rows(path, "SELECT count(*) FROM signal") == [(2 + 600 - 512,)]
        found = await journal.unsettled("out", 0, MANY)
        assert [each.signal for each in found] == [signal(number) for number in range(1, 601) if number != 100]
        await journal.close()

    asyncio.run(story())
    with JournalFile(path) as found:
        assert sum(1 for _ in found.outbox()) == 600


def test_inputs_that_were_committed_one_by_one_are_joined_into_full_rows_as_far_as_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compaction, "_INPUTS", 8)
    path = tmp_path / "journal.db"
    single = [encoded_inputs([columns([row(7, str(100 + at), at)])]) for at in range(40)]

    def kept() -> list[tuple[int, ...]]:
        return rows(path, "SELECT first, count FROM input ORDER BY first")

    async def story() -> None:
        journal = SqliteFileJournal(path, vfs=QUICK, inline=True)
        await journal.open("config")
        for at, data in enumerate(single):
            made = step(at, 1, checkpoint=b"state" if at == 20 else None)
            await journal.commit([msgspec.structs.replace(made, inputs=data)])
        await journal.compact(keep_inputs=MANY, keep_settled=MANY)
        # Full rows up to the checkpoint after input 20, and what a restart repeats as it was.
        alone = [(at, 1) for at in range(16, 40)]
        assert kept() == [(0, 8), (8, 8), *alone]
        found = [each async for each in journal.inputs(0, 0)]
        assert joined_inputs([data for *_, data in found]) == joined_inputs(single)
        record = await journal.shard(0)
        assert record is not None
        assert [data for *_, data in record.since] == single[21:]
        await journal.commit([step(40, 1, checkpoint=b"later")])
        await journal.compact(keep_inputs=MANY, keep_settled=MANY)
        assert kept()[:5] == [(0, 8), (8, 8), (16, 8), (24, 8), (32, 8)]
        await journal.close()

    asyncio.run(story())
    with JournalFile(path) as found:
        assert found.meta["sequence"]


def test_bytes_that_are_no_inputs_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compaction, "_INPUTS", 4)

    async def story() -> None:
        journal = SqliteFileJournal(tmp_path / "journal.db", vfs=QUICK, inline=True)
        await journal.open("config")
        steps = [step(at, 1, checkpoint=b"state") for at in range(12)]
        await journal.commit(steps)
        await journal.compact(keep_inputs=MANY, keep_settled=MANY)
        assert [each async for each in journal.inputs(0, 0)] == [(one.first, 1, one.inputs) for one in steps]
        await journal.close()

    asyncio.run(story())


def test_a_compaction_that_finds_nothing_writes_nothing(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> list[object]:
        journal = SqliteFileJournal(path, vfs=QUICK)
        await journal.open("config")
        await journal.commit([step(0, 1, signals=[signal(1)])])
        commits = []
        for _ in range(3):
            with JournalFile(path) as found:
                commits.append(found.meta["sequence"])
            await journal.compact(keep_inputs=MANY, keep_settled=MANY)
        await journal.close()
        return commits

    assert asyncio.run(story()) == [2, 2, 2]


def test_the_file_stays_as_large_as_what_is_kept(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> list[int]:
        journal = SqliteFileJournal(path, vfs=QUICK, inline=True)
        await journal.open("config")
        sizes = []
        for turn in range(6):
            for at in range(turn * 60, turn * 60 + 60):
                await journal.commit(
                    [step(at, 1, signals=[signal(at + 1, body=b"x" * 5_000)], checkpoint=b"c" * 5_000)]
                )
            await journal.settle([Settled("out", turn * 60 + 1, turn * 60 + 60, Fate.ACKED)])
            await journal.compact(keep_inputs=5, keep_settled=5)
            sizes.append(path.stat().st_size)
        await journal.close()
        return [*sizes, path.stat().st_size]

    sizes = asyncio.run(story())
    assert max(sizes) < 3 * 60 * 6_000
