"""What is PostgreSQL's own in its journal: lost connections, other tables, damage, and runs of the command itself."""

from __future__ import annotations

import asyncio
import signal as signals
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.contract.journal_places import signal, step
from tests.integration.cli_project import clean, process
from tests.servers import postgres_url

from anystrat.adapters.postgres_journal import PostgresSchemaJournal
from anystrat.domain.journal import Journal, JournalFailed, JournalRefused, OutboxEntry, ShardRecord

pytestmark = pytest.mark.server
ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import asyncio, sys
from tests.contract.journal_places import signal, step
from anystrat.adapters.postgres_journal import PostgresSchemaJournal

async def main():
    journal = PostgresSchemaJournal(sys.argv[1], sys.argv[2])
    await journal.open("config")
    record = await journal.shard(0)
    at = record.next_input if record else 0
    while True:
        await journal.commit([step(at, 1, signals=[signal(at + 1)])])
        at += 1
        print(at, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def schema() -> str:
    return f"journal_{uuid4().hex}"


def told(schema: str, story: Callable[[Journal], Awaitable[Any]]) -> Any:
    async def live() -> Any:
        journal = PostgresSchemaJournal(postgres_url(), schema)
        await journal.open("config")
        try:
            return await story(journal)
        finally:
            await journal.close()

    return asyncio.run(live())


def asked(statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        cursor = connection.execute(statement, values)  # type: ignore[call-overload]  # a test's own text
        return cursor.fetchall() if cursor.description is not None else []


def writers() -> list[int]:
    return [row[0] for row in asked("SELECT pid FROM pg_stat_activity WHERE application_name = 'anystrat journal'")]


async def kept(journal: Journal) -> tuple[ShardRecord | None, list[OutboxEntry]]:
    return await journal.shard(0), list(await journal.unsettled("out", 0, 1_000_000))


def test_what_a_killed_process_was_told_is_kept_is_there_and_the_next_one_goes_on(tmp_path: Path, schema: str) -> None:
    command = [sys.executable, "-c", WRITER, postgres_url(), schema]
    environment = clean(PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")
    committed = 0
    for round_ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as child:
            assert child.stdout is not None
            for _ in range(5 + round_):
                assert child.stdout.readline()
            child.send_signal(signals.SIGKILL)
            said = child.stdout.read().splitlines(keepends=True)
        committed = max([committed + 5, *(int(line) for line in said if line.endswith("\n"))])
        record, outbox = told(schema, kept)
        assert record is not None
        assert record.next_input >= committed
        assert [each.signal.number for each in outbox] == list(range(1, record.next_input + 1))
        committed = record.next_input


def test_a_lost_connection_ends_the_journal_and_the_next_one_has_what_was_acknowledged(schema: str) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit([step(0, 1, signals=[signal(1)])])
        for pid in writers():
            asked("SELECT pg_terminate_backend(%s)", pid)
        with pytest.raises(JournalFailed, match="everything that was acknowledged is kept"):
            await journal.commit([step(1, 1, signals=[signal(2)])])
        with pytest.raises(JournalFailed, match="everything that was acknowledged is kept"):
            await journal.last_number("out")

    told(schema, story)
    record, outbox = told(schema, kept)
    assert record is not None
    assert record.next_input == 1
    assert [each.signal for each in outbox] == [signal(1)]


def test_who_comes_second_is_told_who_writes(schema: str) -> None:
    async def story(_: Journal) -> None:
        with pytest.raises(JournalRefused, match=rf"in use by a runner on .* \(backend {writers()[0]}\)"):
            await PostgresSchemaJournal(postgres_url(), schema).open("config")

    told(schema, story)


def test_a_table_of_somebody_else_is_left_alone(schema: str) -> None:
    asked(f"CREATE SCHEMA {schema}")
    asked(f"CREATE TABLE {schema}.meta (answer BIGINT)")
    asked(f"INSERT INTO {schema}.meta VALUES (42)")
    with pytest.raises(JournalRefused, match="no journal's; name another schema"):
        told(schema, kept)
    assert asked(f"SELECT * FROM {schema}.meta") == [(42,)]
    tables = asked("SELECT count(*) FROM information_schema.tables WHERE table_schema = %s", schema)
    assert tables == [(1,)]


def test_a_changed_row_is_found_and_named(schema: str) -> None:
    told(schema, lambda journal: journal.commit([step(0, 3)]))
    asked(f"UPDATE {schema}.input SET count = 4")
    with pytest.raises(
        JournalRefused, match="table input, shard 0, inputs from number 0 on: its checksum does not fit"
    ):
        told(schema, kept)


def test_more_steps_than_are_fetched_at_once_are_all_read(schema: str) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit([step(at, 1) for at in range(100)])
        assert [first async for first, _, _ in journal.inputs(0)] == list(range(100))
        assert [first async for first, _, _ in journal.inputs(0, 97)] == [97, 98, 99]

    told(schema, story)


def test_a_run_goes_on_from_it(tmp_path: Path, schema: str) -> None:
    prices = [100, 101, 103, 102, 100, 104, 107, 103, 101, 99]
    rows = [f"{1_700_000_000_000_000_000 + n * 10**10},1,{price}" for n, price in enumerate(prices)]
    (tmp_path / "ticks.csv").write_text("\n".join(["ts_ns,instrument_token,price", *rows]) + "\n")
    (tmp_path / "run.yaml").write_text(
        f"source: {{type: file, path: ticks.csv}}\n"
        f"journal: {{type: postgres, url: '{postgres_url()}', schema: {schema}}}\n"
        "brokers: {out: {type: jsonl, path: out.jsonl}}\n"
        "strategies:\n"
        "  - {id: m, strategy_type: momentum, parameters: {lookback_periods: 2, threshold: 0.005}, instruments: [1],"
        " brokers: [out]}\n"
    )
    first = process("-q", "run", "run.yaml", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    sent = (tmp_path / "out.jsonl").read_text()
    assert sent.count("\n") > 3
    again = process("-q", "run", "run.yaml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out.jsonl").read_text() == sent


_FULL = """
CREATE TABLE {0}.full_disk (so BOOLEAN);
INSERT INTO {0}.full_disk VALUES (true);
CREATE FUNCTION {0}.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF EXISTS (SELECT FROM {0}.full_disk) THEN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END IF;
RETURN NEW; END $$;
"""
_TRIGGER = "CREATE {2} TRIGGER full_{1} AFTER INSERT ON {0}.{1} {3} FOR EACH ROW EXECUTE FUNCTION {0}.no_room();"


@pytest.mark.parametrize(
    ("kind", "when"),
    [("", ""), ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED")],
    ids=["in a statement", "in the commit"],
)
def test_commits_wait_while_the_servers_disk_is_full_and_are_all_there_once_there_is_room(schema, kind, when):
    async def story(journal: PostgresSchemaJournal) -> None:
        await journal.commit([step(0, 1, signals=[signal(1)])])
        with psycopg.connect(postgres_url(), autocommit=True) as other:
            other.execute(_FULL.format(schema))
            other.execute(_TRIGGER.format(schema, "input", kind, when))
            waiting = asyncio.gather(*(journal.commit([step(at, 1, signals=[signal(at + 1)])]) for at in (1, 2)))
            async with asyncio.timeout(10):
                while not journal.problem:  # noqa: ASYNC110  the journal is on another thread, which sets no event of ours
                    await asyncio.sleep(0.01)
            assert f"no space is left for the schema {schema}" in journal.problem
            assert not waiting.done()
            other.execute(f"DELETE FROM {schema}.full_disk")
            await waiting
        assert not journal.problem
        assert [each.signal.number for each in await journal.unsettled("out", 0, 9)] == [1, 2, 3]

    told(schema, story)


def test_whoever_gives_up_waiting_for_room_is_told_and_nothing_of_it_is_kept(schema):
    async def story(journal: PostgresSchemaJournal) -> None:
        with psycopg.connect(postgres_url(), autocommit=True) as other:
            other.execute(_FULL.format(schema))
            other.execute(_TRIGGER.format(schema, "input", "", ""))
            journal.give_up()
            with pytest.raises(JournalFailed, match="could not extend file"):
                await journal.commit([step(0, 1, signals=[signal(1)])])

    told(schema, story)
    assert told(schema, lambda journal: journal.unsettled("out", 0, 9)) == []


def test_a_server_that_does_not_sync_is_told_of(schema):
    said: list[str] = []

    async def story() -> None:
        journal = PostgresSchemaJournal(postgres_url(), schema, on_weak=said.append)
        await journal.open("config")
        await journal.close()

    asyncio.run(story())
    assert said == ["fsync = off"]  # the tests' server
