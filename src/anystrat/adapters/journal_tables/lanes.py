"""Where a journal's calls are executed: on a thread of their own, in groups, or at once in the caller."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

#: What waits is one group up to so many bytes of inputs and signals, and so many calls.
_GROUP_BYTES: Final = 8 << 20
_GROUP_CALLS: Final = 4_096


@dataclass(slots=True, eq=False)
class Call:
    """One piece of work and what came of it. `writes`: it may change something. `size` is in bytes, roughly.

    One that is `alone` is executed by itself, and not by `serve`.
    """

    work: Callable[[], Any]
    writes: bool = True
    size: int = 0
    alone: bool = False
    result: Any = None
    error: BaseException | None = None

    def execute(self) -> None:
        """Do the work, whatever comes of it."""
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001  it is the caller's
            self.error = error


class Lane(Protocol):
    """Executes calls one after the other, in the order in which they were made.

    It is made of `serve`, which executes a group of calls and raises nothing, and `rest`, which is called between groups.
    """

    async def do(self, call: Call) -> Any:
        """Execute the call; returns its result or raises its error."""
        ...

    async def alone(self, work: Callable[[], Any]) -> Any:
        """Execute the work in its turn, by itself."""
        ...

    def stop(self) -> None:
        """After the last call."""
        ...


class InlineLane:
    """Every call is executed at once in the caller: for simulators, in which time and threads are not real."""

    def __init__(self, serve: Callable[[Sequence[Call]], None], rest: Callable[[], None]) -> None:
        self._serve = serve
        self._rest = rest

    async def do(self, call: Call) -> Any:
        self._serve([call])
        self._rest()
        if call.error is not None:
            raise call.error
        return call.result

    async def alone(self, work: Callable[[], Any]) -> Any:
        return work()

    def stop(self) -> None:
        pass


class ThreadLane:
    """One thread that takes what waits as one group; event loops never wait for the disk."""

    def __init__(self, serve: Callable[[Sequence[Call]], None], rest: Callable[[], None]) -> None:
        self._serve = serve
        self._rest = rest
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._behind: list[_Waiting | None] = []
        self._thread = threading.Thread(target=self._run, name="anystrat journal", daemon=True)
        self._thread.start()

    async def do(self, call: Call) -> Any:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, loop, loop.create_future())
        self._waiting.put(waiting)
        return await waiting.future

    async def alone(self, work: Callable[[], Any]) -> Any:
        return await self.do(Call(work, alone=True))

    def stop(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while group := self._group():
            calls = [each.call for each in group]
            if calls[0].alone:
                calls[0].execute()
            else:
                self._serve(calls)
            for loop in {id(each.loop): each.loop for each in group}.values():
                _tell(loop, [each for each in group if each.loop is loop])
            self._rest()

    def _group(self) -> list[_Waiting]:
        """Wait for a call, and take those with it that wait behind; none at the end."""
        first = self._behind.pop() if self._behind else self._waiting.get()
        if first is None or first.call.alone:
            return [] if first is None else [first]
        group, size = [first], first.call.size
        while size < _GROUP_BYTES and len(group) < _GROUP_CALLS:
            try:
                each = self._waiting.get_nowait()
            except queue.Empty:
                break
            if each is None or each.call.alone:
                self._behind.append(each)
                break
            group.append(each)
            size += each.call.size
        return group


@dataclass(slots=True, eq=False)
class _Waiting:
    call: Call
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def resolve(self) -> None:
        if self.future.done():
            return  # nobody awaits it any more; it was executed nevertheless
        if self.call.error is not None:
            self.future.set_exception(self.call.error)
        else:
            self.future.set_result(self.call.result)


def _tell(loop: asyncio.AbstractEventLoop, group: Sequence[_Waiting]) -> None:
    def resolve() -> None:
        for each in group:
            each.resolve()

    with suppress(RuntimeError):  # the loop is closed, and nobody waits there any more
        loop.call_soon_threadsafe(resolve)
