"""`anystrat journal` and `anystrat deadletters`, on journals at rest, in use, and damaged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.contract.journal_places import signal
from tests.integration.cli_project import GOOD, Project, clean

pytest.importorskip("apsw")

from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.events import TimerDue
from anystrat.domain.inputs import encoded_inputs
from anystrat.domain.journal import Fate, Settled, Step
from anystrat.testing.ticks import START_NS, columns, row

WITH_JOURNAL = GOOD + "journal: {type: sqlite, path: state/journal.db}\n"


async def fill(journal: SqliteFileJournal) -> None:
    await journal.open("f" * 64)
    ticks = columns([row(1, "100", 0), row(1, "100.5", 1, volume=3.0, metadata={"halted": True})])
    inputs = encoded_inputs([ticks, TimerDue(START_NS)])
    signals = tuple(signal(number) for number in range(1, 6))
    await journal.commit(
        [Step(0, 0, 3, inputs, {"ticks.csv": 2}, signals, b"", b"state"), Step(1, 0, 0, b"", {}, (), b"")]
    )
    await journal.settle(
        [
            Settled("out", 1, 1, Fate.ACKED),
            Settled("out", 2, 2, Fate.DEAD, "the sink \x1b[31m is gone", 5),
            Settled("out", 3, 3, Fate.UNKNOWN, "no answer", 1),
        ]
    )


@pytest.fixture
def journal(project: Project) -> Path:
    project.config(WITH_JOURNAL)
    path = project / "state/journal.db"

    async def story() -> None:
        journal = SqliteFileJournal(path, inline=True)
        await fill(journal)
        await journal.close()

    asyncio.run(story())
    return path


@pytest.mark.parametrize("named", [("state/journal.db",), ("anystrat.yaml",), ()])
def test_info_says_where_it_stands(project: Project, journal: Path, named: tuple[str, ...]):
    shown = project.run("journal", "info", *named)
    assert (shown.code, shown.err) == (0, "")
    for text in ("in use no", "opened once", "kill switch off", "0 3 3 0 0", "out 5 2 0 1 0 0 1 1"):
        assert text in " ".join(shown.out.split()), shown.out
    report = project.run("journal", "info", *named, "--json").json
    assert report["schema_version"] == 1
    assert report["path"] == str(journal)
    assert report["shards"][0] == {
        "shard": 0,
        "inputs": 3,
        "checkpoint": 3,
        "kept_from": 0,
        "watermarks": {"ticks.csv": 2},
    }
    assert report["brokers"] == {"out": {"signals": 5, "pending": 2, "acked": 1, "dead": 1, "unknown": 1}}


def test_a_journal_at_rest_is_left_as_it_was(project: Project, journal: Path):
    before = {each.name: each.read_bytes() for each in journal.parent.iterdir()}
    for command in (("journal", "info"), ("journal", "verify"), ("journal", "export"), ("deadletters", "list")):
        assert project.run(*command).code == 0
    assert {each.name: each.read_bytes() for each in journal.parent.iterdir()} == before


def test_verify_reads_all_of_it(project: Project, journal: Path):
    assert "sound. Shards: 2; inputs: 3; signals: 5." in project.run("journal", "verify").out
    assert project.run("journal", "verify", "--json").json["ok"] is True
    content = bytearray(journal.read_bytes())
    at = content.index(START_NS.to_bytes(8, "little"))
    content[at] ^= 4
    journal.write_bytes(content)
    project.run("journal", "verify").refused(
        1, str(journal), "table input, shard 0, inputs from number 0 on", "restore a backup"
    )
    answer = project.run("journal", "verify", "--json")
    assert answer.code == 1
    assert answer.json["ok"] is False
    assert "checksum" in answer.json["problem"]
    for command in ("info", "export"):
        project.run("journal", command).refused(1, "checksum does not fit")
    project.run("deadletters", "list").refused(1, "checksum does not fit")
    assert journal.read_bytes() == bytes(content)


def test_export_writes_signals_with_their_fates(project: Project, journal: Path):
    rows = [json.loads(line) for line in project.run("journal", "export").out.splitlines()]
    assert [(each["number"], each["fate"]) for each in rows] == [
        (1, "acked"),
        (2, "dead"),
        (3, "unknown"),
        (4, "pending"),
        (5, "pending"),
    ]
    assert rows[0]["signal"] == {"n": 1, "why": "€"}
    project.run("journal", "export", "--broker", "out", "--out", "out.jsonl")
    assert [json.loads(line) for line in (project / "out.jsonl").read_text(encoding="utf-8").splitlines()] == rows


def test_exported_ticks_can_be_replayed(project: Project, journal: Path):
    assert project.run("journal", "export", "--what", "ticks", "--out", "day.jsonl").code == 0
    assert project.run("replay", "--ticks", "day.jsonl", "--json").json["ticks"] == 2
    lines = project.run("journal", "export", "--what", "inputs", "--shard", "0").out.splitlines()
    ticks, event = [json.loads(line) for line in lines[:2]], json.loads(lines[2])
    assert ticks[1]["input"] == 1
    assert (ticks[1]["size"], ticks[1]["halted"]) == (3.0, True)
    assert event == {"shard": 0, "input": 2, "event": {"type": "timer", "ts_ns": START_NS}}


def test_options_that_do_not_go_together_are_refused(project: Project, journal: Path):
    project.run("journal", "export", "--what", "ticks", "--broker", "out").refused(2, "--what outbox")
    project.run("journal", "export", "--shard", "0").refused(2, "--what inputs")
    project.run("deadletters", "replay", "--all", "--broker", "out").refused(2, "one of --id, --broker and --all")
    project.run("deadletters", "list", "--broker", "uot").refused(2, "did you mean 'out'?")


def test_without_a_file_there_is_nothing_to_look_into(project: Project):
    project.config(GOOD)
    project.run("journal", "info").refused(2, "has no journal", "journal: {type: sqlite")
    project.config(GOOD + "journal: {type: memory}\n")
    project.run("journal", "info").refused(2, "a journal of type memory")
    project.config(WITH_JOURNAL)
    project.run("journal", "info").refused(1, "state/journal.db: there is no such file")
    project.config("strategies: [\n")
    project.run("journal", "info").refused(3, "anystrat.yaml")
    project.write("other.db", b"SQLite format 3\0" + bytes(4_096))
    project.run("journal", "info", "other.db").refused(1, "other.db")


def test_dead_letters_are_listed_shown_and_sent_again(project: Project, journal: Path):
    listed = project.run("deadletters", "list")
    assert "\\x1b[31m" in listed.out  # what a sink said does not drive the terminal
    letters = project.run("deadletters", "list", "--json").json["dead_letters"]
    assert [(each["number"], each["fate"], each["attempts"]) for each in letters] == [(2, "dead", 5), (3, "unknown", 1)]
    shown = project.run("deadletters", "show", letters[1]["signal_id"])
    assert "no answer" in shown.out
    assert '"why": "€"' in shown.out
    assert project.run("deadletters", "show", letters[1]["signal_id"], "--json").json["signal"]["n"] == 3
    project.run("deadletters", "show", "00").refused(2, "begins the ids of 2 dead letters", "give more of it")
    project.run("deadletters", "show", "f0").refused(2, "No dead letter's id begins with 'f0'")
    sent = project.run("deadletters", "replay", "--id", letters[0]["signal_id"], "--expires-in", "60", "--json").json
    assert sent["revived"] == 1
    assert 0 < sent["expires_ns"] - time.time_ns() < 60_000_000_000
    assert "1 signal is pending again" in project.run("deadletters", "replay", "--all").out
    assert project.run("deadletters", "list").out == "No dead letters.\n"
    assert "No dead letters." in project.run("deadletters", "replay", "--broker", "out").out
    counts = project.run("journal", "info", "--json").json["brokers"]["out"]
    assert counts == {"signals": 5, "pending": 4, "acked": 1}


def test_reset_forgets_the_state_only_when_asked_twice(project: Project, journal: Path):
    asked = project.run("journal", "reset")
    assert asked.code == 2
    assert "would forget the state of 2 shards after 3 inputs, and keep 5 signals" in asked.out
    assert len(project.run("journal", "info", "--json").json["shards"]) == 2
    mark = journal.with_name("journal.db.mark")
    mark.write_bytes(b"a tick that the run before died of")
    assert "forgot" in project.run("journal", "reset", "--yes").out
    assert not mark.exists()
    report = project.run("journal", "info", "--json").json
    assert (report["shards"], report["fingerprint"]) == ([], None)
    assert report["brokers"]["out"]["signals"] == 5


RUNNER = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_cli_journal import fill
from anystrat.adapters.sqlite_journal import SqliteFileJournal

async def main():
    journal = SqliteFileJournal(Path("state/journal.db"))
    await fill(journal)
    print("filled", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_while_a_runner_writes_it_it_is_read_and_not_changed(project: Project):
    project.config(WITH_JOURNAL)
    root = Path(__file__).resolve().parents[2]
    environment = clean(PYTHONPATH=f"{root / 'src'}:{root}")
    command = [sys.executable, "-c", RUNNER]
    with subprocess.Popen(command, cwd=project.path, env=environment, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        try:
            assert runner.stdout.readline() == "filled\n"
            assert project.run("journal", "info", "--json").json["in_use_by"] == runner.pid
            assert "sound" in project.run("journal", "verify").out
            assert len(project.run("journal", "export").out.splitlines()) == 5
            for refused in (("deadletters", "replay", "--all"), ("journal", "reset", "--yes")):
                project.run(*refused).refused(1, f"in use by process {runner.pid}", "stop that one first")
        finally:
            runner.kill()
    report = project.run("journal", "info", "--json").json
    assert report["in_use_by"] is None
    assert report["brokers"]["out"]["signals"] == 5


def test_without_the_extra_the_install_line_is_said(project: Project, journal: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apsw", None)
    for command in (("journal", "info"), ("deadletters", "list"), ("deadletters", "replay", "--all")):
        project.run(*command).refused(4, "pip install 'anystrat[live]'")
