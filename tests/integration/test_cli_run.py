"""`anystrat run` as a person meets it: drained, stopped, killed, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.integration.cli_project import clean, command_line, process

CONFIG = """\
version: 1
run: {name: test}
source: {type: file, path: ticks.csv%s}
brokers: {out: {type: jsonl, path: signals.jsonl}}
journal: {type: sqlite, path: state/journal.db}
strategies:
  - id: mom
    strategy_type: momentum
    parameters: {lookback_periods: 3, threshold: 0.01, position_size: 10}
    instruments: [1]
    brokers: [paper, out]
"""
PRICES = [100 + (k * 7919 % 13) for k in range(300)]


def ids(path):
    return [json.loads(line)["signal_id"] for line in path.read_text().splitlines()]


def replayed(project):
    assert project.run("replay", "--signals", "expected.jsonl", "--quiet").code == 0
    rows = map(json.loads, (project / "expected.jsonl").read_text().splitlines())
    return [row["signal_id"] for row in rows if row["broker"] == "out"]


def start(project, *arguments, **options):
    return subprocess.Popen(
        command_line("run", "--speed", "scalar", *arguments),
        cwd=project.path,
        env=clean(NO_COLOR="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def delivered(project, least=1):
    """Wait until so many signals are in the file."""
    path = project / "signals.jsonl"
    for _ in range(600):
        if path.exists() and len(path.read_bytes().splitlines()) >= least:
            return
        time.sleep(0.05)
    raise AssertionError("no signal was delivered within 30 s")


@pytest.fixture
def live(project):
    project.ticks(PRICES)
    project.config(CONFIG % "")
    return project


def test_a_drained_file_ends_the_run_with_0_and_its_signals_are_those_of_a_replay(live):
    done = process("run", "--json", "--speed", "scalar", cwd=live.path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema_version"] == 1
    assert report["reason"] == "the source ended"
    assert report["ticks"] == {"received": 300, "processed": 300, "duplicates": 0, "dropped": {}, "shed": 0}
    expected = replayed(live)
    assert ids(live / "signals.jsonl") == expected
    assert {one["broker"]: one["acked"] for one in report["brokers"]} == {"paper": len(expected), "out": len(expected)}


def test_a_second_run_of_a_drained_file_finds_nothing_to_do(live):
    assert process("run", "--quiet", "--speed", "scalar", cwd=live.path).returncode == 0
    before = (live / "signals.jsonl").read_bytes()
    done = process("run", "--json", "--speed", "scalar", cwd=live.path)
    assert done.returncode == 0, done.stderr
    assert (live / "signals.jsonl").read_bytes() == before


def test_for_people_the_end_says_where_every_tick_went(live):
    done = process("run", "--speed", "scalar", cwd=live.path)
    assert "300 received = 300 processed + 0 duplicates + 0 dropped + 0 shed" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_next_run_goes_on(project, number):
    project.ticks(PRICES)
    project.config(CONFIG % ", pace: 100")
    running = start(project, "--json")
    delivered(project)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    report = json.loads(out)
    assert report["reason"] == number.name
    assert 0 < report["ticks"]["processed"] < 300
    expected = replayed(project)
    assert ids(project / "signals.jsonl") == expected[: len(ids(project / "signals.jsonl"))]
    project.config(CONFIG % "")
    # Another source's options do not make other strategies: the state fits.
    done = process("run", "--json", "--speed", "scalar", cwd=project.path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ticks"]["processed"] == 300
    assert ids(project / "signals.jsonl") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_is_one(project, number):
    project.ticks(PRICES)
    project.config(CONFIG % ", pace: 100")
    running = start(project, "--json")
    delivered(project)
    running.send_signal(number)
    time.sleep(0.02)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert json.loads(out)["reason"] == number.name


def test_a_killed_run_is_taken_up_where_it_was(project):
    project.ticks(PRICES)
    project.config(CONFIG % ", pace: 100")
    for least in (1, 12, 25):
        running = start(project, "--quiet")
        delivered(project, least)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=60)
        assert running.returncode == -signal.SIGKILL
    project.config(CONFIG % "")
    done = process("run", "--json", "--speed", "scalar", cwd=project.path)
    assert done.returncode == 0, done.stderr
    assert ids(project / "signals.jsonl") == replayed(project)
    ticks = json.loads(done.stdout)["ticks"]
    assert ticks["received"] == ticks["processed"] + ticks["duplicates"]


def test_a_second_runner_on_the_same_journal_is_refused(project):
    project.ticks(PRICES)
    project.config(CONFIG % ", pace: 1")
    running = start(project)
    for _ in range(600):
        if (project / "state" / "journal.db").exists():
            break
        time.sleep(0.05)
    time.sleep(1)
    done = process("run", "--speed", "scalar", cwd=project.path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "journal" in done.stderr
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)


def test_another_configuration_is_not_given_the_state_of_the_first(live):
    assert process("run", "--quiet", "--speed", "scalar", cwd=live.path).returncode == 0
    live.config((CONFIG % "").replace("threshold: 0.01", "threshold: 0.02"))
    done = process("run", "--speed", "scalar", cwd=live.path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "configuration" in done.stderr


def test_a_configuration_without_a_source_is_refused_with_what_to_write(project):
    project.config()
    answer = project.run("run")
    answer.refused(3, "source", "synthetic")


def test_ticks_come_in_by_standard_input(project):
    project.config((CONFIG % "").replace("type: file, path: ticks.csv", "type: stdin"))
    lines = [
        json.dumps({"ts_ns": 1_704_186_900_000_000_000 + k * 10**9, "instrument_token": 1, "price": price})
        for k, price in enumerate(PRICES)
    ]
    done = process("run", "--json", "--speed", "scalar", cwd=project.path, input="\n".join(lines) + "\n{broken\n")
    assert done.returncode == 0, done.stderr
    ticks = json.loads(done.stdout)["ticks"]
    assert ticks == {"received": 301, "processed": 300, "duplicates": 0, "dropped": {"malformed": 1}, "shed": 0}


def test_a_compiled_run_delivers_the_same(live):
    done = process("run", "--quiet", "--speed", "columns", cwd=live.path)
    assert done.returncode == 0, done.stderr
    assert ids(live / "signals.jsonl") == replayed(live)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_replay_of_a_recording_decides_as_the_run_did_commands_and_kills_included(project, shards):
    rows = ["ts_ns,instrument_token,price"]
    rows += [f"{1_704_186_900_000_000_000 + k * 10**8},{1 + k % 4},{100 + k * 7919 % 13}" for k in range(400)]
    project.write("ticks.csv", "\n".join(rows) + "\n")
    text = (CONFIG % ", pace: 20").replace("run: {name: test}", f"run: {{name: test, shards: {shards}}}")
    project.config(text.replace("    instruments: [1]\n", "    instruments: [1, 2, 3, 4]\n    per_instrument: true\n"))
    for least in (1, 15):
        running = start(project, "--quiet", "--record", "recording")
        delivered(project, least)
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=60)
    done = process("run", "--quiet", "--speed", "scalar", "--record", "recording", cwd=project.path)
    assert done.returncode == 0, done.stderr
    answer = project.run("replay", "--ticks", "recording", "--signals", "again.jsonl", "--reasons", "--json", "--quiet")
    assert answer.code == 0, answer
    assert answer.json["ticks"] == 400
    again = [json.loads(line) for line in (project / "again.jsonl").read_text().splitlines()]
    sent = [json.loads(line) for line in (project / "signals.jsonl").read_text().splitlines()]
    key = ("instrument_token", "ts_ns")
    of_out = [row for row in again if row["broker"] == "out"]
    assert sorted(of_out, key=lambda row: [row[name] for name in key]) == sorted(
        sent, key=lambda row: [row[name] for name in key]
    )


def test_a_recording_under_another_configuration_is_said_to_be_one(live):
    assert process("run", "--quiet", "--speed", "scalar", "--record", "rec", cwd=live.path).returncode == 0
    live.config((CONFIG % "").replace("threshold: 0.01", "threshold: 0.02"))
    answer = live.run("replay", "--ticks", "rec")
    assert answer.code == 0
    assert "another configuration" in answer.err


def test_a_strategy_that_holds_everything_up_is_named(project, monkeypatch):
    project.plugin(
        monkeypatch,
        "import time\nfrom anystrat import rule\n\n\n@rule(history=1)\ndef sleepy(prices):\n    time.sleep(0.6)\n",
        "sleepy = nasty:sleepy",
    )
    project.ticks([100, 101])
    project.config(
        (CONFIG % "")
        .replace("run: {name: test}", "run: {name: test, watchdog_sec: 0.2}")
        .replace("strategy_type: momentum", "strategy_type: sleepy")
        .replace("{lookback_periods: 3, threshold: 0.01, position_size: 10}", "{}")
    )
    path = os.pathsep.join([str(project / "site"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    done = process("run", "--speed", "scalar", cwd=project.path)
    assert done.returncode == 0, done.stderr
    assert "mom" in done.stderr
    assert "time.sleep(0.6)" in done.stderr


def test_a_second_signal_ends_it_also_while_a_strategy_holds_everything_up(project, monkeypatch):
    project.plugin(
        monkeypatch,
        "from anystrat import rule\n\n\n@rule(history=1)\ndef endless(prices):\n    while True:\n        pass\n",
        "endless = nasty:endless",
    )
    project.ticks([100, 101])
    text = (CONFIG % "").replace("run: {name: test}", "run: {name: test, watchdog_sec: 0.2}")
    text = text.replace("strategy_type: momentum", "strategy_type: endless")
    project.config(text.replace("{lookback_periods: 3, threshold: 0.01, position_size: 10}", "{}"))
    path = os.pathsep.join([str(project / "site"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    running = start(project)
    try:
        assert any("while True" in line or "nasty.py" in line for line in iter(running.stderr.readline, ""))
        running.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=10) == 143
    finally:
        running.kill()
        running.communicate()


def test_a_recording_that_cannot_be_written_does_not_stop_the_run_and_is_completed_by_the_next(live):
    # As a full disk answers, for the recording alone.
    live.write(
        "full.py",
        "import errno\nfrom anystrat.adapters.recording import shard_writer\n\n\n"
        "def full(stream, data):\n    raise OSError(errno.ENOSPC, 'No space left on device')\n\n\n"
        "shard_writer._write_all = full\n"
        "from anystrat.__main__ import main\n"
        "raise SystemExit(main(['run', '--speed', 'scalar', '--record', 'rec', '--json']))\n",
    )
    done = subprocess.run(
        [sys.executable, "full.py"],
        cwd=live.path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean(),
    )
    assert done.returncode == 0, done.stderr
    assert "the run goes on" in done.stderr
    assert json.loads(done.stdout)["ticks"]["processed"] == 300
    assert ids(live / "signals.jsonl") == replayed(live)
    assert process("run", "--quiet", "--speed", "scalar", "--record", "rec", cwd=live.path).returncode == 0
    assert live.run("replay", "--ticks", "rec", "--json", "--quiet").json["ticks"] == 300


def test_a_source_that_fails_ends_the_run_with_1_after_the_summary_of_what_was_done(live):
    assert live.run("run", "--quiet", "--speed", "scalar").code == 0
    live.ticks(PRICES[:100])
    done = live.run("run", "--speed", "scalar")
    assert done.code == 1
    assert "300 received = 300 processed" in done.out
    assert "the source failed" in done.out
    assert "100 rows; 300 were read before" in done.err


def test_signals_that_cannot_be_delivered_are_told_of_and_end_the_run_with_1(live):
    (live / "signals.jsonl").mkdir()
    done = live.run("run", "--json", "--speed", "scalar", "--drain", "0")
    assert done.code == 1
    [waiting] = [one["queued"] for one in json.loads(done.out)["brokers"] if one["broker"] == "out"]
    assert waiting
    assert (
        f"accepted signals are not delivered ({waiting} for out): they are in the journal; the next run sends them"
        in done.err
    )
