"""`anystrat backtest`: figures, files, a report; what is refused is refused before the run."""

from __future__ import annotations

import csv
import json
import math
from hashlib import sha256

import pyarrow.parquet as pq
import pytest
from tests.integration.cli_project import GOOD, START_NS, Project

WAVES = [round(100 + 3 * math.sin(at / 3), 2) for at in range(400)]
COSTLY = GOOD + "brokers: {paper: {type: paper, fee_bps: 2, slippage_bps: 1}}\nsource: {type: file, path: ticks.csv}\n"


@pytest.fixture
def waves(project: Project) -> Project:
    project.config(COSTLY)
    project.ticks(WAVES)
    return project


def test_one_command_gives_a_report(waves: Project):
    answer = waves.run("backtest", "--report", "report.html")
    assert answer.code == 0, answer
    assert answer.out.startswith("test: 2024-01-02 09:15 to 09:21, 1,000,000 of capital\n")
    assert "buy and hold" in answer.out
    page = (waves / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "AAA" in page
    assert str(waves.path) not in page


def test_the_json_has_the_counts_of_replay_and_every_figure(waves: Project):
    answer = waves.run("backtest", "--json")
    report = answer.json
    replayed = waves.run("replay", "--json").json
    for name in ("ticks", "evaluations", "signals", "drops", "fills", "round_trips"):
        assert report[name] == replayed[name], name
    assert report["schema_version"] == 1
    assert report["portfolio"]["profit"] == pytest.approx(replayed["pnl"])
    assert report["portfolio"]["trades"] == report["accounts"]["mom"]["trades"] == replayed["round_trips"] > 10
    assert report["portfolio"]["end"] == report["portfolio"]["start"] + report["portfolio"]["profit"]
    assert report["buy_and_hold"]["total_return"] == pytest.approx(WAVES[-1] / WAVES[0] - 1)
    assert report["by_instrument"][0]["symbol"] == "AAA"
    digests = {each["name"]: each["sha256"] for each in report["inputs"]}
    assert digests == {name: sha256((waves / name).read_bytes()).hexdigest() for name in ("anystrat.yaml", "ticks.csv")}


@pytest.mark.parametrize("speed", ["scalar", "columns", "auto"])
def test_the_figures_are_the_same_at_every_speed(waves: Project, speed: str):
    said = [waves.run("backtest", "--json", "--speed", each).json for each in (speed, "scalar")]
    for report in said:
        del report["seconds"]
    assert said[0] == said[1]


def test_orders_fills_and_equity_are_files_by_their_suffix(waves: Project):
    answer = waves.run(
        "backtest", "--orders", "o.csv", "--fills", "f.parquet", "--equity", "e.jsonl", "--json", "--cash", "5000"
    )
    assert answer.code == 0, answer
    files = answer.json["files"]
    assert {name: file["rows"] for name, file in files.items()} == {
        "orders": answer.json["signals"],
        "fills": answer.json["fills"],
        "equity": len((waves / "e.jsonl").read_text().splitlines()),
    }
    with (waves / "o.csv").open() as file:
        orders = list(csv.DictReader(file))
    assert waves.run("replay", "--signals", "s.jsonl").code == 0
    signals = [json.loads(line) for line in (waves / "s.jsonl").read_text().splitlines()]
    assert [(row["signal_id"], int(row["ts_ns"]), int(row["quantity"])) for row in orders] == [
        (row["signal_id"], row["ts_ns"], row["quantity"]) for row in signals
    ]
    fills = pq.read_table(waves / "f.parquet").to_pylist()
    assert sum(row["fee"] for row in fills) == pytest.approx(answer.json["portfolio"]["fees"])
    rows = [json.loads(line) for line in (waves / "e.jsonl").read_text().splitlines()]
    assert {row["account"] for row in rows} == {"mom", "portfolio", "buy and hold"}
    mine = [row for row in rows if row["account"] == "mom"]
    assert (mine[0]["ts_ns"], mine[0]["equity"]) == (START_NS, 5000.0)
    assert mine[-1]["equity"] == answer.json["accounts"]["mom"]["end"]
    assert max(row["drawdown"] for row in mine) == answer.json["accounts"]["mom"]["max_drawdown"]
    assert not list(waves.path.glob("*.partial"))


def test_one_shared_account_starts_with_the_cash_once(project: Project):
    second = (
        GOOD.split("strategies:\n")[1].replace("id: mom", "id: other").replace("threshold: 0.01", "threshold: 0.02")
    )
    project.config(COSTLY.replace("brokers:", second + "brokers:", 1))
    project.ticks(WAVES)
    apart, shared = (project.run("backtest", "--json", *more).json["portfolio"] for more in ((), ("--shared",)))
    assert (apart["start"], shared["start"]) == (2_000_000.0, 1_000_000.0)
    assert apart["profit"] == pytest.approx(shared["profit"])


def test_the_days_of_a_year_are_said_or_found(waves: Project):
    assert waves.run("backtest", "--json").json["portfolio"]["periods"] == 252
    assert waves.run("backtest", "--json", "--days-per-year", "365").json["portfolio"]["periods"] == 365
    waves.run("backtest", "--json", "--days-per-year", "0").refused(2, "--days-per-year")


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--report", "report.pdf"], ["report.pdf", "report.html"]),
        (["--report", "missing/report.html"], ["mkdir -p missing"]),
        (["--report", "."], ["HTML"]),
        (["--fills", "fills.xlsx"], ["names no table format", ".parquet, .csv, .jsonl"]),
        (["--fills", "fills.jsonll"], ["did you mean '.jsonl'?"]),
        (["--equity", "no/equity.csv"], ["mkdir -p no"]),
        (["--fills", "ticks.csv"], ["would overwrite ticks.csv"]),
        (["--fills", "a.csv", "--orders", "a.csv"], ["would overwrite the file of --orders"]),
        (["--cash", "0"], ["--cash"]),
        (["--speed", "warp"], ["scalar"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_is_refused_before_the_run(waves: Project, arguments: list[str], texts: list[str]):
    before = sorted(waves.path.iterdir())
    waves.run("backtest", *arguments).refused(2, *texts)
    assert sorted(waves.path.iterdir()) == before


def test_a_configuration_that_is_refused_is_said_in_json_as_well(project: Project):
    project.config(GOOD.replace("momentum", "momentun"))
    project.ticks(WAVES)
    answer = project.run("backtest", "--ticks", "ticks.csv", "--json")
    assert answer.code == 3
    assert answer.json["problems"][0]["nearest"] == "momentum"


def test_the_new_project_is_backtested_at_once(project: Project, monkeypatch: pytest.MonkeyPatch):
    assert project.run("-q", "init", "demo").code == 0
    monkeypatch.chdir(project / "demo")
    answer = project.run("backtest", "--report", "report.html", "--json")
    assert answer.code == 0, answer
    assert answer.json["accounts"].keys() == {"rules", "model", "both"}
    page = (project / "demo" / "report.html").read_text()
    for title in ("Confidence", "Rules and model", "Drops", "Price and trades"):
        assert f">{title}</h2>" in page, title


def test_rules_and_model_are_compared_on_every_tick_on_which_both_were_asked(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    assert project.run("-q", "init", "demo").code == 0
    monkeypatch.chdir(project / "demo")
    lines = (project / "demo" / "ticks.csv").read_text().splitlines(keepends=True)
    (project / "demo" / "some.csv").write_text("".join(lines[:2_000]))
    said = [
        project.run("backtest", "--ticks", "some.csv", "--json", "--speed", speed).json
        for speed in ("scalar", "columns")
    ]
    assert said[0]["agreement"] == said[1]["agreement"]
    assert said[0]["calibration"] == said[1]["calibration"]
    counted = said[0]["agreement"]["both"]
    assert sum(map(sum, counted)) == said[0]["strategies"]["both"]["evaluations"]
    assert counted[1][1] + counted[2][2] > 0


def test_a_narrow_terminal_leaves_columns_out_before_it_breaks_the_table(
    waves: Project, monkeypatch: pytest.MonkeyPatch
):
    from anystrat.cli.screen import Column, fitting

    monkeypatch.setattr("anystrat.cli.screen.console", lambda *_: type("Narrow", (), {"width": 24})())
    columns, rows = fitting(
        [Column("name"), Column("one"), Column("two")], [["x" * 12, "1" * 8, "2" * 8]], ["one", "two"]
    )
    assert [column.title for column in columns] == ["name", "two"]
    assert rows == [["x" * 12, "2" * 8]]
