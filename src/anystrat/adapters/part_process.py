"""A part of a run in a process of its own, forked, and the line between it and the process that it belongs to.

The line is a pair of sockets. The member of a cluster, or the parent of workers, says until when the lease holds and how the
kill switch is; the part says what has become of it. Where the line ends, or nothing was said until the lease is over, the part ends itself on the spot.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from anystrat.domain.errors import AnystratError

#: One that goes on while the machine sleeps, where the system has such a clock; the same for all processes of a machine.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", 1))
_LINE_END: Final = b"\n"
_AT_ONCE: Final = 65_536
_NEXT_OWNER: Final = "its next owner goes on from the journal"
#: What a part ends with that gave itself up: EX_TEMPFAIL of sysexits.h.
GIVEN_UP: Final = 75


class NoProcesses(AnystratError):
    """This system cannot fork."""

    exit_code = 2


def lease_clock_ns() -> int:
    """Nanoseconds on the clock that leases are held against."""
    return time.clock_gettime_ns(_CLOCK)


class PartLine:
    """The part's end of the line. `on_end(why)` is called from a thread of its own and must end the process."""

    def __init__(self, line: socket.socket, on_end: Callable[[str], object]) -> None:
        self._line = line
        self._on_end = on_end
        self._heard = b""
        self.until_ns = lease_clock_ns()
        self.killed = False
        #: Called from the thread, whenever the kill switch was turned.
        self.on_switch: Callable[[bool], object] = lambda _on: None

    def begin(self) -> None:
        """Wait for the first word, then listen on a thread until the end."""
        self.until_ns += 10**9
        self._listen_once()
        threading.Thread(target=self._listen, name="anystrat lease", daemon=True).start()

    def closed(self) -> str:
        """Why nothing may be sent now; empty where it may."""
        if lease_clock_ns() >= self.until_ns:
            return "the lease of this part is over: its next owner sends what waits"
        return "the kill switch of the run is on" if self.killed else ""

    def say(self, word: str) -> None:
        """Tell the member."""
        with suppress(OSError):  # the thread sees that it is gone
            self._line.sendall(word.encode() + _LINE_END)

    def _listen(self) -> None:
        while True:
            self._listen_once()

    def _listen_once(self) -> None:
        left = (self.until_ns - lease_clock_ns()) / 1e9
        if left <= 0:
            self._on_end("its lease was not renewed in time")
        ready, _, _ = select.select([self._line], [], [], max(0.0, left))
        if not ready:
            return
        try:
            came = self._line.recv(4096)
        except OSError:
            came = b""
        if not came:
            self._on_end("the process that it belongs to is gone")
        *lines, self._heard = (self._heard + came).split(_LINE_END)
        for line in lines:
            until, _, switch = line.partition(b" ")
            self.until_ns = int(until)
            if (killed := switch == b"1") != self.killed:
                self.killed = killed
                self.on_switch(killed)


class ForkedPart:
    """The member's view of a part that it forked."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self._line = line
        self._rest = b""
        self._last = b""
        self._code: int | None = None
        line.setblocking(False)

    @property
    def file_number(self) -> int:
        return self._line.fileno()

    def tell(self, until_ns: int, *, killed: bool) -> None:
        with suppress(OSError):  # a part that has ended, or reads nothing: it is known soon, or ends with its lease
            self._line.send(b"%d %d\n" % (until_ns, killed))

    def heard(self) -> list[str]:
        came, self._last = (self._last, b"") if self._code is not None else (self._read(), b"")
        *lines, self._rest = (self._rest + came).split(_LINE_END)
        return [line.decode(errors="replace") for line in lines]

    def drain(self) -> None:
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        self._signal(signal.SIGKILL)

    def ended(self) -> int | None:
        """The code that it ended with; None while it runs. What it said until then can still be asked for."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._last = self._read()
                self._code = os.waitstatus_to_exitcode(status)
                self._line.close()
        return self._code

    def _read(self) -> bytes:
        came = b""
        with suppress(OSError):
            while piece := self._line.recv(_AT_ONCE):
                came += piece
        return came

    def _signal(self, number: int) -> None:
        if self._code is None:
            os.kill(self.pid, number)


class Forks:
    """Forks one process after another, none of which holds the line of another one open."""

    def __init__(self) -> None:
        self._parts: list[ForkedPart] = []

    def start(
        self, work: Callable[[PartLine], int], inherited: Sequence[int], what: str, *, then: str = _NEXT_OWNER
    ) -> ForkedPart:
        """See `forked`."""
        # That one has ended is for its owner to find out, who still waits for its line: nobody asks here.
        self._parts = [each for each in self._parts if each.file_number >= 0]
        lines = [each.file_number for each in self._parts]
        part = forked(work, [*lines, *inherited], what, then=then)
        self._parts.append(part)
        return part


def forked(
    work: Callable[[PartLine], int], inherited: Sequence[int], what: str, *, then: str = _NEXT_OWNER
) -> ForkedPart:
    """Run `work` in a process of its own; what it returns is the code that it ends with.

    Until `work` says otherwise, SIGTERM ends it on the spot, also one that came before it was there to hear it.
    `inherited` are files of this process that are none of the new one's; `then` is said, after what the matter is, where it
    ends itself. Raises `NoProcesses` where the system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise NoProcesses("the parts of a run are processes, and this system cannot fork: use Linux or macOS")
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        theirs.close()
        return ForkedPart(pid, ours)
    code = 1
    try:
        ours.close()
        _forget(inherited)
        # A terminal's Ctrl-C goes to the member, which lets its parts end one by one.
        os.setsid()
        # The member's own handlers would tell a copy of the member to stop, and the part would never hear of it.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

        def on_end(why: str) -> None:
            os.write(2, f"{what}: {why}; it ends here, and {then}\n".encode())
            os._exit(GIVEN_UP)

        line = PartLine(theirs, on_end)
        line.begin()
        code = work(line)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _forget(files: Sequence[int]) -> None:
    """Put nothing in the place of these, so that whatever still holds them closes nothing of the other process."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in files:
        os.dup2(nothing, each)
    os.close(nothing)
