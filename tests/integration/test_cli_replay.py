"""`anystrat replay`: the whole way from files to files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.integration.cli_project import GOOD, SECOND_NS, START_NS, Project

RISING = [100, 100, 102, 104, 103, 103]


def test_signals_go_to_a_file_and_the_numbers_to_standard_output(project: Project):
    project.config()
    project.ticks(RISING)
    answer = project.run("replay", "anystrat.yaml", "--ticks", "ticks.csv", "--signals", "s.jsonl", "--json")
    assert answer.code == 0
    assert answer.err == ""
    report = answer.json
    assert report["ticks"] == 6
    assert report["evaluations"] == 4
    assert report["signals"] == report["strategies"]["mom"]["signals"] == 2
    assert report["drops"] == {}
    assert report["seconds"] > 0
    assert report["files"] == {"signals": {"path": str(project / "s.jsonl"), "rows": 2}}
    rows = [json.loads(line) for line in (project / "s.jsonl").read_text().splitlines()]
    assert [(row["signal_type"], row["ts_ns"]) for row in rows] == [
        ("BUY", START_NS + 2 * SECOND_NS),
        ("BUY", START_NS + 3 * SECOND_NS),
    ]


def test_the_same_replay_writes_the_same_bytes(project: Project):
    project.config()
    project.ticks([100 + 3 * math.sin(at / 3) for at in range(500)])
    for name in ("a.jsonl", "b.jsonl"):
        assert project.run("replay", "anystrat.yaml", "--ticks", "ticks.csv", "--signals", name).code == 0
    assert (project / "a.jsonl").read_bytes() == (project / "b.jsonl").read_bytes() != b""


def test_drops_and_reasons(project: Project):
    project.config(GOOD.replace("position_size: 10", "position_size: 10, risk: {cooldown_sec: 60}"))
    project.ticks(RISING)
    answer = project.run(
        "replay", "--ticks", "ticks.csv", "--signals", "s.jsonl", "--drops", "d.jsonl", "--reasons", "--json"
    )
    assert answer.json["drops"] == {"cooldown": 1}
    dropped = json.loads((project / "d.jsonl").read_text())
    assert dropped["reason"] == "cooldown"
    assert dropped["reasoning"]


def test_the_summary_is_for_people(project: Project):
    project.config(GOOD.replace("position_size: 10", "position_size: 10, risk: {cooldown_sec: 60}"))
    project.ticks(RISING)
    answer = project.run("replay", "--ticks", "ticks.csv", "--signals", "s.jsonl")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].split() == [
        "strategy",
        "kind",
        "ticks",
        "evaluations",
        "signals",
        "dropped",
        "round",
        "trips",
        "P&L",
        "state",
    ]
    assert lines[1].split()[:6] == ["mom", "rules", "6", "4", "1", "cooldown"]
    assert lines[1].split()[-1] == "ACTIVE"
    assert "s.jsonl (1 signals)" in answer.out
    assert "ticks/s" in answer.out
    assert not [line for line in lines if line != line.rstrip()]
    assert answer.out.isascii()


@pytest.mark.parametrize(
    "arguments",
    [
        ["anystrat.yaml", "--ticks", "a.csv", "b.csv"],
        ["anystrat.yaml", "--ticks", "a.csv", "--ticks", "b.csv"],
        ["--ticks", "a.csv", "b.csv", "anystrat.yaml"],
        ["--ticks", "a.csv", "b.csv"],
        ["--ticks=a.csv", "--ticks=b.csv", "-c", "anystrat.yaml"],
        ["anystrat.yaml"],
    ],
    ids=" ".join,
)
def test_several_tick_files_merge_however_they_are_named(project: Project, arguments: list[str]):
    project.config(GOOD + "source: {type: file, path: [a.csv, b.csv]}\n")
    project.ticks(RISING[:3], "a.csv")
    project.write("b.csv", f"ts_ns,instrument_token,price\n{START_NS + 3 * SECOND_NS},1,104\n")
    answer = project.run("replay", *arguments, "--json")
    assert answer.code == 0, answer
    assert (answer.json["ticks"], answer.json["signals"]) == (4, 2)


def test_the_configuration_comes_from_the_argument_then_the_option_then_the_environment_then_here(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    project.ticks(RISING)
    for name in ("named", "by_variable", "anystrat"):
        project.config(GOOD.replace("id: mom", f"id: {name}"), f"{name}.yaml")

    def used(*arguments: str) -> str:
        answer = project.run("replay", *arguments, "--ticks", "ticks.csv", "--json")
        return next(iter(answer.json["strategies"]))

    assert used() == "anystrat"
    monkeypatch.setenv("ANYSTRAT_CONFIG", "by_variable.yaml")
    assert used() == "by_variable"
    assert used("named.yaml") == "named"
    assert used("-c", "named.yaml") == "named"


def test_bad_ticks_are_counted_and_the_first_are_named(project: Project):
    project.config()
    stamps = [START_NS + at * SECOND_NS for at in range(20)]
    project.write(
        "ticks.csv",
        "ts_ns,instrument_token,price\n"
        f"{stamps[0]},1,100\n"
        f"{stamps[1]},1,nan\n"
        f"{stamps[2]},1,inf\n"
        f"{stamps[3]},1,0\n"
        f"{stamps[4]},1,-5\n"
        f"{stamps[5]},1,101\n"
        f"{stamps[3]},1,101\n"
        f"{stamps[6]},99,5\n"
        f"{stamps[7]},99,5\n"
        "what,is,this\n"
        f"{stamps[8]},1\n"
        f"{stamps[9]},1,102\n",
    )
    answer = project.run("replay", "--ticks", "ticks.csv", "--json")
    assert answer.code == 0
    assert answer.json["ticks"] == 12
    assert answer.json["ticks_dropped"] == {"malformed": 2, "bad_price": 4, "out_of_order": 1, "unrouted": 2}
    assert answer.json["evaluations"] == 1
    said = answer.err.splitlines()
    assert any("instrument 1 at 2024-01-02T09:15:01Z" in line and "nan" in line.lower() for line in said)
    assert any("instrument 99" in line and "no enabled strategy watches it" in line for line in said)
    assert any("ticks.csv:11: " in line for line in said)
    assert any("ticks.csv:12: " in line for line in said)
    assert any("older" in line for line in said)
    assert sum("its price is" in line for line in said) == 3


def test_quiet_says_nothing_and_verbose_logs(project: Project):
    project.config()
    project.ticks([100, "nan", 100, 102])
    assert project.run("-q", "replay", "--ticks", "ticks.csv").err == ""
    assert project.run("replay", "-q", "--ticks", "ticks.csv").err == ""
    verbose = project.run("replay", "-v", "--ticks", "ticks.csv")
    assert "transition" in verbose.err
    assert "bad_price" in verbose.err


def test_a_model_that_does_not_load_leaves_its_strategy_out_unless_strict(project: Project):
    project.config(
        GOOD + "  - {id: ml, strategy_type: ml_momentum, parameters: {model_path: nope.onnx}, instruments: [1]}\n"
    )
    project.ticks(RISING)
    answer = project.run("replay", "--ticks", "ticks.csv", "--json")
    assert answer.code == 0
    assert "strategy ml is left out" in answer.err
    assert "nope.onnx: no such file" in answer.err
    assert list(answer.json["strategies"]) == ["mom"]
    assert list(answer.json["left_out"]) == ["ml"]
    table = project.run("replay", "--ticks", "ticks.csv")
    assert "left out" in table.out
    strict = project.run("replay", "--strict", "--ticks", "ticks.csv", "--signals", "s.jsonl")
    strict.refused(3, "nope.onnx", "--strict")
    assert strict.out == ""
    assert not (project / "s.jsonl").exists()


def test_speed_is_auto_or_scalar(project: Project):
    project.config()
    project.ticks(RISING)
    answers = [
        project.run("replay", "--ticks", "ticks.csv", "--speed", speed, "--json").json for speed in ("auto", "scalar")
    ]
    assert answers[0]["signals"] == answers[1]["signals"] == 2
    project.run("replay", "--ticks", "ticks.csv", "--speed", "fast").refused(2, "'fast' is not one of auto, scalar")


def test_an_output_never_overwrites_an_input_or_another_output(project: Project):
    config = project.config()
    ticks = project.ticks(RISING, "ticks.csv")
    before = ticks.read_bytes()
    project.run("replay", "--ticks", "ticks.csv", "--signals", "./ticks.csv").refused(2, "would overwrite")
    project.run("replay", "--ticks", "ticks.csv", "--signals", str(config)).refused(2, "would overwrite")
    project.run("replay", "--ticks", "ticks.csv", "--signals", "a.jsonl", "--drops", "a.jsonl").refused(2, "--signals")
    assert ticks.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("s.csv", "'.csv' names no signal format"),
        ("s.jsnl", "did you mean '.jsonl'?"),
        ("nowhere/s.jsonl", "mkdir -p"),
        ("folder.jsonl", "is a directory"),
    ],
)
def test_an_output_that_cannot_be_written_is_said_before_anything_runs(project: Project, option: str, message: str):
    project.config()
    project.ticks(RISING)
    (project / "folder.jsonl").mkdir()
    answer = project.run("replay", "--ticks", "ticks.csv", "--signals", option)
    answer.refused(2, message)
    assert answer.out == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "there is no such file"),
        ("empty.csv", b"", "empty"),
        ("header.csv", b"ts_ns,instrument_token\n1,2\n", "price"),
        ("ticks.xlsx", b"PK", "'.xlsx' names no tick format"),
        ("ticks.parquet", b"PAR1 and then nothing", "ticks.parquet"),
        ("ticks.jsonl.gz", b"\x1f\x8b\x08\x00", "ticks.jsonl.gz"),
    ],
)
def test_a_tick_file_that_cannot_be_used_is_refused(project: Project, name: str, content: bytes | None, message: str):
    project.config()
    if content is not None:
        project.write(name, content)
    project.run("replay", "--ticks", name).refused(2, message)


def test_files_without_a_tick_are_replayed_and_said(project: Project):
    project.config()
    project.write("ticks.jsonl", b"\n\n")
    answer = project.run("replay", "--ticks", "ticks.jsonl", "--json")
    assert (answer.code, answer.json["ticks"]) == (0, 0)
    assert "there was not a single tick" in answer.err


def test_parquet_with_a_price_that_is_no_number(project: Project):
    import pyarrow as pa
    import pyarrow.parquet as pq

    project.config()
    pq.write_table(pa.table({"ts_ns": [1], "instrument_token": [1], "price": [[1.0]]}), project / "t.parquet")
    project.run("replay", "--ticks", "t.parquet").refused(2, "price")
    pq.write_table(pa.table({"ts_ns": [START_NS], "instrument_token": [1], "price": [1.0]}), project / "t.parquet")
    (project / "cut.parquet").write_bytes((project / "t.parquet").read_bytes()[:-20])
    project.run("replay", "--ticks", "cut.parquet").refused(2, "cut.parquet")


def test_a_file_that_breaks_off_half_way_leaves_what_was_written(project: Project):
    import gzip

    project.config()
    rows = "".join(f"{START_NS + at * SECOND_NS},1,{100 + 3 * math.sin(at / 3)}\n" for at in range(400_000))
    whole = gzip.compress(("ts_ns,instrument_token,price\n" + rows).encode(), 1)
    project.write("ticks.csv.gz", whole[: len(whole) // 2])
    project.write("s.jsonl", "the file of an earlier run\n")
    answer = project.run("replay", "--ticks", "ticks.csv.gz", "--signals", "s.jsonl")
    answer.refused(2, "ticks.csv.gz", "stopped after", "kept: signals so far in")
    assert (project / "s.jsonl").read_text() == "the file of an earlier run\n"
    lines = (project / "s.jsonl.partial").read_text().splitlines()
    assert lines
    assert all(json.loads(line)["signal_id"] for line in lines)


def test_there_must_be_ticks_and_a_configuration(project: Project):
    project.run("replay").refused(2, "No configuration is named", "anystrat init")
    project.config()
    project.run("replay").refused(2, "There are no ticks")
    project.config(GOOD + "source: {type: nats, url: 'nats://localhost'}\n")
    project.run("replay").refused(2, "of type nats")
    project.run("replay", "x.yaml", "-c", "y.yaml").refused(2, "named twice")
    project.run("replay", "x.yaml", "y.yaml").refused(2, "y.yaml")


def test_names_that_are_nearly_right(project: Project):
    project.run("repaly").refused(2, "Did you mean 'replay'?")
    project.run("replay", "--tick", "x").refused(2, "--ticks")
    project.run("model", "inspekt", "x").refused(2, "inspect")


def test_disabled_strategies_and_none_at_all(project: Project):
    project.config(GOOD + "    enabled: false\n")
    project.ticks(RISING)
    answer = project.run("replay", "--ticks", "ticks.csv")
    assert answer.code == 0
    assert "No strategy took part." in answer.out
    assert "disabled" in answer.out
    assert project.run("replay", "--ticks", "ticks.csv", "--json").json["ticks_dropped"] == {"unrouted": 6}


def test_a_calendar_closes_the_session(project: Project):
    pytest.importorskip("exchange_calendars")
    project.config(GOOD.replace("symbol: AAA", "symbol: AAA, calendar: XNYS"))
    project.ticks(RISING)  # 09:15 UTC on 2 January 2024: New York sleeps
    assert project.run("replay", "--ticks", "ticks.csv", "--json").json["drops"] == {"session_closed": 2}
    project.config(GOOD.replace("symbol: AAA", "symbol: AAA, calendar: XNYZ"))
    project.run("replay", "--ticks", "ticks.csv").refused(3, "unknown calendar 'XNYZ'", "XNYS")


def test_paths_in_messages_cannot_drive_the_terminal(project: Project, tmp_path: Path):
    project.config()
    answer = project.run("replay", "--ticks", "\x1b[31mred.csv")
    answer.refused(2, "red.csv")
    assert "\x1b" not in answer.err
