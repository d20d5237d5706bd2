"""Transactions on a disk that fills up at any statement: what found no room is done again, whole and in order."""

from __future__ import annotations

import apsw
import pytest

from anystrat.adapters.journal_tables import room as room_module
from anystrat.adapters.journal_tables.room import Room
from anystrat.adapters.sqlite_journal.transaction import Transactions


class Connection:
    """Notes what is executed; `full` are the numbers of the statements that find no room. SQLite may end the transaction then."""

    def __init__(self, full=(), *, ends=False):
        self.full, self.ends = set(full), ends
        self.log, self.made = [], 0
        self.in_transaction = False

    def _one(self, statement, *rows):
        self.made += 1
        if self.made in self.full:
            self.log.append(f"{statement}: full")
            self.in_transaction = self.in_transaction and not self.ends
            raise apsw.FullError
        self.log.append(" ".join([statement, *map(str, rows)]))
        if statement.startswith("BEGIN"):
            assert not self.in_transaction
        self.in_transaction = statement not in {"COMMIT", "ROLLBACK"}

    def execute(self, statement, values=()):
        if statement.startswith("SELECT"):
            return [("found", *values)]
        return self._one(statement)

    def executemany(self, statement, rows):
        self._one(statement, *rows)


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(room_module, "_AGAIN_SEC", 0.001)
    made = Room("journal.db", str(tmp_path))
    made.be_patient()
    return made


def lived(connection, room, check=lambda: None):
    work = Transactions(connection, room, check)
    work.begin(writes=True)
    assert work.execute("INSERT a", (1,)) == ()
    work.executemany("INSERT b", iter([(2,), (3,)]))
    work.executemany("INSERT c", [])
    work.commit()
    work.begin(writes=False)
    work.commit()
    return connection.log


WHOLE = ["BEGIN IMMEDIATE", "INSERT a (1,)", "INSERT b (2,) (3,)", "COMMIT"]
READ = ["BEGIN", "COMMIT"]


def test_with_room_each_statement_is_executed_once(room):
    assert lived(Connection(), room) == [*WHOLE, *READ]


@pytest.mark.parametrize("ends", [False, True], ids=["the transaction stays", "the transaction is gone"])
@pytest.mark.parametrize("at", [2, 3, 4])
def test_what_finds_no_room_is_given_up_and_done_again_from_its_beginning(at, ends, room):
    log = lived(Connection([at], ends=ends), room)
    statement = WHOLE[at - 1].split(" (")[0]
    tried = [*WHOLE[: at - 1], f"{statement}: full", *([] if ends else ["ROLLBACK"])]
    assert log == [*tried, *WHOLE, *READ]
    assert room.problem == ""


def test_it_is_tried_until_there_is_room_and_said_meanwhile(room, monkeypatch):
    said = []
    monkeypatch.setattr(room._given_up, "wait", lambda seconds: said.append((seconds, room.problem)))
    log = lived(Connection([3, 4, 7], ends=True), room)
    assert log == [*WHOLE[:2], "INSERT b: full", "BEGIN IMMEDIATE: full", *WHOLE[:2], "INSERT b: full", *WHOLE, *READ]
    assert [seconds for seconds, _ in said] == [0.001] * 3
    assert all("no space is left for journal.db: nothing is taken in" in problem for _, problem in said)
    assert room.problem == ""


@pytest.mark.parametrize("at", [2, 4])
def test_where_nobody_waits_for_room_the_error_is_raised_and_nothing_stays(at, room):
    room.give_up()
    connection = Connection([at])
    with pytest.raises(apsw.FullError):
        lived(connection, room)
    assert connection.log[-1] == "ROLLBACK"
    assert room.problem == ""


def test_nobody_waits_before_somebody_says_so(tmp_path):
    assert Room("journal.db", str(tmp_path)).wait() is False


def test_who_gives_up_while_it_is_waited_ends_the_waiting(room, monkeypatch):
    monkeypatch.setattr(room_module, "_AGAIN_SEC", 60)
    monkeypatch.setattr(room._given_up, "wait", lambda _: True)
    connection = Connection([2])
    with pytest.raises(apsw.FullError):
        lived(connection, room)
    assert connection.log == ["BEGIN IMMEDIATE", "INSERT a: full", "ROLLBACK"]


def test_whether_it_may_write_still_is_asked_in_each_transaction_also_in_one_that_is_done_again(room):
    asked = []

    def check():
        asked.append(len(connection.log))

    connection = Connection([3])
    lived(connection, room, check)
    # After the BEGIN of the first, of its second attempt, and of the one that reads.
    assert asked == [1, 5, 9]

    def taken_over():
        raise RuntimeError("taken over")

    connection = Connection()
    work = Transactions(connection, room, taken_over)
    with pytest.raises(RuntimeError, match="taken over"):
        work.begin(writes=True)


def test_what_a_query_finds_is_handed_on_and_not_done_again(room):
    connection = Connection([2])
    work = Transactions(connection, room, lambda: None)
    work.begin(writes=True)
    assert list(work.execute("SELECT x", (4,))) == [("found", 4)]
    work.execute("INSERT a", (1,))
    work.commit()
    assert connection.log == [
        "BEGIN IMMEDIATE",
        "INSERT a: full",
        "ROLLBACK",
        "BEGIN IMMEDIATE",
        "INSERT a (1,)",
        "COMMIT",
    ]
