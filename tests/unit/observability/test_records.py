"""Whatever is logged stays one record, names its time as it is told to, and never ends the run."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anystrat.domain.outcomes import Noted, ProcessorFailed
from anystrat.observability.library_logs import LibraryLogs
from anystrat.observability.log import OutcomeLog
from anystrat.observability.records import apart, logger, printable

EVIL = "a\r\n2026-01-01T00:00:00Z [error    ] forged\x1b[2J\u2028\u202e\x00\x85b"


class Wall:
    def now_ns(self) -> int:
        return 1_700_000_000_123_456_789


def one_line(text: str) -> bool:
    return text.endswith("\n") and len(text[:-1].splitlines()) == 1 and text[:-1].isprintable()


@pytest.mark.parametrize("json_", [True, False])
def test_a_value_a_name_an_event_or_anything_within_cannot_make_a_second_record(
    json_: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logger(json=json_)
    for fields in (
        {"symbol": EVIL}, {EVIL: 1}, {"list": [EVIL, {EVIL: EVIL}]}, {"object": Exception(EVIL)}, {"set": {EVIL}}, {"bytes": EVIL.encode()},
    ):  # fmt: skip
        log.warning("event", **fields)
        assert one_line(capsys.readouterr().err), fields
    log.warning(EVIL)
    assert one_line(capsys.readouterr().err)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), st.text() | st.floats() | st.lists(st.text())), st.booleans())
def test_no_text_at_all_can(fields: dict[str, Any], json_: bool) -> None:
    lines: list[str] = []

    class Stream:
        encoding = "utf-8"

        def write(self, text: str) -> None:
            text.encode()
            lines.append(text)

        def flush(self) -> None: ...
        def isatty(self) -> bool:
            return False

    before, sys.stderr = sys.stderr, Stream()  # type: ignore[assignment]
    try:
        OutcomeLog(logger(json=json_))([Noted("kind", 0, "s", fields)])
    finally:
        sys.stderr = before
    (line,) = lines
    assert one_line(line)
    if json_:
        json.loads(line, parse_constant=pytest.fail)


def test_a_traceback_keeps_its_lines_and_none_of_them_passes_for_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    failure = ProcessorFailed("s", "paper", 1, 0, EVIL, f"Traceback\n  here\nValueError: {EVIL}", (1.0,))
    OutcomeLog(logger())([failure])
    first, *rest = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "strategy raised" in first
    assert [line[:4] for line in rest] == ["    "] * len(rest)
    assert all(line.isprintable() for line in rest)
    assert any("2026-01-01" in line for line in rest)
    OutcomeLog(logger(json=True))([failure])
    assert json.loads(capsys.readouterr().err)["exception"].startswith("Traceback\n  here\nValueError: a\\r")


def test_what_prints_is_left_as_it_is() -> None:
    assert printable("NIFTY 50 é 日経 \\n") == "NIFTY 50 é 日経 \\n"
    assert printable("é\n") == "é\\n"


def test_details_do_not_take_the_place_of_the_records_own_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert apart({"event": 1, "at": 2, "x": 3}, {"at": 0}) == {"event_": 1, "at_": 2, "x": 3}
    OutcomeLog(logger(json=True))([Noted("odd", 0, "s", {"event": "e", "strategy": "t", "at": "u", "exc_info": True})])
    record = json.loads(capsys.readouterr().err)
    assert (record["event"], record["strategy"], record["strategy_"]) == ("odd", "s", "t")


def test_the_clock_that_is_given_stamps_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    logger(json=True, clock=Wall()).info("here")
    assert json.loads(capsys.readouterr().err)["timestamp"] == "2023-11-14T22:13:20.123456Z"


def test_a_reader_that_went_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    logger().error("nobody hears this")


def test_numbers_that_json_does_not_know_are_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    logger(json=True).info("prices", last=[float("nan"), float("inf"), 1.5])
    assert json.loads(capsys.readouterr().err)["last"] == ["nan", "inf", 1.5]


class TestLibraries:
    def test_warnings_of_libraries_become_records_and_their_chatter_does_not(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        handler = LibraryLogs(logger(json=True))
        try:
            logging.getLogger("nats").info("chatter")
            logging.getLogger("nats").warning("slow %s", EVIL)
            logging.getLogger("asyncio").error("task failed", exc_info=ValueError("gone"))
            logging.getLogger("nats").warning("%d", "no number")
        finally:
            handler.close()
        slow, failed, odd = (json.loads(line) for line in capsys.readouterr().err.splitlines())
        assert (slow["library"], slow["level"]) == ("nats", "warning")
        assert slow["event"].startswith("slow a\\r\\n2026")
        assert (failed["event"], failed["level"]) == ("task failed", "error")
        assert "ValueError: gone" in failed["exception"]
        assert odd["event"] == "a library's record cannot be read"

    def test_the_root_logger_is_given_back(self) -> None:
        before = list(logging.getLogger().handlers)
        handler = LibraryLogs(logger())
        assert logging.getLogger().handlers == [handler]
        handler.close()
        handler.close()
        assert logging.getLogger().handlers == before
