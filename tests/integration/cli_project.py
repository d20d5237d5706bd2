"""What the tests of the command line share: configurations, tick files, plug-ins, and a call that catches it all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anystrat.__main__ import main

START_NS = 1_704_186_900_000_000_000
SECOND_NS = 1_000_000_000

GOOD = """\
version: 1
run: {name: test, rng_seed: 7}
instruments:
  - {token: 1, symbol: AAA}
strategies:
  - id: mom
    strategy_type: momentum
    parameters: {lookback_periods: 3, threshold: 0.01, position_size: 10}
    instruments: [1]
"""


@dataclass(frozen=True)
class Answer:
    """What one call said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, code: int, *texts: str) -> None:
        """The exit code is this one, the texts are on standard error, and there is no traceback."""
        assert self.code == code, self
        for text in texts:
            assert text in self.err, self
        assert "Traceback" not in self.err, self
        assert "This is a fault" not in self.err, self


class Project:
    """A directory with a configuration, ticks, and whatever a test puts beside them."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = directory
        self._capsys = capsys

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, text: str | bytes) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, str):
            target.write_text(text, encoding="utf-8")
        else:
            target.write_bytes(text)
        return target

    def config(self, text: str = GOOD, name: str = "anystrat.yaml") -> Path:
        return self.write(name, text)

    def ticks(self, prices: Sequence[object], name: str = "ticks.csv", *, token: int = 1, step: int = 1) -> Path:
        rows = [f"{START_NS + at * step * SECOND_NS},{token},{price}" for at, price in enumerate(prices)]
        return self.write(name, "\n".join(["ts_ns,instrument_token,price", *rows]) + "\n")

    def run(self, *arguments: object) -> Answer:
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return Answer(code, said.out, said.err)

    def plugin(self, monkeypatch: pytest.MonkeyPatch, source: str, *points: str) -> None:
        """An installed package `nasty` with these lines of `anystrat.strategies`."""
        site = self.path / "site"
        self.write("site/nasty.py", source)
        self.write("site/nasty-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nasty\nVersion: 1.0\n")
        lines = "\n".join(points)
        self.write("site/nasty-1.0.dist-info/entry_points.txt", f"[anystrat.strategies]\n{lines}\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, "nasty", raising=False)


def process(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own: for signals, pipes and what only a fresh interpreter shows."""
    return subprocess.run(
        command_line(*arguments),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean(),
        **options,
    )


def command_line(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "anystrat", *map(str, arguments)]


def clean(**more: str) -> dict[str, str]:
    """The environment without what would change the command line's mind."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANYSTRAT", "PYTHONDONTWRITE"))}
    return kept | more
