"""One sink, and one call of it at a time: opened when needed, never waited for longer than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anystrat.domain.delivery import SendResult, SinkUnavailable, Verdict
from anystrat.runner.delivery.verdicts import error_text

if TYPE_CHECKING:
    from anystrat.domain.delivery import Sink
    from anystrat.domain.journal import OutboxSignal


@dataclass(frozen=True, slots=True)
class SinkFailed:
    """The sink itself failed. `sent`: something may have reached it."""

    reason: str
    sent: bool = True

    def results(self, count: int) -> list[SendResult]:
        """What that says of the signals of the group."""
        return [SendResult(Verdict.UNKNOWN, self.reason)] * count


class SinkCalls:
    """A sink under a time-out. Being cancelled from outside is passed on; everything else that goes wrong is answered."""

    def __init__(self, sink: Sink, timeout_sec: float) -> None:
        self._sink = sink
        self._timeout_sec = timeout_sec
        self._opened = False

    async def open(self) -> SinkFailed | None:
        """Open it unless it is open; None where it is then."""
        if self._opened:
            return None
        try:
            async with asyncio.timeout(self._timeout_sec):
                await self._sink.open()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  a sink may raise anything
            _pass_on(error)
            await self.close()
            return SinkFailed(self._said(error, "open"), sent=False)
        self._opened = True
        return None

    async def send(self, group: Sequence[OutboxSignal]) -> Sequence[SendResult] | SinkFailed:
        """Send a group; one result each."""
        try:
            async with asyncio.timeout(self._timeout_sec):
                results = await self._sink.send(group)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  a sink may raise anything
            _pass_on(error)
            await self.close()
            return SinkFailed(self._said(error, "answer"), sent=not isinstance(error, SinkUnavailable))
        if len(results) != len(group):
            await self.close()
            return SinkFailed(f"the sink answered {len(results)} results for {len(group)} signals")
        return results

    async def has(self, group: Sequence[OutboxSignal]) -> Sequence[bool | None] | SinkFailed:
        """Ask after signals; one answer each."""
        try:
            async with asyncio.timeout(self._timeout_sec):
                answers = await self._sink.has(group)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  a sink may raise anything
            _pass_on(error)
            await self.close()
            return SinkFailed(self._said(error, "answer"), sent=False)
        return answers if len(answers) == len(group) else [None] * len(group)

    async def close(self) -> None:
        """Close it, whatever state it is in."""
        self._opened = False
        # It may be broken, which is why it is closed.
        with suppress(Exception):
            async with asyncio.timeout(self._timeout_sec):
                await self._sink.close()

    def _said(self, error: BaseException, what: str) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return f"the sink did not {what} within {self._timeout_sec:g} s"
        return str(error) if isinstance(error, SinkUnavailable) else error_text(error)


def _pass_on(error: BaseException) -> None:
    """Raise the error where it is the task that was cancelled, and not something inside of the sink."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
        raise error
