"""The lock file: held by one, told to others, with a mark that a torn write does not forge."""

from __future__ import annotations

import os

import pytest

from anystrat.adapters.sqlite_journal import lock
from anystrat.adapters.sqlite_journal.lock import Held, LockFile, Mark, lock_path, look


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def pauses(monkeypatch):
    made = []
    monkeypatch.setattr(lock.time, "sleep", made.append)
    return made


def test_a_lock_that_was_never_taken_is_free_and_says_nothing(journal):
    assert look(journal) == (None, False)
    mine = LockFile(journal)
    assert mine.take() is None
    assert look(journal) == (None, True)


def test_the_mark_stays_when_the_lock_is_given_back_and_the_next_one_finds_it(journal):
    mine = LockFile(journal)
    mine.take()
    for sequence in (7, 8, 1 << 40):
        mine.mark(sequence)
        assert look(journal) == (Mark(os.getpid(), sequence), True)
    mine.release()
    mine.release()  # once more changes nothing
    assert look(journal) == (Mark(os.getpid(), 1 << 40), False)
    following = LockFile(journal)
    assert following.take() == Mark(os.getpid(), 1 << 40)
    following.release()


def test_who_comes_second_tries_a_few_times_and_is_told_who_holds_it(journal, pauses):
    first, second = LockFile(journal), LockFile(journal)
    first.take()
    with pytest.raises(Held, match="another process"):
        second.take()
    assert pauses == [lock._PAUSE_SEC] * (lock._TRIES - 1)
    first.mark(3)
    opened = os.dup(second_file := os.open(journal.parent, os.O_RDONLY))
    os.close(opened)
    with pytest.raises(Held, match=f"process {os.getpid()}"):
        second.take()
    free = os.dup(second_file)
    os.close(free)
    os.close(second_file)
    assert free == opened  # it keeps no file open
    second.release()
    assert look(journal) == (Mark(os.getpid(), 3), True)


def test_who_only_looks_for_an_instant_keeps_nobody_away(journal, monkeypatch):
    looking, mine = LockFile(journal), LockFile(journal)
    looking.take()
    monkeypatch.setattr(lock.time, "sleep", lambda _: looking.release())
    assert mine.take() is None
    assert mine._file >= 0
    # A look lets go at once.
    look(journal)
    mine.release()
    assert LockFile(journal).take() is None


@pytest.mark.parametrize("at", range(20))
def test_a_torn_mark_is_none(journal, at):
    mine = LockFile(journal)
    mine.take()
    mine.mark(77)
    mine.release()
    path = lock_path(journal)
    whole = path.read_bytes()
    assert len(whole) == 20
    path.write_bytes(whole[:at])
    assert look(journal) == (None, False)
    path.write_bytes(bytes(each ^ (k == at) for k, each in enumerate(whole)))
    assert look(journal) == (None, False)


def test_what_lies_behind_the_mark_is_not_of_it(journal):
    mine = LockFile(journal)
    mine.take()
    mine.mark(77)
    mine.release()
    with lock_path(journal).open("ab") as file:
        file.write(b"more")
    assert look(journal) == (Mark(os.getpid(), 77), False)
