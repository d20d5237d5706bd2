"""Sessions by real calendars: the edges of a day, holidays, half days, breaks, clock changes, and where knowledge ends."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.configuration import Session
from anystrat.domain.errors import MissingExtra, OutsideCalendar, UnknownName
from anystrat.domain.protocols import SessionClock

pytest.importorskip("exchange_calendars")

from anystrat.adapters.calendars import CalendarClock

REGULAR, PREOPEN, CLOSED = Session.REGULAR, Session.PREOPEN, Session.CLOSED
TOKENS = {1: "XBOM", 2: "XNYS", 3: "XTKS", 4: "24/7", 5: "XHKG", 6: "CMES", 7: "XLON"}


@pytest.fixture(scope="module")
def clock() -> CalendarClock:
    return CalendarClock(TOKENS)


def _ns(text: str) -> int:
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1_000


@pytest.mark.parametrize(
    ("token", "moment", "session"),
    [
        # Mumbai, 09:00 to 09:15 to 15:30, UTC+5:30.
        (1, "2024-01-02T03:29:59", CLOSED),
        (1, "2024-01-02T03:30:00", PREOPEN),
        (1, "2024-01-02T03:44:59", PREOPEN),
        (1, "2024-01-02T03:45:00", REGULAR),
        (1, "2024-01-02T09:59:59", REGULAR),
        (1, "2024-01-02T10:00:00", CLOSED),
        # A weekend and Republic Day.
        (1, "2024-01-06T05:00:00", CLOSED),
        (1, "2024-01-26T05:00:00", CLOSED),
        # New York on both sides of the clock change of 10 March 2024.
        (2, "2024-03-08T14:29:59", PREOPEN),
        (2, "2024-03-08T14:30:00", REGULAR),
        (2, "2024-03-08T20:59:59", REGULAR),
        (2, "2024-03-11T13:29:59", PREOPEN),
        (2, "2024-03-11T13:30:00", REGULAR),
        (2, "2024-03-11T20:00:00", CLOSED),
        # The half day after Thanksgiving ends at 13:00.
        (2, "2024-11-29T17:59:59", REGULAR),
        (2, "2024-11-29T18:00:00", CLOSED),
        (2, "2024-11-28T15:00:00", CLOSED),
        # Lunch in Tokyo, 11:30 to 12:30, UTC+9; and no pre-open after it.
        (3, "2024-01-05T02:29:59", REGULAR),
        (3, "2024-01-05T02:30:00", CLOSED),
        (3, "2024-01-05T03:29:59", CLOSED),
        (3, "2024-01-05T03:30:00", REGULAR),
        # … and in Hong Kong, 12:00 to 13:00, UTC+8; the half day before New Year has no afternoon.
        (5, "2024-01-05T04:30:00", CLOSED),
        (5, "2024-01-05T05:00:00", REGULAR),
        (5, "2024-12-31T05:30:00", CLOSED),
        # Never closed; and closed for an hour a day, Sundays opening the Monday.
        (4, "2024-01-06T00:00:00", REGULAR),
        (4, "2024-01-06T23:59:59", REGULAR),
        (6, "2024-01-07T23:00:00", REGULAR),
        (6, "2024-01-06T12:00:00", CLOSED),
        (7, "2024-06-03T06:50:00", PREOPEN),
        # Long ago, and with an old clock: 1975's summer time began on 23 February.
        (2, "1975-02-24T13:29:59", PREOPEN),
        (2, "1975-02-24T13:30:00", REGULAR),
        # An instrument without a calendar.
        (99, "2024-01-06T00:00:00", REGULAR),
    ],
)
def test_the_session_at(clock: CalendarClock, token: int, moment: str, session: Session):
    assert clock.session(token, _ns(moment)) is session


def test_it_is_a_session_clock(clock: CalendarClock):
    found: SessionClock = clock
    assert found.session(1, _ns("2024-01-02T05:00:00")) is REGULAR


# In and around what a clock loads at once, and at the ends of what calendars know: each costs a calendar's computation.
MOMENTS = [
    _ns(text)
    for text in (
        "1998-06-15T06:00:00",
        "2005-05-05T05:00:00",
        "2024-01-02T05:00:00",
        "2024-12-24T18:30:00",
        "2026-05-29T07:00:00",
    )
]


@cache
def alone(token: int, moment: int) -> Session:
    """What a clock answers that was asked nothing before."""
    return CalendarClock({token: TOKENS[token]}).session(token, moment)


@settings(max_examples=4)
@given(st.sampled_from([1, 2]), st.permutations(MOMENTS))
def test_the_order_of_questions_does_not_matter(token: int, moments: list[int]):
    clock = CalendarClock({token: TOKENS[token]})
    for moment in moments:
        assert clock.session(token, moment) is alone(token, moment)


@pytest.mark.filterwarnings("ignore")  # what the library and pandas say to each other
@pytest.mark.parametrize("name", ["XBOM", "XNYS", "XTKS", "XHKG", "XLON"])
def test_it_agrees_with_the_library_minute_by_minute(name: str):
    import exchange_calendars
    import pandas as pd

    first, last = pd.Timestamp("2024-10-24T00:00Z"), pd.Timestamp("2024-11-04T23:59Z")
    opened = set(exchange_calendars.get_calendar(name).minutes_in_range(first, last))
    clock = CalendarClock({1: name}, preopen_minutes=0)
    assert len(opened) > 2_000
    for moment in pd.date_range(first, last, freq="min"):
        assert clock.session(1, moment.value) is (REGULAR if moment in opened else CLOSED), moment


def test_the_preopen_can_be_set():
    moment = _ns("2024-01-02T03:15:00")  # half an hour before Mumbai opens
    assert CalendarClock({1: "XBOM"}).session(1, moment) is CLOSED
    assert CalendarClock({1: "XBOM"}, preopen_minutes=30).session(1, moment) is PREOPEN
    assert CalendarClock({1: "XBOM"}, preopen_minutes={"XBOM": 30}).session(1, moment) is PREOPEN
    assert CalendarClock({1: "XBOM"}, preopen_minutes={"XNYS": 30}).session(1, moment) is CLOSED
    # It never reaches into the session before.
    all_day = CalendarClock({1: "XBOM"}, preopen_minutes=24 * 60)
    assert all_day.session(1, _ns("2024-01-02T09:00:00")) is REGULAR
    assert all_day.session(1, _ns("2024-01-02T10:00:00")) is PREOPEN


def test_an_alias_has_the_preopen_of_its_calendar():
    assert CalendarClock({1: "NYSE"}).session(1, _ns("2024-01-02T14:00:00")) is PREOPEN


def test_beyond_what_is_known_is_an_error_not_a_guess():
    clock = CalendarClock({1: "XBOM"})
    assert clock.session(1, _ns("2024-01-02T05:00:00")) is REGULAR
    for moment in ("1990-01-01T00:00:00", "2031-01-01T00:00:00", "2200-01-01T00:00:00"):
        with pytest.raises(
            OutsideCalendar, match=rf"XBOM has sessions from 1997-01-01 to 20\d\d-\d\d-\d\d; .*{moment[:10]}"
        ):
            clock.session(1, _ns(moment))
    assert clock.session(1, _ns("2024-01-02T05:00:00")) is REGULAR


def test_a_name_that_does_not_exist():
    with pytest.raises(UnknownName, match="unknown calendar 'XBOMM'; did you mean 'XBOM'"):
        CalendarClock({1: "XBOMM"})


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(MissingExtra, match=r"pip install 'anystrat\[calendars\]'"):
        CalendarClock({1: "XBOM"})
