"""Errors that a person is meant to read: what was found, where, what is allowed, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class AnystratError(Exception):
    """The root of every error that anystrat raises on purpose; its text is ready to be shown.

    `exit_code` is what the command line ends with when the error reaches it.
    """

    exit_code = 1


class StaleHistory(AnystratError):
    """A `history` was read after the call that it was handed to. Copy with `tuple(history)` to keep it."""


class InvalidTransition(AnystratError):
    """A lifecycle transition that the table does not hold."""


class MissingExtra(AnystratError):
    """A capability needs an optional dependency that is not installed."""

    exit_code = 4

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'anystrat[{extra}]'")
        self.extra = extra


class MissingDriver(MissingExtra):
    """A database needs a package that no extra of ours brings."""

    def __init__(self, message: str) -> None:
        AnystratError.__init__(self, message)
        self.extra = ""


class HistoryRefused(AnystratError):
    """What was before a run's first tick cannot be had: no server, other columns, prices that are none."""


class UnknownName(AnystratError):
    """A name that is not registered; the text lists what is, and the nearest."""

    exit_code = 3

    def __init__(self, what: str, found: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        self.what, self.found, self.allowed, self.nearest = what, found, names, nearest_name(found, names)
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        super().__init__(f"unknown {what} {found!r}{hint} (allowed: {', '.join(names)})")


class OutsideCalendar(AnystratError):
    """A moment for which a calendar knows no sessions: it cannot be said whether the exchange was open."""


class CalendarRefused(AnystratError):
    """A calendar that exists, and that the installed libraries cannot build."""

    exit_code = 3

    def __init__(self, calendar: str, reason: str) -> None:
        super().__init__(reason)
        self.calendar = calendar


class ModelRefused(AnystratError):
    """A model file does not load, or does not keep the contract; the text says what was expected and found."""

    exit_code = 3


class TickFileError(AnystratError):
    """A tick file cannot be read at all: missing, truncated, or without the columns that it needs."""

    exit_code = 2


class ProcessLost(AnystratError):
    """The process that a strategy has to itself is gone, and with it the evaluation that was under way; the text says why."""


class RaisedElsewhere(AnystratError):
    """What a strategy raised in the process that it has to itself, in the words that it would have been told of here.

    `trace` is its traceback there.
    """

    def __init__(self, said: str, trace: str) -> None:
        super().__init__(said)
        self.said = said
        self.trace = trace


class SnapshotRefused(AnystratError):
    """A snapshot was made by another version or by another configuration; it is left as it is."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration, with all that is needed to find and mend it."""

    message: str
    file: str = ""
    line: int = 0
    path: str = ""
    found: str = ""
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        place = ":".join(part for part in (self.file, str(self.line) if self.line else "") if part)
        text = f"{place}: " if place else ""
        text += f"{self.path}: {self.message}" if self.path else self.message
        if self.found:
            text += f"; found {self.found}"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return text


class ConfigurationError(AnystratError):
    """A configuration is refused, whole; `problems` lists everything that was found."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest_name(found: str, allowed: Iterable[str]) -> str:
    """The allowed name that `found` was most likely meant to be, or an empty string."""
    close = get_close_matches(str(found), list(allowed), n=1, cutoff=0.6)
    return close[0] if close else ""
