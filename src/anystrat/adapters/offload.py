"""Work that would keep the event loop waiting, done beside it: what a simulator replaces by doing it on the spot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Does one piece of blocking work and answers what it answers; what it raises is raised here."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """The result of `work()`. Where the wait for it is cancelled, the work itself still goes to its end."""
        ...


async def in_a_thread(work: Callable[[], T]) -> T:
    """In one of asyncio's threads."""
    return await asyncio.to_thread(work)


async def on_the_spot(work: Callable[[], T]) -> T:
    """Here and now: for simulated loops, which have no threads."""
    return work()
