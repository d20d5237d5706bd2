"""Trading sessions from real exchange calendars: holidays, half days, lunch breaks, pre-open, daylight saving time.

The calendars are those of `exchange_calendars`, in the extra `calendars`. Each is turned into two sorted arrays of
moments, in nanoseconds UTC, and then asked by bisection: pandas is never on a tick's path.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from importlib import import_module
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anystrat.domain.configuration import Session
from anystrat.domain.errors import CalendarRefused, MissingExtra, OutsideCalendar, UnknownName
from anystrat.domain.sessions import SessionOverride

if TYPE_CHECKING:
    from types import ModuleType

_DAY_NS: Final = 86_400 * 1_000_000_000
_DAY_SEC: Final = 86_400
_NOT_A_TIME: Final = -(2**63)  # NumPy's
_EPOCH: Final = date(1970, 1, 1)
_MINUTE_NS: Final = 60 * 1_000_000_000
# A load takes a third of a second and more: two years around a moment of which nothing is known yet, and all that was known.
_AROUND_DAYS: Final = 366
# A session may begin or end on another UTC day than the one that it is named after.
_MARGIN_DAYS: Final = 2
_LONGEST_REASON: Final = 120

#: How many minutes before the open orders are taken, by calendar: the opening call or auction, in the United States the
#: earliest hours in which shares are traded. A half day or a special session has the same.
PREOPEN_MINUTES: Final[Mapping[str, float]] = {"XBOM": 15, "XHKG": 30, "XLON": 10, "XNYS": 330, "XTKS": 60}


@dataclass(slots=True)
class _Sessions:
    """What is known of one calendar: from `known_from` to `known_to` (ns), opens and closes, breaks cut out.

    `opens[i] <= t < closes[i]` is regular. `starts[i]` is the beginning of the pre-open before `opens[i]`; equal to it
    after a lunch break, which has none.
    """

    known_from: int
    known_to: int
    starts: list[int]
    opens: list[int]
    closes: list[int]

    def at(self, ts_ns: int) -> Session:
        """The session at a moment that is known."""
        at = bisect_right(self.starts, ts_ns) - 1
        if at < 0 or ts_ns >= self.closes[at]:
            return Session.CLOSED
        return Session.REGULAR if ts_ns >= self.opens[at] else Session.PREOPEN


class CalendarClock:
    """Where the exchange day of each instrument stands, by the calendar that it names.

    `calendars` maps tokens to calendar names (XBOM, XNYS, 24/7 …); an instrument without one is always in its regular
    session. `preopen_minutes`, for all calendars or by name, is how long before the open the session is `preopen`; a
    calendar that is not named there has no pre-open. `overrides` are dates, by calendar, that differ from it; they count
    beyond its end too. The last twenty years, or what the library has by default, are loaded at once, others around the
    moments that are asked for.

    Raises `MissingExtra` without the extra `calendars`, `UnknownName` for a calendar that does not exist, `CalendarRefused`
    for one that the library fails to build.
    `session` raises `OutsideCalendar` for a moment for which the calendar has no data.
    """

    def __init__(
        self,
        calendars: Mapping[int, str],
        preopen_minutes: float | Mapping[str, float] = PREOPEN_MINUTES,
        overrides: Mapping[str, Sequence[SessionOverride]] | None = None,
    ) -> None:
        library = _library()
        known: list[str] = library.get_calendar_names(include_aliases=True)
        for name in calendars.values():
            if name not in known:
                raise UnknownName("calendar", name, known)
        self._library = library
        self._calendars = dict(calendars)
        self._preopen = preopen_minutes
        self._sessions: dict[str, _Sessions] = {}
        self._bounds: dict[str, _Bounds] = {}
        self._beyond: dict[str, _Beyond] = {}
        self._overrides: dict[str, list[SessionOverride]] = {}
        for name, dates in (overrides or {}).items():
            # A calendar has several names.
            self._overrides.setdefault(library.resolve_alias(name), []).extend(dates)
        for name in sorted({*calendars.values()}):
            # Now and not at the first tick: what cannot be built is refused before the run.
            calendar = _calendar(library, name)
            bounds = self._bounds[name] = _bounds(calendar)
            first, last = _day(calendar.first_session) + _MARGIN_DAYS, _day(calendar.last_session) - _MARGIN_DAYS
            self._sessions[name] = self._of(name, calendar, _midnight(first, bounds.zone), _midnight(last, bounds.zone))

    def session(self, instrument_token: int, ts_ns: int) -> Session:
        name = self._calendars.get(instrument_token)
        if name is None:
            return Session.REGULAR
        known = self._sessions[name]
        if not known.known_from <= ts_ns < known.known_to:
            known = self._load(name, ts_ns, known)
        return known.at(ts_ns)

    def _load(self, name: str, ts_ns: int, known: _Sessions) -> _Sessions:
        """Know the sessions around a moment too. What was known is kept, so that ticks may go to and fro."""
        bounds = self._bounds[name]
        if not bounds.begin_ns <= ts_ns < bounds.end_ns:
            beyond = self._beyond.get(name)
            if beyond is None:
                beyond = self._beyond[name] = _beyond(self._dates(name), bounds.zone)
            if any(known_from <= ts_ns < known_to for known_from, known_to in beyond.known):
                return beyond.sessions
            raise OutsideCalendar(
                f"calendar {name} has sessions from {_date(bounds.first)} to {_date(bounds.last)}; found a tick of "
                f"{_date(ts_ns // _DAY_NS)}: update exchange_calendars, give the date under `sessions.overrides`, or "
                "leave `calendar` out of the instrument"
            )
        begin = max(bounds.begin_ns, min(ts_ns - _AROUND_DAYS * _DAY_NS, known.known_from))
        end = min(bounds.end_ns, max(ts_ns + _AROUND_DAYS * _DAY_NS, known.known_to))
        first = max(begin // _DAY_NS - _MARGIN_DAYS, bounds.first)
        last = min(end // _DAY_NS + _MARGIN_DAYS, bounds.last)
        calendar = _calendar(self._library, name, start=_date(first), end=_date(last))
        found = self._sessions[name] = self._of(name, calendar, begin, end)
        return found

    def _of(self, name: str, calendar: Any, begin: int, end: int) -> _Sessions:
        """What a built calendar and the dates that differ from it say of the time from `begin` to `end`."""
        minutes = self._preopen
        if isinstance(minutes, Mapping):
            minutes = minutes.get(name, minutes.get(self._library.resolve_alias(name), 0))
        dates = self._dates(name)
        replaced = {each.day for each in dates}
        parts = _of_calendar(calendar, int(minutes * _MINUTE_NS), replaced) + _of_dates(dates, self._bounds[name].zone)
        found = _sessions(parts)
        found.known_from, found.known_to = begin, end
        return found

    def _dates(self, name: str) -> Sequence[SessionOverride]:
        return self._overrides.get(self._library.resolve_alias(name), ())


def _library() -> ModuleType:
    try:
        return import_module("exchange_calendars")
    except ModuleNotFoundError:
        raise MissingExtra("exchange calendars", "calendars") from None


class _Bounds(NamedTuple):
    """What a calendar can be asked for: first and last day (since 1970), and both as moments of its own time zone."""

    first: int
    last: int
    begin_ns: int
    end_ns: int
    zone: tzinfo


class _Beyond(NamedTuple):
    """What overrides alone say, where the calendar says nothing: from when to when something is known, and what."""

    known: list[tuple[int, int]]
    sessions: _Sessions


#: Beginning of the pre-open, open and close of one session, in ns.
_Part = tuple[int, int, int]


def _bounds(calendar: Any) -> _Bounds:
    kind = type(calendar)
    earliest, latest, end = kind.bound_min(), kind.bound_max(), kind.default_end()
    # Without a bound of its own a calendar follows its rules back to 1970. The future ends where the library ends by
    # default: beyond it are holidays that nobody has announced yet.
    first = 0 if earliest is None else max(0, _day(earliest))
    last = _day(end) if latest is None else min(_day(end), _day(latest))
    return _Bounds(first, last, _midnight(first, calendar.tz), _midnight(last + 1, calendar.tz), calendar.tz)


def _calendar(library: ModuleType, name: str, **limits: str) -> Any:
    with warnings.catch_warnings():
        # What the library says about pandas, and of rules older than the dates that are asked for, is its own affair.
        warnings.simplefilter("ignore")
        try:
            return library.get_calendar(name, **limits)
        except Exception as error:
            found = " ".join(f"{type(error).__name__}: {error}".split())
            raise CalendarRefused(
                name,
                f"calendar {name} exists, and exchange_calendars {library.__version__} cannot build it with the pandas that "
                f"is installed ({found[:_LONGEST_REASON]}): another version of either may",
            ) from error


def _beyond(dates: Iterable[SessionOverride], zone: tzinfo) -> _Beyond:
    parts = _of_dates(dates, zone)
    days = [(_midnight(each.day, zone), _midnight(each.day + 1, zone)) for each in dates]
    return _Beyond(days + [(start, closed) for start, _, closed in parts], _sessions(parts))


def _of_calendar(calendar: Any, preopen_ns: int, replaced: Container[int]) -> list[_Part]:
    """The calendar's sessions but for the days that are replaced; a lunch break makes two of one, the second without a pre-open."""
    parts: list[_Part] = []
    days = calendar.opens.index.to_numpy("datetime64[D]").astype("int64").tolist()
    opens, closes = _nanoseconds(calendar.opens), _nanoseconds(calendar.closes)
    break_starts, break_ends = _nanoseconds(calendar.break_starts), _nanoseconds(calendar.break_ends)
    for day, opened, closed, pause, resume in zip(days, opens, closes, break_starts, break_ends, strict=True):
        if day in replaced:
            continue
        if pause == _NOT_A_TIME:
            parts.append((opened - preopen_ns, opened, closed))
        else:
            parts += [(opened - preopen_ns, opened, pause), (resume, resume, closed)]
    return parts


def _of_dates(dates: Iterable[SessionOverride], zone: tzinfo) -> list[_Part]:
    """The sessions of dates that differ, as the wall clock has them in that zone."""
    return [
        (_moment(each.day, start, zone), _moment(each.day, opened, zone), _moment(each.day, closed, zone))
        for each in dates
        if not each.closed
        for start, opened, closed in (each.times,)
    ]


def _sessions(parts: list[_Part]) -> _Sessions:
    """In order, none reaching into the one before it, its pre-open included."""
    found = _Sessions(0, 0, [], [], [])
    earlier_close = _NOT_A_TIME
    for start, opened, closed in sorted(parts, key=itemgetter(1)):
        if closed <= earlier_close:
            continue
        found.starts.append(max(start, earlier_close))
        found.opens.append(max(opened, earlier_close))
        found.closes.append(closed)
        earlier_close = closed
    return found


def _nanoseconds(column: Any) -> list[int]:
    """A column of UTC times as nanoseconds since 1970."""
    times: list[int] = column.dt.tz_localize(None).to_numpy("datetime64[ns]").astype("int64").tolist()
    return times


def _day(stamp: datetime) -> int:
    return (stamp.date() - _EPOCH).days


def _midnight(day: int, zone: tzinfo) -> int:
    return _moment(day, 0, zone)


def _moment(day: int, seconds: int, zone: tzinfo) -> int:
    """When the wall clock of a zone stands at so many seconds after a day's midnight: not so many seconds later, across a change."""
    days, rest = divmod(seconds, _DAY_SEC)
    wall = datetime.combine(_EPOCH + timedelta(days=day + days), time(), zone) + timedelta(seconds=rest)
    return round(wall.timestamp()) * 1_000_000_000


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()
