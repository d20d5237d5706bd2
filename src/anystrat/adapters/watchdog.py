"""Notices that the event loop stands still, and names the strategy that holds it.

A strategy's code runs on the event loop: while it blocks or loops, nothing there can say so. So a thread looks on. It
reads the loop's stack, and changes nothing.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Final

from anystrat.engine.executor import StrategyExecutor

_LOOKS_A_LIMIT: Final = 4
_FRAMES_SHOWN: Final = 12


#: Hears of the strategy (empty: the loop is in no strategy's code), its instruments, the seconds so far and the stack.
OnBlock = Callable[[str, tuple[int, ...], float, str], object]


class Watchdog:
    """Calls `on_block` from its own thread, once each time that the loop stands still for longer than `limit_sec`."""

    def __init__(self, limit_sec: float, on_block: OnBlock) -> None:
        self._limit = limit_sec
        self._on_block = on_block
        self._beat = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch the running event loop. Called on it."""
        self._watched = threading.get_ident()
        self._tick(asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._look_on, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Called on the loop."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat = monotonic()
        self._timer = loop.call_later(self._limit / _LOOKS_A_LIMIT, self._tick, loop)

    def _look_on(self) -> None:
        reported = 0.0
        while not self._stopped.wait(self._limit / _LOOKS_A_LIMIT):
            beat = self._beat
            silent = monotonic() - beat
            if silent > self._limit and beat != reported:
                reported = beat
                frame = sys._current_frames().get(self._watched)  # noqa: SLF001  the one way to see another thread's stack
                if frame is not None:
                    self._report(frame, silent)

    def _report(self, frame: FrameType, seconds: float) -> None:
        stack = "".join(traceback.format_stack(frame)[-_FRAMES_SHOWN:])
        at: FrameType | None = frame
        while at is not None:
            held = at.f_locals.get("executor")
            if isinstance(held, StrategyExecutor):
                self._on_block(held.strategy_id, held.tokens, seconds, stack)
                return
            at = at.f_back
        self._on_block("", (), seconds, stack)
