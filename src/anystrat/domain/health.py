"""What a running service says of itself when it is asked: plain values, for metrics, readiness checks and operators.

The runner fills them from numbers that it keeps anyway, when somebody asks: nobody asking costs nothing. Counters count
since the process began, unless they say otherwise, and never go down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Protocol

import msgspec

from anystrat.domain.errors import AnystratError
from anystrat.domain.lifecycle import State


class EndpointRefused(AnystratError):
    """An endpoint cannot listen where it was told to; the text says why, and what would do."""

    exit_code = 2


class Phase(StrEnum):
    """Where a service stands between its start and its end."""

    STARTING = "starting"
    RECOVERING = "recovering"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Breaker(IntEnum):
    """A broker's circuit breaker; the number is the value of its gauge. HALF_OPEN: one group is tried."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class FeedState(IntEnum):
    """A feed; the number is the value of its gauge. STALE: silent for longer than it may be. ENDED: it has no more."""

    CONNECTING = 0
    FRESH = 1
    STALE = 2
    ENDED = 3


class ProcessState(IntEnum):
    """The process that a strategy has to itself; the number is the value of its gauge. FAILED: it does not get ready."""

    STARTING = 0
    READY = 1
    FAILED = 2


class ProcessHealth(msgspec.Struct, frozen=True):
    """The process of an isolated strategy. `restarts` counts those that were lost; `problem` is how the last one was.

    `pid` is None and `resident_bytes` 0 where there is none now. It is no trouble of the service: that is the point of it.
    """

    strategy_id: str
    state: ProcessState
    pid: int | None = None
    restarts: int = 0
    resident_bytes: int = 0
    problem: str = ""


class ShardHealth(msgspec.Struct, frozen=True):
    """One shard. `depth` of `capacity` is how many ticks wait in its mailbox.

    `lag_sec` is how old the latest tick was when it was handled, wall time against event time; None where that says
    nothing (before the first tick, and in a recording). `conflated` counts ticks that were left out for newer ones.
    `blocked_by` names the strategy that has held the shard up for longer than it may, now; `stalls` counts those times,
    by strategy. `problem` is why the shard does not go on; empty while it does.
    """

    shard: int
    instruments: int
    executors: int
    depth: int
    capacity: int
    ticks: int
    lag_sec: float | None = None
    conflated: int = 0
    blocked_by: str = ""
    stalls: Mapping[str, int] = {}
    problem: str = ""

    @property
    def trouble(self) -> str:
        """Why this part is not ready; empty where it is."""
        return self.problem or (f"blocked by strategy {self.blocked_by}" if self.blocked_by else "")


class FeedHealth(msgspec.Struct, frozen=True):
    """One partition of the source. `silent_sec` is how long it has said nothing; None before it first spoke."""

    partition: str
    state: FeedState
    silent_sec: float | None = None
    received: int = 0
    duplicates: int = 0
    malformed: int = 0
    gaps: int = 0
    reconnects: int = 0
    quarantined: int = 0

    @property
    def trouble(self) -> str:
        """Why this part is not ready; empty where it is."""
        return {FeedState.CONNECTING: "not connected yet", FeedState.STALE: "silent for too long"}.get(self.state, "")


class JournalHealth(msgspec.Struct, frozen=True):
    """The journal. `waiting` is how many steps wait for their commit; `problem` is why it takes no more, empty while it does."""

    type: str
    epoch: int = 0
    waiting: int = 0
    problem: str = ""

    @property
    def trouble(self) -> str:
        """Why this part is not ready; empty where it is."""
        return self.problem


class BrokerHealth(msgspec.Struct, frozen=True):
    """The delivery to one broker. `queued` signals are accepted and not settled; the oldest has waited `oldest_sec`.

    `acked` to `unknown` count what became of signals, `retries` the attempts after the first of a group. `problem` is
    what the last attempt failed with, without secrets; empty after one that did not.
    """

    broker: str
    type: str
    breaker: Breaker = Breaker.CLOSED
    queued: int = 0
    oldest_sec: float = 0.0
    acked: int = 0
    rejected: int = 0
    expired: int = 0
    dead: int = 0
    unknown: int = 0
    retries: int = 0
    problem: str = ""

    @property
    def trouble(self) -> str:
        """Why this part is not ready; empty where it is."""
        return f"breaker open: {self.problem or 'the last attempts failed'}" if self.breaker is Breaker.OPEN else ""


class ExecutorTally(msgspec.Struct, frozen=True):
    """What one executor is and did, as its engine counts it: since the engine's first tick, restarts included.

    `inferences` counts the rows on which a model ran for it since the process began; one that another executor had it run on
    already is not among them.
    """

    strategy_id: str
    broker: str
    kind: str
    state: State
    ticks: int
    evaluations: int
    holds: int
    drops: Mapping[str, int]
    errors: int
    fills: int
    inferences: int = 0
    signals: int = 0


class HealthReport(msgspec.Struct, frozen=True):
    """The whole service. `journal` is None where there is none."""

    run: str
    phase: Phase
    shards: tuple[ShardHealth, ...] = ()
    feeds: tuple[FeedHealth, ...] = ()
    journal: JournalHealth | None = None
    brokers: tuple[BrokerHealth, ...] = ()
    killed: bool = False
    processes: tuple[ProcessHealth, ...] = ()

    def troubles(self) -> dict[str, str]:
        """Part -> why it is not ready, in the words of a person; empty where the service takes ticks and delivers signals.

        A kill switch that is on is an operator's will, and no trouble.
        """
        found = {} if self.phase is Phase.RUNNING else {"service": self.phase.value}
        parts: dict[str, ShardHealth | FeedHealth | JournalHealth | BrokerHealth] = {}
        parts |= {f"shard {one.shard}": one for one in self.shards}
        parts |= {f"feed {one.partition}": one for one in self.feeds}
        parts |= {} if self.journal is None else {"journal": self.journal}
        parts |= {f"broker {one.broker}": one for one in self.brokers}
        return found | {name: part.trouble for name, part in parts.items() if part.trouble}


class Reporter(Protocol):
    """Who runs answers for itself. All three are called from the event loop, now and then, and must not wait."""

    def health(self) -> HealthReport:
        """How every part is, now."""
        ...

    def executors(self) -> Iterable[ExecutorTally]:
        """What every executor did, all shards together."""
        ...

    def tick_drops(self) -> Mapping[str, int]:
        """Dropped ticks by reason (`TickDrop`), all shards together, `malformed` as the sources count it included."""
        ...


class Endpoint(Protocol):
    """Something that listens while a service runs, on its event loop; a simulation leaves it out."""

    async def start(self) -> str:
        """Listen; the address, for people. Raises `EndpointRefused` where that cannot be."""
        ...

    async def stop(self) -> None:
        """Stop listening, and let go of every connection. Called at the very end, so that a stop can be watched."""
        ...
