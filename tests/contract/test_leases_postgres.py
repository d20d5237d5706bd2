"""Leases on parts in a real PostgreSQL, and the journal that a stalled owner cannot write any more."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest
from tests.contract.journal_places import signal, step
from tests.integration.cli_project import Project
from tests.integration.conftest import project
from tests.servers import postgres_url

from anystrat.adapters.postgres_journal import PostgresSchemaJournal
from anystrat.adapters.postgres_leases import Claim, ClusterRefused, LeasesUnavailable, PostgresLeases
from anystrat.domain.cluster import PartState
from anystrat.domain.journal import JournalFailed, JournalRefused

__all__ = ["project"]

pytestmark = pytest.mark.server


@pytest.fixture
def schema() -> str:
    return f"cluster_{uuid4().hex}"


@pytest.fixture
def leases(schema: str) -> Iterator[Callable[..., PostgresLeases]]:
    """Members of one cluster, joined."""
    with ExitStack() as made:

        def join(member: str, lease_sec: float = 30.0, parts: int = 3) -> PostgresLeases:
            found = PostgresLeases(postgres_url(), schema, parts, member=member, lease_sec=lease_sec)
            made.callback(found.close)
            found.join(f"{parts} parts")
            return found

        yield join


def test_a_part_is_one_members_until_its_lease_is_over(leases: Callable[..., PostgresLeases]) -> None:
    a, b = leases("a", 0.2), leases("b")
    a.renew()
    b.renew()
    assert sorted(a.take(2)) == [(0, 1), (1, 1)]
    assert b.take(3) == [(2, 1)]
    view = b.view()
    assert [(each.owner, each.state, each.taken) for each in view.leases] == [
        ("a", PartState.STARTING, True), ("a", PartState.STARTING, True), ("b", PartState.STARTING, True)
    ]  # fmt: skip
    assert view.members == ("a", "b")
    time.sleep(0.25)
    assert sorted(b.take(3)) == [(0, 2), (1, 2)]
    assert a.renew() == frozenset()
    assert b.renew() == {0, 1, 2}
    # What one says that has lost it changes nothing.
    a.note(0, 1, PartState.RUNNING)
    a.release(0, 1, "")
    assert [each.owner for each in b.view().leases] == ["b"] * 3
    b.release(0, 2, "ended with 3", hold_sec=30)
    assert (b.view().leases[0].problem, b.view().leases[0].taken, b.take(1)) == ("ended with 3", False, [])
    b.release(1, 2, "")
    assert b.take(3) == [(1, 3)]
    b.leave()
    assert "b" not in b.view().members


def test_a_kill_switch_is_told_at_once_and_another_layout_is_refused(leases: Callable[..., PostgresLeases]) -> None:
    a, b = leases("a"), leases("b")
    a.renew()
    b.set_killed(on=True)
    assert select.select([a.file_number], [], [], 5)[0]
    a.heard()
    assert a.view().killed
    with pytest.raises(ClusterRefused, match=r"shares its run out as 3 parts, and this configuration as 4 parts"):
        leases("c", parts=4)


def test_a_database_that_is_away_is_said_without_its_address() -> None:
    with pytest.raises(LeasesUnavailable) as refused:
        PostgresLeases("postgresql://who:secret-word@127.0.0.1:1/x", "s", 1).view()
    assert "secret-word" not in str(refused.value)


def test_whoever_takes_a_part_over_puts_a_stalled_owner_out_and_that_one_writes_nothing_more(
    schema: str, leases: Callable[..., PostgresLeases]
) -> None:
    a, b = leases("a", 0.2, parts=1), leases("b", parts=1)
    part, name = 0, f"{schema}_0"
    assert a.take(1) == [(part, 1)]
    stalled = PostgresSchemaJournal(postgres_url(), name, Claim(schema, part, "a", 1))
    taking = PostgresSchemaJournal(postgres_url(), name, Claim(schema, part, "b", 2))

    async def story() -> None:
        await stalled.open("config")
        await stalled.commit([step(0, 1, signals=[signal(1)])])
        with pytest.raises(JournalRefused, match="the lease of this part is over"):
            await PostgresSchemaJournal(postgres_url(), name, Claim(schema, part, "b", 2)).open("config")
        await stalled.sending("out", 1, 1)
        await asyncio.sleep(0.25)
        assert b.take(1) == [(part, 2)]
        # The stalled one still holds its connection and its lock.
        await taking.open("config")
        assert [each.signal.number for each in await taking.unsettled("out", 0, 9)] == [1]
        with pytest.raises(JournalFailed):
            await stalled.commit([step(1, 1, signals=[signal(2)])])
        with pytest.raises(JournalFailed):
            await stalled.sending("out", 1, 1)
        with pytest.raises(JournalRefused, match="the lease of this part is over"):
            await PostgresSchemaJournal(postgres_url(), name, Claim(schema, part, "a", 1)).open("config")
        await taking.commit([step(1, 1, signals=[signal(2)])])
        await stalled.close()
        await taking.close()

    asyncio.run(story())


def test_status_and_kill_speak_of_all_parts(
    project: Project, schema: str, leases: Callable[..., PostgresLeases]
) -> None:
    project.config(
        "version: 1\ncluster: {parts: 3}\nsource: {type: nats, url: 'nats://localhost'}\n"
        f"journal: {{type: postgres, url: '{postgres_url()}', schema: {schema}}}\n"
        "strategies:\n  - {id: m, strategy_type: momentum, instruments: [1, 2], per_instrument: true}\n"
    )
    project.run("status").refused(1, "the leases in PostgreSQL, schema " + schema)
    a = PostgresLeases(postgres_url(), schema, 3, member="a/1")
    with closing(a):
        a.join("3 parts of TICKS, ticks.{part}.>")
        a.renew()
        taken = dict(a.take(2))
        for part, epoch in taken.items():
            a.note(part, epoch, PartState.RUNNING)
        answer = project.run("status", "--json")
        assert answer.code == 1
        assert answer.json["members"] == [{"member": "a/1", "parts": [0, 1]}]
        assert [(each["owner"], each["state"]) for each in answer.json["parts"]] == [
            ("a/1", "running"), ("a/1", "running"), (None, "free")
        ]  # fmt: skip
        assert sum(each["instruments"] for each in answer.json["parts"]) == 2
        shown = project.run("status")
        assert "Not every part runs" in shown.out
        assert project.run("kill", "on").out == "The kill switch is on for all parts: nothing is sent.\n"
        assert a.view().killed
        assert project.run("kill", "off", "--json").json == {"schema_version": 1, "on": False, "members": ["a/1"]}
