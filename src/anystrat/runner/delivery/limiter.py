"""How often a sink may be sent to: never more than so many signals in any window of a second, restarts included."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from anystrat.runner.delivery.queue import ROUNDING_SEC

#: What a window is longer than a second by: a sink's clock and the network are not exact.
_MARGIN: Final = 1.001
#: Sends that begin within so much of a window are remembered as one, at the time of the last.
_GRAIN: Final = 1e-3
#: What there is room for without a limit.
_UNLIMITED: Final = 1 << 62


class RateLimit:
    """A log of what was sent in the last second. `per_sec` is taken down to a whole number; below 1, one in 1/per_sec s.

    None is no limit. A token bucket of the same rate would let twice as many pass in the second after a pause.
    Times are the event loop's, and never descend.
    """

    def __init__(self, per_sec: float | None) -> None:
        self.limited = per_sec is not None
        self._most = _UNLIMITED if per_sec is None else max(1, math.floor(per_sec))
        self._window = _MARGIN * (1.0 if per_sec is None or per_sec >= 1.0 else 1.0 / per_sec)
        self._sent: deque[list[float]] = deque()  # [first, last, count] each
        self._count = 0

    def room(self, now: float) -> int:
        """How many may be sent now."""
        while self._sent and self._sent[0][1] + self._window <= now + ROUNDING_SEC:
            self._count -= int(self._sent.popleft()[2])
        return self._most - self._count

    def wait(self, now: float) -> float:
        """Seconds until there is room for one; 0.0 where there is."""
        return 0.0 if self.room(now) > 0 else max(0.0, self._sent[0][1] + self._window - now)

    def take(self, now: float, count: int) -> None:
        """`count` are sent now; there was room."""
        if not self.limited or not count:
            return
        if self._sent and now - self._sent[-1][0] < self._window * _GRAIN:
            self._sent[-1][1] = now
            self._sent[-1][2] += count
        else:
            self._sent.append([now, now, float(count)])
        self._count += count

    def fill(self, now: float) -> None:
        """As if all that may be had been sent now: what a process before this one sent is not known."""
        self.take(now, max(0, self.room(now)))
