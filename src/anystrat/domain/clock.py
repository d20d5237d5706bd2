"""Time outside the engine, as a port: what a simulator replaces."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The wall clock, for what is compared with the world: a tick's age on arrival, a signal's expiry, log lines.

    It may jump. Waiting and time-outs go by the event loop's own time (`asyncio.sleep`, `loop.time()`), which does not.
    """

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        ...
