"""An event loop whose time jumps: the production code runs on it as it is, hours in a moment, the same each time.

Nothing waits: with nothing left to run, time jumps to the next timer. Callbacks run in the order that asyncio promises.
Threads, sockets and subprocesses are refused, so that nothing but the code and its seeds decides what happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

_RESOLUTION_SEC: Final = 1e-9
_START_NS: Final = 1_700_000_000_000_000_000


class Deadlock(RuntimeError):
    """Everything waits, and no timer is set: nothing will ever happen again. The text names the tasks that wait."""


class Livelock(RuntimeError):
    """The loop turned too often without time moving on: something goes round and round."""


class NotSimulated(RuntimeError):
    """Something reached for a thread, a socket or another process, which a simulated loop does not have."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Time begins at 0 and moves only when nothing can run. `turns` bounds how often the loop may turn in one moment."""

    def __init__(self, *, turns: int = 1_000_000) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = turns
        self._still = 0
        self._numbers = count(1)
        # What the base class asks of a selector and of a clock.
        self._selector = _Jump(self._jump)
        self._clock_resolution = _RESOLUTION_SEC
        self.set_task_factory(self._numbered)

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self._now

    def run_in_executor(self, executor: object, func: object, *args: object) -> NoReturn:  # noqa: ARG002
        """Raises `NotSimulated`: how long a thread takes is nobody's to say."""
        raise NotSimulated("a simulated loop has no threads; hand the work to a port that the simulation replaces")

    def _write_to_self(self) -> NoReturn:
        raise NotSimulated("another thread called into a simulated loop")

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            waiting = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(self))) or "none"
            raise Deadlock(f"nothing can run and no timer is set, after {self._now:g} s; tasks that wait: {waiting}")
        self._still = 0 if timeout > 0 else self._still + 1
        if self._still > self._turns:
            raise Livelock(f"{self._turns} turns without time moving on, after {self._now:g} s")
        self._now += max(0.0, timeout)

    def _numbered(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context | None = None, **options: Any
    ) -> _NumberedTask:
        number = next(self._numbers)
        return _NumberedTask(number, coroutine, loop=loop, context=context, **{"name": f"Task-{number}", **options})


class _NumberedTask(asyncio.Task[Any]):
    """Its hash is its number: asyncio keeps tasks in sets, which would otherwise cancel in an order of addresses."""

    def __init__(self, number: int, coroutine: Any, **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class _Jump:
    """Where a loop waits for sockets, this one moves its clock."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        self._jump = jump

    def select(self, timeout: float | None) -> list[object]:
        self._jump(timeout)
        return []


class SimulatedClock:
    """A wall clock (`domain.clock.Clock`) that goes with the loop's time, and may be made to jump."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ns: int = _START_NS) -> None:
        self._loop = loop
        self._start_ns = start_ns

    def now_ns(self) -> int:
        return self._start_ns + round(self._loop.time() * 1e9)

    def jump(self, seconds: float) -> None:
        """Put the clock forward, or back, as a correction of a machine's clock does."""
        self._start_ns += round(seconds * 1e9)


def simulate(main: Callable[[], Coroutine[Any, Any, T]], *, turns: int = 1_000_000) -> T:
    """Run `main()` on a loop of its own to its end, as `asyncio.run` does; tasks that are left are cancelled.

    Raises `Deadlock`, `Livelock`, `NotSimulated`, and what `main` raises.
    """
    loop = SimulatedLoop(turns=turns)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in sorted(left, key=hash):
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


__all__ = ["Deadlock", "Livelock", "NotSimulated", "SimulatedClock", "SimulatedLoop", "simulate"]
