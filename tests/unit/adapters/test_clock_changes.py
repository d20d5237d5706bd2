"""Sessions in UTC stay where the wall clock has them, across every clock change of six years, in every calendar's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import exchange_calendars
import pytest

from anystrat.adapters.calendars import CalendarClock
from anystrat.domain.configuration import Session
from anystrat.domain.errors import CalendarRefused

FIRST, LAST = date(2018, 1, 1), date(2023, 12, 31)
_DAY = timedelta(days=1)


@cache
def calendar_of_each_zone() -> dict[str, str]:
    """Zone -> one calendar that has it."""
    found: dict[str, str] = {}
    for name in exchange_calendars.get_calendar_names(include_aliases=False):
        kind = exchange_calendars.calendar_utils._default_calendar_factories[name]
        found.setdefault(str(kind.tz), name)
    return found


def ns(moment: datetime) -> int:
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def changes(zone: Any) -> list[date]:
    """The days on which the zone's offset from UTC changes."""
    days = [FIRST + n * _DAY for n in range((LAST - FIRST).days)]
    offsets = [datetime.combine(day, time(), zone).utcoffset() for day in days]
    return [days[n] for n in range(len(days) - 1) if offsets[n] != offsets[n + 1]]


def of(table: Any, day: date) -> time:
    """The time of an open or close that holds on a day, of (since when, time)."""
    found: time = [when for since, when in table if since is None or since.date() <= day][-1]
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the library and pandas say to each other
@pytest.mark.parametrize("zone_name", sorted(calendar_of_each_zone()))
def test_the_wall_clock_opens_and_closes_on_both_sides_of_every_change(zone_name: str) -> None:
    name = calendar_of_each_zone()[zone_name]
    try:
        calendar = exchange_calendars.get_calendar(name)
    except (NotImplementedError, ValueError):  # not with the pandas that is installed
        with pytest.raises(CalendarRefused, match=f"calendar {name} exists, and .* cannot build it"):
            CalendarClock({1: name})
        return
    clock = CalendarClock({1: name}, preopen_minutes=0)
    zone = calendar.tz
    days = {stamp.date() for stamp in calendar.sessions}
    special = {stamp.date() for column in (calendar.late_opens, calendar.early_closes) for stamp in column}
    special |= {
        stamp.date() for _, stamps in calendar.special_opens_adhoc + calendar.special_closes_adhoc for stamp in stamps
    }
    around = [
        change + n * _DAY
        for change in changes(zone) or [date(2018, 6, 1), date(2023, 6, 1)]
        for n in range(-4, 6)
        if change + n * _DAY in days - special
    ]
    for day in (around[0], around[-1], *around):  # the ends first: then all between them is loaded at once
        begins, ends = of(calendar.open_times, day), of(calendar.close_times, day)
        opened = datetime.combine(day + calendar.open_offset * _DAY, begins, zone)
        closed = datetime.combine(day + calendar.close_offset * _DAY, ends, zone)
        assert clock.session(1, ns(opened)) is Session.REGULAR, (name, day)
        assert clock.session(1, ns(closed) - 1) is Session.REGULAR, (name, day)
        if begins != ends:  # else there is no time between two sessions
            assert clock.session(1, ns(opened) - 1) is Session.CLOSED, (name, day)
            assert clock.session(1, ns(closed)) is Session.CLOSED, (name, day)


def test_zones_with_a_clock_change_are_among_them() -> None:
    zones = set(calendar_of_each_zone())
    assert {"America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Sydney"} <= zones
    assert len(zones) > 30
