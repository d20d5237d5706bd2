"""`anystrat replay`: recorded ticks through the configured strategies and paper fills, signals into files, a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from anystrat.cli.failures import Terminated, say, say_error, say_warning
from anystrat.cli.options import Settings, as_json, configuration, settings_of, verbosity
from anystrat.cli.recordings import FILE, TICKS_HELP, refusals, source_of

if TYPE_CHECKING:
    from anystrat.backtest.recorder import Recorder
    from anystrat.backtest.replay import Replayed
    from anystrat.bootstrap import SignalWriter, TickReader, Wiring
    from anystrat.bootstrap.recording import RecordedRun
    from anystrat.domain.columns import SignalColumns
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.outcomes import Outcome
    from anystrat.engine.engine import Engine

F = TypeVar("F", bound=Callable[..., Any])

_SPEEDS: Final = ("auto", "scalar", "columns")
_CONFIG_SUFFIXES: Final = {".yaml", ".yml", ".json"}
MODEL_EXIT_CODE: Final = 3
#: Enough ticks a block that a thousand strategies cost little each, few enough that memory stays small.
BLOCK_ROWS: Final = 131_072


class ManyFiles(click.Command):
    """A command whose `--ticks` may be given several times, and take several files each time (`--ticks day*.csv`).

    What looks like a configuration (a YAML or JSON file, a directory) ends the list of files.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--ticks a b` out as `--ticks a --ticks b`, and let click parse that."""
        return super().parse_args(ctx, spread(args, "--ticks"))


def spread(args: Sequence[str], option: str) -> list[str]:
    """The arguments with the option repeated before each of its further values."""
    result: list[str] = []
    collecting = False
    for at, arg in enumerate(args):
        if arg == "--":
            return [*result, *args[at:]]
        if arg == option or arg.startswith(option + "="):
            collecting = arg != option
            result.append(arg)
        elif arg.startswith("-") and len(arg) > 1:
            collecting = False
            result.append(arg)
        elif result and result[-1] == option:
            collecting = True
            result.append(arg)
        elif collecting and not _is_configuration(arg):
            result += [option, arg]
        else:
            collecting = False
            result.append(arg)
    return result


def _is_configuration(arg: str) -> bool:
    path = Path(arg)
    return path.suffix.lower() in _CONFIG_SUFFIXES or path.is_dir()


def speed_and_strict(default: str) -> Callable[[F], F]:
    """`--speed` and `--strict`."""

    def one(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
        if value not in _SPEEDS:
            raise click.BadParameter(f"{value!r} is not one of {', '.join(_SPEEDS)}.")
        return value

    def decorate(function: F) -> F:
        strict = click.option(
            "--strict",
            is_flag=True,
            help="End with 3 where a model does not load, instead of leaving its strategy out.",
        )
        speed = click.option(
            "--speed",
            default=default,
            show_default=True,
            metavar=f"[{'|'.join(_SPEEDS)}]",
            callback=one,
            help="How ticks are evaluated; what comes out is the same.",
        )
        return speed(strict(function))

    return decorate


@click.command("replay", cls=ManyFiles, short_help="Run recorded ticks through the configured strategies.")
@configuration
@click.option(
    "--ticks",
    multiple=True,
    type=FILE,
    metavar="FILE...",
    help=TICKS_HELP,
)
@click.option("--signals", type=FILE, metavar="OUT", help="Write the signals: .jsonl or .parquet.")
@click.option("--drops", type=FILE, metavar="OUT", help="Write the signals that a check refused, and why.")
@click.option("--reasons", is_flag=True, help="Add reasoning and metadata to both.")
@speed_and_strict("auto")
@as_json
@verbosity
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    ticks: tuple[Path, ...],
    signals: Path | None,
    drops: Path | None,
    *,
    reasons: bool,
    speed: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Run recorded ticks through the configured strategies and paper fills.

    CONFIG is a YAML or JSON file, or a directory of them; else $ANYSTRAT_CONFIG, else ./anystrat.yaml.

    \b
    anystrat replay anystrat.yaml --ticks monday.parquet tuesday.csv --signals signals.jsonl
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat import bootstrap
    from anystrat.bootstrap.models import models_directory
    from anystrat.bootstrap.recording import open_recording
    from anystrat.cli.screen import print_json
    from anystrat.config import load_configuration

    settings = settings_of(context)
    catalog = bootstrap.default_catalog()
    with refusals(context, as_json=as_json):
        configured = load_configuration(config, catalog)
    # A recording's events name versions of models by their hash.
    wiring = bootstrap.default_wiring(catalog, model_store=models_directory(configured) if ticks else None)
    reader = bootstrap.open_ticks(ticks or source_of(configured, config), block_rows=BLOCK_ROWS)
    outputs = {name: path for name, path in (("signals", signals), ("drops", drops)) if path is not None}
    refuse_overwriting(outputs, [*reader.paths, *configured.files])
    recorded = open_recording(ticks[0]) if len(ticks) == 1 else None
    with refusals(context, as_json=as_json):
        engines = engines_of(configured, wiring, recorded)
    notes = notes_on_models(context, wiring, strict=strict)
    unpublished = sorted({name for row in configured.strategies for name in row.active_brokers} - {"paper"})
    if unpublished and not settings.quiet:
        say(f"a replay publishes nothing (brokers here: {', '.join(unpublished)}); --signals writes what it would")
    run = Run(engines[0], reader, notes, settings, speed)
    if recorded is not None:
        run.take_recording(recorded, engines)
    run.play(outputs, reasons=reasons)
    report = run.report()
    report["left_out"] = {item.strategy_id: item.reason for item in wiring.left_out}
    if as_json:
        print_json(report)
    else:
        from anystrat.cli.replay_summary import summary

        summary(report, configured)
    say_end(reader, settings, report["ticks"])


def engines_of(configured: Configuration, wiring: Wiring, recorded: RecordedRun | None) -> list[Engine]:
    """One engine, or one a shard of a recording, as the run had them."""
    if recorded is None:
        from anystrat import bootstrap

        return [bootstrap.build_engine(configured, wiring, sessions=bootstrap.session_clock(configured))]
    from anystrat.bootstrap.running import build_engines, run_fingerprint
    from anystrat.runner.plan import plan_shards

    plan = plan_shards(
        configured.strategies,
        recorded.shards,
        configured.run.sharding,
        together=configured.account is not None,
    )
    engines = build_engines(configured, wiring, plan)
    if recorded.fingerprint not in {"", run_fingerprint(plan, engines)}:
        say_warning("this was recorded under another configuration: what is decided now may differ")
    return engines


def refuse_overwriting(outputs: dict[str, Path], inputs: Sequence[Path]) -> None:
    """Raise `click.UsageError` for an output that is an input, or another output."""
    taken = {path.resolve(): str(path) for path in inputs}
    for option, path in outputs.items():
        other = taken.get(path.resolve())
        if other is not None:
            raise click.UsageError(f"--{option} {path} would overwrite {other}; name another file.")
        taken[path.resolve()] = f"the file of --{option}"


def notes_on_models(context: click.Context, wiring: Wiring, *, strict: bool) -> Any:
    """What takes the outcomes, once it has said whose models do not load; with `strict`, that ends the command."""
    notes = notes_for(settings_of(context))
    notes.models(wiring.left_out, wiring.degraded)
    if strict and (wiring.left_out or wiring.degraded):
        say_error("a model does not load, and --strict was asked for: nothing was run")
        context.exit(MODEL_EXIT_CODE)
    return notes


def notes_for(settings: Settings) -> Any:
    """What takes the outcomes, and says on standard error what is worth saying."""
    from anystrat.cli.replay_notes import ReplayNotes
    from anystrat.observability.log import OutcomeLog, logger

    if settings.verbose:
        return OutcomeLog(logger("debug" if settings.verbose > 1 else "info"))
    return ReplayNotes(quiet=settings.quiet)


def say_end(reader: TickReader, settings: Settings, ticks: int) -> None:
    """Warn of what was wrong with the files: rows that could not be decoded, no ticks."""
    say_malformed(reader, settings)
    if not ticks:
        say_warning(f"there was not a single tick in {', '.join(map(str, reader.paths))}")


def say_malformed(reader: TickReader, settings: Settings) -> None:
    """Warn of rows that could not be decoded."""
    if settings.quiet or not reader.malformed:
        return
    for place in reader.first_malformed:
        say_warning(f"row not decoded: {place}")
    more = reader.malformed - len(reader.first_malformed)
    if more > 0:
        say_warning(f"… and {more:,} more rows that could not be decoded")


@dataclass(slots=True)
class Run:
    """One replay under way, and what has been written so far."""

    engine: Engine
    reader: TickReader
    notes: Any
    settings: Settings
    speed: str
    recorder: Recorder | None = None
    recorded: RecordedRun | None = None
    engines: Sequence[Engine] = ()
    writers: dict[str, SignalWriter] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    compiling: bool = False

    def take_recording(self, recorded: RecordedRun, engines: Sequence[Engine]) -> None:
        """Replay a recording of a run, its events included; one engine a shard."""
        self.recorded, self.engines = recorded, engines

    def play(self, outputs: dict[str, Path], *, reasons: bool) -> None:
        """Push every tick through; whatever ends it early, what was written is kept, and said."""
        from anystrat import bootstrap

        try:
            with ExitStack() as files:
                for name, path in outputs.items():
                    opened = bootstrap.open_signals(path, reasons=reasons, drops=name == "drops")
                    self.writers[name] = files.enter_context(opened)
                with _progress(self.reader, self.settings) as moved:

                    def on_progress(rows: int) -> None:
                        self.rows = rows
                        moved(rows)

                    done = self._played(on_progress, reasons=reasons)
        except (Exception, KeyboardInterrupt, SystemExit, Terminated):
            self._say_what_was_kept()
            raise
        self.rows, self.seconds = done.rows, done.seconds

    def _played(self, on_progress: Callable[[int], None], *, reasons: bool) -> Replayed:
        from anystrat import bootstrap
        from anystrat.backtest.replay import Speed, replay
        from anystrat.backtest.shards import replay_shards

        shards = range(self.recorded.shards) if self.recorded is not None else range(0)
        inputs = [self.recorded.inputs(k, block_rows=BLOCK_ROWS) for k in shards if self.recorded is not None]
        if len(inputs) > 1:
            return replay_shards(self.engines, inputs, on_outcomes=self._take, on_progress=on_progress)
        return replay(
            self.engine,
            inputs[0] if inputs else self.reader,
            on_outcomes=self._take,
            # the log of `-v` names drops, one by one
            on_signals=None if self.settings.verbose else self._take_columns,
            on_progress=on_progress,
            speed=Speed(self.speed),
            compiler=lambda: bootstrap.kernel_compiler(self._compiling),
            expected_rows=self.reader.total_rows,
            reasons=reasons,
            recorder=self.recorder,
        )

    def report(self) -> dict[str, Any]:
        """The report of the whole replay, and the files that were written."""
        from anystrat.backtest.replay import Replayed
        from anystrat.backtest.report import replay_report

        report = replay_report(
            self.engines or self.engine, Replayed(self.rows, self.seconds), malformed=self.reader.malformed
        )
        report["files"] = {
            name: {"path": str(writer.path), "rows": writer.rows} for name, writer in self.writers.items()
        }
        return report

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        for writer in self.writers.values():
            writer.write(outcomes)
        self.notes(outcomes)

    def _take_columns(self, columns: SignalColumns) -> None:
        for writer in self.writers.values():
            writer.write_columns(columns)

    def _compiling(self, _kernel: str) -> None:
        if not self.compiling and not self.settings.quiet:
            say("compiling kernels, once for this version and machine (some seconds) …")
        self.compiling = True

    def _say_what_was_kept(self) -> None:
        if not self.writers and not self.rows:
            return  # it had not begun
        say(f"stopped after {self.rows:,} ticks")
        for name, writer in self.writers.items():
            if writer.partial_path.exists():
                size = writer.partial_path.stat().st_size
                say(f"kept: {name} so far in {writer.partial_path} ({size:,} bytes); {writer.path} is as it was")


@contextmanager
def _progress(reader: TickReader, settings: Settings) -> Generator[Callable[[int], None]]:
    """A bar on standard error, on a terminal, once a replay has taken a second; otherwise nothing."""
    from anystrat.cli.screen import console, fancy

    if settings.quiet or settings.verbose or not fancy(sys.stderr):
        yield lambda _rows: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("replaying"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} ticks"),
        TimeRemainingColumn(compact=True),
        console=console(sys.stderr),
        transient=True,
    )
    task = bar.add_task("replay", total=max(1, reader.total_bytes), rows=0)
    start = time.monotonic()

    def moved(rows: int) -> None:
        if not bar.live.is_started:
            if time.monotonic() - start < 1.0:
                return
            bar.start()
        bar.update(task, completed=reader.bytes_read, rows=rows)

    try:
        yield moved
    finally:
        if bar.live.is_started:
            bar.stop()
