"""A close look at a few ticks of an engine, chosen at random: their stages timed, their spans made.

A tick that is not chosen costs one comparison. What the engine decides is the same either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from anystrat.domain.measuring import Meter, Stage
from anystrat.domain.outcomes import Dropped, Emitted

if TYPE_CHECKING:
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.tick import TickRow
    from anystrat.engine.engine import Engine
    from anystrat.engine.watched import Evaluation

T = TypeVar("T")

_NEVER: Final = 2**63
_SECOND: Final = 1e9


class LookedAt(NamedTuple):
    """A tick that was looked at. Times are nanoseconds of the probe's clock."""

    row: TickRow
    began: int
    ended: int
    evaluations: list[Evaluation]
    outcomes: list[Outcome]


class BlockLookedAt(NamedTuple):
    """A block that was evaluated over columns; `chosen` of its `ticks` would have been looked at one by one."""

    ticks: int
    chosen: int
    began: int
    ended: int
    evaluations: int


class Onlooker(Protocol):
    """Whom a probe shows what it sees. Must not raise, and must not wait."""

    def tick(self, seen: LookedAt) -> None:
        """One tick."""
        ...

    def block(self, seen: BlockLookedAt) -> None:
        """One block, of which at least one tick was chosen."""
        ...


class Sampler:
    """Chooses a share of the ticks, each independently of the others, with one draw for each that is chosen."""

    def __init__(self, share: float, random: Random) -> None:
        self._random = random
        self._share = share
        # Gaps between chosen ticks are geometric: P(gap > k) = (1 - share)^k.
        self._scale = 1.0 / math.log1p(-share) if 0.0 < share < 1.0 else 0.0

    def gap(self) -> int:
        """How many ticks on the next one is that is chosen, at least 1."""
        if self._share >= 1.0:
            return 1
        if self._share <= 0.0:
            return _NEVER
        return 1 + int(math.log1p(-self._random.random()) * self._scale)


class Probe:
    """A `StepProbe` around one engine. Each onlooker has its own sampler."""

    def __init__(
        self,
        engine: Engine,
        onlookers: Sequence[tuple[Sampler, Onlooker]],
        *,
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._engine = engine
        self._step = engine.step
        self._clock = clock
        self._samplers = [sampler for sampler, _ in onlookers]
        self._onlookers = [onlooker for _, onlooker in onlookers]
        self._at = 0
        self._turns = [sampler.gap() for sampler in self._samplers]
        self._next = min(self._turns, default=_NEVER)

    def step(self, row: TickRow, *, age_ns: int = 0) -> list[Outcome]:
        """See `StepProbe`."""
        self._at += 1
        if self._at < self._next:
            return self._step(row, age_ns=age_ns)
        clock = self._clock
        began = clock()
        outcomes, evaluations = self._engine.step_watched(row, clock, age_ns=age_ns)
        seen = LookedAt(row, began, clock(), evaluations, outcomes)
        for onlooker, chosen in zip(self._onlookers, self._chosen(), strict=True):
            if chosen:
                onlooker.tick(seen)
        return outcomes

    def block(self, ticks: int, run: Callable[[], T]) -> T:
        """See `StepProbe`."""
        self._at += ticks
        if self._at < self._next:
            return run()
        before, began = self._engine.evaluations, self._clock()
        result = run()
        ended = self._clock()
        evaluations = self._engine.evaluations - before
        for onlooker, chosen in zip(self._onlookers, self._chosen(), strict=True):
            if chosen:
                onlooker.block(BlockLookedAt(ticks, chosen, began, ended, evaluations))
        return result

    def _chosen(self) -> list[int]:
        """How many ticks up to now each onlooker was to see, since it was asked last."""
        counts: list[int] = []
        for k, sampler in enumerate(self._samplers):
            count = 0
            while self._turns[k] <= self._at:
                count += 1
                self._turns[k] += sampler.gap()
            counts.append(count)
        self._next = min(self._turns)
        return counts


class StageTimes:
    """Hands the durations of stages to a meter.

    In a block no strategy's answer stands alone: there the block's time is shared among its evaluations, with the
    checks in it, and counts for as many of them as were chosen.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def tick(self, seen: LookedAt) -> None:
        """See `Onlooker`."""
        for one in seen.evaluations:
            self._meter.took(Stage.PROCESS_TICK, (one.answered - one.began) / _SECOND)
            if any(isinstance(outcome, Emitted | Dropped) for outcome in one.outcomes):
                self._meter.took(Stage.VALIDATE, (one.ended - one.answered) / _SECOND)

    def block(self, seen: BlockLookedAt) -> None:
        """See `Onlooker`."""
        count = round(seen.evaluations * seen.chosen / seen.ticks)
        if count:
            self._meter.took(Stage.PROCESS_TICK, (seen.ended - seen.began) / _SECOND / seen.evaluations, count)
