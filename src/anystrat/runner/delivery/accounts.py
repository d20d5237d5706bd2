"""What a delivery counts: fates, what is still open, and for how long."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from anystrat.domain.health import Breaker, BrokerHealth
from anystrat.domain.journal import Fate

#: Arrivals that are remembered; older ones are then told apart less finely.
_ARRIVALS: Final = 4_096


class DeliveryAccounts:
    """`open` is how many accepted signals are not settled, those of earlier processes included."""

    def __init__(self) -> None:
        self.settled: Counter[Fate] = Counter()
        self.retries = 0
        self.problem = ""
        self._open_before = 0  # unsettled when the journal was counted …
        self._counted_up_to = 0  # … up to this number
        self._last = 0
        self._settled_since = 0
        self._arrivals: deque[tuple[int, float]] = deque()  # (up to number, when)

    @property
    def open(self) -> int:
        """Signals that are accepted and not settled."""
        return self._open_before + max(0, self._last - self._counted_up_to) - self._settled_since

    def counted(self, last: int, unsettled: int, now: float) -> None:
        """The journal was counted: up to number `last`, so many were open."""
        self._counted_up_to, self._open_before, self._settled_since = last, unsettled, 0
        if unsettled and not self._arrivals:
            self._arrivals.append((last, now))

    def arrived(self, last: int, now: float) -> None:
        """More signals were accepted, up to number `last`."""
        self._last = max(self._last, last)
        self._arrivals.append((last, now))
        if len(self._arrivals) > _ARRIVALS:
            pairs = list(self._arrivals)
            # Two become one that ends with the later and began with the earlier: no wait looks shorter than it is.
            self._arrivals = deque((pairs[at + 1][0], pairs[at][1]) for at in range(0, len(pairs) - 1, 2))
            if len(pairs) % 2:
                self._arrivals.append(pairs[-1])

    def settle(self, fate: Fate, count: int) -> None:
        """`count` signals came to their fate."""
        self.settled[fate] += count
        self._settled_since += count

    def waited(self, oldest: int, now: float) -> float:
        """Seconds since signal number `oldest`, the first that is open, arrived here; earlier arrivals are forgotten."""
        while self._arrivals and self._arrivals[0][0] < oldest:
            self._arrivals.popleft()
        return now - self._arrivals[0][1] if self._arrivals else 0.0

    def health(self, broker: str, kind: str, breaker: Breaker, oldest: int, now: float) -> BrokerHealth:
        """All of it, for who asks."""
        return BrokerHealth(
            broker,
            kind,
            breaker,
            self.open,
            self.waited(oldest, now) if self.open else 0.0,
            self.settled[Fate.ACKED],
            self.settled[Fate.REJECTED],
            self.settled[Fate.EXPIRED],
            self.settled[Fate.DEAD],
            self.settled[Fate.UNKNOWN],
            self.retries,
            self.problem,
        )
