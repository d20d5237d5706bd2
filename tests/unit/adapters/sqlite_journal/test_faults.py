"""The disk under a journal fails at every place at which it can: nothing acknowledged is lost, nothing is there by half."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from tests.contract.journal_places import signal, step
from tests.unit.adapters.sqlite_journal import stories
from tests.unit.adapters.sqlite_journal.faulty_disk import FaultyDisk, disk_full, io_error

from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.journal import Fate, JournalFailed, JournalRefused, Settled

# What a VFS written in Python raises is told twice: by SQLite, which is what counts, and as ignored.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk("faulty")
    yield disk
    disk.unregister()


def attempt(path: Path) -> tuple[list[str], Exception | None]:
    """Live on the faulty disk for as long as it goes well: what was acknowledged, and what ended it."""
    acknowledged: list[str] = []

    async def story() -> None:
        journal = SqliteFileJournal(path, vfs="faulty", inline=True)
        try:
            await journal.open("config")
            await stories.live(journal, acknowledged)
        finally:
            await journal.close()

    try:
        asyncio.run(story())
    except (JournalFailed, JournalRefused) as error:
        return acknowledged, error
    return acknowledged, None


@pytest.mark.parametrize(("fail", "words"), [(io_error, "the disk"), (disk_full, "no space is left")])
def test_a_disk_that_fails_at_any_operation_loses_nothing_that_was_acknowledged(
    tmp_path: Path, disk: FaultyDisk, fail: Callable[[str], None], words: str
):
    disk.fail = fail
    at = failures = 0
    error: Exception | None = JournalFailed()
    while error is not None or disk.operations >= at:
        at += 1
        disk.operations, disk.fails_at, disk.failed = 0, at, []
        path = tmp_path / f"{at}.db"
        acknowledged, error = attempt(path)
        stories.holds(path, acknowledged)
        if error is not None:
            failures += 1
            assert words in str(error), (at, error)
            assert str(path) in str(error)
        if fail is io_error and acknowledged:  # while the file is made, SQLite may still put it back as it was
            assert len(disk.failed) <= 1, f"operation {at} was tried again: {disk.failed}"
    assert failures > 60
    assert len(acknowledged) == 2 * stories.SIGNALS


def test_a_disk_that_is_full_for_a_moment_leaves_no_journal_without_its_log(tmp_path: Path, disk: FaultyDisk):
    disk.fail, disk.once = disk_full, True
    for at in range(1, 40):
        disk.operations, disk.fails_at, disk.failed = 0, at, []
        path = tmp_path / f"{at}.db"
        acknowledged, error = attempt(path)
        disk.fails_at = None
        if error is None:
            assert path.read_bytes()[18:20] == bytes([2, 2]), f"operation {at} left a journal without a write-ahead log"
        stories.holds(path, acknowledged)


def test_after_an_error_nothing_goes_any_more_and_nothing_is_tried_again(tmp_path: Path, disk: FaultyDisk):
    async def story() -> None:
        journal = SqliteFileJournal(tmp_path / "journal.db", vfs="faulty")
        await journal.open("config")
        await journal.commit([step(0, 1, signals=[signal(1)])])
        disk.fails_at, disk.operations, disk.once = 1, 0, True
        with pytest.raises(JournalFailed, match="everything that was acknowledged is kept"):
            await journal.commit([step(1, 1)])
        for call in (journal.commit([step(1, 1)]), journal.shard(0), journal.sending("out", 1, 1), journal.fates()):
            with pytest.raises(JournalFailed, match="the disk"):
                await call
        await journal.close()
        assert disk.operations == 1

    asyncio.run(story())
    assert stories.read(tmp_path / "journal.db")[4] == 1


def test_all_calls_of_a_group_that_fails_are_told(tmp_path: Path, disk: FaultyDisk):
    async def story() -> list[object]:
        journal = SqliteFileJournal(tmp_path / "journal.db", vfs="faulty")
        await journal.open("config")
        disk.fails_at, disk.operations = 1, 0
        calls = [journal.commit([step(at, 1, signals=[signal(at + 1)])]) for at in range(10)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        await journal.close()
        return list(found)

    assert {type(each) for each in asyncio.run(story())} == {JournalFailed}
    assert stories.read(tmp_path / "journal.db")[0] is None


def test_a_sync_of_the_database_that_fails_between_commits_ends_the_run(tmp_path: Path, disk: FaultyDisk):
    async def story() -> None:
        journal = SqliteFileJournal(tmp_path / "journal.db", vfs="faulty", inline=True)
        await journal.open("config")
        committed = 0
        disk.only = "journal.db"
        disk.fails_at, disk.operations = 1, 0
        error: JournalFailed | None = None
        while error is None:
            try:
                await journal.commit([step(committed, 1, checkpoint=b"x" * 1_000_000)])
                committed += 1
            except JournalFailed as failed:
                error = failed
        assert "the disk" in str(error)
        await journal.close()
        assert 0 < committed < 100
        disk.fails_at = None
        kept = SqliteFileJournal(tmp_path / "journal.db", inline=True)
        await kept.open("config")
        record = await kept.shard(0)
        assert record is not None
        assert record.next_input == committed
        await kept.close()

    asyncio.run(story())


def test_another_program_that_locks_the_database_is_waited_for_and_not_for_ever(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path, busy_timeout_sec=0.2)
        await journal.open("config")
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(journal.commit([step(0, 1)]))
        await asyncio.sleep(0.05)
        other.execute("ROLLBACK")
        await waiting
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match=r"more than 0\.2 s"):
            await journal.commit([step(1, 1)])
        other.execute("ROLLBACK")
        other.close()
        await journal.close()

    asyncio.run(story())
    assert stories.read(path)[0].next_input == 1


def test_a_reader_does_not_hold_commits_up(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path, busy_timeout_sec=0.1)
        await journal.open("config")
        reader = apsw.Connection(str(path))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchall()
        for at in range(20):
            await journal.commit([step(at, 1, signals=[signal(at + 1)])])
            await journal.settle([Settled("out", at + 1, at + 1, Fate.ACKED)])
        reader.close()
        await journal.close()

    asyncio.run(story())
