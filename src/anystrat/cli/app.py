"""The front door: `anystrat COMMAND`. A command's module is imported when that command is called, and not before."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Final, cast

import click

import anystrat
from anystrat.cli.failures import Terminated, failed
from anystrat.cli.options import Settings, verbosity

#: Command -> the module that holds it (as `command`), and its line in `--help`.
COMMANDS: Final = {
    "init": ("anystrat.cli.init", "Make a project that runs at once."),
    "check": ("anystrat.cli.check", "Say everything that is wrong with a configuration."),
    "replay": ("anystrat.cli.replay", "Run recorded ticks through the configured strategies."),
    "record": ("anystrat.cli.record", "Write a source's ticks into files."),
    "explain": ("anystrat.cli.explain", "Say why a strategy fired on a tick, or did not."),
    "backtest": ("anystrat.cli.backtest", "What the strategies would have earned, with a report."),
    "sweep": ("anystrat.cli.sweep", "Try many settings, and say whether the best is more than luck."),
    "run": ("anystrat.cli.run", "Run the strategies live, from the configured source to the brokers."),
    "status": ("anystrat.cli.status", "Say what a run did and how its strategies are, from its journal."),
    "pause": ("anystrat.cli.pause", "Let strategies of a running service pause: they decide nothing."),
    "resume": ("anystrat.cli.resume", "Let paused strategies go on."),
    "stop": ("anystrat.cli.stop", "Stop strategies for good."),
    "enable": ("anystrat.cli.enable", "Let stopped strategies begin anew."),
    "kill": ("anystrat.cli.kill", "Turn the kill switch of a running service on or off."),
    "reduce-only": ("anystrat.cli.reduce_only", "Let only what reduces a position pass, of all strategies."),
    "reload": ("anystrat.cli.reload", "Let a running service read its configuration again."),
    "signals": ("anystrat.cli.signals", "The latest signals of a running service; --follow for those to come."),
    "whatif": ("anystrat.cli.whatif", "Compare a configuration with a changed one, on the same ticks."),
    "trust": ("anystrat.cli.trust", "Check whether strategies can be believed: peeking, warm-up, costs, luck."),
    "parity": ("anystrat.cli.parity", "Hold a live run's signals against a replay of its recording."),
    "types": ("anystrat.cli.types", "List what a configuration can name, and its parameters."),
    "schema": ("anystrat.cli.schema", "Print the JSON Schema of the configuration, or of ticks."),
    "model": ("anystrat.cli.model", "Look into a model file, and verify it."),
    "journal": ("anystrat.cli.journal", "Look into a journal, verify it, export it."),
    "deadletters": ("anystrat.cli.deadletters", "Signals that were not delivered: list, show, send again."),
    "token": ("anystrat.cli.token", "Make, list and revoke tokens of the control API."),
    "audit": ("anystrat.cli.audit", "Who did what over the control API; and whether that was changed since."),
    "plugins": ("anystrat.cli.plugins", "List what installed packages add."),
    "doctor": ("anystrat.cli.doctor", "Say what this installation can do, and what it lacks."),
}

_COMPLETION: Final = "_ANYSTRAT_COMPLETE"
_BROKEN_PIPE: Final = 141

_EPILOG: Final = """\b
Exit codes:
  0  all went well
  1  the run failed, or something was found
  2  wrong usage
  3  a configuration or a model is invalid
  4  an extra or a plug-in is missing
  5  authentication was refused
  6  halted by a risk limit

\b
Start with: anystrat init demo
"""


class LazyGroup(click.Group):
    """A group whose commands are imported by name, one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are met."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, its module imported; None where there is none."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        return cast("click.Command", import_module(COMMANDS[cmd_name][0]).command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest right name for a wrong one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from anystrat.domain.errors import nearest_name

            nearest = nearest_name(name, COMMANDS)
            hint = f" Did you mean {nearest!r}?" if nearest else f" There are: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.version_option(anystrat.__version__, "-V", "--version", message="anystrat %(version)s")
@verbosity
def cli() -> None:
    """Run any trading strategy, rules, ML or both, through one call path: the same in replay, on paper and live."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned, never raised. No error ends in a traceback that was not asked for."""
    settings = Settings()
    given = list(sys.argv[1:] if arguments is None else arguments)
    _forgive_narrow_encodings()
    try:
        with _signals():
            code = _run(given, settings)
            _flush()
    except BrokenPipeError as error:
        if error.filename is not None:
            return failed(error, settings)
        _silence_stdout()
        return _BROKEN_PIPE
    except (Exception, KeyboardInterrupt, SystemExit, Terminated) as error:  # noqa: BLE001  the last place that can turn it into words
        return failed(error, settings)
    return code


def _run(arguments: list[str], settings: Settings) -> int:
    if (instruction := os.environ.get(_COMPLETION)) is not None:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "anystrat", _COMPLETION, instruction)
    if not arguments:
        arguments = ["--help"]
    try:
        with cli.make_context("anystrat", arguments, obj=settings) as context:
            cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0


@contextmanager
def _signals() -> Generator[None]:
    """SIGTERM as an exception, so that files are closed and what was written is said."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forgive_narrow_encodings() -> None:
    """A terminal that knows no `…` or `≥` shows a question mark instead of ending the program; so does no stream at all."""
    # Python has no stream where the descriptor was closed (`>&-`); it stays open as long as the process.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _flush() -> None:
    """Write out what is buffered while a closed pipe can still be told from success."""
    sys.stdout.flush()


def _silence_stdout() -> None:
    """The reader of our output has gone: nothing more can be said there, not even by the interpreter's own last flush."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
