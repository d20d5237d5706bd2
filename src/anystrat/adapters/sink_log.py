"""Signals into the log, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from anystrat.domain.delivery import TAKEN, Idempotent, SendResult

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anystrat.domain.journal import OutboxSignal


class LogSink:
    """A line a signal.

    Called `Idempotent`, though the log keeps no ids: a line is a note and has no effect, so that one more after a crash
    does no harm, while a signal that is parked and a strategy that is paused because of a line would.
    """

    def __init__(self, log: FilteringBoundLogger, level: str = "info") -> None:
        self._write = getattr(log, level)

    @property
    def guarantee(self) -> Idempotent:
        return Idempotent()

    @property
    def largest_group(self) -> int:
        return 256

    async def open(self) -> None:
        """Nothing to open: standard error is."""

    async def send(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        for signal in signals:
            body: Any = msgspec.json.decode(signal.body)
            self._write("signal", **({"body": body} if not isinstance(body, dict) else body))
        return [TAKEN] * len(signals)

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        return [None] * len(signals)

    async def close(self) -> None:
        """Nothing to close."""
