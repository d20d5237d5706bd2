"""An evaluation that is lost with a strategy's process: what the executor does then, and how a replay does the same."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from anystrat.domain.bars import BarKind, BarSpec
from anystrat.domain.configuration import RiskLimits, StrategyConfig
from anystrat.domain.errors import ProcessLost, RaisedElsewhere
from anystrat.domain.events import Command, EvaluationLost, Operation, ProcessReady, TimerDue, measured
from anystrat.domain.inputs import decoded_inputs, encoded_inputs
from anystrat.domain.isolation import Isolation
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import Noted, ProcessorFailed
from anystrat.domain.signal import SignalResult
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot

from .scripted import SECOND, Scripted, at, tick

RISK = RiskLimits(max_retries=2, error_window_ns=1_000 * SECOND, retry_backoff_ns=10 * SECOND)


def buy(market: Any, _: Any) -> SignalResult:
    return SignalResult("BUY", 0.9, 1, market.last_price)


def engine(processor: Any, **config: Any) -> Engine:
    made = Engine()
    row = StrategyConfig("s", "scripted", None, (1,), risk=RISK, isolation=Isolation())
    made.register(replace(row, **config), "paper", processor)
    return made


class Losing(Scripted):
    """Loses its process on the ticks at these seconds."""

    def __init__(self, *seconds: float) -> None:
        super().__init__(self.decide)
        self.seconds = {at(each) for each in seconds}

    def decide(self, market: Any, history: Any) -> SignalResult:
        if market.ts_ns in self.seconds:
            raise ProcessLost("it is gone")
        return buy(market, history)


def state(made: Engine) -> State:
    return made.executors[0].state


def test_a_lost_evaluation_is_an_error_until_there_is_a_process_and_the_wait_is_over() -> None:
    made = engine(Losing(1))
    _, note, moved = made.step(tick(1))
    assert isinstance(note, Noted)
    assert (note.kind, note.strategy_id) == ("evaluation_lost", "s")
    assert note.details == {"broker": "paper", "instrument": 1, "tick": 1, "why": "it is gone"}
    assert (moved.after, moved.trigger.value) == (State.ERROR, "process_lost")  # type: ignore[union-attr]
    assert made.waiting_for_process() == {"s"}
    made.step(tick(60))
    assert state(made) is State.ERROR
    made.step(ProcessReady(at(60), "another"))
    made.step(tick(61))
    assert state(made) is State.ERROR
    made.step(ProcessReady(at(61), "s"))
    assert made.waiting_for_process() == set()
    made.step(tick(62))
    assert state(made) is State.ACTIVE
    assert made.executors[0].counters()["errors"] == 1


def test_the_wait_doubles_and_after_the_last_retry_an_operator_has_to_say() -> None:
    made = engine(Losing(1, 12, 40, 61))
    made.step(tick(1))
    made.step(ProcessReady(at(2), "s"))
    made.step(tick(10))
    assert state(made) is State.ERROR
    made.step(tick(11))
    assert state(made) is State.ACTIVE
    made.step(tick(12))
    made.step(ProcessReady(at(13), "s"))
    made.step(tick(31))
    assert state(made) is State.ERROR
    made.step(tick(32))
    assert state(made) is State.ACTIVE
    made.step(tick(40))
    assert (state(made), made.waiting_for_process()) == (State.PAUSED, set())
    made.step(ProcessReady(at(41), "s"))
    made.step(tick(60))
    assert state(made) is State.PAUSED
    made.step(Command(Operation.RESUME, at(60), "s"))
    made.step(tick(61))
    assert state(made) is State.ERROR


def test_an_error_is_no_process_that_is_waited_for() -> None:
    made = engine(Scripted(lambda *_: 1 / 0), risk=replace(RISK, max_errors=0))
    made.step(tick(1))
    assert (state(made), made.waiting_for_process()) == (State.ERROR, set())
    made.step(ProcessReady(at(60), "s"))
    made.step(tick(11))
    assert state(made) is State.ERROR


@pytest.mark.parametrize("cut", [0, 1, 5, 6])
def test_a_replay_asks_nobody_where_the_run_lost_the_answer_and_everything_is_the_same(cut: int) -> None:
    live = engine(Losing(3, 25))
    events = [tick(each, 100 + each) for each in (1, 3, 12)]
    events += [ProcessReady(at(12), "s"), *(tick(each, 100 + each) for each in (14, 25, 26))]
    said, inputs = [], []
    for event in events:
        outcomes = live.step(event)
        said.append(outcomes)
        inputs += [list(measured(outcomes)), event]
    assert sum(isinstance(each, EvaluationLost) for found in inputs[::2] for each in found) == 2
    asked = Scripted(buy)
    again, replayed = [], engine(asked)
    for k, event in enumerate(events):
        for each in decoded_inputs(encoded_inputs(inputs[2 * k])):
            assert replayed.step(each) == []  # type: ignore[arg-type]
        if k == cut:
            before, replayed = replayed, engine(asked)
            restore(replayed, snapshot(before))
        again.append(replayed.step(event))
    assert repr(again) == repr(said)
    assert replayed.executors[0].counters() == live.executors[0].counters()
    assert replayed.losses.dump() == []


def test_the_loss_on_a_bar_that_a_timer_closed_is_replayed_too() -> None:
    minute = BarSpec(BarKind.EVERY, Decimal(60 * SECOND))
    live, replayed = engine(Losing(60), bars=minute), engine(Scripted(buy), bars=minute)
    live.step(tick(1))
    replayed.step(tick(1))
    closing = TimerDue(at(61))
    said = live.step(closing)
    (lost,) = measured(said)
    assert replayed.step(lost) == []  # type: ignore[arg-type]
    assert repr(replayed.step(closing)) == repr(said)
    assert state(replayed) is State.ERROR


def test_a_loss_that_cannot_come_any_more_is_noted() -> None:
    made = engine(Scripted(buy))
    for second in (1, 2):
        made.step(tick(second))
    (note,) = made.step(EvaluationLost(at(2), "s", "paper", 1, 1, "late"))
    assert isinstance(note, Noted)
    assert (note.kind, note.details["event"]) == ("misplaced_event", "evaluation_lost")
    assert made.losses.dump() == []


def test_what_a_strategy_raised_in_its_process_is_told_in_its_words() -> None:
    def elsewhere(*_: Any) -> None:
        raise RaisedElsewhere("ValueError: no good", "line 3")

    made = engine(Scripted(elsewhere))
    failed = made.step(tick(1))[-1]
    assert isinstance(failed, ProcessorFailed)
    assert (failed.error, failed.traceback) == ("ValueError: no good", "line 3")
    assert state(made) is State.ACTIVE
