"""`anystrat whatif`: two runs of the same ticks, matched signal by signal."""

from __future__ import annotations

import math

from tests.integration.cli_project import GOOD, Project

RISK = GOOD.replace("position_size: 10", "position_size: 10, risk: {cooldown_sec: 60}")
PRICES = [round(100 + 5 * math.sin(at / 7), 2) for at in range(300)]


def told(project: Project, *settings: str, more: tuple[str, ...] = ()):
    arguments = [part for setting in settings for part in ("--set", setting)]
    return project.run("whatif", "--ticks", "ticks.csv", *arguments, *more)


def test_what_comes_what_goes_and_what_changes(project: Project):
    project.config(RISK)
    project.ticks(PRICES)
    answer = told(project, "risk.cooldown_sec=0", more=("--json",))
    assert answer.code == 0
    assert answer.json["schema_version"] == 1
    assert answer.json["changed"] == [
        {"strategy_id": "mom", "key": "parameters.risk.cooldown_sec", "before": 60, "after": 0}
    ]
    (one,) = answer.json["strategies"]
    before = project.run("replay", "--ticks", "ticks.csv", "--json").json
    project.config(RISK.replace("cooldown_sec: 60", "cooldown_sec: 0"))
    after = project.run("replay", "--ticks", "ticks.csv", "--json").json
    assert (one["signals_before"], one["signals_after"]) == (before["signals"], after["signals"])
    assert (one["drops_before"], one["drops_after"]) == (before["drops"], after["drops"])
    assert (one["pnl_before"], one["pnl_after"]) == (before["pnl"], after["pnl"])
    assert one["new"] - one["gone"] == after["signals"] - before["signals"] > 0
    assert one["same"] + one["gone"] + one["changed"] == before["signals"]
    assert len(answer.json["differences"]) == one["new"] + one["gone"] + one["changed"]


def test_a_changed_quantity_is_a_changed_signal(project: Project):
    project.config()
    project.ticks([100, 100, 102, 104])
    answer = told(project, "risk_multiplier=0.5")
    assert answer.code == 0
    assert "2024-01-02T09:15:02Z  changed mom AAA BUY 10 at 102 → BUY 5 at 102" in answer.out


def test_the_same_value_changes_nothing(project: Project):
    project.config(RISK)
    project.ticks(PRICES)
    answer = told(project, "risk.cooldown_sec=60.0")
    assert answer.code == 0
    assert answer.out.endswith("Nothing is different.\n")


def test_a_strategy_can_be_taken_out(project: Project):
    project.config(GOOD)
    project.ticks(PRICES)
    (one,) = told(project, "enabled=false", more=("--json",)).json["strategies"]
    assert one["signals_after"] == 0
    assert one["gone"] == one["signals_before"] > 0


def test_a_setting_that_is_refused_is_refused_before_any_tick(project: Project):
    project.config()
    project.ticks(PRICES)
    told(project, "parameters.treshold=0.5").refused(3, "--set parameters.treshold=0.5", "did you mean 'threshold'")
    answer = told(project, "parameters.treshold=0.5", more=("--json",))
    assert answer.code == 3
    assert answer.json["problems"][0]["nearest"] == "threshold"
    project.run("whatif", "--ticks", "ticks.csv").refused(2, "--set")
