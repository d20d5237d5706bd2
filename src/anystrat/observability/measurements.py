"""What is measured as it happens: durations in buckets, and signals by side. Everything else is read when asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from anystrat.domain.measuring import Stage
from anystrat.domain.outcomes import Emitted, Outcome

#: 1 µs to 10 s, three a decade: from a rule's answer to a sink that hardly answers.
SECONDS: Final = (*(float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 2.5, 5)), 10.0)
#: What is in one commit: from nothing to a backlog's block.
SIZES: Final = (0.0, *(float(digit * 10**power) for power in range(5) for digit in (1, 2, 5)))


class Buckets:
    """A histogram: a value counts in the first bucket whose bound is not below it, or in the last, which has none."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        """Count `value` so many times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def cumulative(self) -> list[tuple[str, int]]:
        """(bound as text, how many values are at or below it), the last one `+Inf`: how many there are."""
        answer: list[tuple[str, int]] = []
        so_far = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            answer.append((bound, so_far))
        return answer


class Measurements:
    """The `Meter` that metrics are read from."""

    def __init__(self) -> None:
        self.stages = {stage: Buckets(SECONDS) for stage in Stage}
        self.commit_seconds = Buckets(SECONDS)
        self.commit_steps = Buckets(SIZES)
        self.commit_signals = Buckets(SIZES)
        self.signals: Counter[tuple[str, str]] = Counter()
        self.notifications: Counter[str] = Counter()

    def took(self, stage: Stage, seconds: float, count: int = 1) -> None:
        """See `Meter`."""
        self.stages[stage].add(seconds, count)

    def committed(self, seconds: float, steps: int, signals: int) -> None:
        """See `Meter`."""
        self.commit_seconds.add(seconds)
        self.commit_steps.add(steps)
        self.commit_signals.add(signals)

    def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """See `Meter`. The engine counts all but the side of a signal, so that signals alone are looked at."""
        for outcome in outcomes:
            if type(outcome) is Emitted:
                self.signals[outcome.signal.strategy_id, outcome.signal.signal_type] += 1
