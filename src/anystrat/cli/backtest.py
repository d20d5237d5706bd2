"""`anystrat backtest`: what the configured strategies would have earned on recorded ticks, in figures, files and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.options import account, as_json, configuration, settings_of, verbosity
from anystrat.cli.recordings import FILE, TICKS_HELP, opened, refusals
from anystrat.cli.replay import (
    BLOCK_ROWS,
    ManyFiles,
    Run,
    engines_of,
    notes_on_models,
    refuse_overwriting,
    say_end,
    speed_and_strict,
)

if TYPE_CHECKING:
    from anystrat.backtest.result import BacktestResult
    from anystrat.bootstrap import TickReader, Wiring
    from anystrat.cli.recordings import Opened
    from anystrat.domain.configuration import Configuration
    from anystrat.engine.engine import Engine

_TABLES: Final = {"orders": "signals", "fills": "fills", "equity": "equity"}


@click.command("backtest", cls=ManyFiles, short_help="What the strategies would have earned, with a report.")
@configuration
@click.option(
    "--ticks",
    multiple=True,
    type=FILE,
    metavar="FILE...",
    help=TICKS_HELP,
)
@click.option("--report", type=FILE, metavar="OUT", help="Write the report: one HTML file that needs nothing else.")
@click.option(
    "--explain",
    "explained",
    multiple=True,
    metavar="ID",
    help="Add to the report why this strategy did what it did; may be repeated. It is run tick by tick for that.",
)
@click.option("--orders", type=FILE, metavar="OUT", help="Write every order: .parquet, .csv or .jsonl.")
@click.option("--fills", type=FILE, metavar="OUT", help="Write every paper fill.")
@click.option("--equity", type=FILE, metavar="OUT", help="Write the curve of every account.")
@account("strategy")
@click.option("--shared", is_flag=True, help="One account for all strategies, which starts with --cash once.")
@speed_and_strict("columns")
@as_json
@verbosity
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    ticks: tuple[Path, ...],
    report: Path | None,
    explained: tuple[str, ...],
    orders: Path | None,
    fills: Path | None,
    equity: Path | None,
    cash: float,
    *,
    shared: bool,
    days_per_year: int | None,
    speed: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Run recorded ticks through the configured strategies, and account for every paper fill.

    CONFIG is a YAML or JSON file, or a directory of them; else $ANYSTRAT_CONFIG, else ./anystrat.yaml.

    \b
    anystrat backtest anystrat.yaml --ticks monday.parquet tuesday.csv --report report.html
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.backtest.recorder import Recorder
    from anystrat.bootstrap.backtesting import check_table_path
    from anystrat.cli.screen import print_json

    settings = settings_of(context)
    with refusals(context, as_json=as_json):
        found = opened(config, ticks, block_rows=BLOCK_ROWS)
    configured, wiring, reader = found.configured, found.wiring, found.reader
    named = (("orders", orders), ("fills", fills), ("equity", equity))
    tables = {name: path for name, path in named if path is not None}
    outputs = tables | ({"report": report} if report is not None else {})
    refuse_overwriting(outputs, [*reader.paths, *configured.files])
    for path in tables.values():
        check_table_path(path)
    refuse_report(report)
    if explained and report is None:
        raise click.UsageError("--explain goes with --report; without one: anystrat explain.")
    with refusals(context, as_json=as_json):
        engine = engines_of(configured, wiring, None)[0]
    notes = notes_on_models(context, wiring, strict=strict)
    for each in explained:
        refuse_unknown(engine, each)
    recorder = Recorder(engine, cash=cash, shared=shared)
    run = Run(engine, reader, notes, settings, speed, recorder)
    run.play({}, reasons=False)
    result = _result(run, recorder, configured, wiring, reader, days_per_year)
    files = _write(result, tables, report, found, explained)
    if as_json:
        print_json(result.to_dict() | {"files": files})
    else:
        from anystrat.cli.backtest_summary import summary

        summary(result, configured, files)
    say_end(reader, settings, result.counts["ticks"])


def _result(
    run: Run,
    recorder: Any,
    configured: Configuration,
    wiring: Wiring,
    reader: TickReader,
    days_per_year: int | None,
) -> BacktestResult:
    from anystrat.backtest.result import BacktestResult
    from anystrat.bootstrap.backtesting import run_facts

    counts = run.report()
    del counts["files"]
    counts["left_out"] = {item.strategy_id: item.reason for item in wiring.left_out}
    facts = run_facts(configured, wiring, reader.paths)
    return BacktestResult(recorder, counts, facts, periods=days_per_year)


def refuse_unknown(engine: Engine, strategy: str) -> None:
    """A strategy that takes no part is found now, not after the run. Raises `NothingToExplain`."""
    from anystrat.analysis.explaining.moments import executors_of

    executors_of(engine, strategy)


def _write(
    result: BacktestResult, tables: dict[str, Path], report: Path | None, found: Opened, explained: Sequence[str]
) -> dict[str, Any]:
    """Write what was asked for; each file's path and rows, as `replay` says them."""
    from anystrat.bootstrap.backtesting import write_table

    files: dict[str, Any] = {}
    for name, path in tables.items():
        frame = getattr(result, _TABLES[name])
        files[name] = {"path": str(path.resolve()), "rows": write_table(path, frame)}
    if report is not None:
        from anystrat.bootstrap.analysing import why

        chapters = why(result, found.configured, found.wiring, found.reader, explained) if explained else ()
        written = result.report(report, chapters)
        files["report"] = {"path": str(written.resolve()), "bytes": written.stat().st_size}
    return files


def refuse_report(path: Path | None) -> None:
    """An unusable place is found now, not after the run."""
    if path is None:
        return
    if path.suffix.lower() not in {".html", ".htm"}:
        raise click.UsageError(f"--report {path}: the report is HTML; name a file such as {path.stem}.html.")
    if path.is_dir():
        raise click.UsageError(f"--report {path} is a directory; name a file, such as {path}/report.html.")
    if not path.parent.is_dir():
        raise click.UsageError(f"--report {path}: its directory does not exist; make it first: mkdir -p {path.parent}")
