"""The whole service under faults: whatever a seed brings, the invariants hold, and a seed brings the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from anystrat.testing.simulate import history
from anystrat.testing.simulate.__main__ import main

#: The long form is `make simulate`.
SEEDS = range(40)


@pytest.fixture(scope="module")
def histories():
    return [history(seed, ticks=200) for seed in SEEDS]


def test_the_invariants_hold_in_every_history(histories):
    assert {each.seed: [str(one) for one in each.violations] for each in histories if each.violations} == {}


def test_histories_have_crashes_and_signals_and_end(histories):
    assert sum(each.crashes for each in histories) >= 3 * len(histories)
    assert sum(each.signals for each in histories) > 10 * len(histories)
    assert any(not each.faults for each in histories), "one in twelve goes without any fault"


def test_a_seed_has_the_same_trace_in_every_process_and_under_every_hash_seed():
    def trace(hash_seed):
        command = [sys.executable, "-m", "anystrat.testing.simulate", "--seeds", "3..6", "--ticks", "60", "--json"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["trace"]

    assert trace("1") == trace("4242")


def test_a_history_is_printed_line_by_line(capsys):
    assert main(["--seed", "5", "--ticks", "40"]) == 0
    printed = capsys.readouterr().out
    assert "p1 starts" in printed
    assert "everything is done" in printed
    assert printed.endswith("I1 to I9 hold.\n")


def test_a_range_of_seeds_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--seeds", "9..2"])
    assert "found '9..2', allowed: two seeds such as 1..1000" in capsys.readouterr().err
