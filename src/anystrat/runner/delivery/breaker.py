"""The circuit breaker: a sink that cannot be reached is left alone, and then tried with one signal."""

from __future__ import annotations

from collections.abc import Callable

from anystrat.domain.health import Breaker
from anystrat.runner.delivery.backoff import Backoff

Moved = Callable[[Breaker, Breaker, str], None]


class CircuitBreaker:
    """Counts failures of the sink itself in a row: it could not be opened, did not answer, broke off.

    A signal that the sink answers for, whatever the answer, is none. Times are the event loop's.
    """

    def __init__(self, threshold: int, backoff: Backoff, moved: Moved) -> None:
        self._threshold = threshold
        self._backoff = backoff
        self._moved = moved
        self._failures = 0
        self._until = 0.0
        self.state = Breaker.CLOSED

    def wait(self, now: float) -> float:
        """Seconds until the sink may be tried; 0.0 where it may."""
        return max(0.0, self._until - now)

    def probe(self) -> None:
        """It is tried now."""
        if self.state is Breaker.OPEN:
            self._move(Breaker.HALF_OPEN, "")

    def group(self, largest: int) -> int:
        """How many signals may be risked: one while the breaker is not closed, so that few lose an attempt."""
        return largest if self.state is Breaker.CLOSED else 1

    def failed(self, now: float, reason: str) -> None:
        """The sink itself failed."""
        self._failures += 1
        if self._failures < self._threshold:
            self._until = now + self._backoff.delay(self._failures)
            return
        self._until = now + self._backoff.long_delay(self._failures)
        if self.state is not Breaker.OPEN:
            self._move(Breaker.OPEN, reason)

    def worked(self) -> None:
        """The sink answered."""
        self._failures = 0
        self._until = 0.0
        if self.state is not Breaker.CLOSED:
            self._move(Breaker.CLOSED, "")

    def _move(self, after: Breaker, reason: str) -> None:
        before, self.state = self.state, after
        self._moved(before, after, reason)
