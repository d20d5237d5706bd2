"""The commands that look into a journal, where it is in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import psycopg
import pytest
from tests.integration.cli_project import GOOD, Project
from tests.integration.conftest import project
from tests.integration.test_cli_journal import fill
from tests.servers import postgres_url

from anystrat.adapters.postgres_journal import PostgresSchemaJournal

__all__ = ["project"]

pytestmark = pytest.mark.server


@pytest.fixture
def schema(project: Project) -> str:
    name = f"look_{uuid4().hex}"
    project.config(GOOD + f"journal: {{type: postgres, url: '{postgres_url()}', schema: {name}}}\n")
    return name


@pytest.fixture
def journal(schema: str) -> str:
    async def story() -> None:
        journal = PostgresSchemaJournal(postgres_url(), schema)
        await fill(journal)
        await journal.close()

    asyncio.run(story())
    return schema


def test_info_verify_and_export_say_what_they_say_of_a_file(project: Project, journal: str):
    info = project.run("journal", "info", "--json").json
    assert (info["path"], info["in_use_by"], info["epoch"]) == (f"PostgreSQL, schema {journal}", None, 1)
    assert [(each["shard"], each["inputs"]) for each in info["shards"]] == [(0, 3), (1, 0)]
    assert info["bytes"] > 0
    assert project.run("journal", "verify", "--json").json["ok"]
    ticks = project.run("journal", "export", "--what", "ticks").out.splitlines()
    assert [json.loads(line)["price"] for line in ticks] == ["100.0", "100.5"]


def test_dead_letters_are_listed_and_sent_again_and_a_reset_keeps_them(project: Project, journal: str):
    letters = project.run("deadletters", "list", "--json").json["dead_letters"]
    assert [(each["number"], each["fate"]) for each in letters] == [(2, "dead"), (3, "unknown")]
    assert project.run("deadletters", "replay", "--all", "--json").json["revived"] == 2
    assert project.run("journal", "reset", "--yes").code == 0
    info = project.run("journal", "info", "--json").json
    assert info["shards"] == []
    assert info["brokers"]["out"]["pending"] == 4


def test_who_writes_it_is_told_and_what_is_damaged_is_refused(project: Project, journal: str):
    async def story() -> None:
        holder = PostgresSchemaJournal(postgres_url(), journal)
        await holder.open(None)
        try:
            shown = await asyncio.to_thread(project.run, "journal", "info")
            assert "in use         by a runner on" in shown.out
        finally:
            await holder.close()

    asyncio.run(story())
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        connection.execute(f'UPDATE "{journal}".shard SET next_input = next_input + 1 WHERE shard = 0')  # type: ignore[call-overload]
    project.run("journal", "verify").refused(1, f"PostgreSQL, schema {journal}: ", "shard")


def test_where_there_is_none_it_says_so(project: Project, schema: str):
    project.run("journal", "info").refused(1, f"PostgreSQL, schema {schema}: there is no journal")
    project.run("journal", "info", "--part", "0").refused(2, "has no `cluster`: there is no part 0")
