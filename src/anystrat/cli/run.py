"""`anystrat run`: live ticks through the configured strategies, signals out to the brokers, nothing lost and nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.failures import INTERRUPTED, TERMINATED, say, say_error, say_warning
from anystrat.cli.options import Settings, as_json, configuration, settings_of, verbosity
from anystrat.domain.errors import AnystratError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from types import FrameType

    from anystrat.bootstrap.clustering import LeasedPart
    from anystrat.bootstrap.watching import PostgresWatch
    from anystrat.bootstrap.working import WorkerPart
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.health import Endpoint
    from anystrat.domain.protocols import Compiler
    from anystrat.observability.notifier import Notifier
    from anystrat.runner.runner import Runner
    from anystrat.strategies.catalog import Catalog

_FAILED_EXIT_CODE: Final = 1
_MODEL_EXIT_CODE: Final = 3
_SPEEDS: Final = ("auto", "scalar", "columns")
#: Signals that come closer to the first one than this are the same one.
_ONE_SIGNAL_SEC: Final = 0.2


@click.command("run", short_help="Run the strategies live, from the configured source to the brokers.")
@configuration
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="DIR", help="Keep every tick and event there, for a replay."
)
@click.option(
    "--speed",
    default="auto",
    show_default=True,
    type=click.Choice(_SPEEDS),
    help="auto: compiled code where ticks may come faster than an interpreter takes them; the signals are the same.",
)
@click.option(
    "--drain",
    "drain_sec",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long a stop may take to deliver what is accepted.",
)
@click.option(
    "--control", metavar="HOST:PORT", help="Take commands there, over HTTP; else where the configuration says."
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes that the instruments are spread over; the signals are the same.",
)
@click.option(
    "--strict", is_flag=True, help="End with 3 where a model does not load, instead of leaving its strategy out."
)
@as_json
@verbosity
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    record: Path | None,
    speed: str,
    drain_sec: float,
    control: str | None,
    workers: int,
    *,
    strict: bool,
    as_json: bool,
) -> None:
    """Run the configured strategies live: ticks from the source, signals to the brokers, state in the journal.

    CONFIG is a YAML or JSON file, or a directory of them; else $ANYSTRAT_CONFIG, else ./anystrat.yaml.

    Ends when the source does, or at SIGINT or SIGTERM: no more ticks are taken then, and what is accepted is delivered. A
    second signal ends it at once. The next run goes on where this one stopped.

    \b
    anystrat run anystrat.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat import bootstrap
    from anystrat.bootstrap.working import refuse_single
    from anystrat.cli.run_summary import summary
    from anystrat.cli.screen import print_json
    from anystrat.config import load_configuration

    asked = Asked(config, settings_of(context), record, speed, drain_sec, control, strict)
    catalog = bootstrap.default_catalog()
    configured = asked.overlaid(load_configuration(config, catalog))
    compiler = _compiler(speed, configured, quiet=asked.settings.quiet)
    if configured.cluster is not None and workers == 1:
        from anystrat.cli.run_member import run_member

        report = run_member(asked, catalog, configured, compiler)
        if as_json:
            print_json(report)
        return
    if workers > 1:
        from anystrat.cli.run_workers import run_workers

        code, report = run_workers(asked, catalog, configured, compiler, workers)
        print_json(report) if as_json else None if asked.settings.quiet else summary(report)
        context.exit(code)
    refuse_single(configured)

    def show(report: dict[str, Any]) -> None:
        if as_json:
            print_json(report)
        elif not asked.settings.quiet:
            summary(report)

    if not run_service(asked, catalog, configured, compiler, show=show):
        context.exit(_FAILED_EXIT_CODE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    config: Path
    settings: Settings
    record: Path | None
    speed: str
    drain_sec: float
    control: str | None
    strict: bool

    def overlaid(self, found: Configuration) -> Configuration:
        """The configuration with what goes before it."""
        return _with_control(_with_log_level(found, self.settings), self.control)


class StrictlyRefused(AnystratError):
    """A model does not load, and `--strict` was asked for."""

    exit_code = _MODEL_EXIT_CODE


def run_service(
    asked: Asked,
    catalog: Catalog,
    configured: Configuration,
    compiler: Compiler | None,
    *,
    overlaid: Callable[[Configuration], Configuration] | None = None,
    part: LeasedPart | WorkerPart | None = None,
    show: Callable[[dict[str, Any]], None] | None = None,
) -> bool:
    """Run one runner to its end, with all that is around it; whether everything that was to be is delivered.

    `show` gets what it came to, also where the source has failed, which is raised then. `overlaid` is for configurations
    that are read again.
    """
    import anystrat
    from anystrat import bootstrap
    from anystrat.bootstrap.controlling import control_endpoint, outcome_stream
    from anystrat.bootstrap.models import models_directory
    from anystrat.bootstrap.notifying import notifier
    from anystrat.bootstrap.observing import observation
    from anystrat.bootstrap.running import RunOptions, build_runner, system_clock

    wiring = bootstrap.default_wiring(catalog, model_store=models_directory(configured))
    clock = system_clock()
    watching = observation(configured, clock=clock, version=anystrat.__version__)
    stream = outcome_stream(configured)
    told = notifier(configured, watching, clock=clock)
    options = RunOptions(
        clock,
        compiler=compiler,
        observation=watching,
        record=asked.record,
        drain_sec=asked.drain_sec,
        stream=stream,
        notifier=told,
        fence=None if part is None else part.line.closed,
        claim=None if part is None else part.claim,
        share=None if part is None else part.share,
    )
    runner = build_runner(configured, wiring, options)
    watching.outcome_log.models(wiring.left_out, wiring.degraded)
    if told is not None:
        told.models(wiring.left_out, wiring.degraded)
    if asked.strict and (wiring.left_out or wiring.degraded):
        raise StrictlyRefused("a model does not load, and --strict was asked for: nothing was run")
    endpoints = {"metrics": watching.endpoint(runner)}
    watches: Sequence[PostgresWatch] = ()
    if stream is not None or configured.watches:
        from anystrat.bootstrap.reloading import Reloader

        reload = Reloader(
            asked.config,
            catalog,
            configured,
            runner,
            compiler=options.compiler,
            observation=watching,
            overlaid=overlaid or asked.overlaid,
        )
        if stream is not None:
            endpoints["control"] = control_endpoint(
                configured, runner, stream, clock=clock, observation=watching, reload=reload
            )
        if configured.watches:
            from anystrat.bootstrap.watching import table_watches

            watches = table_watches(configured, runner, reload, watching.log)
    try:
        report, failure = asyncio.run(_served(runner, endpoints, configured, told, watches, part))
    finally:
        watching.close()
    if show is not None:
        show(report)
    if failure is not None:
        raise failure
    return _all_delivered(runner, report)


def _all_delivered(runner: Runner, report: Mapping[str, Any]) -> bool:
    """Whether nothing waits, or is meant to: who stops a run knows that the rest is for the next one. Says what does."""
    from anystrat.runner.runner import SourceEnd

    waiting = [
        f"{one['queued']:,} for {one['broker']}"
        for one in report["brokers"]
        if one["queued"] and one["type"] != "paper"
    ]
    if not waiting:
        return True
    ended = runner.source_end is SourceEnd.ENDED
    kept = "lost, since the journal is in memory" if runner.forgets else "in the journal; the next run sends them"
    text = f"accepted signals are not delivered ({', '.join(waiting)}): they are {kept}"
    (say_error if ended or runner.forgets else say_warning)(text)
    return not ended


def _with_log_level(configured: Configuration, settings: Settings) -> Configuration:
    """`-q` and `-v` go before what the file says."""
    if not (settings.quiet or settings.verbose):
        return configured
    level: Any = "error" if settings.quiet else "debug" if settings.verbose > 1 else "info"
    return replace(configured, log=replace(configured.log, level=level))


def _with_control(configured: Configuration, listen: str | None) -> Configuration:
    """`--control` goes before what the file says, and keeps all else of it."""
    from anystrat.domain.configuration import ControlSettings
    from anystrat.domain.parameters import ParameterError

    if listen is None:
        return configured
    try:
        found = ControlSettings(listen) if configured.control is None else replace(configured.control, listen=listen)
    except ParameterError as error:
        raise click.BadParameter(str(error), param_hint="--control") from None
    return replace(configured, control=found)


def _compiler(speed: str, configured: Configuration, *, quiet: bool) -> Compiler | None:
    from anystrat import bootstrap

    if speed == "scalar" or (speed == "auto" and not _may_hurry(configured)):
        return None

    def on_cold(name: str) -> None:
        if not quiet:
            say(f"compiling {name.rpartition('.')[2]}, once on this machine")

    found = bootstrap.kernel_compiler(on_cold)
    if found is None and speed == "columns":
        say_error("columns need the extra `fast`: pip install 'anystrat[fast]'; the run goes on tick by tick")
    return found


def _may_hurry(configured: Configuration) -> bool:
    """Whether ticks may come faster than an interpreter takes them, so that a compiler is worth its start-up."""
    source = configured.source
    return source is not None and getattr(source.options, "pace", "max") == "max" and source.type != "stdin"


async def _served(
    runner: Runner,
    endpoints: Mapping[str, Endpoint | None],
    configured: Configuration,
    told: Notifier | None,
    watches: Sequence[PostgresWatch],
    part: LeasedPart | WorkerPart | None,
) -> tuple[dict[str, Any], AnystratError | None]:
    """Run to the end, whichever comes; what it came to, and what its source failed of."""
    from anystrat.bootstrap.running import watchdog
    from anystrat.cli.run_summary import report_of
    from anystrat.runner.runner import SourceEnd

    guard = watchdog(configured, runner)
    hearing: list[asyncio.Task[None]] = []
    there = {what: endpoint for what, endpoint in endpoints.items() if endpoint is not None}
    try:
        guard.start()
        if told is not None:
            await told.start()
        for what, endpoint in there.items():
            runner.listening(what, await endpoint.start())
        hearing = [asyncio.create_task(each.run(), name="watch") for each in watches]
        if part is not None:
            hearing.append(asyncio.create_task(part.follow(runner), name="member"))
        failure = None
        with _stopped_by_signals(runner):
            try:
                await runner.run()
            except AnystratError as error:
                if runner.source_end is not SourceEnd.FAILED:
                    raise
                failure = error  # everything before it was handled, and is worth its summary
        return report_of(runner), failure
    finally:
        guard.stop()
        for task in hearing:
            task.cancel()
        await asyncio.gather(*hearing, return_exceptions=True)
        for endpoint in there.values():
            await endpoint.stop()
        if told is not None:
            await told.stop()


@contextmanager
def _stopped_by_signals(runner: Runner) -> Generator[None]:
    """The first signal stops the run, the second ends the process: also while a strategy holds up the event loop.

    `timeout` and some process managers signal a process and then its group, which it is in: that is one signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    seen: list[float] = []

    def stop(name: str) -> None:
        runner.stop(name)
        say(f"{name}: taking no more ticks, delivering what is accepted; again to end at once")

    def asked(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if seen and now - seen[0] < _ONE_SIGNAL_SEC:
            return
        if seen or runner.stopping:
            # As safe as a power cut, and as quick: the journal is made for either.
            os._exit(INTERRUPTED if number == signal.SIGINT else TERMINATED)
        seen.append(now)
        loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if seen:  # a run that had nothing left to do may be over before the same signal's second coming
            time.sleep(max(0.0, seen[0] + _ONE_SIGNAL_SEC - time.monotonic()))
        for number, handler in before.items():
            signal.signal(number, handler)
