"""Members of a cluster over one table of leases: they share, take over, let go, and never both have a part."""

from __future__ import annotations

import os
from collections.abc import Collection

import pytest

from anystrat.domain.cluster import ClusterView, PartLease, PartState
from anystrat.domain.errors import AnystratError
from anystrat.runner.member import Member

LEASE = 10.0


class Away(AnystratError):
    """The database is."""


class Table:
    """The leases of one cluster, by a clock that the test moves."""

    def __init__(self, parts: int) -> None:
        self.now = 0.0
        self.rows = {part: ["", 0, 0.0, PartState.FREE, ""] for part in range(parts)}
        self.members: dict[str, float] = {}
        self.killed = False
        self.away: set[str] = set()

    def owners(self) -> list[str]:
        return [owner if until > self.now else "" for owner, _, until, _, _ in self.rows.values()]


class TableLeases:
    file_number = None

    def __init__(self, table: Table, member: str) -> None:
        self._table, self.member = table, member

    def join(self, layout: str) -> None:
        assert layout == "layout"

    def renew(self) -> frozenset[int]:
        table = self._there()
        table.members[self.member] = table.now + LEASE
        mine = {part for part, row in table.rows.items() if row[0] == self.member and row[2] > table.now}
        for part in mine:
            table.rows[part][2] = table.now + LEASE
        return frozenset(mine)

    def view(self) -> ClusterView:
        table = self._there()
        leases = (
            PartLease(part, owner, epoch, until - table.now, state, problem)
            for part, (owner, epoch, until, state, problem) in table.rows.items()
        )
        return ClusterView(
            tuple(leases), tuple(name for name, until in table.members.items() if until > table.now), table.killed
        )

    def take(self, most: int) -> list[tuple[int, int]]:
        table = self._there()
        free = [part for part, row in table.rows.items() if row[2] <= table.now][:most]
        for part in free:
            table.rows[part] = [self.member, table.rows[part][1] + 1, table.now + LEASE, PartState.STARTING, ""]
        return [(part, table.rows[part][1]) for part in free]

    def note(self, part: int, epoch: int, state: PartState) -> None:
        if self._there().rows[part][:2] == [self.member, epoch]:
            self._table.rows[part][3] = state

    def release(self, part: int, epoch: int, problem: str, hold_sec: float = 0.0) -> None:
        table = self._there()
        if table.rows[part][:2] == [self.member, epoch]:
            table.rows[part] = ["", epoch, table.now + hold_sec, PartState.FREE, problem]

    def leave(self) -> None:
        self._there().members.pop(self.member, None)

    def heard(self) -> None: ...

    def close(self) -> None: ...

    def _there(self) -> Table:
        if self.member in self._table.away:
            raise Away("the database is away")
        return self._table


class Part:
    """A part's process; it ends when it is told to, or when a test says so."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.until_ns, self.killed, self.words = 0, False, [PartState.RUNNING]
        self.file_number, self._other = os.pipe()
        self.how = ""

    def tell(self, until_ns: int, *, killed: bool) -> None:
        self.until_ns, self.killed = until_ns, killed

    def heard(self) -> Collection[str]:
        said, self.words = self.words, []
        return said

    def drain(self) -> None:
        self.code, self.how = 0, "drained"
        os.write(self._other, b"!")

    def end(self) -> None:
        self.code, self.how = -9, "ended"

    def ended(self) -> int | None:
        return self.code


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, event: str, **details: object) -> None:
        self.said.append(f"{event} {details}")

    warning = info


class Machine:
    """One member, whose loop the test turns by hand."""

    def __init__(self, table: Table, name: str) -> None:
        self.table, self.name, self.started = table, name, {}
        self.log = Log()
        self.member = Member(
            TableLeases(table, name), "layout", LEASE, self._start, now_ns=lambda: round(table.now * 1e9), log=self.log
        )

    def _start(self, part: int, epoch: int, until_ns: int) -> Part:
        self.started[part] = process = Part()
        process.until_ns = until_ns
        return process

    def turn(self) -> None:
        """What it does before it would wait."""
        self.member.beat()


@pytest.fixture
def table() -> Table:
    return Table(7)


def turned(*machines: Machine, times: int = 6, seconds: float = 1.0) -> None:
    for _ in range(times):
        for each in machines:
            each.turn()
        machines[0].table.now += seconds


def test_the_first_takes_all_and_gives_the_next_ones_their_share(table):
    a, b, c = (Machine(table, name) for name in "abc")
    turned(a)
    assert table.owners() == ["a"] * 7
    turned(a, b, c)
    assert sorted(map(table.owners().count, "abc")) == [2, 2, 3]
    assert {each.how for part, each in a.started.items() if table.owners()[part] != "a"} == {"drained"}
    before = table.owners()
    turned(a, b, c, times=30)
    assert table.owners() == before, "nothing wanders where everything is shared out"


def test_parts_of_a_member_that_is_gone_are_taken_once_its_lease_is_over(table):
    a, b = (Machine(table, name) for name in "ab")
    turned(a, b)
    lost = [part for part, owner in enumerate(table.owners()) if owner == "a"]
    turned(b, times=8)
    assert "b" not in {table.owners()[part] for part in lost}
    turned(b, times=4)
    assert table.owners() == ["b"] * 7
    assert [table.rows[part][1] for part in lost] == [2] * len(lost)


def test_a_part_is_told_until_when_it_may_act_from_before_the_renewal(table):
    a = Machine(table, "a")
    turned(a, times=3)
    assert {each.until_ns for each in a.started.values()} == {round((2 + LEASE) * 1e9)}


def test_without_the_database_nothing_is_renewed_and_nothing_is_ended_before_its_time(table):
    a = Machine(table, "a")
    turned(a)
    until = {each.until_ns for each in a.started.values()}
    table.away.add("a")
    turned(a, times=3)
    assert {each.until_ns for each in a.started.values()} == until
    assert all(each.code is None for each in a.started.values())
    assert sum("leases not renewed" in line for line in a.log.said) == 1
    table.away.clear()
    turned(a, times=1)
    assert min(each.until_ns for each in a.started.values()) > max(until)


def test_what_comes_back_too_late_ends_what_it_has_lost(table):
    a, b = Machine(table, "a"), Machine(table, "b")
    turned(a)
    table.away.add("a")
    table.now += LEASE + 1
    turned(b)
    table.away.clear()
    a.turn()
    assert {each.how for each in a.started.values()} == {"ended"}
    assert table.owners() == ["b"] * 7


def test_a_part_that_fails_is_left_alone_for_longer_each_time(table):
    a = Machine(table, "a")
    turned(a, times=2)
    holds = []
    for _ in range(3):
        a.started[0].code, a.started[0].words = 3, []
        a.turn()
        holds.append(table.rows[0][2] - table.now)
        assert "ended with 3 at a" in table.rows[0][4]
        table.now += holds[-1]
        a.started[0].words = []
        a.turn()
        a.started[0].words = []
    assert holds[:1] == [1.0]
    assert a.started[0].code is None


def test_a_stop_drains_everything_gives_it_back_and_leaves(table):
    a = Machine(table, "a")
    turned(a)
    a.member.stop()
    a.member.run()
    assert {each.how for each in a.started.values()} == {"drained"}
    assert table.owners() == [""] * 7
    assert table.members == {}


def test_the_kill_switch_of_the_cluster_reaches_every_part(table):
    a = Machine(table, "a")
    turned(a)
    table.killed = True
    a.turn()
    assert all(each.killed for each in a.started.values())
