"""Errors as a person reads them on standard error, and the exit code that each of them ends with."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import textwrap
import traceback
from typing import TYPE_CHECKING, Final

import click

from anystrat.cli.options import DEBUG_VARIABLE, Settings
from anystrat.domain.errors import AnystratError, ConfigurationError, Problem, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED: Final = 130
TERMINATED: Final = 143


class Terminated(BaseException):
    """SIGTERM arrived. Like `KeyboardInterrupt` it is no `Exception`, so that nothing swallows it on its way out."""


def failed(error: BaseException, settings: Settings) -> int:
    """Say on standard error what went wrong, in words; the exit code."""
    try:
        return _said(error, settings)
    except OSError:
        return 1  # standard error itself is gone: the exit code is all that is left to say


def _said(error: BaseException, settings: Settings) -> int:
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, ConfigurationError):
        for problem in error.problems:
            say_problem(problem)
        if len(error.problems) > 1:
            say(f"{len(error.problems)} problems; nothing was loaded")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort | Terminated):
        ended = isinstance(error, Terminated)
        say("terminated" if ended else "interrupted", "yellow")
        return TERMINATED if ended else INTERRUPTED
    if settings.debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    known = _known(error)
    if known is not None:
        say_error(known)
    else:
        say_error(f"unexpected {type(error).__name__}: {error}")
        if not settings.debug:
            say(
                f"This is a fault in anystrat or in a plug-in. Run it again with -v (or {DEBUG_VARIABLE}=1) for the "
                "traceback, and report that together with the output of: anystrat doctor"
            )
    return error.exit_code if isinstance(error, AnystratError) else 1


def _usage(error: click.ClickException) -> int:
    if isinstance(error, click.UsageError) and error.message.startswith("Usage:"):
        click.echo(error.message, err=True)  # a group without a command shows its help
        return error.exit_code
    say_error(error.format_message())
    context = getattr(error, "ctx", None)
    if context is not None:
        say(f"{context.get_usage().strip()}  (more: {context.command_path} --help)")
    return error.exit_code


def _known(error: BaseException) -> str | None:
    """What to say of an error that is nobody's fault in here; None for any other."""
    if isinstance(error, AnystratError):
        return str(error)
    if isinstance(error, OSError):
        return in_words(error)
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, SystemExit):
        return f"a strategy or a plug-in ended the program (SystemExit: {error.code})"
    return None


def say_error(text: str) -> None:
    """`error: …` on standard error."""
    _echo(text, "error:", "red")


def say_warning(text: str) -> None:
    """`warning: …` on standard error."""
    _echo(text, "warning:", "yellow")


def say(text: str, colour: str | None = None) -> None:
    """A plain line on standard error."""
    click.echo(styled(_wrapped(printable(text)), colour) if colour else _wrapped(printable(text)), err=True)


def say_problem(problem: Problem) -> None:
    """One problem of a configuration, in a line: where it is first, so that editors and eyes find it."""
    place = ":".join(part for part in (problem.file, str(problem.line) if problem.line else "") if part)
    where = f"{problem.path}: " if problem.path else ""
    found = f"; found {problem.found}" if problem.found else ""
    nearest = f"; did you mean {problem.nearest!r}?" if problem.nearest else ""
    allowed = f" (allowed: {problem.allowed})" if problem.allowed else ""
    _echo(f"{where}{problem.message}{found}{nearest}{allowed}", "error:", "red", place=place)


def _echo(text: str, label: str, colour: str, *, place: str = "") -> None:
    head = printable(f"{place}: " if place else "")
    shown = _wrapped(f"{head}{label} {printable(text)}")
    # Coloured only now: what is not seen would be counted as width.
    if shown.startswith(head + label):
        rest = shown[len(head) + len(label) :]
        shown = (styled(head, "bold") if head else "") + styled(label, colour) + rest
    click.echo(shown, err=True)


def _wrapped(text: str) -> str:
    """The text broken between words, on a terminal; in a pipe or a file a message stays on its line."""
    if not sys.stderr.isatty():
        return text
    width = max(30, shutil.get_terminal_size().columns)
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def problems_as_json(problems: Sequence[Problem]) -> list[dict[str, object]]:
    """The problems as plain mappings."""
    keys = ("file", "line", "path", "message", "found", "allowed", "nearest")
    return [{key: getattr(problem, key) for key in keys} for problem in problems]


def problems_of(error: ConfigurationError | UnknownName) -> Sequence[Problem]:
    """What is wrong, as problems, whichever of the two errors says it."""
    if isinstance(error, ConfigurationError):
        return error.problems
    allowed = ", ".join(error.allowed)
    return [Problem(f"unknown {error.what}", found=repr(error.found), allowed=allowed, nearest=error.nearest)]


def refused_as_json(error: ConfigurationError | UnknownName) -> dict[str, object]:
    """What a command with `--json` answers about a configuration that is refused."""
    return {"schema_version": 1, "ok": False, "problems": problems_as_json(problems_of(error))}


def in_words(error: OSError) -> str:
    """`path: what the system says`, without the number that Python puts before it."""
    said = {
        errno.ENOSPC: "no space left on the device",
        errno.EFBIG: "the file has grown over the limit that is set for it",
        errno.ENOENT: "there is no such file or directory",
        errno.EACCES: "permission denied",
        errno.EISDIR: "is a directory; expected a file",
        errno.ENOTDIR: "a part of the path is a file; expected a directory",
    }.get(error.errno or 0, error.strerror or str(error))
    return f"{os.fsdecode(error.filename)}: {said}" if isinstance(error.filename, str | bytes) else said


def printable(text: str) -> str:
    """The text with control characters escaped, line ends apart: a file's content must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii") for char in text
    )


def styled(text: str, style: str) -> str:
    """The text in a colour, or bold, where standard error is a terminal that can and may show it."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style, bold=True)
