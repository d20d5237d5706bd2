"""`anystrat sweep`: trials, their verdict, and the files that are asked for."""

from __future__ import annotations

import json
import math

from tests.integration.cli_project import GOOD, Project

PRICES = [round(100 + 5 * math.sin(at / 7) + at / 50, 2) for at in range(400)]
OVER = ("--over", "parameters.lookback_periods=2..6", "--over", "parameters.threshold=0.005,0.01,0.02")


def swept(project: Project, *arguments: str):
    project.config(GOOD)
    project.ticks(PRICES, step=8_640)
    return project.run("sweep", "--ticks", "ticks.csv", *arguments)


def test_the_best_come_first_and_say_what_they_are_worth(project: Project):
    answer = swept(project, *OVER, "--top", "3", "--walk-forward", "10,5")
    assert answer.code == 0, answer
    assert answer.out.startswith("test: 15 trials of parameters.lookback_periods, parameters.threshold over 41 days\n")
    assert "Without any skill, the best of 15 such trials" in answer.out
    assert "walk-forward  7 rolling folds" in answer.out
    assert answer.out.count("\n1 ") + answer.out.count("\n 1 ") == 1


def test_json_has_every_trial_and_the_walk(project: Project):
    told = swept(project, *OVER, "--json", "--walk-forward", "10,5", "--anchored", "--by", "total_return").json
    returns = [trial["total_return"] for trial in told["trials"]]
    assert len(returns) == 15
    assert returns == sorted(returns, reverse=True)
    assert told["best"] == told["trials"][0]
    assert told["walk_forward"]["anchored"] is True
    assert len(told["walk_forward"]["folds"]) == 7


def test_the_report_and_the_table_are_written(project: Project):
    answer = swept(project, *OVER, "--report", "s.html", "--table", "s.jsonl")
    assert answer.code == 0, answer
    assert "<h2" in (project.path / "s.html").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in (project.path / "s.jsonl").read_text().splitlines()]
    assert len(rows) == 15
    assert {"parameters.threshold", "sharpe", "deflated_sharpe"} <= rows[0].keys()


def test_a_walk_that_is_too_long_does_not_lose_the_trials(project: Project):
    answer = swept(project, *OVER, "--walk-forward", "100,5")
    assert answer.code == 2
    assert "15 trials" in answer.out
    assert "too few to choose on 100" in answer.err


def test_what_is_wrong_is_said_before_anything_is_run(project: Project):
    swept(project, "--over", "parameters.lookback=2..6").refused(3, "did you mean 'lookback_periods'")
    swept(project, "--over", "parameters.lookback_periods=6..2").refused(2, "write 2..6")
    swept(project, *OVER, "--by", "sharp").refused(2, "did you mean sharpe?")
    swept(project, *OVER, "--walk-forward", "10").refused(2, "write TRAIN,TEST in days, such as 60,20")
    swept(project, *OVER, "--anchored").refused(2, "--anchored goes with --walk-forward")
    swept(project, *OVER, "--report", "s.pdf").refused(2, "the report is HTML")
    swept(project, *OVER, "--study", "none/s.db").refused(2, "mkdir -p none")
    swept(project).refused(2, "--over")


def test_a_study_is_gone_on_with(project: Project):
    first = swept(project, *OVER, "--study", "s.db")
    again = project.run("sweep", "--ticks", "ticks.csv", *OVER, "--study", "s.db")
    assert first.out == again.out
    more = project.run("sweep", "--ticks", "ticks.csv", *OVER[:3], "parameters.threshold=0.03", "--study", "s.db")
    assert "5 trials" in more.out
    other = project.run("sweep", "--ticks", "ticks.csv", *OVER, "--study", "s.db", "--cash", "5")
    other.refused(2, "cash was 1e+06, is 5")
