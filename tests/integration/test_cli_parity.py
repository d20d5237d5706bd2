"""`anystrat parity`: a live run against a replay of its recording, from its signal file and from its journal."""

from __future__ import annotations

import json

import pytest
from tests.integration.cli_project import Project, process

CONFIG = """\
version: 1
run: {name: test, shards: 2}
source: {type: file, path: ticks.csv}
brokers: {out: {type: jsonl, path: signals.jsonl}}
journal: {type: sqlite, path: state/journal.db}
strategies:
  - id: mom
    strategy_type: momentum
    parameters: {lookback_periods: 3, threshold: 0.01, position_size: 10, risk: {cooldown_sec: 5}}
    instruments: [1, 2]
    per_instrument: true
    brokers: [paper, out]
"""


@pytest.fixture
def live(project: Project) -> Project:
    """A project whose live run is over: signals, journal and recording are there."""
    project.config(CONFIG)
    rows = [f"{1_704_186_900_000_000_000 + k * 10**9},{1 + k % 2},{100 + k * 7919 % 13}" for k in range(300)]
    project.write("ticks.csv", "\n".join(["ts_ns,instrument_token,price", *rows]) + "\n")
    done = process("run", "--quiet", "--speed", "scalar", "--record", "today", cwd=project.path)
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.parametrize(
    ("kept", "brokers"), [("signals.jsonl", "out"), ("state/journal.db", "out, paper")], ids=["file", "journal"]
)
def test_a_run_and_its_replay_are_the_same(live: Project, kept: str, brokers: str):
    answer = live.run("parity", kept, "today")
    assert answer.code == 0, answer
    many = len((live / "signals.jsonl").read_text().splitlines()) * len(brokers.split(", "))
    assert answer.out == f"The same {many:,} signals, to the last bit ({brokers}).\n"
    assert live.run("parity", kept, "today", "--json").json["difference"] is None


def test_the_first_difference_is_named(live: Project):
    lines = (live / "signals.jsonl").read_text().splitlines()
    changed = json.loads(lines[3]) | {"quantity": 11}
    live.write("other.jsonl", "\n".join([*lines[:3], json.dumps(changed), *lines[4:]]) + "\n")
    answer = live.run("parity", "other.jsonl", "today")
    assert answer.code == 1
    assert "quantity is 11 in the live run, 10 in the replay" in answer.out
    live.write("fewer.jsonl", "\n".join(lines[1:]) + "\n")
    found = live.run("parity", "fewer.jsonl", "today", "--json")
    assert found.code == 1
    assert (found.json["ok"], found.json["live"]) == (False, len(lines) - 1)
    assert found.json["difference"]["ts_ns"] == json.loads(lines[0])["ts_ns"]
    assert found.json["difference"]["left"] is None


def test_another_configuration_is_a_warning_and_its_difference_is_found(live: Project):
    live.config(CONFIG.replace("threshold: 0.01", "threshold: 0.05"))
    answer = live.run("parity", "signals.jsonl", "today")
    assert answer.code == 1
    assert "recorded under another configuration" in answer.err
    assert "in the live run, and not in the replay" in answer.out


def test_what_is_no_signal_file_is_refused_with_its_line(live: Project):
    live.write("bad.jsonl", '{"ts_ns": 1}\n')
    live.run("parity", "bad.jsonl", "today").refused(2, "bad.jsonl:1: a signal has ts_ns, strategy_id")
    live.write("worse.jsonl", "nothing\n")
    live.run("parity", "worse.jsonl", "today").refused(2, "worse.jsonl:1: this is no line of a signal file")


def test_a_recording_is_explained_with_its_events(live: Project):
    answer = live.run("explain", "--ticks", "today", "--strategy", "mom", "--instrument", "2", "--json")
    assert answer.code == 0, answer
    replayed = live.run("replay", "--ticks", "today", "--signals", "again.jsonl", "--quiet", "--json")
    assert replayed.code == 0
    mine = [json.loads(line) for line in (live / "again.jsonl").read_text().splitlines()]
    wanted = sum(row["instrument_token"] == 2 and row["broker"] == "paper" for row in mine)
    assert answer.json["overview"]["endings"]["emitted"] == wanted > 0
