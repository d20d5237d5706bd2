"""What the feed itself says: gaps, silence, when ticks arrived."""

from __future__ import annotations

import pytest

from anystrat.domain.events import Arrived, Command, Conflated, FeedFresh, FeedGap, FeedStale, HistoryLoaded, Operation
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import Dropped, Emitted, Noted
from anystrat.engine.snapshot import restore, snapshot
from anystrat.service import StrategyRunnerService
from anystrat.testing.ticks import START_NS, row

ROW = {
    "id": "m",
    "strategy_type": "momentum",
    "parameters": {"lookback_periods": 2, "threshold": 0.001},
    "instruments": [1],
}


def service(**risk) -> StrategyRunnerService:
    made = StrategyRunnerService()
    made.register_from_config({**ROW, "parameters": {**ROW["parameters"], "risk": risk}})
    return made


def kinds(outcomes):
    return [outcome.reason if isinstance(outcome, Dropped) else type(outcome).__name__ for outcome in outcomes]


def test_a_gap_empties_the_windows_so_that_nothing_is_decided_over_it():
    run = service()
    run.handle(row(1, "100", 0))
    run.handle(FeedGap(START_NS, None, details={"from": 5, "to": 9}))
    assert run.handle(row(1, "110", 1)) == []
    assert any(isinstance(outcome, Emitted) for outcome in run.handle(row(1, "120", 2)))


def test_a_gap_that_is_only_noted_leaves_the_windows():
    run = service()
    run.handle(row(1, "100", 0))
    (note,) = run.handle(FeedGap(START_NS, (1, 77), rewarm=False))
    assert isinstance(note, Noted)
    assert note.details["instruments"] == 1
    assert any(isinstance(outcome, Emitted) for outcome in run.handle(row(1, "110", 1)))


def test_signals_are_dropped_as_stale_while_the_feed_is():
    run = service()
    run.handle(row(1, "100", 0))
    run.handle(FeedStale(START_NS))
    assert "stale" in kinds(run.handle(row(1, "110", 1)))
    run.handle(FeedFresh(START_NS))
    assert "Emitted" in kinds(run.handle(row(1, "120", 2)))


def test_a_silent_feed_can_pause_what_is_active_until_it_speaks_again():
    run = service()
    run.handle(row(1, "100", 0))
    run.handle(row(1, "100", 1))
    run.handle(FeedStale(START_NS, pause=True))
    assert run.executors[0].state is State.PAUSED
    assert run.handle(row(1, "110", 2)) == []
    run.handle(FeedFresh(START_NS))
    assert run.executors[0].state is State.ACTIVE


def test_an_operators_pause_outlives_the_feeds():
    run = service()
    run.handle(row(1, "100", 0))
    run.handle(row(1, "100", 1))
    run.handle(FeedStale(START_NS, pause=True))
    run.handle(Command(Operation.PAUSE, START_NS, "m"))
    run.handle(FeedFresh(START_NS))
    assert run.executors[0].state is State.PAUSED


@pytest.mark.parametrize(("late_ns", "found"), [(0, "Emitted"), (2_000_000_000, "Emitted"), (2_000_000_001, "stale")])
def test_a_ticks_age_is_what_lies_between_it_and_its_arrival(late_ns, found):
    run = service(max_tick_age_sec=2)
    assert not run.engine.judges_age
    run.handle(row(1, "100", 0))
    run.handle(Arrived(START_NS + 1_000_000_000 + late_ns))
    assert run.engine.judges_age
    assert found in kinds(run.handle(row(1, "110", 1)))


def test_without_an_arrival_ticks_have_no_age():
    run = service(max_tick_age_sec=2)
    run.handle(row(1, "100", 0))
    assert "Emitted" in kinds(run.handle(row(1, "110", 1)))


def test_what_the_feed_said_is_part_of_a_snapshot():
    run = service(max_tick_age_sec=2)
    run.handle(Arrived(START_NS + 60_000_000_000))
    run.handle(FeedStale(START_NS))
    other = service(max_tick_age_sec=2)
    restore(other.engine, snapshot(run.engine))
    assert other.engine.feed_stale
    assert other.engine.arrived_ns == run.engine.arrived_ns


def test_conflated_ticks_are_noted():
    (note,) = service().handle(Conflated(START_NS, 1, 12))
    assert (note.kind, note.details) == ("conflated", {"instrument": 1, "ticks": 12})


def history(*prices, token=1):
    return HistoryLoaded(token, tuple(START_NS - 10**9 * (len(prices) - k) for k in range(len(prices))), prices)


def test_history_fills_the_window_so_that_the_first_live_tick_is_decided_on():
    run = service()
    (moved,) = run.handle(history("99.5", "100"))
    assert (moved.after, moved.trigger.value) == (State.ACTIVE, "window_full")
    assert any(isinstance(outcome, Emitted) for outcome in run.handle(row(1, "110", 0)))


def test_history_evaluates_nothing_and_counts_no_ticks():
    run = service()
    run.handle(history("90", "100", "110"))
    assert run.executors[0].counters()["evaluations"] == 0
    assert run.engine.ticks == 0


def test_a_live_tick_from_before_the_end_of_history_is_out_of_order():
    run = service()
    run.handle(history("99.5", "100"))
    (dropped,) = run.handle(row(1, "110", -2))
    assert dropped.reason == "out_of_order"


@pytest.mark.parametrize("event", [history("1", token=9), HistoryLoaded(1, (), ())])
def test_history_of_nobody_or_of_nothing_changes_nothing(event):
    assert service().handle(event) == []


def test_history_does_not_overwrite_what_was_seen_live():
    run = service()
    run.handle(row(1, "100", 0))
    assert run.handle(history("50", "51")) == []
    assert any(isinstance(outcome, Emitted) for outcome in run.handle(row(1, "110", 1)))
