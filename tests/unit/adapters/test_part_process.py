"""A part's own process: it lives on the line to its member, and not longer than its lease."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from anystrat.adapters.part_process import GIVEN_UP, ForkedPart, Forks, forked, lease_clock_ns

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def waits(line):
    line.say("running")
    time.sleep(30)
    return 0


def started(work=waits, lease_sec=30.0, inherited=()) -> ForkedPart:
    part = forked(work, inherited, "part 3")
    part.tell(lease_clock_ns() + round(lease_sec * 1e9), killed=False)
    return part


def code_of(part: ForkedPart) -> int:
    deadline = time.monotonic() + 10
    while (code := part.ended()) is None:
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.005)
    return code


def said(part: ForkedPart) -> list[str]:
    assert select.select([part.file_number], [], [], 10)[0]
    return part.heard()


def test_it_says_what_it_is_and_ends_with_what_its_work_comes_to():
    part = started(lambda line: line.say("running") or 7)
    assert said(part) == ["running"]
    assert code_of(part) == 7


def test_without_a_renewal_it_ends_with_its_lease():
    began = time.monotonic()
    part = started(lease_sec=0.3)
    assert code_of(part) == GIVEN_UP
    assert 0.25 < time.monotonic() - began < 5


def test_a_renewal_lets_it_live():
    part = started(lease_sec=0.3)
    assert said(part) == ["running"]
    part.tell(lease_clock_ns() + 30 * 10**9, killed=False)
    time.sleep(0.5)
    assert part.ended() is None
    part.end()
    assert code_of(part) == -9


def test_when_its_member_is_gone_it_ends_though_a_sibling_lives():
    part = started()
    assert said(part) == ["running"]
    sibling = started(inherited=[part.file_number])
    assert said(sibling) == ["running"]
    part._line.close()  # what the system does for a process that is gone
    os.waitpid(part.pid, 0)
    assert sibling.ended() is None
    sibling.end()
    assert code_of(sibling) == -9


def test_one_that_is_told_to_drain_before_it_runs_ends_though_its_member_hears_sigterm_in_another_way():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:
        parts = [started() for _ in range(20)]
        for part in parts:
            part.drain()
        assert {code_of(part) for part in parts} == {-signal.SIGTERM}
        assert not heard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_that_one_has_ended_is_found_out_by_its_owner_alone_however_many_are_started_meanwhile():
    forks = Forks()
    first = forks.start(lambda line: line.say("running") or 7, [], "part 1")
    first.tell(lease_clock_ns() + 30 * 10**9, killed=False)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    second = forks.start(waits, [], "part 2")
    second.tell(lease_clock_ns() + 30 * 10**9, killed=False)
    assert first.file_number >= 0  # it is waited for, in `select`
    assert code_of(first) == 7
    second.end()
    assert code_of(second) == -9


def test_the_kill_switch_and_the_end_of_the_lease_close_it_for_signals():
    def work(line) -> int:
        line.say(f"first: {line.closed()}")
        while not line.killed:
            time.sleep(0.005)
        line.say(f"then: {line.closed()}")
        line.until_ns = lease_clock_ns()
        line.say(f"last: {line.closed()}")
        return 0

    part = started(work)
    assert said(part) == ["first: "]
    part.tell(lease_clock_ns() + 30 * 10**9, killed=True)
    code_of_words = []
    while len(code_of_words) < 2:
        code_of_words += said(part)
    assert code_of_words[0] == "then: the kill switch of the run is on"
    assert code_of_words[1].startswith("last: the lease of this part is over")
    code_of(part)
