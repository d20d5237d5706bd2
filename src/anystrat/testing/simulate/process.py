"""A simulated process: its tasks, its end by kill -9, and the fence around what it may still do then: nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from anystrat.testing.simulate.dice import Dice

_CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class Gone(BaseException):
    """What every port answers in a process that was killed: no `finally` of it reaches the world."""


class Process:
    """One process of the service. A port of it works through `reach`, which ends when the process does."""

    def __init__(self, number: int, latency: Dice) -> None:
        self.number = number
        self.alive = True
        #: Why it was killed; empty while it was not.
        self.killed_by = ""
        self.ended = asyncio.Event()
        #: It has taken the journal over.
        self.opened = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self._latency = latency
        self._tasks: list[asyncio.Task[Any]] = []
        self._begun: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"p{self.number}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this process; tasks that it makes are, too."""
        context = copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """The same for a task that nobody waits for."""
        self._begun = self.spawn(work)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """The task is this process's."""
        self._tasks.append(task)

    # -- its end ---------------------------------------------------------------------------------------------------

    def kill(self, why: str) -> None:
        """From here on nothing that runs in it has an effect."""
        if self.alive:
            self.alive, self.killed_by = False, why
            self._running.set()
            self.ended.set()

    async def die(self, why: str) -> NoReturn:
        """Kill it from within: this call never returns."""
        self.kill(why)
        await asyncio.get_running_loop().create_future()
        raise AssertionError  # the future is nobody's to resolve

    async def buried(self) -> None:
        """Wait until its tasks have fallen apart, after it was killed."""
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        self._tasks.clear()

    # -- SIGSTOP ---------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """From here on no call of a port begins or returns."""
        self._running.clear()

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        self._running.set()

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return not self._running.is_set()

    # -- the world outside -----------------------------------------------------------------------------------------

    async def reach(self, seconds: float) -> None:
        """The way to the world or back, which takes up to so long. Raises `Gone` where the process has ended."""
        if not self.alive:
            raise Gone
        if self._latency.chance(0.7):
            await asyncio.sleep(seconds * self._latency.random())
        if self.frozen:
            await self._running.wait()
        if not self.alive:
            raise Gone


def adopting(loop: asyncio.AbstractEventLoop) -> None:
    """Let every task of the loop belong to the process that made it."""
    make: Any = loop.get_task_factory()

    def factory(
        loop: asyncio.AbstractEventLoop, work: Any, *, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = make(loop, work, context=context, **options)
        owner = _CURRENT.get() if context is None else context.get(_CURRENT)
        if owner is not None:
            owner.adopt(task)
        return task

    loop.set_task_factory(factory)


async def first_of(*waits: Awaitable[Any]) -> None:
    """Wait for one of them, and let the others go."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
