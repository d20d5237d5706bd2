"""A journal that finds no room waits for it, and goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw
import pytest
from tests.contract.journal_places import signal, step
from tests.unit.adapters.sqlite_journal import stories

from anystrat.adapters.sqlite_journal import JournalFile, SqliteFileJournal
from anystrat.domain.journal import Fate, JournalFailed, Settled

LARGE = b"x" * 20_000
UNLIMITED = 1 << 30


def limit(journal: SqliteFileJournal, pages: int) -> None:
    """From now on the database may have so many pages more than it has."""
    connection = journal._writer._connection
    assert connection is not None
    held = connection.execute("PRAGMA page_count").fetchall()[0][0]
    connection.execute(f"PRAGMA max_page_count = {held + pages}").fetchall()


async def until_it_waits(journal: SqliteFileJournal) -> None:
    async with asyncio.timeout(10):
        while not journal.problem:  # noqa: ASYNC110  the journal is on another thread, which sets no event of ours
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("pages", range(8))
def test_commits_wait_for_room_and_are_all_there_once_there_is_some(tmp_path: Path, pages: int):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path)
        await journal.open("config")
        acknowledged: list[str] = []
        await stories.live(journal, acknowledged)
        limit(journal, pages)
        calls = [
            journal.commit([step(4 + at, 1, signals=[signal(5 + at, body=LARGE)], checkpoint=LARGE)]) for at in range(3)
        ]
        calls += [journal.sending("out", 5, 6), journal.settle([Settled("out", 5, 5, Fate.ACKED)])]
        waiting = asyncio.gather(*calls, journal.compact(keep_inputs=0, keep_settled=0))
        await until_it_waits(journal)
        assert not waiting.done()
        assert "no space is left for journal.db" in journal.problem
        assert f"free some on the disk of {tmp_path}" in journal.problem
        limit(journal, UNLIMITED)
        await waiting
        assert not journal.problem
        assert (await journal.fates())["out"] == {Fate.ACKED: 4, Fate.DEAD: 1, Fate.SENDING: 1, Fate.PENDING: 1}
        assert [each.signal.number for each in await journal.unsettled("out", 0, 9)] == [6, 7]
        await journal.close()

    asyncio.run(story())
    with JournalFile(path) as found:
        assert [each.signal.number for each in found.outbox()] == [3, 6, 7]


def test_what_waits_for_room_fails_when_nobody_waits_any_more_and_nothing_of_it_is_kept(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path)
        await journal.open("config")
        await journal.commit([step(0, 1, signals=[signal(1)])])
        limit(journal, 0)
        waiting = asyncio.ensure_future(journal.commit([step(1, 1, signals=[signal(2)], checkpoint=LARGE)]))
        await until_it_waits(journal)
        journal.give_up()
        with pytest.raises(JournalFailed, match="no space is left"):
            await waiting
        await journal.close()
        again = SqliteFileJournal(path)
        await again.open("config")
        assert await again.last_number("out") == 1
        await again.commit([step(1, 1, signals=[signal(2)], checkpoint=LARGE)])
        await again.close()

    asyncio.run(story())
    assert not [thread for thread in threading.enumerate() if "journal" in thread.name]


def test_closing_a_journal_does_not_wait_for_room(tmp_path: Path):
    async def story() -> None:
        journal = SqliteFileJournal(tmp_path / "journal.db")
        await journal.open("config")
        limit(journal, 0)
        waiting = asyncio.ensure_future(journal.commit([step(0, 1, checkpoint=LARGE)]))
        await until_it_waits(journal)
        await journal.close()
        with pytest.raises(JournalFailed):
            await waiting

    asyncio.run(story())


def test_another_runner_that_took_over_meanwhile_is_noticed_before_anything_is_written_again(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path)
        await journal.open("config")
        limit(journal, 0)
        waiting = asyncio.ensure_future(journal.commit([step(0, 1, checkpoint=LARGE)]))
        await until_it_waits(journal)
        (tmp_path / "journal.db.lock").unlink()
        # What it was about to write was taken back, so that the file is free.
        other = SqliteFileJournal(path, busy_timeout_sec=10)
        await other.open("config")
        limit(journal, UNLIMITED)
        with pytest.raises(JournalFailed, match="taken over by another runner"):
            await waiting
        await journal.close()
        await other.close()

    asyncio.run(story())
    assert apsw.Connection(str(path)).execute("SELECT count(*) FROM input").fetchall() == [(0,)]
