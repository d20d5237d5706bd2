"""What people know of an exchange's days that its calendar does not: special sessions, surprise holidays, pre-opens."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

from anystrat.domain.parameters import Doc, Ge, Le, ParameterError, Unit

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME: Final = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}))?", re.ASCII)
DAY_SEC: Final = 86_400


class WallTimes(NamedTuple):
    """A session as its clock on the wall has it: seconds after midnight of its date; below 0 on the day before."""

    preopen: int
    open: int
    close: int


@dataclass(frozen=True, slots=True)
class SessionOverride:
    """A date as it is, in the place of all that the calendar says of it; several for one date are its several sessions.

    Times are those of the exchange. An open after the close is that of the evening before.
    """

    date: Annotated[str, Doc("The date, as 2026-11-08.")]
    closed: Annotated[bool, Doc("No session at all on this date.")] = False
    preopen: Annotated[str | None, Doc("When orders are taken, as 17:45; without it there is no pre-open.")] = None
    open: Annotated[str | None, Doc("When the session opens, as 18:00 or 18:00:30.")] = None
    close: Annotated[str | None, Doc("When it closes; 24:00 is the date's end.")] = None

    def __post_init__(self) -> None:
        if not _DATE.fullmatch(self.date) or not _is_date(self.date):
            raise ParameterError("date", "must be a date such as 2026-11-08")
        for name in ("preopen", "open", "close"):
            text = getattr(self, name)
            if text is None and not self.closed and name != "preopen":
                raise ParameterError(name, "required, and not there: `open` and `close`, or `closed: true`")
            if text is not None and self.closed:
                raise ParameterError(name, "a date that is closed has no times")
            if text is not None and _seconds(text) is None:
                raise ParameterError(name, "must be a time such as 17:45")
        if not self.closed:
            times = self.times
            if times.open == times.close:
                raise ParameterError("close", "must differ from `open`")

    @property
    def day(self) -> int:
        """The date, as days since 1970-01-01."""
        return (dt.date.fromisoformat(self.date) - dt.date(1970, 1, 1)).days

    @property
    def times(self) -> WallTimes:
        """Its times; only of one that is not `closed`."""
        opened, closed = _seconds(self.open or "") or 0, _seconds(self.close or "") or 0
        if opened > closed:
            opened -= DAY_SEC
        start = opened if self.preopen is None else (_seconds(self.preopen) or 0)
        while start > opened:
            start -= DAY_SEC
        return WallTimes(start, opened, closed)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """By calendar, in the names that the instruments use: dates that differ from it, and how long its pre-open is."""

    overrides: Mapping[str, tuple[SessionOverride, ...]] = field(default_factory=dict)
    preopen_minutes: Annotated[
        Mapping[str, float],
        Ge(0),
        Le(1440),
        Unit("minutes"),
        Doc("How long before the open of each calendar the pre-open begins, where that differs from what is built in."),
    ] = field(default_factory=dict)


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _seconds(text: str) -> int | None:
    """Seconds after midnight; None for what is no time of a day."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    total = (hours * 60 + minutes) * 60 + seconds
    return total if minutes < 60 and seconds < 60 and total <= DAY_SEC else None
