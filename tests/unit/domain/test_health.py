"""What a service says of itself adds up to one answer: ready, or which part is not and why."""

from __future__ import annotations

import pytest

from anystrat.domain.health import (
    Breaker,
    BrokerHealth,
    FeedHealth,
    FeedState,
    HealthReport,
    JournalHealth,
    Phase,
    ShardHealth,
)
from anystrat.domain.notices import ShardsAssigned

WELL = HealthReport(
    "demo",
    Phase.RUNNING,
    (ShardHealth(0, 2, 2, 0, 4096, 10), ShardHealth(1, 1, 1, 0, 4096, 10)),
    (FeedHealth("ticks", FeedState.FRESH, 0.1),),
    JournalHealth("sqlite", epoch=1),
    (BrokerHealth("paper", "paper"), BrokerHealth("out", "jsonl", Breaker.HALF_OPEN)),
)


def changed(**parts: object) -> HealthReport:
    return HealthReport(**{name: getattr(WELL, name) for name in WELL.__struct_fields__} | parts)  # type: ignore[arg-type]


def test_a_service_whose_parts_are_all_well_has_no_troubles() -> None:
    assert WELL.troubles() == {}


def test_a_source_that_has_ended_and_a_kill_switch_that_is_on_are_no_troubles() -> None:
    assert changed(feeds=(FeedHealth("ticks", FeedState.ENDED),), killed=True).troubles() == {}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.RUNNING])
def test_a_service_that_is_not_running_is_not_ready(phase: Phase) -> None:
    assert changed(phase=phase).troubles() == {"service": phase.value}


def test_every_part_in_trouble_is_named_with_its_reason() -> None:
    report = changed(
        shards=(
            ShardHealth(0, 1, 1, 0, 1, 0, blocked_by="slow"),
            ShardHealth(1, 1, 1, 0, 1, 0, blocked_by="slow", problem="crashed"),
        ),
        feeds=(FeedHealth("a", FeedState.STALE), FeedHealth("b", FeedState.CONNECTING)),
        journal=JournalHealth("sqlite", problem="disk full"),
        brokers=(BrokerHealth("out", "nats", Breaker.OPEN, problem="refused"), BrokerHealth("x", "log", Breaker.OPEN)),
    )
    assert report.troubles() == {
        "shard 0": "blocked by strategy slow",
        "shard 1": "crashed",
        "feed a": "silent for too long",
        "feed b": "not connected yet",
        "journal": "disk full",
        "broker out": "breaker open: refused",
        "broker x": "breaker open: the last attempts failed",
    }


def test_skew_is_the_fullest_shard_against_an_even_share() -> None:
    assert ShardsAssigned((2, 2, 2, 2)).skew == 1.0
    assert ShardsAssigned((8, 0, 0, 0)).skew == 4.0
    assert ShardsAssigned((0, 0)).skew == 1.0
