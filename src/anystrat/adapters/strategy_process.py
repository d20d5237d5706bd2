"""A strategy's own process, seen from the service: started, asked, killed at its deadline, started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from anystrat.adapters.process_messages import AskingEnd, Misunderstood, Ready, Refused, encoded
from anystrat.domain.errors import AnystratError, ProcessLost
from anystrat.domain.health import ProcessHealth, ProcessState

if TYPE_CHECKING:
    from anystrat.adapters.process_messages import Build, Reply
    from anystrat.domain.isolation import Isolation

#: How long a process may take to import its strategy and to build it.
START_SEC: Final = 30.0
#: So often a process is started that does not get ready, before its strategy is given up until somebody asks again.
_ATTEMPTS: Final = 3
_PAUSE_SEC: Final = 1.0
_LOOK_SEC: Final = 0.1
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessRefused(AnystratError):
    """A strategy cannot have a process to itself; the text says why, and what would help."""

    exit_code = 3


class _TooLarge(Exception):
    """Its resident memory, in bytes."""


class _Running:
    """One process, from its start to its end. `command` gets the number of its end of the connection as last argument."""

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # Its standard input is never written to: it ends when the service does, however that ends. A session of its
            # own keeps a terminal's signals away, and lets what the strategy starts itself be killed with it.
            self.process = subprocess.Popen(  # noqa: S603  this very program, by its own interpreter
                [*command, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.end = AskingEnd(ours)
        self._looked_at = 0.0

    def kill(self) -> None:
        """End it, and whatever it started; its remains are taken away by `bury`."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.end.close()

    def bury(self) -> None:
        """Wait for its end."""
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def resident(self) -> int:
        """Its memory, in bytes; 0 where it is gone, or where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):
            return 0

    def weigh(self, most: int) -> None:
        """Raises `_TooLarge`; looks no more often than ten times a second."""
        now = monotonic()
        if now - self._looked_at >= _LOOK_SEC:
            self._looked_at = now
            found = self.resident()
            if found > most:
                raise _TooLarge(found)

    def ending(self) -> str:
        """How it ended, in words."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        if code >= 0:
            return f"ended by itself, with exit code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"


class StrategyProcess:
    """The process of one strategy, again and again. Asked by one thread at a time; looked at by any.

    `patient`: whoever is asked waits for another process, and asks that once more, instead of doing without.
    """

    def __init__(self, command: Sequence[str], build: Build, isolation: Isolation) -> None:
        self.strategy_id = build.strategy_id
        self.isolation = isolation
        self.patient = True
        self._command = command
        self._build = encoded(build)
        self._most = None if isolation.memory_mb is None else isolation.memory_mb * 1_000_000
        if self._most is not None and not Path("/proc/self/statm").exists():
            raise ProcessRefused(
                f"strategy {self.strategy_id!r}: isolate.memory_mb needs a system that tells a process's memory in /proc; "
                "leave it out here"
            )
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._state = ProcessState.STARTING
        self._settled = threading.Event()
        self._closed = threading.Event()
        self._restarts = 0
        #: Whether somebody went without an answer since there was a process.
        self._turned_away = False
        self._problem = ""
        self._refused = ""
        self._news: list[tuple[bool, str]] = []

    def start(self) -> None:
        """Begin to start it; `wait` says how that went."""
        self._settled.clear()
        threading.Thread(target=self._bring_up, name=f"process of {self.strategy_id}", daemon=True).start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is ready, or given up; whether it is ready. Raises `ProcessRefused` for one that can never be."""
        self._settled.wait(seconds)
        if self._refused:
            raise ProcessRefused(f"strategy {self.strategy_id!r} cannot have a process to itself: {self._refused}")
        return self._running is not None

    def connection(self) -> object:
        """What changes whenever the process does, which then knows nothing any more. Raises `ProcessLost`."""
        with self._lock:
            if self._running is not None:
                return self._running
            self._turned_away = True
            again = self._state is ProcessState.FAILED and not self._refused
            if again:
                self._state = ProcessState.STARTING
        why = f"its process is not there: {self._problem}" if self._problem else "its process is not there yet"
        if again:
            self.start()
        raise ProcessLost(why)

    def ask(self, connection: object, question: bytes, *, seconds: float | None = None) -> Reply:
        """Its answer within `seconds` (the deadline). Raises `ProcessLost`, having begun to start another one."""
        running = self._running
        if running is None or running is not connection:
            raise ProcessLost("its process is not there any more")
        most = self._most
        look = None if most is None else lambda: running.weigh(most)
        try:
            if look is not None:
                look()
            return running.end.exchange(question, seconds or self.isolation.deadline_sec, look)
        except TimeoutError:
            why = f"did not answer within {1e3 * (seconds or self.isolation.deadline_sec):g} ms, and was killed"
        except _TooLarge as large:
            held = large.args[0] // 1_000_000
            why = f"held {held} MB of memory, of {self.isolation.memory_mb} MB that it may, and was killed"
        except Misunderstood:
            why = "said what is no answer, and was killed"
        except EOFError:
            why = running.ending()
        why = f"its process {why}"
        self._lost(running, why)
        raise ProcessLost(why)

    def news(self) -> list[tuple[bool, str]]:
        """Since this was asked last: (whether there is a process for those who went without, in words)."""
        with self._lock:
            said, self._news = self._news, []
        return said

    def health(self) -> ProcessHealth:
        """How it is, now."""
        running = self._running
        pid, resident = (running.process.pid, running.resident()) if running is not None else (None, 0)
        return ProcessHealth(self.strategy_id, self._state, pid, self._restarts, resident, self._problem)

    def close(self) -> None:
        """End it for good."""
        self._closed.set()
        with self._lock:
            running, self._running = self._running, None
        self._settled.set()
        if running is not None:
            running.kill()
            running.bury()

    def _lost(self, running: _Running, why: str) -> None:
        running.kill()
        with self._lock:
            self._running = None
            self._state, self._problem = ProcessState.STARTING, why
            self._restarts += 1
            self._turned_away = True
        self.start()
        threading.Thread(target=running.bury, name="burial", daemon=True).start()

    def _bring_up(self) -> None:
        why = ""
        for attempt in range(_ATTEMPTS):
            if attempt and self._closed.wait(_PAUSE_SEC * 2 ** (attempt - 1)):
                return
            why = self._try()
            if not why:
                return
            if self._refused:
                break
        with self._lock:
            self._state, self._problem = ProcessState.FAILED, why
            self._news.append((False, why))
        self._settled.set()

    def _try(self) -> str:
        """Start it once: why it does not get ready, or nothing."""
        if self._closed.is_set():
            return "closed"
        try:
            running = _Running(self._command)
        except OSError as error:
            return f"it cannot be started: {error}"
        try:
            reply = running.end.exchange(self._build, START_SEC)
        except TimeoutError:
            why = f"it was not ready within {START_SEC:g} s"
        except Misunderstood:
            why = "it said what is no answer"
        except EOFError:
            why = f"while it was built, it {running.ending()}"
        else:
            why = (
                ""
                if isinstance(reply, Ready)
                else reply.why
                if isinstance(reply, Refused)
                else "it said something else"
            )
            self._refused = why
        with self._lock:
            if not why and not self._closed.is_set():
                if self._turned_away:
                    self._news.append((True, f"process {running.process.pid}"))
                    self._turned_away = False
                self._running, self._state = running, ProcessState.READY
                self._settled.set()
                return ""
        running.kill()
        running.bury()
        return why
