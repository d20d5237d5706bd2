"""The result of a sweep: ranks, heat maps, the verdict, and the page."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anystrat.sweeps.result import SweepResult
from anystrat.sweeps.space import SpaceError
from anystrat.sweeps.trial import Objective, Trial

DAYS = np.arange(20_000, 20_040)


def made(settings: dict[str, object], sharpe: float, *, drift: float = 0.0, **figures: float) -> Trial:
    rng = np.random.default_rng(7 if math.isnan(sharpe) else int(abs(sharpe) * 1000))
    marks = 1_000.0 * np.cumprod(1.0 + drift + 0.01 * rng.standard_normal(len(DAYS)))
    return Trial(settings, {"sharpe": sharpe, "total_return": 0.1, "trades": 3, **figures}, marks, 1_000.0)


def result(trials: list[Trial], by: str = "sharpe") -> SweepResult:
    keys = list(trials[0].settings)
    return SweepResult(trials, DAYS, 252, Objective(by), keys, {"name": "<script>alert(1)</script>", "anystrat": "0"})


GRID = [made({"a": a, "b": b}, float(a * b)) for a in (1, 2, 3) for b in (10, 20)]


def test_the_best_comes_first_and_what_has_no_figure_last():
    found = result([made({"a": 1}, math.nan), made({"a": 2}, -1.0), made({"a": 3}, 2.0)])
    assert [trial.settings["a"] for trial in found.ranked] == [3, 2, 1]
    assert found.best.settings == {"a": 3}
    assert found.trials["a"].tolist() == [3, 2, 1]


def test_less_is_better_of_costs():
    found = result([made({"a": 1}, 0.0, costs=5.0), made({"a": 2}, 0.0, costs=1.0)], by="costs")
    assert found.best.settings == {"a": 2}


def test_refused_trials_are_told_and_not_ranked():
    found = result([*GRID, Trial({"a": 9, "b": 9}, refused="a must be below b")])
    assert len(found.ranked) == len(GRID)
    assert found.to_dict()["refused"] == [{"settings": {"a": 9, "b": 9}, "why": "a must be below b"}]


def test_a_heat_map_has_a_row_a_value_and_the_best_of_what_else_varies():
    heat = result(GRID).heat_map("a", "b")
    assert (heat.xs, heat.ys) == ((1, 2, 3), (10, 20))
    assert heat.values.tolist() == [[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]]
    several = result([made({"a": 1, "b": 1, "c": c}, float(c)) for c in (3, 7, 5)]).heat_map("a", "b")
    assert several.values.tolist() == [[7.0]]
    with pytest.raises(SpaceError, match="d was not varied"):
        result(GRID).heat_map("a", "d")


def test_a_combination_that_was_not_run_is_a_gap():
    heat = result(GRID[:-1]).heat_map("a", "b")
    assert math.isnan(heat.values[1, 2])


def test_the_best_of_noise_is_not_called_skill():
    rng = np.random.default_rng(1)
    trials = []
    for k in range(200):
        returns = 0.01 * rng.standard_normal(len(DAYS))
        sharpe = float(np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(252))
        trials.append(Trial({"k": k}, {"sharpe": sharpe}, 1_000.0 * np.cumprod(1.0 + returns), 1_000.0))
    found = result(trials)
    assert found.best.figure("sharpe") > 4.0
    assert found.luck == pytest.approx(found.best.figure("sharpe"), rel=0.35)
    assert found.deflated(found.best) < 0.95
    assert found.verdict.endswith("That is not enough to tell it from luck.")


def test_a_ratio_far_beyond_luck_is_called_more():
    noise = [made({"a": a}, 0.001 * a) for a in range(1, 20)]
    found = result([*noise, made({"a": 99}, 15.0, drift=0.03)])
    assert found.deflated(found.best) > 0.95
    assert found.verdict.endswith("That is more than luck.")


def test_the_page_needs_nothing_else_and_escapes_what_comes_from_outside(tmp_path):
    trials = [*GRID, Trial({"a": 9, "b": 9}, refused="<b>no</b>")]
    found = result(trials)
    page = found.report(tmp_path / "s.html", found.walk_forward(train=10, test=10)).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert page.count("<rect") > 6
    for title in ("Trials", "Heat maps", "Skill or luck", "Walk-forward", "Refused", "What was run"):
        assert f">{title}</h2>" in page


def test_a_large_heat_map_is_drawn_in_groups_that_show_their_best():
    from anystrat.sweeps.page import heat_map_svg

    trials = [made({"a": a, "b": b}, float(a + b)) for a in range(100) for b in range(3)]
    heat = result(trials).heat_map("a", "b")
    svg = heat_map_svg(heat, "sharpe")
    assert svg.count("<rect") == 40 * 3
    assert "sharpe 101.00" in svg


def test_nothing_run_is_said():
    found = result([Trial({"a": 1}, refused="no")])
    assert "none of 1 trials" in repr(found)
    with pytest.raises(SpaceError, match="no trial was run"):
        _ = found.best
