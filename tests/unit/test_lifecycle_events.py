"""The lifecycle as it happens inside the engine: operators, timers, failed deliveries and errors, all in event time."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from anystrat.domain.configuration import RiskLimits, StrategyConfig
from anystrat.domain.errors import InvalidTransition
from anystrat.domain.events import Command, DeliveryFailed, Operation, TimerDue
from anystrat.domain.lifecycle import State, Trigger, can
from anystrat.domain.outcomes import Noted, Outcome, Transition
from anystrat.engine.engine import Engine

from .engine.scripted import SECOND, Rig, Scripted, at, tick

NANO = Decimal("0.000000001")
PAUSE, RESUME, STOP, KILL, UNKILL = (
    Operation.PAUSE,
    Operation.RESUME,
    Operation.STOP,
    Operation.KILL,
    Operation.UNKILL,
)


def active(**fields: Any) -> Rig:
    rig = Rig(**fields)
    rig.tick(0)
    assert rig.state == "ACTIVE"
    return rig


def crash(*_: Any) -> None:
    raise RuntimeError("boom")


# --------------------------------------------------------------------------------------------- into each of the states


def warmup() -> Rig:
    return Rig(length=2)


def paused() -> Rig:
    rig = active()
    rig.command(PAUSE, 1)
    return rig


def in_error() -> Rig:
    rig = active(risk=RiskLimits(max_errors=0, retry_backoff_ns=10**6 * SECOND))
    rig.processor.answer = crash
    rig.step(tick(1))
    rig.processor.answer = None
    return rig


def stopped() -> Rig:
    rig = active()
    rig.command(STOP, 1)
    return rig


STATES: dict[str, Callable[[], Rig]] = {
    "WARMUP": warmup,
    "ACTIVE": active,
    "PAUSED": paused,
    "ERROR": in_error,
    "STOPPED": stopped,
}
LEGAL = {
    ("WARMUP", PAUSE): "PAUSED",
    ("ACTIVE", PAUSE): "PAUSED",
    ("ERROR", PAUSE): "PAUSED",
    ("PAUSED", RESUME): "ACTIVE",
    ("PAUSED", PAUSE): "PAUSED",
    ("WARMUP", STOP): "STOPPED",
    ("ACTIVE", STOP): "STOPPED",
    ("PAUSED", STOP): "STOPPED",
    ("ERROR", STOP): "STOPPED",
}


@pytest.mark.parametrize("operation", [PAUSE, RESUME, STOP])
@pytest.mark.parametrize("state", STATES)
def test_an_operators_command_moves_where_the_table_says_and_raises_elsewhere(state: str, operation: Operation) -> None:
    rig = STATES[state]()
    assert rig.state == state
    after = LEGAL.get((state, operation))
    if after is None:
        with pytest.raises(InvalidTransition, match=f"{state} has no transition on"):
            rig.command(operation, 9, "s")
        assert rig.state == state
    else:
        rig.command(operation, 9, "s")
        assert rig.state == after
        (moved,) = [outcome for outcome in rig.out if isinstance(outcome, Transition)]
        assert (moved.strategy_id, moved.broker, moved.ts_ns) == ("s", "paper", at(9))
        assert rig.executor.last_transition_ns == at(9)


@pytest.mark.parametrize("operation", [PAUSE, RESUME, STOP])
@pytest.mark.parametrize("state", STATES)
def test_a_command_for_all_passes_over_those_that_it_does_not_fit(state: str, operation: Operation) -> None:
    rig = STATES[state]()
    rig.command(operation, 9)
    assert rig.state == LEGAL.get((state, operation), state)


@pytest.mark.parametrize("state", STATES)
def test_every_state_agrees_with_the_table(state: str) -> None:
    assert can(State[state], Trigger.STOP) == (state != "STOPPED")
    assert (state, RESUME) not in LEGAL or can(State[state], Trigger.OPERATOR_RESUME)


@pytest.mark.parametrize("state", ["PAUSED", "ERROR", "STOPPED"])
def test_what_is_not_active_evaluates_nothing_and_drops_nothing_while_windows_and_fills_go_on(state: str) -> None:
    rig = STATES[state]()
    before = rig.processor.calls
    rig.engine.state.make_room(0, 0, 0)
    rig.engine.state.book.pending.quantity[0], rig.engine.state.book.slot.pending_count[0] = 10, 1
    assert rig.tick(2, 103, "BUY") == ""
    assert [fill.price for fill in rig.fills] == [103.0]
    assert rig.processor.calls == before
    assert rig.executor.counters()["drops"] == {}
    assert rig.engine.windows[0].row(0).price == 103.0


# ------------------------------------------------------------------------------------------------------------ operators


def fleet(*names: str, brokers: tuple[str, ...] = ("paper",)) -> tuple[Engine, Callable[[], dict[str, str]]]:
    engine = Engine()
    for name in names:
        for broker in brokers:
            engine.register(StrategyConfig(name, "scripted", None, (1,)), broker, Scripted())
    engine.step(tick(0))
    return engine, lambda: {f"{each.strategy_id}/{each.broker}": each.state.name for each in engine.executors}


def test_a_command_reaches_the_strategy_and_the_broker_that_it_names() -> None:
    engine, states = fleet("a", "b", brokers=("paper", "out"))
    engine.step(Command(PAUSE, at(1), "a", "out"))
    assert states() == {"a/paper": "ACTIVE", "a/out": "PAUSED", "b/paper": "ACTIVE", "b/out": "ACTIVE"}
    engine.step(Command(PAUSE, at(1), "b"))
    assert states() == {"a/paper": "ACTIVE", "a/out": "PAUSED", "b/paper": "PAUSED", "b/out": "PAUSED"}
    engine.step(Command(RESUME, at(1)))
    assert set(states().values()) == {"ACTIVE"}
    engine.step(Command(STOP, at(1), None, "out"))
    assert states() == {"a/paper": "ACTIVE", "a/out": "STOPPED", "b/paper": "ACTIVE", "b/out": "STOPPED"}


def test_a_strategy_that_an_operator_paused_stays_so_whatever_time_passes() -> None:
    rig = paused()
    assert rig.tick(10**7, 100, "BUY") == ""
    rig.step(TimerDue(at(10**8)))
    assert rig.state == "PAUSED"


def test_a_strategy_that_was_paused_while_warming_up_waits_for_its_window_when_it_is_resumed() -> None:
    rig = Rig(length=3)
    rig.tick(0)
    rig.command(PAUSE, 0)
    rig.command(RESUME, 0)
    assert rig.state == "ACTIVE"
    assert rig.tick(1, 100, "BUY") == ""
    assert rig.tick(2, 100, "BUY") == "emitted"


def test_windows_fill_while_paused_so_that_a_resumed_strategy_decides_at_once() -> None:
    rig = active(length=1)
    rig.command(PAUSE, 1)
    for k in range(2, 6):
        rig.tick(k, 100 + k)
    rig.command(RESUME, 6)
    assert rig.tick(7, 100, "BUY") == "emitted"


# ---------------------------------------------------------------------------------------------------------- kill switch


def test_the_kill_switch_drops_every_signal_as_killed_until_it_is_released() -> None:
    rig = active()
    rig.command(KILL, 1)
    assert rig.out == [Noted("killed", at(1))]
    assert rig.tick(2, 100, "BUY") == "killed"
    assert rig.tick(3, 100, "BUY", quantity=-1, confidence=9) == "killed"
    assert rig.state == "ACTIVE"
    rig.command(UNKILL, 4)
    assert rig.out == [Noted("unkilled", at(4))]
    assert rig.tick(5, 100, "BUY") == "emitted"


def test_the_kill_switch_is_for_all_whatever_strategy_is_named() -> None:
    engine, _ = fleet("a", "b")
    engine.step(Command(KILL, at(1), "a"))
    assert engine.killed


def test_the_kill_switch_survives_a_restart() -> None:
    rig = active()
    rig.command(KILL, 1)
    rig.reborn()
    assert rig.tick(2, 100, "BUY") == "killed"
    rig.command(UNKILL, 3)
    rig.reborn()
    assert rig.tick(4, 100, "BUY") == "emitted"


def test_a_killed_engine_still_fills_what_waits_and_still_holds() -> None:
    rig = active()
    rig.tick(1, 100, "BUY", 10)
    rig.command(KILL, 1)
    assert rig.tick(2, 105, "HOLD") == "held"
    assert [fill.price for fill in rig.fills] == [105.0]


# ------------------------------------------------------------------------------------------------------------- delivery


def test_a_signal_in_the_dead_letters_pauses_its_executor_and_no_other() -> None:
    engine, states = fleet("a", "b", brokers=("paper", "out"))
    outcomes = engine.step(DeliveryFailed(at(3), "a", "out", "00" * 16))
    assert states() == {"a/paper": "ACTIVE", "a/out": "PAUSED", "b/paper": "ACTIVE", "b/out": "ACTIVE"}
    (moved,) = [outcome for outcome in outcomes if isinstance(outcome, Transition)]
    assert (moved.trigger, moved.ts_ns) == (Trigger.DEAD_LETTERED, at(3))
    engine.step(TimerDue(at(10**6)))
    assert states()["a/out"] == "PAUSED"
    engine.step(Command(RESUME, at(10**6), "a", "out"))
    assert states()["a/out"] == "ACTIVE"


@pytest.mark.parametrize("state", ["WARMUP", "ERROR", "STOPPED"])
def test_a_delivery_that_fails_late_changes_nothing(state: str) -> None:
    rig = STATES[state]()
    rig.step(DeliveryFailed(at(5), "s", "paper", "00" * 16))
    assert rig.out == []
    assert rig.state == state


# --------------------------------------------------------------------------------------------------------------- errors


def failing(risk: RiskLimits, seconds: list[float]) -> Rig:
    """A strategy that raises on each of these ticks."""
    rig = Rig(risk=risk)
    rig.processor.answer = crash
    for second in seconds:
        rig.step(tick(second))
    return rig


def moves(outcomes: list[Outcome]) -> list[tuple[float, str, str]]:
    return [
        ((o.ts_ns - at(0)) / SECOND, o.after.name, o.trigger.value)
        for o in outcomes
        if isinstance(o, Transition) and o.before is not State.WARMUP and o.before is not State.INIT
    ]


def test_more_errors_than_are_borne_within_the_window_lead_to_error() -> None:
    assert failing(RiskLimits(), [0, 1, 2, 3, 4]).state == "ACTIVE"
    assert failing(RiskLimits(), [0, 1, 2, 3, 4, 5]).state == "ERROR"


def test_an_error_counts_until_exactly_the_window_has_passed() -> None:
    five = [0, 1, 2, 3, 4]
    assert failing(RiskLimits(), [*five, 59.999999999]).state == "ERROR"
    assert failing(RiskLimits(), [*five, 60]).state == "ACTIVE"
    assert failing(RiskLimits(), [*five, 60, 61]).state == "ACTIVE"
    assert failing(RiskLimits(), [*five, 60, 60.5]).state == "ERROR"


def test_a_strategy_that_bears_no_errors_is_in_error_after_the_first() -> None:
    assert failing(RiskLimits(max_errors=0), [0]).state == "ERROR"


def test_an_error_is_retried_with_a_backoff_that_doubles_and_then_waits_for_an_operator() -> None:
    rig = Rig(risk=RiskLimits(max_errors=1, retry_backoff_ns=2 * SECOND, max_retries=3))
    rig.processor.answer = crash
    for half in range(60):
        rig.step(tick(half / 2))
    assert moves(rig.everything) == [
        (0.5, "ERROR", "too_many_errors"),
        (2.5, "ACTIVE", "timer"),
        (2.5, "ERROR", "too_many_errors"),
        (6.5, "ACTIVE", "timer"),
        (6.5, "ERROR", "too_many_errors"),
        (14.5, "ACTIVE", "timer"),
        (14.5, "ERROR", "too_many_errors"),
        (14.5, "PAUSED", "retries_exhausted"),
    ]
    assert rig.executor.counters()["errors"] == 5
    rig.step(TimerDue(at(10**6)))
    assert rig.state == "PAUSED"


def test_a_strategy_that_an_operator_resumes_begins_with_a_clean_record() -> None:
    rig = failing(RiskLimits(max_errors=1, max_retries=0), [0, 1])
    assert rig.state == "PAUSED"
    rig.command(RESUME, 2, "s")
    rig.step(tick(3))
    assert rig.state == "ACTIVE"
    rig.step(tick(4))
    assert rig.state == "PAUSED"


def test_a_backoff_is_over_exactly_at_its_end_by_tick_or_by_timer() -> None:
    rig = failing(RiskLimits(max_errors=0), [0])
    rig.step(TimerDue(at(1 - NANO)))
    assert rig.state == "ERROR"
    rig.step(TimerDue(at(1)))
    assert rig.transitions == [("ERROR", "ACTIVE", "timer")]
    rig = failing(RiskLimits(max_errors=0), [0])
    assert rig.tick(1, 100, "BUY") == "emitted"  # the timer runs before the tick is evaluated


def test_retries_begin_anew_once_the_window_has_passed_without_errors() -> None:
    rig = failing(RiskLimits(max_errors=0, max_retries=1, error_window_ns=60 * SECOND), [0])
    rig.tick(30, 100)
    assert rig.state == "ACTIVE"
    rig.processor.answer = crash
    rig.step(tick(90))
    assert rig.state == "ERROR"  # and not PAUSED: the first error was forgotten
    rig.tick(91, 100)
    rig.processor.answer = crash
    rig.step(tick(92))
    assert rig.state == "PAUSED"


def test_retries_begin_anew_exactly_when_the_last_error_has_left_the_window() -> None:
    for second, state in ((60 - NANO, "PAUSED"), (Decimal(60), "ERROR")):
        rig = failing(RiskLimits(max_errors=0, max_retries=1), [0])
        rig.tick(30, 100)
        rig.processor.answer = crash
        rig.step(tick(second))
        assert rig.state == state


def test_a_throttles_timer_leaves_the_loss_streak_as_it_is() -> None:
    rig = active(risk=RiskLimits(max_signals_per_min=2, pause_on_throttle=True, max_loss_streak=5))
    rig.tick(1, 100, "BUY")
    rig.tick(2, 100)
    rig.tick(3, 90, "SELL")
    rig.tick(4, 90, "BUY")
    assert rig.state == "PAUSED"
    rig.step(TimerDue(at(1000)))
    assert rig.state == "ACTIVE"
    assert rig.executor.portfolio.loss_streak == 1


def test_errors_and_their_timers_survive_a_restart() -> None:
    rig = failing(RiskLimits(max_errors=1, max_retries=1), [0])
    rig.reborn()
    rig.processor.answer = crash
    rig.step(tick(1))
    assert rig.state == "ERROR"
    rig.reborn()
    assert rig.state == "ERROR"
    rig.step(TimerDue(at(2)))
    assert rig.state == "ACTIVE"
    rig.reborn()
    rig.processor.answer = crash
    rig.step(tick(3))
    assert rig.state == "PAUSED"


def test_a_throttled_strategys_timer_survives_a_restart() -> None:
    limits = RiskLimits(max_signals_per_min=1, pause_on_throttle=True, throttle_pause_ns=7 * SECOND)
    rig = active(risk=limits)
    rig.tick(1, 100, "BUY")
    assert rig.tick(2, 101, "BUY") == "rate_limited"
    rig.reborn()
    rig.step(TimerDue(at(9 - NANO)))
    assert rig.state == "PAUSED"
    rig.step(TimerDue(at(9)))
    assert rig.state == "ACTIVE"


def test_a_timer_event_reaches_strategies_whose_instruments_are_silent() -> None:
    rig = failing(RiskLimits(max_errors=0), [0])
    rig.engine.register(StrategyConfig("other", "scripted", None, (2,)), "paper", Scripted())
    rig.engine.step(tick(5, token=2))
    assert rig.state == "ERROR"
    rig.step(TimerDue(at(5)))
    assert rig.state == "ACTIVE"


def test_a_stopped_strategy_has_no_timer_left() -> None:
    rig = in_error()
    rig.command(STOP, 1, "s")
    rig.step(TimerDue(at(10**9)))
    assert rig.out == []
    assert rig.state == "STOPPED"


def test_errors_of_one_strategy_pause_no_other() -> None:
    engine = Engine()
    bad = engine.register(
        StrategyConfig("bad", "scripted", None, (1,), risk=RiskLimits(max_errors=0)), "paper", Scripted(crash)
    )
    good = engine.register(StrategyConfig("good", "scripted", None, (1,)), "paper", Scripted())
    engine.step(tick(0))
    assert (bad.state.name, good.state.name) == ("ERROR", "ACTIVE")


def test_warm_up_ends_when_the_first_instruments_window_is_full_and_the_others_wait_for_theirs() -> None:
    rig = Rig(length=2, tokens=(1, 2))
    rig.tick(0, token=1)
    rig.tick(1, token=2)
    assert rig.state == "WARMUP"
    assert rig.tick(2, 100, "BUY", token=2) == "emitted"
    (moved,) = [outcome for outcome in rig.out if isinstance(outcome, Transition)]
    assert moved.instrument_token == 2
    rig.engine.step(tick(3, token=1))
    assert rig.processor.calls == 2
