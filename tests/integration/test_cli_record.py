from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.integration.cli_project import Project, clean, command_line

SYNTHETIC = "source: {type: synthetic, ticks: 1000, instruments: [1, 2], seed: 3}\n"


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


def test_a_source_is_enough_and_what_is_recorded_is_replayed(project):
    config = project.config(SYNTHETIC)
    answer = project.run("record", config, "--out", project / "r")
    assert (answer.code, answer.out) == (0, f"1,000 ticks recorded in {project / 'r'}\n")
    strategies = project.config(name="strategies.yaml")
    assert project.run("replay", strategies, "--ticks", project / "r", "--json").json["ticks"] == 1_000


def test_once_more_goes_on(project):
    config = project.config(SYNTHETIC)
    project.run("record", config, "--out", project / "r", "--format", "jsonl")
    project.config(SYNTHETIC.replace("1000", "1500"))
    report = project.run("record", config, "--out", project / "r", "--format", "jsonl", "--json").json
    assert (report["ticks"], report["ticks_before"], report["ticks_total"]) == (500, 1_000, 1_500)


def test_standard_input_is_a_source(project):
    project.config("source: {type: stdin}\n")
    lines = '{"ts_ns":1,"instrument_token":1,"price":"0.10000000000000000001"}\nnothing\n'
    done = subprocess.run(
        command_line("record", "--out", "r", "--json"),
        cwd=project.path,
        env=clean(),
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"ticks": 1' in done.stdout
    assert "stdin: not decoded: standard input:2: no JSON" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_it_cleanly(project, number):
    project.config("source: {type: synthetic, ticks: endless, instruments: [1], interval_ms: 1, pace: 1}\n")
    child = subprocess.Popen(
        command_line("record", "--out", "r"),
        cwd=project.path,
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(project.path.glob("r/shard-0/*.inputs")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    ticks = int(out.split()[0].replace(",", ""))
    assert (
        project.run("replay", project.config(name="s.yaml"), "--ticks", project / "r", "--json").json["ticks"] == ticks
    )


def test_a_kill_leaves_what_came_before(project):
    project.config("source: {type: synthetic, ticks: endless, instruments: [1], interval_ms: 0.1, pace: 1}\n")
    child = subprocess.Popen(
        command_line("record", "--out", "r"),
        cwd=project.path,
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 5_000 for path in project.path.glob("r/shard-0/*.inputs")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.communicate()
    replayed = project.run("replay", project.config(name="s.yaml"), "--ticks", project / "r", "--json").json["ticks"]
    assert replayed > 100
    project.config(f"source: {{type: synthetic, ticks: {replayed + 10}, instruments: [1], interval_ms: 0.1}}\n")
    report = project.run("record", project / "anystrat.yaml", "--out", project / "r", "--json").json
    assert (report["ticks"], report["ticks_before"]) == (10, replayed)


def test_what_it_cannot_do_is_said_in_words(project):
    project.run("record", project.config("strategies: []\n"), "--out", project / "r").refused(2, "has no source")
    config = project.config(SYNTHETIC)
    project.write("other/thesis.txt", "x")
    project.run("record", config, "--out", project / "other").refused(2, "holds other files (thesis.txt")
    project.config("source: {type: synthetc}\n")
    project.run("record", config, "--out", project / "r").refused(3, "did you mean 'synthetic'?")
    project.config("source: {type: synthetic}\n")
    project.run("record", config, "--out", project / "r").refused(1, "give the synthetic source `instruments`")
