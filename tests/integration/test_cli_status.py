"""`anystrat status`: the journal alone says what a run did, while it runs and after."""

from __future__ import annotations

import signal

import pytest
from tests.integration.cli_project import process
from tests.integration.test_cli_run import CONFIG, PRICES, delivered, start


@pytest.fixture
def live(project):
    project.ticks([*PRICES[:150], "nan", *PRICES[150:], "-5"])
    return project


def test_after_a_run_every_tick_is_accounted_for_and_each_executor_is_there(live):
    live.config(CONFIG % "")
    assert process("run", "--quiet", "--speed", "scalar", cwd=live.path).returncode == 0
    answer = live.run("status", "--json")
    assert answer.code == 0, answer
    report = answer.json
    assert report["running_as"] is None
    assert report["ticks"] == {
        "received": 302,
        "processed": 300,
        "duplicates": 0,
        "dropped": {"bad_price": 2},
        "shed": 0,
    }
    assert [(one["strategy_id"], one["broker"], one["state"]) for one in report["strategies"]] == [
        ("mom", "paper", "ACTIVE"),
        ("mom", "out", "ACTIVE"),
    ]
    signals = {one["broker"]: one["signals"] for one in report["strategies"]}
    assert {broker: fates["acked"] for broker, fates in report["brokers"].items()} == signals


def test_it_is_answered_while_the_run_goes_on(live):
    live.config(CONFIG % ", pace: 20")
    running = start(live, "--quiet")
    delivered(live, 5)
    answer = live.run("status", "--json")
    assert answer.code == 0, answer
    assert answer.json["running_as"] == running.pid
    assert 0 < answer.json["ticks"]["processed"] < 302
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    answer = live.run("status")
    assert "running      no" in answer.out
    assert "received = " in answer.out


def test_for_people_it_is_a_table_and_a_sum(live):
    live.config(CONFIG % "")
    assert process("run", "--quiet", "--speed", "scalar", cwd=live.path).returncode == 0
    answer = live.run("status")
    assert "302 received = 300 processed + 0 duplicates + 2 dropped (bad_price) + 0 shed" in answer.out
    assert "ACTIVE" in answer.out


def test_without_a_journal_there_is_nothing_to_look_into(project):
    project.config()
    project.run("status").refused(2, "journal")
