"""Strategies that raise, answer nonsense or keep what they were lent: said, counted, and never the end of a replay."""

from __future__ import annotations

import json

import pytest
from tests.integration.cli_project import Project

SOURCE = """
import sys
from decimal import Decimal

import anystrat
from anystrat import rule
from anystrat.strategies.catalog import StrategyType
from anystrat.plugins import NoParameters


class Nasty:
    answers = {
        "confidence": lambda tick: anystrat.SignalResult("BUY", 7.0, 1, tick.last_price),
        "negative": lambda tick: anystrat.SignalResult("BUY", 0.5, -1, tick.last_price),
        "text": lambda tick: "BUY",
        "fraction": lambda tick: anystrat.SignalResult("BUY", 0.5, 1.5, tick.last_price),
        "nan": lambda tick: anystrat.SignalResult("BUY", float("nan"), 1, tick.last_price),
        "price": lambda tick: anystrat.SignalResult("BUY", 0.5, 1, Decimal(-1)),
        "side": lambda tick: anystrat.SignalResult("PANIC", 0.5, 1, tick.last_price),
        "raises": lambda tick: 1 / 0,
        "leaves": lambda tick: sys.exit(9),
    }

    def __init__(self, kind):
        self.kind = kind
        self.kept = None

    def process_tick(self, tick, history):
        if self.kind == "keeps":
            earlier, self.kept = self.kept, history
            return None if earlier is None else earlier[0]
        return self.answers[self.kind](tick)

    def get_required_history_length(self):
        return 1

    def supports_instrument(self, token):
        return token != 13

    def get_strategy_name(self):
        return self.kind


def entry(kind):
    return StrategyType("nasty_" + kind, "rules", NoParameters, lambda _p, _c: Nasty(kind), "Nasty.")


confidence, negative, text, fraction = map(entry, ("confidence", "negative", "text", "fraction"))
nan, price, side, raises = map(entry, ("nan", "price", "side", "raises"))
keeps, leaves = map(entry, ("keeps", "leaves"))
"""
KINDS = ("confidence", "negative", "text", "fraction", "nan", "price", "side", "raises", "keeps", "leaves")
POINTS = [f"nasty_{kind} = nasty:{kind}" for kind in KINDS]


def _config(kind: str, instrument: int = 1) -> str:
    return (
        "strategies:\n"
        f"  - {{id: bad, strategy_type: nasty_{kind}, instruments: [{instrument}]}}\n"
        "  - {id: good, strategy_type: momentum, instruments: [1], "
        "parameters: {lookback_periods: 2, threshold: 0.001, position_size: 5}}\n"
    )


@pytest.mark.parametrize(
    ("kind", "drops"),
    [
        ("confidence", {"invalid_confidence": 4}),
        ("nan", {"invalid_confidence": 4}),
        ("negative", {"invalid_quantity": 4}),
        ("price", {"invalid_price": 4}),
    ],
)
def test_impossible_signals_are_dropped_with_their_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str, drops: dict[str, int]
):
    project.plugin(monkeypatch, SOURCE, *POINTS)
    project.config(_config(kind))
    project.ticks([100, 101, 102, 103])
    answer = project.run("replay", "--ticks", "ticks.csv", "--drops", "d.jsonl", "--json")
    assert answer.code == 0
    assert answer.json["strategies"]["bad"]["drops"] == drops
    assert answer.json["strategies"]["good"]["signals"] == 3
    assert len((project / "d.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("text", "'BUY'"),
        ("fraction", "1.5"),
        ("side", "PANIC"),
        ("keeps", "StaleHistory"),
    ],
)
def test_errors_are_contained_counted_and_said_three_times(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str, error: str
):
    project.plugin(monkeypatch, SOURCE, *POINTS)
    project.config(_config(kind))
    project.ticks([100 + at for at in range(60)], step=15)
    answer = project.run("replay", "--ticks", "ticks.csv", "--signals", "s.jsonl", "--json")
    assert answer.code == 0
    report = answer.json
    assert report["strategies"]["bad"]["errors"] >= 59
    assert report["strategies"]["good"]["signals"] > 50
    assert all(json.loads(line)["strategy_id"] == "good" for line in (project / "s.jsonl").read_text().splitlines())
    assert error in answer.err
    assert answer.err.count("strategy bad raised on instrument 1 at ") == 3
    assert "Traceback" not in answer.err
    assert "Traceback" in project.run("replay", "-v", "--ticks", "ticks.csv").err
    table = project.run("replay", "--ticks", "ticks.csv")
    assert "errors" in table.out.splitlines()[0]


def test_too_many_errors_pause_the_strategy_and_the_summary_says_so(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.plugin(monkeypatch, SOURCE, *POINTS)
    project.config(_config("raises"))
    project.ticks([100 + at for at in range(200)])
    answer = project.run("replay", "--ticks", "ticks.csv", "--json")
    assert answer.json["strategies"]["bad"]["state"] == "PAUSED"
    assert "ERROR → PAUSED" in answer.err


def test_an_instrument_that_the_strategy_refuses_is_a_problem_of_the_configuration(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    project.plugin(monkeypatch, SOURCE, *POINTS)
    project.config(_config("text", instrument=13))
    project.ticks([100])
    for command in (("check",), ("replay", "--ticks", "ticks.csv")):
        project.run(*command).refused(3, "nasty_text does not support this instrument", "13")


def test_plugins_are_listed(project: Project, monkeypatch: pytest.MonkeyPatch):
    assert "No installed package" in project.run("plugins", "list").out
    project.plugin(monkeypatch, SOURCE, *POINTS)
    answer = project.run("plugins", "list", "--json")
    assert answer.code == 0
    assert [each["name"] for each in answer.json["plugins"]] == [f"nasty_{kind}" for kind in KINDS]
    assert "nasty_text" in project.run("types").out
    assert project.run("types", "nasty_text").code == 0


@pytest.mark.parametrize(
    ("source", "point", "error"),
    [
        ("import nothing_of_this_name", "bad = nasty:bad", "ModuleNotFoundError"),
        ("bad = 3", "bad = nasty:bad", "is int; expected StrategyType"),
        ("raise SyntaxError('no')", "bad = nasty:bad", "SyntaxError"),
        ("", "bad = nasty:bad", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_shown_and_stops_what_needs_the_catalogue(
    project: Project, monkeypatch: pytest.MonkeyPatch, source: str, point: str, error: str
):
    project.plugin(monkeypatch, source, point)
    project.config()
    project.ticks([100])
    listed = project.run("plugins", "list")
    assert listed.code == 1
    assert error in listed.out
    assert project.run("plugins", "list", "--json").code == 1
    for command in (("check",), ("types",), ("schema",), ("replay", "--ticks", "ticks.csv")):
        project.run(*command).refused(4, "plug-in 'bad' of nasty", error)
    doctor = project.run("doctor")
    assert doctor.code == 1
    assert "bad (nasty)" in doctor.out


def test_a_plugin_that_exits_is_an_error_and_never_the_exit_code(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.plugin(monkeypatch, "raise SystemExit(0)", "bad = nasty:bad")
    project.config()
    project.run("check").refused(1, "ended the program (SystemExit: 0)")


def test_a_strategy_that_exits_leaves_what_was_written(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.plugin(monkeypatch, SOURCE, *POINTS)
    project.config(_config("leaves"))
    project.ticks([100 + at for at in range(100)])
    answer = project.run("replay", "--ticks", "ticks.csv", "--signals", "s.jsonl")
    answer.refused(1, "ended the program (SystemExit: 9)", "kept: signals so far")
    assert (project / "s.jsonl.partial").exists()
    assert not (project / "s.jsonl").exists()
