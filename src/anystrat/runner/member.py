"""One machine's part in a cluster: takes free parts up to its share, keeps them, lets go of what others ought to have.

A loop without threads and without an event loop: parts are processes, forked from it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from anystrat.domain.cluster import PartState
from anystrat.domain.errors import AnystratError

if TYPE_CHECKING:
    from anystrat.domain.cluster import ClusterView

#: Renewals in the length of a lease: one that fails, or is late, costs nothing.
_RENEWALS: Final = 5
#: How long a part is left alone after it ended with an error; it doubles with each time, up to the longest.
_FIRST_HOLD_SEC: Final = 1.0
_LONGEST_HOLD_SEC: Final = 60.0
#: When another one's lease is over, it is looked a moment later: not before the database thinks so.
_A_MOMENT_SEC: Final = 0.02


class Leases(Protocol):
    """The table of leases, as one member sees it; all but `heard` and `close` raise `AnystratError` while it cannot be reached."""

    @property
    def member(self) -> str:
        """What the others know this member by."""
        ...

    @property
    def file_number(self) -> int | None:
        """What can be read from when something changed that should be looked at; None where nobody would say so."""
        ...

    def join(self, layout: str) -> None:
        """Begin; refused where the others share the run out in another way."""
        ...

    def renew(self) -> frozenset[int]:
        """Be there, and keep what this member has, for a lease from now on; what it still has."""
        ...

    def view(self) -> ClusterView:
        """Everything, now."""
        ...

    def take(self, most: int) -> list[tuple[int, int]]:
        """Take free parts, at most so many: (part, epoch) each."""
        ...

    def note(self, part: int, epoch: int, state: PartState) -> None:
        """Say how a part of this member is."""
        ...

    def release(self, part: int, epoch: int, problem: str, hold_sec: float = 0.0) -> None:
        """Give a part back, which nobody takes for so long."""
        ...

    def leave(self) -> None:
        """Be no member any more."""
        ...

    def heard(self) -> None:
        """Take what could be read."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class PartProcess(Protocol):
    """A part that runs."""

    @property
    def file_number(self) -> int:
        """What can be read from when it has said something, or has ended."""
        ...

    def tell(self, until_ns: int, *, killed: bool) -> None:
        """The lease holds until then; how the kill switch is."""
        ...

    def heard(self) -> Collection[str]:
        """What it has said since."""
        ...

    def drain(self) -> None:
        """Let it end in its own time."""
        ...

    def end(self) -> None:
        """End it on the spot."""
        ...

    def ended(self) -> int | None:
        """The code that it ended with; None while it runs."""
        ...


class MemberLog(Protocol):
    """Where a member says what it does."""

    def info(self, event: str, **details: Any) -> object:
        """What happens."""
        ...

    def warning(self, event: str, **details: Any) -> object:
        """What should not."""
        ...


@dataclass(slots=True, eq=False)
class _Running:
    epoch: int
    process: PartProcess
    state: PartState = PartState.STARTING
    #: Somebody else has it, or will have.
    lost: bool = False


class Member:
    """Runs parts until it is stopped, and all of them are drained.

    `start(part, epoch, until_ns)` makes the process of a part; `wakeup` is a file that can be read from when `stop` was called.
    """

    def __init__(
        self,
        leases: Leases,
        layout: str,
        lease_sec: float,
        start: Callable[[int, int, int], PartProcess],
        *,
        now_ns: Callable[[], int],
        log: MemberLog,
        wakeup: int | None = None,
    ) -> None:
        self._leases = leases
        self._layout = layout
        self._lease_sec = lease_sec
        self._start = start
        self._now_ns = now_ns
        self._log = log
        self._wakeup = wakeup
        self._running: dict[int, _Running] = {}
        self._ended: list[tuple[int, int, int]] = []
        self._failures: dict[int, int] = {}
        self._stopping = False
        self._trouble = ""
        self.killed = False
        #: How many parts were begun here.
        self.parts_run = 0

    @property
    def name(self) -> str:
        """What the others know this member by."""
        return self._leases.member

    @property
    def parts(self) -> dict[int, PartState]:
        """The parts that run here, and how each is."""
        return {part: each.state for part, each in self._running.items()}

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._stopping

    def stop(self) -> None:
        """Drain all parts, give them back, end."""
        self._stopping = True

    def run(self) -> None:
        """Until `stop` was called and everything is drained. Raises what the leases raise at the first joining."""
        self._leases.join(self._layout)
        self._log.info("member of a cluster", member=self.name, layout=self._layout)
        try:
            while True:
                pause = self.beat()
                if self._stopping and not self._running and (self._trouble or not self._ended):
                    break
                self._wait(pause)
            with suppress(AnystratError):  # whoever does not renew is no member before long
                self._leases.leave()
        except BaseException:
            for each in self._running.values():
                each.process.end()
            raise
        finally:
            self._leases.close()

    def beat(self) -> float:
        """Do what has to be done now; in how many seconds again, at the latest."""
        self._listen()
        if self._stopping:
            self._drain(list(self._running))
        try:
            pause = self._with_the_leases()
            self._trouble = ""
        except AnystratError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                then = "what runs here ends with its lease, unless that is renewed before"
                self._log.warning("leases not renewed", problem=self._trouble, then=then)
            pause = self._lease_sec / _RENEWALS
        return pause

    def _listen(self) -> None:
        """Who has ended, and what the others say."""
        for part, each in list(self._running.items()):
            for word in each.process.heard():
                if each.state is PartState.STARTING and word == PartState.RUNNING:
                    each.state = PartState.RUNNING
                    self._failures.pop(part, None)
                    self._log.info("part runs", part=part, epoch=each.epoch)
            code = each.process.ended()
            if code is not None:
                if code < 0 and (each.lost or each.state is PartState.DRAINING):
                    code = 0  # of the signal that it was sent
                del self._running[part]
                self._ended.append((part, each.epoch, code))

    def _with_the_leases(self) -> float:
        leases = self._leases
        until_ns = self._now_ns() + round(self._lease_sec * 1e9)
        kept = leases.renew()
        for part, each in self._running.items():
            if part not in kept and not each.lost:
                each.lost = True
                self._log.warning("lease lost", part=part, epoch=each.epoch, then="it is ended")
                each.process.end()
        while self._ended:
            self._give_back(*self._ended[-1])
            self._ended.pop()
        view = leases.view()
        self.killed = view.killed
        for part, each in self._running.items():
            if part in kept:
                each.process.tell(until_ns, killed=view.killed)
        noted = {each.part: each.state for each in view.held_by(leases.member)}
        for part, each in self._running.items():
            if part in kept and noted.get(part) is not each.state:
                leases.note(part, each.epoch, each.state)
        self._share_out(view)
        others = [each.left_sec for each in view.leases if each.left_sec > 0 and each.owner != leases.member]
        return min([self._lease_sec / _RENEWALS, *(left + _A_MOMENT_SEC for left in others)])

    def _share_out(self, view: ClusterView) -> None:
        if self._stopping:
            return
        share = view.share(self._leases.member)
        staying = [
            part for part, each in self._running.items() if each.state is not PartState.DRAINING and not each.lost
        ]
        # The youngest go: the others have been there longest, and no part wanders more than it must.
        self._drain(staying[share:])
        room = share - len(self._running)
        if room <= 0:
            return
        until_ns = self._now_ns() + round(self._lease_sec * 1e9)
        for part, epoch in self._leases.take(room):
            self._log.info("part taken", part=part, epoch=epoch)
            self._running[part] = _Running(epoch, self._start(part, epoch, until_ns))
            self.parts_run += 1

    def _drain(self, parts: Collection[int]) -> None:
        for part in parts:
            each = self._running[part]
            if each.state is not PartState.DRAINING:
                each.state = PartState.DRAINING
                why = "this member stops" if self._stopping else "another member has room for it"
                self._log.info("part drains", part=part, reason=why)
                each.process.drain()

    def _give_back(self, part: int, epoch: int, code: int) -> None:
        problem, hold = "", 0.0
        if code:
            failures = self._failures.get(part, 0)
            hold = min(_LONGEST_HOLD_SEC, _FIRST_HOLD_SEC * 2.0**failures)
            problem = f"ended with {code} at {self._leases.member}"
            self._log.warning("part failed", part=part, problem=problem, nobody_takes_it_for_sec=hold)
            self._failures[part] = failures + 1
        self._leases.release(part, epoch, problem, hold)

    def _wait(self, pause: float) -> None:
        database = self._leases.file_number
        watched = [each for each in (self._wakeup, database) if each is not None]
        parts = [each.process.file_number for each in self._running.values()]
        ready, _, _ = select.select([*parts, *watched], [], [], max(0.0, pause))
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if database in ready:
            self._leases.heard()
