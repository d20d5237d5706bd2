"""Numbers and tables as they are shown."""

from __future__ import annotations

import io
import json
import math

import pytest

from anystrat.cli.screen import Column, count, money, pairs, print_json, rate, seconds, table

COLUMNS = (Column("name"), Column("size", number=True), Column("what it is", wrap=True))


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0.00"),
        (1234.5, "+1,234.50"),
        (-0.5, "-0.50"),
        (0.000123, "+0.000123"),
        (math.nan, "nan"),
        (1e9, "+1,000,000,000.00"),
    ],
)
def test_money(amount: float, shown: str):
    assert money(amount) == shown


@pytest.mark.parametrize(
    ("per_second", "shown"),
    [
        (0, "0"),
        (12, "12"),
        (1_234, "1.23 k"),
        (45_678, "45.7 k"),
        (812_345, "812 k"),
        (1_234_567, "1.23 M"),
        (4.2e8, "420 M"),
    ],
)
def test_rate(per_second: float, shown: str):
    assert rate(per_second) == shown


@pytest.mark.parametrize(
    ("duration", "shown"), [(0.0123, "12 ms"), (1.24, "1.2 s"), (119.9, "119.9 s"), (3671, "61 min 11 s")]
)
def test_seconds(duration: float, shown: str):
    assert seconds(duration) == shown


def test_count():
    assert count(1_234_567) == "1,234,567"


def test_what_json_has_no_number_for_is_null(capsys: pytest.CaptureFixture[str]):
    print_json({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}, "é": "ü"})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "é": "ü"}


def test_in_a_pipe_a_table_is_aligned_and_never_broken():
    stream = io.StringIO()
    table(COLUMNS, [["a", "1", "x " * 200], ["bcd", "1,000", "y"]], stream=stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "name   size  what it is"
    assert lines[1].startswith("a         1  x x x")
    assert lines[2] == "bcd   1,000  y"
    assert len(lines) == 3


def test_on_a_narrow_terminal_each_row_is_a_block(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    table(COLUMNS, [["a-rather-long-name", "1", "words " * 8], ["b", "", "y"]], stream=stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 30
    assert lines[0] == "a-rather-long-name"
    assert lines[1] == "  size        1"
    assert lines[-2:] == ["b", "  what it is  y"]


def test_control_characters_are_shown_not_sent():
    stream = io.StringIO()
    table(COLUMNS, [["\x1b[31mred", "1", "a\rb"]], stream=stream)
    pairs([("x", "\x07bell")], stream=stream)
    assert "\x1b" not in stream.getvalue()
    assert "\\x1b[31mred" in stream.getvalue()
    assert "\\x07bell" in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_markup_of_the_library_is_plain_text():
    stream = io.StringIO()
    table(COLUMNS, [["[bold]x[/bold]", "1", ":smile:"]], stream=stream)
    assert "[bold]x[/bold]" in stream.getvalue()
    assert ":smile:" in stream.getvalue()
