"""A strategy's process that does as a script of a few lines says: it answers, hangs, ends, grows, never gets ready."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anystrat.adapters import strategy_process
from anystrat.adapters.process_messages import Answer, AnsweringEnd, Ask, AskingEnd, Build, Ready, Refused, encoded
from anystrat.adapters.strategy_process import ProcessRefused, StrategyProcess
from anystrat.bootstrap import strategy_process_main
from anystrat.domain.errors import ProcessLost
from anystrat.domain.health import ProcessState
from anystrat.domain.isolation import Isolation

QUESTION = encoded(Ask(0, 1, anew=True, ticks=[]))
# It imports nothing of anystrat, so that it is there at once; what it says is made here.
SCRIPT = f"""
import os, socket, struct, sys, time
end = socket.socket(fileno=int(sys.argv[-1]))
def asked():
    left, = struct.unpack("<I", end.recv(4))
    while left: left -= len(end.recv(left))
def ready(): end.sendall({encoded(Ready())!r})
def refuse(): end.sendall({encoded(Refused("there is no such strategy"))!r})
def answer(): end.sendall({encoded(Answer())!r})
asked()
"""

Making = Callable[..., StrategyProcess]


@pytest.fixture
def started() -> Iterator[Making]:
    made: list[StrategyProcess] = []

    def start(then: str, **isolation: Any) -> StrategyProcess:
        command = (sys.executable, "-I", "-S", "-c", SCRIPT + then)
        made.append(StrategyProcess(command, Build("s", "momentum", {}, ()), Isolation(**isolation)))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.close()


def loss(process: StrategyProcess) -> str:
    """Ask once, in vain; in which words."""
    with pytest.raises(ProcessLost) as lost:
        process.ask(process.connection(), QUESTION)
    return str(lost.value)


def test_it_answers_and_is_gone_once_it_is_closed(started: Making) -> None:
    process = started("ready()\nwhile True:\n    asked(); answer()")
    assert process.wait(10)
    assert process.ask(process.connection(), QUESTION) == Answer()
    health = process.health()
    assert (health.state, health.restarts, health.problem) == (ProcessState.READY, 0, "")
    assert health.pid is not None
    assert health.resident_bytes > 10**6
    process.close()
    with pytest.raises(ProcessLost, match="not there"):
        process.connection()


def test_one_that_hangs_is_killed_at_its_deadline_and_another_takes_its_place(started: Making) -> None:
    process = started("ready()\nasked()\nwhile True: pass", deadline_ms=60)
    assert process.wait(10)
    first, pid = process.connection(), process.health().pid
    began = time.monotonic()
    assert loss(process) == "its process did not answer within 60 ms, and was killed"
    assert time.monotonic() - began < 5
    assert process.wait(10)
    assert process.connection() is not first
    assert process.health().pid != pid
    assert (process.health().restarts, process.health().problem[:30]) == (1, "its process did not answer wit")
    ((ready, _),) = process.news()
    assert ready
    assert process.news() == []
    with pytest.raises(ProcessLost, match="not there any more"):
        process.ask(first, QUESTION)


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("os._exit(3)", "its process ended by itself, with exit code 3"),
        ("os.kill(os.getpid(), 11)", "its process was ended by SIGSEGV"),
        ("end.sendall(b'\\x01\\0\\0\\0\\xc1'); time.sleep(9)", "its process said what is no answer, and was killed"),
    ],
    ids=["exit", "crash", "nonsense"],
)
def test_one_that_ends_or_talks_nonsense_is_lost(started: Making, then: str, why: str) -> None:
    process = started(f"ready()\nasked()\n{then}")
    assert process.wait(10)
    assert loss(process) == why


def test_one_that_takes_too_much_memory_is_killed_while_it_grows(started: Making) -> None:
    grow = "ready()\nasked()\nheld = []\nwhile True: held.append(b'x' * (1 << 20))"
    process = started(grow, memory_mb=100, deadline_ms=60_000)
    assert process.wait(10)
    assert loss(process).endswith("MB of memory, of 100 MB that it may, and was killed")


def test_one_that_never_gets_ready_is_given_up_and_tried_again_when_it_is_asked(
    started: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_process, "_PAUSE_SEC", 0.0)
    process = started("os._exit(7)")
    assert not process.wait(10)
    assert process.health().state is ProcessState.FAILED
    assert process.news() == [(False, "while it was built, it ended by itself, with exit code 7")]
    with pytest.raises(ProcessLost, match="exit code 7"):
        process.connection()
    assert not process.wait(10)
    assert len(process.news()) == 1


def test_who_came_before_it_was_ready_is_told_when_it_is(started: Making) -> None:
    process = started("time.sleep(0.2)\nready()\nwhile True:\n    asked(); answer()")
    assert not process.wait(0)
    with pytest.raises(ProcessLost, match="its process is not there yet"):
        process.connection()
    assert process.wait(10)
    ((ready, _),) = process.news()
    assert ready
    assert process.ask(process.connection(), QUESTION) == Answer()


def test_one_that_refuses_its_strategy_says_why_and_is_not_tried_again(
    started: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_process, "_PAUSE_SEC", 60.0)
    process = started("refuse()")
    with pytest.raises(ProcessRefused, match="strategy 's' cannot have a process to itself: there is no such strategy"):
        process.wait(10)
    assert len(process.news()) == 1


def test_a_strategys_process_ends_when_its_standard_input_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    ours, theirs = os.pipe()
    monkeypatch.setattr(strategy_process_main, "_INPUT", ours)
    monkeypatch.setattr(os, "_exit", ended.append)
    os.write(theirs, b"what nobody reads")
    os.close(theirs)
    strategy_process_main._end_with_the_service()
    os.close(ours)
    assert ended == [0]


def test_a_process_that_does_not_know_its_strategy_says_what_it_knows() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encoded(Build("s", "momentun", {}, ())))
        strategy_process_main._serve(AnsweringEnd(theirs))
        reply = AskingEnd(ours).exchange(b"", 1)
    assert isinstance(reply, Refused)
    assert "did you mean 'momentum'?" in reply.why
    assert reply.why.endswith("It knows what is built in, and plug-ins of installed packages")
