"""The parent of a run's workers: starts them, starts again what was killed, and comes to one end for all of them.

A loop without threads and without an event loop: workers are processes, forked from it.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anystrat.domain.cluster import PartState

if TYPE_CHECKING:
    from anystrat.runner.member import MemberLog, PartProcess

#: How long a worker that was killed is waited with; it doubles each time that it did not come to run, up to the longest.
_FIRST_WAIT_SEC: Final = 1.0
_LONGEST_WAIT_SEC: Final = 60.0

KILLED: Final = "killed"
UNKILLED: Final = "unkilled"
#: Signals are left that could not be delivered.
UNDELIVERED: Final = "undelivered"
#: Before what a worker's run came to, as JSON.
REPORT: Final = "report "


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    process: PartProcess | None = None
    state: PartState = PartState.STARTING
    failures: int = 0
    #: When it is to be started again.
    due: float = 0.0


class Workers:
    """Runs workers until every one of them has come to its end.

    `start(number, killed)` makes a worker's process. One that is ended by a signal is started again, where what it knew
    is kept (`durable`); one that ends with an error ends the run: the others are drained. The kill switch is the run's:
    turned in one worker, it is turned in all. `wakeup` is a file that can be read from when `stop` was called.
    """

    def __init__(
        self,
        numbers: Collection[int],
        start: Callable[[int, bool], PartProcess],
        *,
        now: Callable[[], float],
        log: MemberLog,
        tell: Callable[[PartProcess, bool], object],
        killed: bool = False,
        durable: bool = True,
        wakeup: int | None = None,
        first_wait_sec: float = _FIRST_WAIT_SEC,
    ) -> None:
        self._workers = [_Worker(number) for number in numbers]
        self._start = start
        self._now = now
        self._log = log
        self._tell = tell
        self._durable = durable
        self._wakeup = wakeup
        self._first_wait_sec = first_wait_sec
        self._stopping = False
        self._code = 0
        self._undelivered = False
        self.killed = killed
        #: What each worker's run came to, as JSON.
        self.reports: dict[int, str] = {}

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._stopping

    def stop(self) -> None:
        """Drain all workers, end."""
        self._stopping = True

    def run(self) -> int:
        """Until all have ended; the code that the run ends with."""
        try:
            while self._workers:
                pause = self._beat()
                if self._workers:
                    self._wait(pause)
        except BaseException:
            for each in self._workers:
                if each.process is not None:
                    each.process.end()
            raise
        return self._code or int(self._undelivered)

    def _beat(self) -> float | None:
        """Do what has to be done now; in how many seconds again, at the latest, where no worker says anything."""
        for each in list(self._workers):
            if each.process is not None:
                code = each.process.ended()
                for word in each.process.heard():
                    self._said(each, word)
                if code is not None:
                    self._ended(each, code)
        if self._stopping:
            self._drain()
        now = self._now()
        for each in self._workers:
            if each.process is None and each.due <= now:
                each.process, each.state = self._start(each.number, self.killed), PartState.STARTING
        waits = [each.due - now for each in self._workers if each.process is None]
        return min(waits, default=None)

    def _said(self, worker: _Worker, word: str) -> None:
        if word == PartState.RUNNING:
            worker.state, worker.failures = PartState.RUNNING, 0
            self._log.info("worker runs", worker=worker.number)
        elif word in {KILLED, UNKILLED}:
            self.killed = word == KILLED
            for each in self._workers:
                if each.process is not None:
                    self._tell(each.process, self.killed)
        elif word == UNDELIVERED:
            self._undelivered = True
        elif word.startswith(REPORT):
            self.reports[worker.number] = word.removeprefix(REPORT)

    def _ended(self, worker: _Worker, code: int) -> None:
        drained = code == -signal.SIGTERM and worker.state is PartState.DRAINING
        worker.process = None
        if code == 0 or drained:
            self._workers.remove(worker)
            return
        ended = f"signal {-code}" if code < 0 else f"code {code}"
        if code < 0 and self._durable and not self._stopping:
            wait = min(_LONGEST_WAIT_SEC, self._first_wait_sec * 2.0**worker.failures)
            worker.failures += 1
            worker.due = self._now() + wait
            self._log.warning("worker killed", worker=worker.number, ended_with=ended, starts_again_in_sec=wait)
            return
        self._workers.remove(worker)
        self._code = self._code or max(1, code)
        then = "" if self._stopping else "the others are drained, and the run ends"
        self._log.warning("worker failed", worker=worker.number, ended_with=ended, then=then)
        self._stopping = True

    def _drain(self) -> None:
        for each in list(self._workers):
            if each.process is None:
                # It waits to be started again: the next run does that.
                self._workers.remove(each)
            elif each.state is not PartState.DRAINING:
                each.state = PartState.DRAINING
                each.process.drain()

    def _wait(self, pause: float | None) -> None:
        files = [each.process.file_number for each in self._workers if each.process is not None]
        if self._wakeup is not None:
            files.append(self._wakeup)
        ready, _, _ = select.select(files, [], [], pause if pause is None else max(0.0, pause))
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
