"""What a writer does around its tables: who may write, what is marked, how it lets go."""

from __future__ import annotations

import asyncio
import os
import struct

import apsw
import pytest
from tests.contract.journal_places import QUICK, signal, step
from tests.unit.adapters.sqlite_journal import stories

from anystrat.adapters.sqlite_journal import SqliteFileJournal, writer
from anystrat.adapters.sqlite_journal.lock import Mark, look
from anystrat.domain.journal import JournalFailed, JournalRefused


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.db"


def told(path, story, *, close=True):
    async def run():
        journal = SqliteFileJournal(path, vfs=QUICK, inline=True, busy_timeout_sec=0.05)
        await journal.open("config")
        try:
            return await story(journal)
        finally:
            if close:
                await journal.close()

    return asyncio.run(run())


def commit(first, number):
    return lambda journal: journal.commit([step(first, 1, signals=[signal(number)])])


def changed(path, statement):
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


def sequence_of(path):
    (_, sequence), held = look(path)
    return sequence, held


def test_every_commit_is_marked_and_what_only_reads_is_none(path):
    async def story(journal):
        marks = [sequence_of(path)]
        for number in (1, 2):
            await commit(number - 1, number)(journal)
            marks.append(sequence_of(path))
        await journal.shard(0)
        await journal.killed()
        return [*marks, sequence_of(path)]

    assert told(path, story) == [(1, True), (2, True), (3, True), (3, True)]
    assert sequence_of(path) == (3, False)
    assert look(path)[0] == Mark(os.getpid(), 3)
    assert told(path, lambda journal: asyncio.sleep(0, sequence_of(path))) == (4, True)


def test_a_journal_that_ends_before_its_mark_is_refused(path):
    told(path, commit(0, 1))
    before = path.read_bytes()
    told(path, commit(1, 2))
    path.write_bytes(before)
    with pytest.raises(JournalRefused, match="says that commit 4 was acknowledged, and the journal ends with commit 2"):
        told(path, commit(1, 2))
    assert sequence_of(path) == (4, False)


def test_one_that_is_refused_is_given_back_and_left_as_it_is(path):
    told(path, commit(0, 1))
    changed(path, "UPDATE meta SET value = x'05' WHERE name = 'sequence'")
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(JournalRefused, match="it is damaged"):
            told(path, commit(1, 2))
        assert path.read_bytes() == before
        assert look(path)[1] is False


def test_one_of_another_configuration_keeps_its_log_as_it_is(path, tmp_path):
    async def crashed(journal):
        await commit(0, 1)(journal)
        return stories.copy(path, tmp_path / "crashed.db")

    left = told(path, crashed)
    files = [left, left.with_name("crashed.db-wal")]
    before = [each.read_bytes() for each in files]
    assert before[1]

    async def of_another():
        journal = SqliteFileJournal(left, vfs=QUICK, inline=True)
        with pytest.raises(JournalRefused, match="the state of another configuration"):
            await journal.open("another")

    asyncio.run(of_another())
    assert [each.read_bytes() for each in files] == before


def test_one_that_was_made_without_a_log_is_damaged(path):
    told(path, commit(0, 1))
    content = bytearray(path.read_bytes())
    content[18:20] = b"\1\1"
    path.write_bytes(content)
    with pytest.raises(JournalRefused, match=r"expected file format 2, found \[1, 1\]"):
        told(path, commit(1, 2))


def test_what_a_power_cut_left_of_a_journal_that_was_being_made_is_put_back(path):
    path.parent.mkdir()
    path.write_bytes(b"half of a page" + bytes(4_082))
    head = struct.pack(">8sIIIII", bytes.fromhex("d9d505f920a163d7"), 0, 7, 0, 512, 4_096)
    path.with_name("journal.db-journal").write_bytes(head + bytes(512 - len(head)))
    assert told(path, lambda journal: journal.last_number("out")) == 0


def test_who_writes_without_the_lock_is_noticed_on_opening(path, monkeypatch):
    told(path, commit(0, 1))
    for name in ("epoch", "sequence"):
        kept = writer.Writer._kept
        monkeypatch.setattr(
            writer.Writer, "_kept", lambda self, each, name=name, kept=kept: kept(self, each) + (each == name)
        )
        with pytest.raises(JournalRefused, match="in use by a process that does not hold its lock"):
            told(path, commit(1, 2))
        monkeypatch.undo()
    told(path, commit(1, 2))


def test_the_log_is_copied_once_it_is_long_and_not_before(path, monkeypatch):
    async def story(journal):
        log = path.with_name("journal.db-wal")
        empty = log.stat().st_size
        copied = []
        for number in range(1, 5):
            await commit(number - 1, number)(journal)
            pages = journal._writer._wal_pages
            journal._writer.rest()
            copied.append((pages, journal._writer._wal_pages))
        monkeypatch.setattr(writer, "_CHECKPOINT_PAGES", pages)
        journal._writer._wal_pages = pages
        journal._writer.rest()
        return empty, [*copied, (pages, journal._writer._wal_pages)]

    empty, copied = told(path, story)
    assert empty == 0  # opening leaves nothing in it
    pages = [before for before, _ in copied]
    assert pages[0] > 0
    # At last there are as many as are too many.
    assert [after for _, after in copied] == [*pages[:-1], 0]


def test_a_full_disk_keeps_the_log_and_another_error_ends_the_journal(path):
    async def story(journal):
        mine, real = journal._writer, journal._writer._connection

        class Broken:
            def __init__(self, error):
                self.error = error

            def __getattr__(self, name):
                return getattr(real, name)

            def wal_checkpoint(self, mode):
                assert mode == apsw.SQLITE_CHECKPOINT_PASSIVE
                raise self.error

        for error in (apsw.FullError("full"), apsw.IOError("broken")):
            mine._wal_pages, mine._connection = 10_000, Broken(error)
            mine.rest()
            if isinstance(error, apsw.FullError):
                await commit(0, 1)(journal)
        with pytest.raises(JournalFailed, match="the disk failed"):
            await commit(1, 2)(journal)
        mine._wal_pages = 10_000
        mine.rest()  # nothing more is tried
        return look(path)[1]

    assert told(path, story) is True
    assert look(path)[1] is False
    assert told(path, lambda journal: journal.last_number("out")) == 1


def test_a_journal_that_was_closed_well_leaves_no_log_and_one_that_failed_leaves_it_as_it_is(path):
    log = path.with_name("journal.db-wal")
    told(path, commit(0, 1))
    assert not log.exists()

    async def failing(journal):
        await commit(1, 2)(journal)
        journal._writer._fail(OSError("broken"))
        left = log.stat().st_size
        assert journal._writer._connection is None
        with pytest.raises(JournalFailed):
            await commit(2, 3)(journal)
        return left

    assert told(path, failing) > 0
    assert log.stat().st_size > 0
    assert told(path, lambda journal: journal.last_number("out")) == 2
    assert not log.exists()


def test_a_journal_is_made_anew_after_a_power_cut_met_its_making(path):
    told(path, commit(0, 1))
    path.unlink()
    path.with_name("journal.db.lock").unlink()
    path.write_bytes(b"")
    assert told(path, lambda journal: journal.last_number("out")) == 0
    assert told(path, lambda journal: journal.last_number("out")) == 0
