"""`anystrat run` as a process that a test writes to, waits for, asks and ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.integration.cli_project import clean, command_line

WAIT_SEC = 60
_LOOK_SEC = 0.02


class LiveRun:
    """The process; it is gone when the `with` is left. Its log is in `run.log`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / "run.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command_line("run", "--speed", "scalar", "--json", *arguments),
                cwd=folder,
                env=clean(NO_COLOR="1"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def until(self, what: str, there: Callable[[], object]) -> None:
        """Wait until `there()` says yes."""
        deadline = time.monotonic() + WAIT_SEC
        while not there():
            assert self._process.poll() is None, f"the run ended before {what}:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"no {what} within {WAIT_SEC} s:\n{self._log.read_text()}"
            time.sleep(_LOOK_SEC)

    def write(self, text: str) -> None:
        """To its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What its log says of that name, where it is in JSON."""
        found = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [each for each in found if each["event"] == name]

    def ready(self) -> tuple[int, dict[str, Any]]:
        """What `/ready` answers: the status, and how every part is."""
        self.until("an endpoint", lambda: self.events("listening"))
        try:
            with urlopen(self.events("listening")[0]["address"] + "/ready", timeout=WAIT_SEC) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def drained(self) -> dict[str, Any]:
        """End its input; its report, once it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None  # or `communicate` would flush it
        return self._report()

    def ended(self) -> dict[str, Any]:
        """End it as an operator does; its report."""
        self._process.send_signal(signal.SIGTERM)
        return self._report()

    def _report(self) -> dict[str, Any]:
        self._process.wait(timeout=WAIT_SEC)
        said = self._log.read_text()
        assert self._process.returncode == 0, said
        assert "Traceback" not in said
        assert self._process.stdout is not None
        report: dict[str, Any] = json.load(self._process.stdout)
        return report
