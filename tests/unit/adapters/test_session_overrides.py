"""Dates that differ from their calendar: special sessions, surprise holidays, dates that no calendar knows yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from anystrat.adapters.calendars import CalendarClock
from anystrat.domain.configuration import Session
from anystrat.domain.errors import OutsideCalendar
from anystrat.domain.sessions import SessionOverride

REGULAR, PREOPEN, CLOSED = Session.REGULAR, Session.PREOPEN, Session.CLOSED
KOLKATA, NEW_YORK, CHICAGO = (ZoneInfo(name) for name in ("Asia/Kolkata", "America/New_York", "America/Chicago"))


def ns(text: str, zone: ZoneInfo) -> int:
    since = datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1_000


def sessions(clock: CalendarClock, zone: ZoneInfo, *moments: str, token: int = 1) -> list[Session]:
    return [clock.session(token, ns(moment, zone)) for moment in moments]


@pytest.fixture(scope="module")
def mumbai() -> CalendarClock:
    return CalendarClock(
        {1: "XBOM"},
        overrides={
            "XBOM": [
                # A Sunday, as Diwali's trading hour is; and the Saturday before with two sessions.
                SessionOverride("2024-11-10", preopen="17:45", open="18:00", close="19:00"),
                SessionOverride("2024-11-09", open="09:15", close="10:00"),
                SessionOverride("2024-11-09", preopen="11:15", open="11:30", close="12:30"),
                SessionOverride("2024-11-12", closed=True),
                SessionOverride("2024-11-13", open="10:00", close="11:00:30"),
                SessionOverride("2099-12-25", preopen="17:45", open="18:00", close="19:00"),
                SessionOverride("2099-12-28", closed=True),
            ]
        },
    )


def test_a_special_session_on_a_holiday_has_its_pre_open_and_ends(mumbai: CalendarClock) -> None:
    moments = ["17:44:59", "17:45:00", "17:59:59", "18:00:00", "18:59:59", "19:00:00"]
    found = sessions(mumbai, KOLKATA, *(f"2024-11-10T{moment}" for moment in moments))
    assert found == [CLOSED, PREOPEN, PREOPEN, REGULAR, REGULAR, CLOSED]


def test_a_date_can_have_several_sessions(mumbai: CalendarClock) -> None:
    moments = ["09:14:59", "09:15:00", "10:00:00", "11:15:00", "11:30:00", "12:30:00"]
    found = sessions(mumbai, KOLKATA, *(f"2024-11-09T{moment}" for moment in moments))
    assert found == [CLOSED, REGULAR, CLOSED, PREOPEN, REGULAR, CLOSED]


def test_a_surprise_holiday_is_closed_all_day_and_its_neighbours_are_as_ever(mumbai: CalendarClock) -> None:
    assert sessions(mumbai, KOLKATA, "2024-11-12T09:05", "2024-11-12T09:15", "2024-11-12T12:00") == [CLOSED] * 3
    assert sessions(mumbai, KOLKATA, "2024-11-11T12:00", "2024-11-14T12:00") == [REGULAR, REGULAR]


def test_an_override_stands_in_the_place_of_the_whole_day(mumbai: CalendarClock) -> None:
    moments = ["09:05:00", "09:30:00", "10:00:00", "11:00:29", "11:00:30", "12:00:00"]
    found = sessions(mumbai, KOLKATA, *(f"2024-11-13T{moment}" for moment in moments))
    assert found == [CLOSED, CLOSED, REGULAR, REGULAR, CLOSED, CLOSED]


def test_dates_beyond_the_calendars_end_are_known_and_those_between_are_not(mumbai: CalendarClock) -> None:
    found = sessions(mumbai, KOLKATA, *(f"2099-12-25T{moment}" for moment in ("00:00", "17:50", "18:30", "23:59")))
    assert found == [CLOSED, PREOPEN, REGULAR, CLOSED]
    assert sessions(mumbai, KOLKATA, "2099-12-28T12:00") == [CLOSED]
    for moment in ("2099-12-24T23:59:59", "2099-12-26T00:00:00", "2099-12-27T12:00:00"):
        with pytest.raises(OutsideCalendar, match=r"sessions\.overrides"):
            sessions(mumbai, KOLKATA, moment)
    assert sessions(mumbai, KOLKATA, "2024-11-11T12:00") == [REGULAR]


def test_a_session_that_opens_the_evening_before_takes_the_place_of_one_that_does() -> None:
    clock = CalendarClock({1: "CMES"}, overrides={"CMES": [SessionOverride("2024-11-13", open="18:00", close="12:00")]})
    found = sessions(
        clock,
        CHICAGO,
        "2024-11-12T17:30",
        "2024-11-12T18:00",
        "2024-11-13T11:59",
        "2024-11-13T12:00",
        "2024-11-13T17:00",
    )
    assert found == [CLOSED, REGULAR, REGULAR, CLOSED, REGULAR]


def test_an_override_is_in_wall_time_on_the_day_of_a_clock_change() -> None:
    sunday = SessionOverride("2024-03-10", preopen="01:30", open="03:30", close="24:00")
    clock = CalendarClock({1: "XNYS"}, overrides={"XNYS": [sunday]})
    assert clock.session(1, ns("2024-03-10T06:29:59", ZoneInfo("UTC"))) is CLOSED
    assert clock.session(1, ns("2024-03-10T06:30:00", ZoneInfo("UTC"))) is PREOPEN
    # One hour later, not two: the hour from 2 to 3 was left out.
    assert clock.session(1, ns("2024-03-10T07:29:59", ZoneInfo("UTC"))) is PREOPEN
    assert clock.session(1, ns("2024-03-10T07:30:00", ZoneInfo("UTC"))) is REGULAR
    assert clock.session(1, ns("2024-03-11T03:59:59", ZoneInfo("UTC"))) is REGULAR
    assert clock.session(1, ns("2024-03-11T04:00:00", ZoneInfo("UTC"))) is CLOSED


def test_a_calendar_goes_by_all_of_its_names() -> None:
    clock = CalendarClock({1: "XNYS", 2: "NYSE"}, overrides={"NYSE": [SessionOverride("2024-03-12", closed=True)]})
    assert sessions(clock, NEW_YORK, "2024-03-12T12:00") == [CLOSED]
    assert sessions(clock, NEW_YORK, "2024-03-12T12:00", token=2) == [CLOSED]


def test_a_session_that_reaches_into_the_next_does_not_open_it_twice() -> None:
    late = SessionOverride("2024-03-11", open="15:00", close="24:00")
    early = SessionOverride("2024-03-12", preopen="20:00", open="00:00", close="01:00")
    clock = CalendarClock({1: "XNYS"}, overrides={"XNYS": [late, early]})
    found = sessions(
        clock,
        NEW_YORK,
        "2024-03-11T19:59",
        "2024-03-11T20:30",
        "2024-03-11T23:59",
        "2024-03-12T00:30",
        "2024-03-12T01:00",
    )
    assert found == [REGULAR, REGULAR, REGULAR, REGULAR, CLOSED]
