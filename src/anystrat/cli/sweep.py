"""`anystrat sweep`: many variants of the configured strategies over the same ticks, and how much of the best is luck."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.options import account, as_json, configuration, settings_of, verbosity
from anystrat.cli.recordings import FILE, TICKS_HELP, refusals
from anystrat.cli.replay import ManyFiles

if TYPE_CHECKING:
    from anystrat.cli.options import Settings
    from anystrat.sweeps.folds import WalkForward
    from anystrat.sweeps.result import SweepResult
    from anystrat.sweeps.space import SpaceError

_WALK: Final = "60,20"


@click.command("sweep", cls=ManyFiles, short_help="Try many settings, and say whether the best is more than luck.")
@configuration
@click.option("--ticks", multiple=True, type=FILE, metavar="FILE...", help=TICKS_HELP)
@click.option(
    "--over",
    multiple=True,
    required=True,
    metavar="KEY=VALUES",
    help="What varies: 5,10,20 or 5..50 or 5..50:5 or 0.001..0.1:log; may be given several times.",
)
@click.option("--strategy", "strategies", multiple=True, metavar="ID", help="Vary only this strategy; may be repeated.")
@click.option(
    "--search", default="grid", show_default=True, metavar="[grid|random|optuna]", help="Where trials come from."
)
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="How many; a grid has all of its own.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="What draws are made from.")
@click.option("--by", default="sharpe", show_default=True, metavar="FIGURE", help="What trials are ranked by.")
@click.option(
    "--walk-forward",
    metavar="TRAIN,TEST",
    help=f"Also choose on so many days and see on the next ones, again and again: {_WALK}.",
)
@click.option("--anchored", is_flag=True, help="Walk forward on all days so far, instead of the last TRAIN.")
@click.option("--study", type=FILE, metavar="FILE", help="Keep every trial there; the same call goes on where it was.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Processes; without it, one a processor where that pays."
)
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: its address, auto, or local to start one here.")
@click.option("--report", type=FILE, metavar="OUT", help="Write the report: one HTML file that needs nothing else.")
@click.option("--table", type=FILE, metavar="OUT", help="Write every trial: .parquet, .csv or .jsonl.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="Trials to show.")
@account("trial")
@as_json
@verbosity
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    ticks: tuple[Path, ...],
    over: tuple[str, ...],
    strategies: tuple[str, ...],
    search: str,
    trials: int | None,
    seed: int,
    by: str,
    walk_forward: str | None,
    study: Path | None,
    workers: int | None,
    ray: str | None,
    report: Path | None,
    table: Path | None,
    top: int,
    cash: float,
    days_per_year: int | None,
    *,
    anchored: bool,
    as_json: bool,
) -> None:
    """Run many variants of the configured strategies over the same ticks, and rank what they came to.

    A KEY is as for whatif: parameters.NAME, risk.NAME, brokers.paper.fee_bps … A variant is judged by the account of the
    strategies that it changes. Nothing of the configuration is written.

    \b
    anystrat sweep --ticks 2024.parquet --over parameters.lookback_periods=5..50:5 --over parameters.threshold=0.01,0.02
    anystrat sweep --ticks 2024.parquet --over parameters.threshold=0.001..0.1:log --search optuna --trials 200
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.bootstrap.backtesting import check_table_path, write_table
    from anystrat.bootstrap.sweeping import sweep
    from anystrat.cli.backtest import refuse_report
    from anystrat.cli.replay import refuse_overwriting
    from anystrat.cli.screen import print_json

    settings = settings_of(context)
    days = _days(walk_forward, anchored=anchored)
    outputs = {name: path for name, path in (("report", report), ("table", table)) if path is not None}
    refuse_overwriting(outputs, [*ticks, *([config] if config.is_file() else [])])
    refuse_report(report)
    if table is not None:
        check_table_path(table)
    with refusals(context, as_json=as_json), _progress(settings, study) as moved:
        result = sweep(
            config, list(ticks) or None, over=over, search=search, trials=trials, by=by, seed=seed, only=strategies,
            study=study, workers=workers, ray=ray, cash=cash, days_per_year=days_per_year, on_progress=moved,
        )  # fmt: skip
    walk, too_short = _walked(result, days, anchored=anchored)
    files: dict[str, Any] = {}
    if table is not None:
        files["table"] = {"path": str(table.resolve()), "rows": write_table(table, result.trials)}
    if report is not None:
        written = result.report(report, walk)
        files["report"] = {"path": str(written.resolve()), "bytes": written.stat().st_size}
    if as_json:
        print_json(result.to_dict(walk) | {"files": files})
    else:
        _show(result, walk, files, top)
    if too_short is not None:  # the trials themselves are not lost for it
        raise too_short


def _show(result: SweepResult, walk: WalkForward | None, files: dict[str, Any], top: int) -> None:
    from anystrat.cli.sweep_summary import summary

    summary(result, walk, files, top)


def _walked(
    result: SweepResult, days: tuple[int, int] | None, *, anchored: bool
) -> tuple[WalkForward | None, SpaceError | None]:
    from anystrat.sweeps.space import SpaceError

    if days is None:
        return None, None
    try:
        return result.walk_forward(train=days[0], test=days[1], anchored=anchored), None
    except SpaceError as error:
        return None, error


def _days(text: str | None, *, anchored: bool) -> tuple[int, int] | None:
    if text is None:
        if anchored:
            raise click.UsageError(f"--anchored goes with --walk-forward, such as --walk-forward {_WALK}.")
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(each.strip().isdecimal() for each in parts):
        raise click.UsageError(f"--walk-forward {text}: write TRAIN,TEST in days, such as {_WALK}.")
    return int(parts[0]), int(parts[1])


@contextmanager
def _progress(settings: Settings, study: Path | None) -> Generator[Callable[[int, int | None], None] | None]:
    """A bar on standard error, on a terminal; and, where somebody ends the sweep, what is left of it."""
    from anystrat.cli.failures import say
    from anystrat.cli.screen import console, fancy

    done, start = 0, time.monotonic()

    def counted(trials: int, total: int | None) -> None:
        nonlocal done
        done = trials
        if bar is not None:
            if not bar.live.is_started and time.monotonic() - start > 1.0:
                bar.start()
            bar.update(task, completed=trials, total=total)

    bar = None
    if not settings.quiet and not settings.verbose and fancy(sys.stderr):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True),
            console=console(sys.stderr), transient=True,
        )  # fmt: skip
        task = bar.add_task("trials", total=None)
    try:
        yield counted
    except KeyboardInterrupt:
        kept = f"; the same call goes on from {study}" if study is not None else "; with --study FILE it could go on"
        say(f"stopped after {done:,} trials{kept}")
        raise
    finally:
        if bar is not None and bar.live.is_started:
            bar.stop()
