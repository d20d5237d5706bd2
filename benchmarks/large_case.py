"""The large case in a discrete-event model: many machines that share a stream, fed with what was measured of a few processes.

    python -m benchmarks.large_case_page       # the tables of docs/reference/large-case.md

A part is a process that takes what waits, handles it, commits it, and takes what came meanwhile: group commit without timers. A step
of `n` ticks costs `step_us + n·tick_us` of a core of its machine, and then `commit_us + n·commit_tick_us` of a core of the database. Where
more is active than there are cores, all are slower. Nothing else is assumed about how load and lag depend on each other.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple

import numpy as np

from anystrat.domain.cluster import nats_partition


@dataclass(frozen=True)
class Costs:
    """Microseconds of processor time, measured; `start_sec`: from the end of a lease until a part runs again, without its inputs."""

    step_us: float
    tick_us: float
    commit_us: float
    commit_tick_us: float
    start_sec: float = 1.0
    #: What a commit waits for a disk, whatever else there is.
    sync_sec: float = 0.001
    #: Inputs that a restart pushes through again: half of what lies between two checkpoints.
    again: int = 32_768
    most: int = 65_536


@dataclass(frozen=True)
class Case:
    """What is to be carried, and by what. Instruments' rates fall with their rank to the power of `unevenness`."""

    instruments: int
    ticks_per_sec: float
    machines: int
    cores: int
    parts: int
    database_cores: int
    lease_sec: float = 10.0
    unevenness: float = 0.5
    #: (from, until, factor) of a burst.
    burst: tuple[float, float, float] = (0.0, 0.0, 1.0)
    #: When the first machine is gone; None: never.
    loss_at: float | None = None
    seconds: float = 5.0

    def rates(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Ticks a second of each part, of shape (parts,): instruments are where the server's hash puts them."""
        places = np.array([nats_partition(str(token), self.parts) for token in range(self.instruments)])
        # Which instrument is how busy has nothing to do with its token.
        weights = np.random.default_rng(1).permutation(np.arange(1, self.instruments + 1) ** -self.unevenness)
        per_part = np.bincount(places, weights, self.parts)
        return self.ticks_per_sec * per_part / per_part.sum()


@dataclass
class Outcome:
    """Lags, from a tick's arrival to its commit, in seconds; one row a step: when it ended, ticks, lag of the oldest, of the newest."""

    steps: list[tuple[float, int, float, float]] = field(default_factory=list)
    waiting: int = 0
    took: int = 0
    arrived: int = 0
    database_busy: float = 0.0
    machine_busy: float = 0.0

    def lag(self, share: float, since: float = 0.0, until: float = float("inf")) -> float:
        """The lag that this share of the ticks was below, of those whose steps ended in this time."""
        rows = [row for row in self.steps if since <= row[0] < until]
        lags = np.array([lag for _, _, oldest, newest in rows for lag in (oldest, newest)])
        weights = np.repeat([count for _, count, _, _ in rows], 2)
        if not len(lags):
            return float("nan")
        order = np.argsort(lags)
        at = np.searchsorted(np.cumsum(weights[order]), share * weights.sum())
        return float(lags[order][min(at, len(lags) - 1)])

    def back_after(self, moment: float, below: float) -> float:
        """From then until the last step whose oldest tick lagged more than this; 0 where there was none."""
        return max((end - moment for end, _, oldest, _ in self.steps if end >= moment and oldest > below), default=0.0)


class _Part:
    __slots__ = ("again", "home", "rate", "taken", "waits")

    def __init__(self, rate: float, home: int) -> None:
        self.rate, self.home, self.taken = rate, home, 0
        #: Inputs to push through again; whether nobody has it.
        self.again, self.waits = 0, False


class _Step(NamedTuple):
    """`count` ticks of a part on a machine; when its oldest and its newest came."""

    part: int
    machine: int
    count: int = 0
    oldest: float = 0.0
    newest: float = 0.0


class _World:
    """Everything that happens, in its order."""

    def __init__(self, case: Case, costs: Costs, rates: Iterable[float]) -> None:
        self._case, self._costs = case, costs
        self._parts = [_Part(rate, number % case.machines) for number, rate in enumerate(rates)]
        self._active = [0] * case.machines
        self._lost: int | None = None
        self._committing = 0
        self._events: list[tuple[float, int, Callable[[float, _Step], None], _Step]] = []
        self._order = count()
        self.outcome = Outcome()

    def live(self) -> Outcome:
        for number, part in enumerate(self._parts):
            if part.rate > 0:
                self._at(self._comes(1, part.rate), self._begins, _Step(number, part.home))
        if self._case.loss_at is not None:
            self._at(self._case.loss_at, self._fails, _Step(0, 0))
        while self._events:
            now, _, happens, step = heapq.heappop(self._events)
            if now > self._case.seconds:
                break
            happens(now, step)
        outcome, end = self.outcome, self._case.seconds
        outcome.took = sum(part.taken for part in self._parts)
        outcome.arrived = sum(self._came(part.rate, end) for part in self._parts)
        outcome.waiting = outcome.arrived - outcome.took
        return outcome

    def _at(self, moment: float, happens: Callable[[float, _Step], None], step: _Step) -> None:
        heapq.heappush(self._events, (moment, next(self._order), happens, step))

    def _came(self, rate: float, moment: float) -> int:
        """The ticks that have arrived by then."""
        start, end, factor = self._case.burst
        return int(rate * (moment + (factor - 1) * max(0.0, min(moment, end) - start)) + 1e-9)

    def _comes(self, number: int, rate: float) -> float:
        """When a tick arrives."""
        start, end, factor = self._case.burst
        moment = number / rate
        if moment <= start or factor == 1.0:
            return moment
        within = start + (moment - start) / factor
        return within if within <= end else moment - (factor - 1) * (end - start)

    def _begins(self, now: float, step: _Step) -> None:
        case, costs, part = self._case, self._costs, self._parts[step.part]
        if self._gone(step):
            return
        there = self._came(part.rate, now) - part.taken
        if not part.again and there <= 0:
            self._at(max(now + 1e-9, self._comes(part.taken + 1, part.rate)), self._begins, step)
            return
        taken = min(max(there, 0), costs.most)
        busy = 1e-6 * (costs.step_us + costs.tick_us * (taken + part.again))
        part.again = 0
        self._active[step.machine] += 1
        self.outcome.machine_busy += busy
        slower = max(1.0, self._active[step.machine] / case.cores)
        oldest, newest = (self._comes(part.taken + each, part.rate) for each in (1, max(1, taken)))
        self._at(now + busy * slower, self._commits, _Step(step.part, step.machine, taken, oldest, newest))

    def _commits(self, now: float, step: _Step) -> None:
        self._active[step.machine] -= 1
        if self._gone(step):
            return
        self._committing += 1
        busy = 1e-6 * (self._costs.commit_us + self._costs.commit_tick_us * step.count)
        self.outcome.database_busy += busy
        slower = max(1.0, self._committing / self._case.database_cores)
        self._at(now + busy * slower + self._costs.sync_sec, self._ends, step)

    def _ends(self, now: float, step: _Step) -> None:
        self._committing -= 1
        if self._gone(step):
            return
        self._parts[step.part].taken += step.count
        if step.count:
            self.outcome.steps.append((now, step.count, now - step.oldest, now - step.newest))
        self._at(now, self._begins, _Step(step.part, step.machine))

    def _gone(self, step: _Step) -> bool:
        """Whether what its machine was at is lost, and will be done again elsewhere."""
        return step.machine == self._lost or self._parts[step.part].waits

    def _fails(self, now: float, step: _Step) -> None:
        self._lost = step.machine
        others = [each for each in range(self._case.machines) if each != self._lost]
        mine = [number for number, part in enumerate(self._parts) if part.home == self._lost]
        for place, number in enumerate(mine):
            part = self._parts[number]
            part.home, part.again, part.waits = others[place % len(others)], self._costs.again, True
            again = now + self._case.lease_sec + self._costs.start_sec
            self._at(again, self._is_taken, _Step(number, part.home))

    def _is_taken(self, now: float, step: _Step) -> None:
        self._parts[step.part].waits = False
        self._begins(now, step)


def simulated(case: Case, costs: Costs, rates: Iterable[float] | None = None) -> Outcome:
    """Live through `case.seconds`. Every tick that arrives is taken exactly once; `waiting` are those that are not committed yet."""
    return _World(case, costs, case.rates() if rates is None else rates).live()


def least_machines(case: Case, carried: Callable[[Case], bool], most: int = 200) -> int | None:
    """The fewest machines with which `carried` says yes; None where so many do not do. More are taken never to be worse."""
    low, high = 1, most
    if not carried(replace(case, machines=most)):
        return None
    while low < high:
        middle = (low + high) // 2
        if carried(replace(case, machines=middle)):
            high = middle
        else:
            low = middle + 1
    return low
