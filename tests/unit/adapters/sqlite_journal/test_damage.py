"""A journal that is not as it was written is refused and left alone; the message says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.journal_places import signal, step
from tests.unit.adapters.sqlite_journal import stories

from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.errors import MissingExtra
from anystrat.domain.journal import Fate, JournalRefused, Settled

PAGE = 4_096


async def _make(path: Path, crashed: Path | None = None) -> None:
    journal = SqliteFileJournal(path, inline=True)
    await journal.open("config")
    for at in range(12):
        await journal.commit([step(at, 1, signals=[signal(at + 1, body=b"x" * 700)], watermarks={"a": at})])
    await journal.commit([step(12, 1, signals=[signal(n) for n in range(13, 60)], checkpoint=b"c" * 6_000)])
    outcomes = [Settled("out", n, n, Fate(2 + n % 5), "why") for n in range(1, 40)]
    await journal.settle(outcomes)
    await journal.compact(keep_inputs=4, keep_settled=15)
    if crashed is not None:
        stories.copy(path, crashed)
    await journal.close()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    asyncio.run(_make(path))
    return path


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the kill of its process leaves one: all but the first commits are in the write-ahead log alone."""
    directory = tmp_path_factory.mktemp("journal")
    asyncio.run(_make(directory / "journal.db", directory / "crashed.db"))
    return directory / "crashed.db"


def _refused_or_the_same(original: Path, suffix: str, at: int, bit: int) -> None:
    target = original.with_name("flipped.db")
    expected = stories.read(stories.copy(original, target))
    stories.copy(original, target)
    flipped = target.with_name(target.name + suffix)
    content = bytearray(flipped.read_bytes())
    content[at % len(content)] ^= 1 << bit
    flipped.write_bytes(content)
    try:
        found = stories.read(target)
    except JournalRefused as error:
        refusal = str(error)
    else:
        assert found == expected  # a place where nothing is written
        return
    assert str(target) in refusal
    assert flipped.read_bytes() == bytes(content)  # untouched


def test_a_flipped_bit_in_any_page_is_found(closed: Path):
    pages = closed.stat().st_size // PAGE
    for page in range(pages):
        for offset in (0, 3, 9, PAGE - 3):
            _refused_or_the_same(closed, "", page * PAGE + offset, offset % 8)


@settings(max_examples=80)
@given(at=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(closed: Path, at: int, bit: int):
    _refused_or_the_same(closed, "", at, bit)


@settings(max_examples=40)
@given(at=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_log_of_a_killed_run_is_found(crashed: Path, at: int, bit: int):
    _refused_or_the_same(crashed, "-wal", at, bit)


def _refusal(path: Path, fingerprint: str | None = "config") -> str:
    async def story() -> None:
        journal = SqliteFileJournal(path)
        await journal.open(fingerprint)
        await journal.close()

    with pytest.raises(JournalRefused) as refused:
        asyncio.run(story())
    return str(refused.value)


def _edited(original: Path, statement: str) -> Path:
    target = stories.copy(original, original.with_name("edited.db"))
    connection = apsw.Connection(str(target))
    connection.execute(statement)
    connection.close()
    return target


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE fate SET fate = 2 WHERE first = 4", "table fate, broker number 1, signals 4 to"),
        ("UPDATE shard SET next_input = 99", "table shard, shard 0: its checksum"),
        ("UPDATE checkpoint SET data = x'00'", "table checkpoint, shard 0"),
        ("UPDATE broker SET last = 5", "table broker, broker 'out'"),
        ("UPDATE meta SET value = x'05' WHERE name = 'epoch'", "table meta, row 'epoch'"),
        ("DELETE FROM meta WHERE name = 'sequence'", "table meta: epoch or sequence is missing"),
        ("DELETE FROM signal WHERE last = 59", "broker 'out': expected 59 signals"),
        ("DELETE FROM fate WHERE first = 4", "broker 'out': expected 59 signals"),
        ("DELETE FROM broker", "a broker is missing"),
        ("DELETE FROM shard", "a row cannot be read: 0"),
        ("DELETE FROM input WHERE first = 12", "table input, shard 0: its last inputs"),
        ("DELETE FROM input WHERE first = 10", "inputs 10 to 10 are missing"),
        ("UPDATE input SET data = x'00' WHERE first = 10", "table input, shard 0, inputs from number 10 on"),
        ("UPDATE signal SET data = x'00'", "table signal, broker number 1, signals"),
        ("DROP TABLE fate", "the schema of table fate"),
        ("CREATE TABLE more (a)", "the schema of table more"),
        ("PRAGMA user_version = 9", "a newer anystrat made this journal (schema 9, this one knows up to 1)"),
        ("PRAGMA application_id = 9", "no journal of anystrat"),
    ],
)
def test_what_was_changed_by_another_hand_is_named(closed: Path, statement: str, words: str):
    target = _edited(closed, statement)
    before = target.read_bytes()
    assert words in _refusal(target)
    assert target.read_bytes() == before
    assert (
        not target.with_name(target.name + "-wal").exists() or not target.with_name(target.name + "-wal").stat().st_size
    )


def test_a_log_that_was_left_behind_is_missed(crashed: Path):
    target = stories.copy(crashed, crashed.with_name("alone.db"))
    target.with_name(target.name + "-wal").unlink()
    message = _refusal(target)
    assert "its write-ahead log (alone.db-wal) is damaged or missing" in message
    target.with_name(target.name + ".lock").unlink()  # as the message says
    assert stories.read(target)[4] == 0


def test_an_older_copy_in_the_place_of_a_journal_is_noticed(tmp_path: Path):
    path = tmp_path / "journal.db"
    stories.read(path)
    backup = path.read_bytes()
    stories.read(path)
    path.write_bytes(backup)
    assert "an older copy lies in its place" in _refusal(path)


@pytest.mark.parametrize(
    "content", [b"not a database at all, and longer than a header" * 40, b"SQLite format 3\0" + b"\1" * 500]
)
def test_another_file_is_no_journal(tmp_path: Path, content: bytes):
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    assert str(path) in _refusal(path)
    assert path.read_bytes() == content


def test_a_directory_is_no_journal(tmp_path: Path):
    assert "is a directory" in _refusal(tmp_path)


def test_another_configuration_says_what_can_be_done(closed: Path):
    message = _refusal(stories.copy(closed, closed.with_name("other.db")), "other")
    assert "the state of another configuration" in message
    assert "anystrat journal reset" in message


def test_who_holds_it_is_said(tmp_path: Path):
    async def story() -> str:
        journal = SqliteFileJournal(tmp_path / "journal.db")
        await journal.open("config")
        other = SqliteFileJournal(tmp_path / "." / "journal.db")
        with pytest.raises(JournalRefused) as refused:
            await other.open("config")
        await journal.close()
        return str(refused.value)

    assert f"in use by process {os.getpid()}" in asyncio.run(story())


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_its_owner_alone_can_read_its_files(tmp_path: Path):
    async def story() -> dict[str, int]:
        journal = SqliteFileJournal(tmp_path / "state" / "journal.db")
        await journal.open("config")
        await journal.commit([step(0, 1)])
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "state").iterdir()}
        await journal.close()
        return modes

    before = os.umask(0)
    try:
        modes = asyncio.run(story())
    finally:
        os.umask(before)
    assert modes == {f"journal.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}


def test_without_the_extra_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apsw", None)

    async def story() -> None:
        await SqliteFileJournal(tmp_path / "journal.db").open("config")

    with pytest.raises(MissingExtra, match=r"anystrat\[live\]"):
        asyncio.run(story())
    assert not list(tmp_path.iterdir())
