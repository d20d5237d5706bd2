"""How long to wait after a failure: exponential, with full jitter."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

_DOUBLINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between 0 and `first_sec`, twice that, and so on, `longest_sec` at most, drawn evenly.

    Marc Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): full jitter spreads many clients best.
    """

    first_sec: float
    longest_sec: float
    random: Random

    def delay(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure in a row, from 1."""
        return self.random.uniform(0.0, self._ceiling(failures))

    def long_delay(self, failures: int) -> float:
        """The same, from the upper half alone: a breaker that closes at once protects nobody."""
        ceiling = self._ceiling(failures)
        return self.random.uniform(ceiling / 2, ceiling)

    def _ceiling(self, failures: int) -> float:
        return min(self.longest_sec, self.first_sec * 2.0 ** min(failures - 1, _DOUBLINGS))
