"""A running service takes over rows that change in PostgreSQL, as soon as it is told."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.integration.cli_project import clean, command_line
from tests.servers import postgres_url

from anystrat.adapters.postgres_watch import PostgresWatch
from anystrat.config import configuration_from_mapping
from anystrat.domain.configuration import Secret, WatchedTable
from anystrat.domain.errors import ConfigurationError
from anystrat.strategies.builtin import builtin_catalog

pytestmark = pytest.mark.server


@pytest.fixture
def database() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def table(database: psycopg.Connection[Any]) -> str:
    """A table of one row, which notifies a channel of its own name, as the page on databases says."""
    name = f"rows_{uuid4().hex}"
    database.execute(
        f"CREATE TABLE {name} (id TEXT PRIMARY KEY, strategy_type TEXT, parameters JSONB, instruments JSONB)"
    )
    database.execute(
        f"CREATE FUNCTION told_{name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_notify('{name}', ''); RETURN NULL; END $$"
    )
    database.execute(
        f"CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION told_{name}()"
    )
    database.execute(f"INSERT INTO {name} VALUES ('a', 'momentum', '{{}}', '[1]')")
    return name


def until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and (said := json.loads(line))["event"] == event:
            return said
    raise AssertionError(f"it ended without saying {event!r}")


def test_a_run_takes_over_what_a_trigger_tells_of_and_refuses_what_is_wrong(
    tmp_path: Path, database: psycopg.Connection[Any], table: str
) -> None:
    (tmp_path / "run.yaml").write_text(
        "source: {type: synthetic, instruments: [1], start: now, pace: 1}\n"
        "log: {format: json}\n"
        f"strategies: {{from: '{postgres_url()}', table: {table}, watch: {table}}}\n"
    )
    with subprocess.Popen(
        command_line("run", "run.yaml", "--speed", "scalar"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=clean(),
    ) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        try:
            until(process, "service starts")
            # Whether it listens already or not: it reads once more when it does.
            database.execute(f"INSERT INTO {table} VALUES ('b', 'momentum', '{{}}', '[1]')")
            assert until(process, "configuration taken over")["changes"] == ["b: added"]
            database.execute(f"UPDATE {table} SET strategy_type = 'momentun' WHERE id = 'b'")
            refused = until(process, "configuration not taken over")
            assert any("momentun" in problem or "strategy_type" in problem for problem in refused["problems"]), refused
            database.execute(f"DELETE FROM {table} WHERE id = 'b'")
            assert until(process, "configuration taken over")["changes"] == ["b: removed"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            guard.cancel()
            process.kill()


def test_changes_that_come_together_are_one_and_a_lost_connection_is_made_again(
    database: psycopg.Connection[Any],
) -> None:
    channel = f"c {uuid4().hex}"
    words: list[str] = []

    async def story() -> None:
        changes: asyncio.Queue[None] = asyncio.Queue()

        async def changed() -> None:
            changes.put_nowait(None)

        watch = PostgresWatch(
            "postgresql+psycopg://" + postgres_url().partition("://")[2], channel, changed, words.append, wait_sec=0.01
        )
        task = asyncio.create_task(watch.run())
        try:
            await asyncio.wait_for(changes.get(), 10)
            for _ in range(5):
                database.execute("SELECT pg_notify(%s, '')", (channel,))
            await asyncio.wait_for(changes.get(), 10)
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'anystrat watch' "
                "AND query LIKE %s",
                (f"%{channel}%",),
            )
            await asyncio.wait_for(changes.get(), 10)
            database.execute("SELECT pg_notify(%s, '')", (channel,))
            await asyncio.wait_for(changes.get(), 10)
            assert changes.empty()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    assert len(words) == 1
    assert words[0].startswith(f"PostgreSQL, channel {channel}: ")  # in the driver's words, as it came to know


def test_a_server_that_is_away_is_told_of_without_its_password() -> None:
    words: list[str] = []

    async def story() -> None:
        async def changed() -> None: ...

        heard = asyncio.Event()

        def lost(text: str) -> None:
            words.append(text)
            heard.set()

        watch = PostgresWatch("postgresql://desk:CANARY@127.0.0.1:1/x", "c", changed, lost)
        task = asyncio.create_task(watch.run())
        await asyncio.wait_for(heard.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    assert words == ["PostgreSQL, channel c: OperationalError"]


def test_a_configuration_says_which_channel(table: str) -> None:
    rows = {"from": postgres_url(), "table": table, "watch": "c"}
    found = configuration_from_mapping({"strategies": [rows]}, builtin_catalog())
    assert found.watches == (WatchedTable(Secret(postgres_url()), "c"),)
    assert postgres_url() not in repr(found)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"from": "sqlite:///rows.db", "watch": "c"}, "only a PostgreSQL database says"),
        ({"from": "postgresql://h/d", "watch": ""}, "must be the name of a channel"),
        ({"from": "postgresql://h/d", "watch": "c" * 64}, "must be the name of a channel"),
        ({"from": "postgresql://h/d", "wacht": "c"}, "watch"),
    ],
)
def test_a_channel_that_cannot_be_is_refused(rows: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configuration_from_mapping({"strategies": rows}, builtin_catalog())
