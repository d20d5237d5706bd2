"""`anystrat explain`: from a configuration and a tick file to words."""

from __future__ import annotations

import math

import pytest
from tests.integration.cli_project import GOOD, SECOND_NS, START_NS, Project

RISK = GOOD.replace("position_size: 10", "position_size: 10, risk: {cooldown_sec: 60}")
PRICES = [100, 100, 100, 100.5, 102, 103, 104, 104]


def test_one_tick_is_shown_in_full(project: Project):
    project.config(RISK)
    project.ticks(PRICES)
    answer = project.run("explain", "--ticks", "ticks.csv", "--at", "2024-01-02T09:15:05.5Z")
    assert answer.code == 0
    assert answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0] == "mom on paper, AAA (1) at 103, 2024-01-02T09:15:05Z"
    assert lines[1] == "DROPPED: cooldown: 1 s since the last signal on 1; it needs 60 s"
    assert "window   3 of 3 ticks: 100.5, 102, 103" in lines
    assert "REFUSED  cooldown: 1 s since the last signal on 1; it needs 60 s (risk.cooldown_sec)" in lines


def test_many_ticks_are_shown_in_a_line_each(project: Project):
    project.config(RISK)
    project.ticks(PRICES)
    answer = project.run(
        "explain", "--ticks", "ticks.csv", "--from", "2024-01-02 09:15:01", "--to", str(START_NS + 5 * SECOND_NS)
    )
    assert answer.code == 0
    words = [line.split("AAA ", 1)[1].split(":")[0] for line in answer.out.splitlines() if "AAA" in line]
    assert words == ["100 warming up", "100 no signal", "100.5 no signal", "102 signal", "103 dropped"]
    assert "One of them in full: --at 2024-01-02T09:15:05Z" in answer.out
    fewer = project.run("explain", "--ticks", "ticks.csv", "--last", "6", "--most", "4")
    assert "The last 4 of 6 ticks; --most shows more." in fewer.out


def test_drops_of_a_reason_are_found(project: Project):
    project.config(RISK)
    project.ticks(PRICES)
    answer = project.run("explain", "--ticks", "ticks.csv", "--drops", "cooldown", "--json")
    assert answer.json["schema_version"] == 1
    assert answer.json["meant"] == 2
    assert [(each["ts_ns"] - START_NS) // SECOND_NS for each in answer.json["explanations"]] == [5, 6]
    last = project.run("explain", "--ticks", "ticks.csv", "--drops", "cooldown", "--last", "1", "--json").json
    assert [each["reason"] for each in last["explanations"]] == ["cooldown"]
    checks = {check["reason"]: check for check in last["explanations"][0]["checks"]}
    assert (checks["cooldown"]["measured"], checks["cooldown"]["limit"]) == (2.0, 60.0)
    none = project.run("explain", "--ticks", "ticks.csv", "--drops", "exposure")
    assert none.out == "No signal was dropped for exposure there.\n"


def test_without_a_time_the_whole_recording_is_summed_up(project: Project):
    project.config(RISK)
    project.ticks(PRICES)
    answer = project.run("explain", "--ticks", "ticks.csv")
    assert answer.code == 0
    counts = [tuple(line.split("  ", 1)) for line in answer.out.splitlines()[1:6]]
    assert counts == [
        ("8", "ticks of AAA (1)"),
        ("1", "signals"),
        ("2", "dropped: cooldown 2 (risk.cooldown_sec)"),
        ("3", "no signal"),
        ("2", "warming up"),
    ]
    nearest = project.run("explain", "--ticks", "ticks.csv", "--json").json["overview"]["nearest"]
    assert [miss["because"].split(";")[0] for miss in nearest] == [
        "change is 0.00970874",
        "change is 0.005",
        "change is 0",
    ]
    assert nearest[1]["gap"] == 0.5


def test_the_overview_is_what_a_replay_counts(project: Project):
    project.config(RISK.replace("threshold: 0.01", "threshold: 0.004"))
    project.ticks([round(100 + 3 * math.sin(at / 5), 2) for at in range(400)])
    replayed = project.run("replay", "--ticks", "ticks.csv", "--json").json
    told = project.run("explain", "--ticks", "ticks.csv", "--json").json["overview"]
    assert told["drops"] == replayed["drops"]
    assert told["endings"]["emitted"] == replayed["signals"]
    asked = sum(told["endings"].get(name, 0) for name in ("emitted", "dropped", "held", "no_signal", "failed"))
    assert asked == replayed["evaluations"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--strategy", "mum"], 2, "there is no strategy 'mum'; did you mean 'mom'? (there are: mom)"),
        (["--instrument", "7", "--last", "1"], 2, "does not watch instrument 7 (it watches 1)"),
        (["--broker", "papr", "--last", "1"], 2, "there is no broker 'papr'; did you mean 'paper'?"),
        (["--drops", "coldown"], 2, "There is no drop reason 'coldown'. Did you mean 'cooldown'?"),
        (["--at", "yesterday"], 2, "'yesterday' is no time; write 2024-01-02T09:16:00Z"),
        (["--at", "5", "--from", "4"], 2, "keep one of them"),
        (["--from", "5", "--to", "4"], 2, "--to is before --from"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(project: Project, arguments: list[str], code: int, text: str):
    project.config(RISK)
    project.ticks(PRICES)
    project.run("explain", "--ticks", "ticks.csv", *arguments).refused(code, text)


def test_several_strategies_need_a_name(project: Project):
    project.config(GOOD + GOOD.split("strategies:\n")[1].replace("id: mom", "id: other"))
    project.ticks(PRICES)
    project.run("explain", "--ticks", "ticks.csv").refused(2, "Name a strategy with --strategy: mom, other.")
    assert project.run("explain", "--ticks", "ticks.csv", "--strategy", "other").out.startswith("other on paper")


def test_a_moment_before_every_tick_is_empty(project: Project):
    project.config()
    project.ticks(PRICES)
    answer = project.run("explain", "--ticks", "ticks.csv", "--at", "2020-01-01")
    assert answer.out == "There is no tick of the strategy's instruments there.\n"
