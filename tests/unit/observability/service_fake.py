"""A service that says of itself what a test wants it to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anystrat.domain.health import (
    Breaker,
    BrokerHealth,
    ExecutorTally,
    FeedHealth,
    FeedState,
    HealthReport,
    JournalHealth,
    Phase,
    ProcessHealth,
    ProcessState,
    ShardHealth,
)
from anystrat.domain.lifecycle import State

WELL = HealthReport(
    "demo",
    Phase.RUNNING,
    (
        ShardHealth(0, 2, 2, 5, 4096, 100, lag_sec=0.25, conflated=3, stalls={"a": 1}),
        ShardHealth(1, 1, 1, 0, 4096, 40, blocked_by=""),
    ),
    (FeedHealth("ticks", FeedState.FRESH, 0.5, 145, duplicates=5, gaps=1, reconnects=2, quarantined=1),),
    JournalHealth("sqlite", epoch=3, waiting=2),
    (
        BrokerHealth(
            "out", "nats", Breaker.CLOSED, 4, 1.5, acked=10, rejected=1, expired=2, dead=3, unknown=1, retries=7
        ),
    ),
    processes=(ProcessHealth("b", ProcessState.READY, 7, restarts=2, resident_bytes=61_000_000),),
)
TALLIES = (
    ExecutorTally("a", "paper", "rules", State.ACTIVE, 100, 90, 1, {"duplicate": 5, "cooldown": 2}, 1, 3),
    ExecutorTally("a", "out", "rules", State.PAUSED, 100, 80, 0, {"duplicate": 1}, 0, 0),
    ExecutorTally("b", "paper", "hybrid", State.WARMUP, 40, 30, 2, {}, 0, 0, inferences=29),
)


class Service:
    def __init__(self, report: HealthReport = WELL, tallies: Iterable[ExecutorTally] = TALLIES) -> None:
        self.report = report
        self.tallies = tuple(tallies)
        self.drops: dict[str, int] = {"malformed": 2, "unrouted": 1}

    def health(self) -> HealthReport:
        return self.report

    def executors(self) -> Iterable[ExecutorTally]:
        return self.tallies

    def tick_drops(self) -> Mapping[str, int]:
        return self.drops
