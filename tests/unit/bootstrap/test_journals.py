"""The journal that a configuration asks for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.contract.journal_places import signal, step

from anystrat.bootstrap.journals import (
    journal_in,
    kept,
    look_into_journal,
    open_journal,
    reset_journal,
    revive_dead_letters,
)
from anystrat.domain.configuration import JournalSettings, Secret
from anystrat.domain.endpoints import MemoryJournal, PostgresJournal, SqliteJournal
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.journal import Fate, Journal, JournalRefused, Settled


def run(journal: Journal, fingerprint: str | None = "config") -> int:
    async def story() -> int:
        await journal.open(fingerprint)
        record = await journal.shard(0)
        begin = record.next_input if record else 0
        await journal.commit([step(begin, 1, signals=[signal(await journal.last_number("out") + 1)])])
        await journal.close()
        return begin

    return asyncio.run(story())


def test_without_settings_it_is_in_memory():
    for settings in (None, JournalSettings("memory", MemoryJournal(keep_settled=5))):
        journal = open_journal(settings)
        assert run(journal) == 0


def test_a_file_goes_on_where_it_was(tmp_path: Path):
    settings = JournalSettings("sqlite", SqliteJournal(tmp_path / "journal.db"))
    assert [run(open_journal(settings)) for _ in range(3)] == [0, 1, 2]


def test_what_is_kept_is_what_the_configuration_says(tmp_path: Path):
    asked = SqliteJournal(tmp_path / "journal.db", keep_inputs=7, keep_settled=5)
    assert kept(JournalSettings("sqlite", asked)) == (7, 5)
    assert kept(JournalSettings("memory", MemoryJournal(keep_settled=3))) == (100_000, 3)
    assert kept(None) == (100_000, 10_000)


def test_a_type_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ConfigurationError, match="allowed: sqlite, postgres, memory"):
        open_journal(JournalSettings("own", {}))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://desk:CANARY@127.0.0.1:1/postgres",
        "postgresql://desk@127.0.0.1:1/postgres?password=CANARY",
        "postgresql://desk:CANARY@127.0.0.1:port/postgres",
        "postgresql://desk@127.0.0.1:1/postgres?frobnicate=CANARY",
    ],
)
def test_a_server_that_cannot_be_reached_is_told_of_without_its_password(url: str):
    settings = JournalSettings("postgres", PostgresJournal(Secret(url), keep_inputs=4))
    assert kept(settings) == (4, 100_000)
    with pytest.raises(JournalRefused, match="PostgreSQL, schema public: no connection: ") as refused:
        run(open_journal(settings))
    assert "CANARY" not in str(refused.value)


def test_a_reset_keeps_the_outbox_and_takes_another_configuration(tmp_path: Path):
    path = tmp_path / "journal.db"
    settings = JournalSettings("sqlite", SqliteJournal(path))
    run(open_journal(settings))
    with pytest.raises(JournalRefused, match="another configuration"):
        run(open_journal(settings), "other")
    reset_journal(journal_in(path))
    with look_into_journal(path) as found:
        assert found.shards == {}
        assert found.kept_inputs() == {}
        assert [entry.signal.number for entry in found.outbox()] == [1]
    assert run(open_journal(settings), "other") == 0


def test_dead_letters_are_made_pending(tmp_path: Path):
    path = tmp_path / "journal.db"

    async def story() -> None:
        journal = open_journal(JournalSettings("sqlite", SqliteJournal(path)))
        await journal.open("config")
        await journal.commit([step(0, 1, signals=[signal(1), signal(2), signal(3)])])
        await journal.settle([Settled("out", 1, 3, Fate.DEAD, "gone")])
        with pytest.raises(JournalRefused, match="in use by process"):
            await asyncio.to_thread(revive_dead_letters, path, {"out": [1]}, 0)
        await journal.close()

    asyncio.run(story())
    assert revive_dead_letters(path, {"out": [1, 3], "nobody": [4]}, 77) == 2
    with look_into_journal(path) as found:
        assert [(each.fate, each.signal.expires_ns) for each in found.outbox()] == [
            (Fate.PENDING, 77),
            (Fate.DEAD, 0),
            (Fate.PENDING, 77),
        ]
        assert [each.signal.number for each in found.outbox(dead=True)] == [2]
