"""The section `sessions`: dates that differ from a calendar, refused by file and line where they cannot be."""

from __future__ import annotations

import pytest

from anystrat.domain.sessions import SessionOverride, SessionSettings

HEAD = "instruments: [{token: 1, calendar: XBOM}, {token: 2, calendar: NYSE}, {token: 3}]\nstrategies: []\n"
DATES = "sessions:\n  overrides:\n    XBOM:\n"


def test_without_the_section_the_calendars_say_all(load) -> None:
    assert load(HEAD).sessions == SessionSettings({}, {})


def test_dates_are_read_as_they_are_written_with_and_without_quotes(load) -> None:
    configuration = load(
        HEAD + DATES + '      - {date: 2026-11-08, preopen: "17:45", open: "18:00", close: "19:00"}\n'
        "      - {date: '2026-12-25', closed: true}\n"
        "      - date: 2026-12-26\n        open: 09:15\n        close: 10:00:30\n"
        "    NYSE: []\n  preopen_minutes: {XBOM: 8, NYSE: 0.5}\n"
    )
    assert configuration.sessions == SessionSettings(
        {
            "XBOM": (
                SessionOverride("2026-11-08", preopen="17:45", open="18:00", close="19:00"),
                SessionOverride("2026-12-25", closed=True),
                SessionOverride("2026-12-26", open="09:15", close="10:00:30"),
            ),
            "NYSE": (),
        },
        {"XBOM": 8.0, "NYSE": 0.5},
    )


def test_several_sessions_of_a_date_may_touch(load) -> None:
    text = "      - {date: 2026-11-08, open: '09:00', close: '10:00'}\n      - {date: 2026-11-08, open: '10:00', close: '11:00'}\n"
    assert len(load(HEAD + DATES + text).sessions.overrides["XBOM"]) == 2


@pytest.mark.parametrize(
    ("text", "path", "line", "says"),
    [
        ("{date: 2026-11-31, closed: true}", "[0].date", 6, "must be a date such as 2026-11-08"),
        ("{date: 20261108, closed: true}", "[0].date", 6, "must be text"),
        ("{date: '20261108', closed: true}", "[0].date", 6, "must be a date such as 2026-11-08"),
        ("{date: 2026-11-08}", "[0].open", 6, "or `closed: true`"),
        ("{date: 2026-11-08, open: '18:00'}", "[0].close", 6, "or `closed: true`"),
        ("{date: 2026-11-08, open: '25:00', close: '26:00'}", "[0].open", 6, "must be a time such as 17:45"),
        ("{date: 2026-11-08, open: '18:00', close: '7pm'}", "[0].close", 6, "must be a time such as 17:45"),
        ("{date: 2026-11-08, open: 18, close: '19:00'}", "[0].open", 6, "must be text"),
        ("{date: 2026-11-08, open: '18:00', close: '18:00'}", "[0].close", 6, "must differ from `open`"),
        ("{date: 2026-11-08, closed: true, open: '18:00'}", "[0].open", 6, "has no times"),
        ("{date: 2026-11-08, closed: true, preopen: '18:00'}", "[0].preopen", 6, "has no times"),
        ("{closed: true}", "[0].date", 6, "required"),
        ("{date: 2026-11-08, clsed: true}", "[0].clsed", 6, "unknown key"),
        ("5", "[0]", 6, "must be a mapping"),
        ("{date: 2026-11-08, closed: true}\n      - {date: 2026-11-08, closed: true}", "[1]", 7, "the one on line 6"),
        (
            "{date: 2026-11-08, closed: true}\n      - {date: 2026-11-08, open: '09:00', close: '10:00'}",
            "[1]",
            7,
            "does not go with the one on line 6",
        ),
        (
            "{date: 2026-11-08, open: '09:00', close: '10:00'}\n      - {date: 2026-11-08, open: '09:30', close: '11:00'}",
            "[1]",
            7,
            "they overlap",
        ),
        (
            "{date: 2026-11-08, open: '20:00', close: '24:00'}\n      - {date: 2026-11-09, open: '23:00', close: '01:00'}",
            "[1]",
            7,
            "they overlap",
        ),
    ],
)
def test_a_date_that_cannot_be_is_refused_where_it_stands(refuse, text, path, line, says) -> None:
    problem = refuse(HEAD + DATES + f"      - {text}\n")[0]
    assert (problem.path, problem.line) == (f"sessions.overrides.XBOM{path}", line)
    assert says in problem.message
    assert problem.file.endswith("anystrat.yaml")


@pytest.mark.parametrize(
    ("text", "path", "line", "nearest"),
    [
        ("sessions:\n  overrides:\n    XBOMB: []\n", "sessions.overrides.XBOMB", 5, "XBOM"),
        ("sessions:\n  preopen_minutes: {NYS: 5}\n", "sessions.preopen_minutes.NYS", 4, "NYSE"),
        ("sessions: {overides: {}}\n", "sessions.overides", 3, "overrides"),
    ],
)
def test_a_calendar_that_no_instrument_has_is_a_slip(refuse, text, path, line, nearest) -> None:
    (problem,) = refuse(HEAD + text)
    assert (problem.path, problem.line, problem.nearest) == (path, line, nearest)


@pytest.mark.parametrize(
    "text", ["sessions: 5", "sessions: {overrides: 5}", "sessions: {overrides: {XBOM: {date: 2026-11-08, closed: true}}}", "sessions: {preopen_minutes: {XBOM: -1}}", "sessions: {preopen_minutes: {XBOM: many}}"]
)  # fmt: skip
def test_a_section_of_another_shape_is_refused(refuse, text) -> None:
    (problem,) = refuse(HEAD + text + "\n")
    assert problem.line == 3
    assert problem.path.startswith("sessions")
