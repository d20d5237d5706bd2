"""Walk-forward: what is chosen is chosen on earlier days alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.sweeps.folds import walk_forward
from anystrat.sweeps.space import SpaceError
from anystrat.sweeps.trial import Objective, Trial


def trial(name: str, returns: Sequence[float]) -> Trial:
    return Trial({"x": name}, marks=100.0 * np.cumprod(1.0 + np.array(returns)), start=100.0)


DAYS = np.arange(20_000, 20_006)
EARLY = trial("early", [0.02, 0.01, 0.04, -0.01, -0.02, -0.01])
LATE = trial("late", [-0.01, -0.02, -0.01, 0.03, 0.01, 0.02])


def test_each_stretch_is_traded_with_what_was_best_before_it():
    walk = walk_forward([EARLY, LATE], DAYS, Objective("total_return"), 252, train=2, test=2)
    assert [fold.chosen.settings["x"] for fold in walk.folds] == ["early", "early"]
    assert [(fold.train, fold.test) for fold in walk.folds] == [
        ((20_000, 20_001), (20_002, 20_003)),
        ((20_002, 20_003), (20_004, 20_005)),
    ]
    assert walk.worth == pytest.approx(np.cumprod([1.04, 0.99, 0.98, 0.99]))
    assert walk.total_return == pytest.approx(1.04 * 0.99 * 0.98 * 0.99 - 1.0)
    assert walk.folds[0].outside_return == pytest.approx(1.04 * 0.99 - 1.0)


def test_an_anchored_walk_chooses_on_all_days_so_far():
    walk = walk_forward([EARLY, LATE], DAYS, Objective("total_return"), 252, train=3, test=1, anchored=True)
    assert [fold.train[0] for fold in walk.folds] == [20_000] * 3
    rolling = walk_forward([EARLY, LATE], DAYS, Objective("total_return"), 252, train=3, test=1)
    assert [fold.chosen.settings["x"] for fold in rolling.folds] == ["early", "early", "late"]


def test_the_last_stretch_may_be_shorter_and_no_day_is_traded_twice():
    walk = walk_forward([EARLY, LATE], DAYS, Objective("total_return"), 252, train=2, test=3)
    assert [fold.test for fold in walk.folds] == [(20_002, 20_004), (20_005, 20_005)]
    assert walk.days.tolist() == DAYS[2:].tolist()


def test_less_is_better_of_a_drawdown():
    walk = walk_forward([EARLY, LATE], DAYS, Objective("max_drawdown"), 252, train=2, test=4)
    assert walk.folds[0].chosen.settings["x"] == "early"


@given(
    returns=st.lists(st.lists(st.floats(-0.05, 0.05), min_size=12, max_size=12), min_size=1, max_size=4),
    later=st.lists(st.floats(-0.05, 0.05), min_size=6, max_size=6),
)
def test_no_choice_sees_what_comes_after_it(returns: list[list[float]], later: list[float]):
    days = np.arange(12)
    changed = [[*each[:6], *(a + b for a, b in zip(each[6:], later, strict=True))] for each in returns]
    walks = [
        walk_forward([trial(str(k), each) for k, each in enumerate(some)], days, Objective(), 252, train=4, test=2)
        for some in (returns, changed)
    ]
    first, second = ([fold.chosen.settings for fold in walk.folds[:2]] for walk in walks)
    assert first == second


@pytest.mark.parametrize(
    ("by", "train", "test", "said"),
    [
        ("sharpe", 6, 1, "too few to choose on 6"),
        ("sharpe", 1, 1, "at least 2 and 1"),
        ("trades", 2, 2, "daily marks alone"),
    ],
)
def test_what_cannot_be_walked_says_why(by: str, train: int, test: int, said: str):
    with pytest.raises(SpaceError, match=said):
        walk_forward([EARLY], DAYS, Objective(by), 252, train=train, test=test)


def test_an_objective_that_nothing_has_is_worth_least():
    flat = trial("flat", [0.0] * 6)
    walk = walk_forward([flat, LATE], DAYS, Objective("sharpe"), 252, train=3, test=3)
    assert walk.folds[0].chosen.settings["x"] == "late"
    assert math.isfinite(walk.sharpe)
