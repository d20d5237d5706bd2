from __future__ import annotations

import itertools

import pytest

from anystrat.domain.errors import ConfigurationError, InvalidTransition, Problem, UnknownName, nearest_name
from anystrat.domain.lifecycle import State, Trigger, can, next_state

ALLOWED = {
    ("INIT", "registered"): "WARMUP",
    ("WARMUP", "window_full"): "ACTIVE",
    ("WARMUP", "operator_pause"): "PAUSED",
    ("ACTIVE", "throttled"): "PAUSED",
    ("ACTIVE", "circuit_open"): "PAUSED",
    ("ACTIVE", "dead_lettered"): "PAUSED",
    ("ACTIVE", "operator_pause"): "PAUSED",
    ("ACTIVE", "feed_stale"): "PAUSED",
    ("ACTIVE", "too_many_errors"): "ERROR",
    ("ACTIVE", "process_lost"): "ERROR",
    ("ERROR", "timer"): "ACTIVE",
    ("ERROR", "retries_exhausted"): "PAUSED",
    ("ERROR", "operator_pause"): "PAUSED",
    ("PAUSED", "timer"): "ACTIVE",
    ("PAUSED", "operator_resume"): "ACTIVE",
    ("PAUSED", "operator_pause"): "PAUSED",
    ("PAUSED", "dead_lettered"): "PAUSED",
    ("INIT", "stop"): "STOPPED",
    ("WARMUP", "stop"): "STOPPED",
    ("ACTIVE", "stop"): "STOPPED",
    ("PAUSED", "stop"): "STOPPED",
    ("ERROR", "stop"): "STOPPED",
    ("STOPPED", "operator_enable"): "WARMUP",
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)))
def test_a_transition_is_in_the_table_or_raises(state: State, trigger: Trigger):
    after = ALLOWED.get((state.name, trigger.value))
    assert can(state, trigger) == (after is not None)
    if after is None:
        with pytest.raises(InvalidTransition, match=f"{state.name} has no transition on '{trigger.value}'; allowed: "):
            next_state(state, trigger)
    else:
        assert next_state(state, trigger).name == after


def test_the_gauge_counts_from_init_to_stopped():
    assert [(state.name, int(state)) for state in State] == [
        ("INIT", 0), ("WARMUP", 1), ("ACTIVE", 2), ("PAUSED", 3), ("ERROR", 4), ("STOPPED", 5),
    ]  # fmt: skip


def test_an_unknown_name_is_answered_with_the_nearest_and_all():
    error = UnknownName("policy", "majorty", ["sizer", "majority"])
    assert str(error) == "unknown policy 'majorty'; did you mean 'majority'? (allowed: majority, sizer)"
    assert error.exit_code == 3
    assert nearest_name("xyz", ["majority"]) == ""


def test_a_problem_says_where_what_was_found_and_what_is_allowed():
    problem = Problem("unknown key", "demo.yaml", 7, "strategies[0].treshold", "treshold", "threshold", "threshold")
    assert str(problem) == (
        "demo.yaml:7: strategies[0].treshold: unknown key; found treshold; allowed: threshold; did you mean 'threshold'?"
    )
    both = ConfigurationError([problem, Problem("is missing")])
    assert str(both) == f"{problem}\nis missing"
