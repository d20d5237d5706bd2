"""`anystrat trust`: verdicts, exit codes, and a strategy that reads the very file that it is tested on."""

from __future__ import annotations

import math
import sys

import pytest
from tests.integration.cli_project import GOOD, Project

from anystrat.analysis.trust.suite import CHECKS

PRICES = [round(100 + 3 * math.sin(at / 5), 2) for at in range(400)]

PEEKER = """
from anystrat import SignalResult, StrategyType
from anystrat.plugins import NoParameters

class Reader:
    def get_required_history_length(self): return 2
    def supports_instrument(self, token): return True
    def get_strategy_name(self): return "reader"
    def process_tick(self, tick, history):
        with open("ticks.csv") as file:
            lines = file.readlines()[1:]
        later = [float(line.split(",")[2]) for line in lines if int(line.split(",")[0]) > tick.ts_ns]
        move = later[0] / float(tick.last_price) - 1 if later else 0.0
        return None if abs(move) < 0.002 else SignalResult("BUY" if move > 0 else "SELL", 0.9, 10, tick.last_price)

reader = StrategyType("reader", "rules", NoParameters, lambda _values, _context: Reader(), "Peeks.")
"""


def test_a_clean_strategy_passes_with_0(project: Project):
    project.config()
    project.ticks(PRICES)
    answer = project.run(
        "trust", "--ticks", "ticks.csv", "--check", "peeking", "--check", "warmup", "--check", "purity"
    )
    assert answer.code == 0, answer
    assert answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0] == "mom"
    assert [line.split()[:2] for line in lines[1:4]] == [["pass", "peeking"], ["pass", "warmup"], ["pass", "purity"]]
    assert lines[-1] == "All 3 checks passed."


def test_a_finding_ends_with_1_and_json_has_every_number(project: Project):
    project.config(GOOD + "brokers: {paper: {type: paper, fee_bps: 900}}\n")
    project.ticks(PRICES)
    answer = project.run("trust", "--ticks", "ticks.csv", "--json")
    assert answer.code == 1
    assert answer.json["schema_version"] == 1
    assert not answer.json["ok"]
    by_check = {each["check"]: each for each in answer.json["verdicts"]}
    assert list(by_check) == list(CHECKS)
    assert by_check["costs"]["outcome"] == "fail"
    assert by_check["costs"]["limit"] == 900
    assert by_check["costs"]["number"] < 900


def test_a_strategy_that_reads_the_recording_is_found_with_the_line_that_does_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    project.plugin(monkeypatch, PEEKER, "reader = nasty:reader")
    project.config(
        "version: 1\nstrategies:\n  - {id: peek, strategy_type: reader, instruments: [1]}\n"
        "  - {id: mom, strategy_type: momentum, parameters: {lookback_periods: 3}, instruments: [1]}\n"
    )
    path = project.ticks(PRICES[:150])
    answer = project.run("trust", "--ticks", "ticks.csv", "--check", "peeking", "--json")
    assert answer.code == 1
    peek, clean = answer.json["verdicts"]
    assert (peek["strategy_id"], peek["outcome"]) == ("peek", "fail")
    assert str(path) in peek["found"]
    assert "nasty.py:10" in peek["found"]
    assert clean["outcome"] == "pass"
    assert "nasty" in sys.modules


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--check", "peaking"], "unknown check 'peaking'; did you mean 'peeking'?"),
        (["--strategy", "mum"], "unknown strategy 'mum'; did you mean 'mom'?"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(project: Project, arguments: list[str], text: str):
    project.config()
    project.ticks(PRICES)
    project.run("trust", "--ticks", "ticks.csv", *arguments).refused(3, text)
