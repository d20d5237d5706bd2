"""Every error ends in words and in its exit code."""

from __future__ import annotations

import errno

import click
import pytest

from anystrat.cli.failures import Terminated, failed, in_words, printable
from anystrat.cli.options import Settings
from anystrat.domain.errors import (
    AnystratError,
    ConfigurationError,
    MissingExtra,
    ModelRefused,
    Problem,
    TickFileError,
    UnknownName,
)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AnystratError("no"), 1, "error: no\n"),
        (TickFileError("t.csv: no"), 2, "error: t.csv: no\n"),
        (ModelRefused("m: no"), 3, "error: m: no\n"),
        (UnknownName("x", "a", ["ab"]), 3, "error: unknown x 'a'"),
        (MissingExtra("X", "ml"), 4, "error: X needs the extra 'ml': pip install 'anystrat[ml]'\n"),
        (FileNotFoundError(errno.ENOENT, "x", "a.csv"), 1, "error: a.csv: there is no such file or directory\n"),
        (PermissionError(errno.EACCES, "x", b"a.csv"), 1, "error: a.csv: permission denied\n"),
        (OSError(errno.ENOSPC, "x"), 1, "error: no space left on the device\n"),
        (OSError("odd"), 1, "error: odd\n"),
        (MemoryError(), 1, "error: out of memory\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (Terminated(), 143, "terminated\n"),
        (SystemExit(0), 1, "error: a strategy or a plug-in ended the program (SystemExit: 0)\n"),
        (click.UsageError("Wrong."), 2, "error: Wrong.\n"),
        (ValueError("odd"), 1, "error: unexpected ValueError: odd\nThis is a fault in anystrat or in a plug-in."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_words_and_code(capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str):
    assert failed(error, Settings()) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_problems_stand_with_their_place_first(capsys: pytest.CaptureFixture[str]):
    problems = [Problem("wrong", "a.yaml", 3, "x.y", "'q'", "p", "p"), Problem("also")]
    assert failed(ConfigurationError(problems), Settings()) == 3
    assert capsys.readouterr().err.splitlines() == [
        "a.yaml:3: error: x.y: wrong; found 'q'; did you mean 'p'? (allowed: p)",
        "error: also",
        "2 problems; nothing was loaded",
    ]


def test_a_traceback_is_for_those_who_ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    failed(ValueError("odd"), Settings(verbose=1))
    assert "ValueError: odd" in capsys.readouterr().err
    monkeypatch.setenv("ANYSTRAT_DEBUG", "1")
    assert Settings().debug


def test_in_words_keeps_what_the_system_says():
    assert in_words(OSError(errno.ELOOP, "Too many levels", "x")) == "x: Too many levels"


def test_printable():
    assert printable("a\x1b[0m\nb") == "a\\x1b[0m\nb"
    assert printable("ü … ≥") == "ü … ≥"
