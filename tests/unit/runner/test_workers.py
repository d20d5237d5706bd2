"""The parent of workers: what it does when one is killed, fails, ends, or has its kill switch turned."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from anystrat.runner.workers import Workers


class Process:
    """A worker's process that does what the test writes down: words, and then perhaps a code to end with."""

    def __init__(self, *words: str, code: int | None = None, killed: bool = False) -> None:
        self.words, self.code, self.told = list(words), code, [killed]
        self.file_number, self._other = os.pipe()
        os.write(self._other, b"!")
        self.how = ""

    def heard(self) -> list[str]:
        said, self.words = self.words, []
        return said

    def ended(self) -> int | None:
        return self.code

    def drain(self) -> None:
        self.how, self.code = "drained", 0

    def end(self) -> None:
        self.how, self.code = "ended", -signal.SIGKILL


class Log:
    def info(self, event: str, **details: object) -> None: ...

    warning = info


class Parent:
    """Workers whose lives are in `lives`: for each number, the processes that are made one after the other."""

    def __init__(self, lives: dict[int, list[Process]], *, durable: bool = True, killed: bool = False) -> None:
        self.lives, self.now, self.started = lives, 0.0, []
        self.workers = Workers(
            lives,
            self._start,
            now=lambda: self.now,
            log=Log(),
            tell=lambda process, killed: process.told.append(killed),
            durable=durable,
            killed=killed,
        )
        self.workers._wait = self._pass

    def _pass(self, pause: float | None) -> None:
        self.now += pause or 0.001

    def _start(self, number: int, killed: bool) -> Process:
        process = self.lives[number].pop(0)
        process.told = [killed]
        self.started.append(number)
        return process


def test_a_worker_that_is_killed_is_started_again_and_the_run_ends_well():
    parent = Parent({0: [Process("running", code=-9), Process("running", code=0)], 1: [Process(code=0)]})
    assert parent.workers.run() == 0
    assert parent.started.count(0) == 2


def test_the_wait_of_one_that_never_comes_to_run_doubles():
    parent = Parent({0: [Process(code=-9) for _ in range(4)] + [Process(code=0)]})
    times = []
    start = parent._start
    parent.workers._start = lambda number, killed: times.append(parent.now) or start(number, killed)
    parent.workers.run()
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([1, 2, 4, 8], rel=0.01)


def test_what_is_killed_ends_the_run_where_its_journal_was_in_memory():
    other = Process("running")
    parent = Parent({0: [Process(code=-9)], 1: [other]}, durable=False)
    assert parent.workers.run() == 1
    assert other.how == "drained"


def test_one_that_fails_ends_the_run_with_its_code_and_the_others_are_drained():
    other = Process("running")
    parent = Parent({0: [other], 1: [Process("running", code=5)]})
    assert parent.workers.run() == 5
    assert other.how == "drained"


def test_signals_that_are_left_are_told_by_the_code_though_the_others_go_on_to_their_end():
    parent = Parent({0: [Process("undelivered", code=0)], 1: [Process('report {"x": 1}', code=0)]})
    assert parent.workers.run() == 1
    assert parent.workers.reports == {1: '{"x": 1}'}


def test_the_kill_switch_of_one_is_that_of_all_also_of_those_that_start_later():
    others = Process("running"), Process(code=0)
    others[0].words.append("killed")
    late = Process("running", code=0)
    parent = Parent({0: [Process("running", code=-9), late], 1: [others[0]]})

    def stop_after(pause: float | None) -> None:
        parent._pass(pause)
        if parent.now > 5:
            parent.workers.stop()

    parent.workers._wait = stop_after
    parent.workers.run()
    assert others[0].told == [False, True]
    assert late.told[0] is True


@pytest.mark.parametrize("killed", [True, False])
def test_they_begin_with_the_switch_as_the_journals_had_it(killed):
    process = Process(code=0)
    Parent({0: [process]}, killed=killed).workers.run()
    assert process.told == [killed]
