"""The runner's story in the log: each notice once, at its level, with what a person needs."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from anystrat.domain.health import Breaker
from anystrat.domain.intake import NoticeKind, SourceNotice
from anystrat.domain.notices import (
    BreakerMoved,
    DeadLettered,
    DiedWithin,
    Draining,
    Expired,
    HandedOver,
    HistoryReady,
    JournalGoesOn,
    JournalWaits,
    JournalWeak,
    Listening,
    Notice,
    PartFailed,
    ProcessReplaced,
    Quarantined,
    Recovered,
    ShardsAssigned,
    Started,
    Stopped,
    StrategyBlocks,
)
from anystrat.observability.notice_log import NoticeLog
from anystrat.observability.records import logger

DEAD = DeadLettered("out", "s", "ab" * 16, 7, "dead", "refused", 5)
#: Notice, level, event, some of the fields.
STORY: list[tuple[Notice, str, str, dict[str, Any]]] = [
    (Started("demo", "1", "nats", "sqlite", ("out",), 3, 9), "info", "service starts", {"run": "demo", "brokers": ["out"], "executors": 3}),
    (ShardsAssigned((5, 4)), "info", "shards assigned", {"instruments": [5, 4], "skew": 1.11}),
    (ShardsAssigned((9,)), "info", "shards assigned", {"skew": 1.0}),
    (ShardsAssigned((9, 0, 0)), "warning", "shards assigned", {"skew": 3.0}),
    (Recovered(1, 500, 0.25, 4), "info", "recovered", {"shard": 1, "inputs": 500, "epoch": 4}),
    (Recovered(1, 500, 0.25, 4, diverged=True), "error", "recovered, and diverged", {"hint": "the same inputs gave other signals than before: a strategy is no function of its history"}),
    (DiedWithin(1, 40, 1, 0, 7, 10**9, 8), "error", "the process before died within ticks, which are tried one by one", {"ticks": 40, "at": "1970-01-01T00:00:00+00:00", "last_at": "1970-01-01T00:00:01+00:00"}),
    (DiedWithin(1, 1, 2, 0, 7, 0, 7), "error", "the process before died within a tick", {"deaths": 2, "instrument": 7}),
    (DiedWithin(1, 0, 2, 0, 0, 0, 0), "error", "the process before died within a timer", {"deaths": 2, "shard": 1}),
    (Quarantined(1, 7, 0, "100.5", 3, "t", "a.jsonl"), "error", "tick quarantined", {"instrument": 7, "price": "100.5", "deaths": 3, "kept_in": "a.jsonl"}),
    (HistoryReady(3, 60, 0), "info", "history loaded", {"ticks": 60}),
    (HistoryReady(3, 40, 1), "warning", "history loaded", {"missing": 1}),
    (HandedOver(3, 1, 0, 2.5, 7), "info", "the feed follows on the history", {"instruments": 3, "silent": 1, "longest_gap_sec": 2.5, "instrument": 7}),
    (HandedOver(3, 0, 4, 2.5, 7), "warning", "the feed follows on the history", {"duplicates": 4}),
    (Listening("metrics", "http://127.0.0.1:9464"), "info", "listening", {"address": "http://127.0.0.1:9464"}),
    (SourceNotice(NoticeKind.GAP, "t", {"after": 3, "partition": "x"}), "warning", "feed gap: ticks are missing", {"partition": "t", "after": 3, "partition_": "x"}),
    (SourceNotice(NoticeKind.STALE, "t"), "warning", "feed silent for too long", {}),
    (SourceNotice(NoticeKind.FRESH, "t"), "info", "feed speaks again", {}),
    (SourceNotice(NoticeKind.RECONNECTED, "t"), "info", "feed reconnected", {}),
    (SourceNotice(NoticeKind.QUARANTINED, "t", {"offset": 9}), "error", "message quarantined", {"offset": 9}),
    (DEAD, "error", "signal dead-lettered", {"signal": "ab" * 16, "reason": "refused", "attempts": 5, "fate": "dead"}),
    (Expired("out", 12, "cd"), "warning", "signals expired unsent", {"count": 12, "first": "cd"}),
    (BreakerMoved("out", Breaker.CLOSED, Breaker.OPEN, "refused"), "warning", "breaker open", {"before": "closed", "reason": "refused"}),
    (BreakerMoved("out", Breaker.OPEN, Breaker.HALF_OPEN), "info", "breaker half open", {"before": "open"}),
    (StrategyBlocks("slow", 1, 7, 2.5, "File a\n  sleep()"), "error", "strategy blocks its shard", {"strategy": "slow", "instrument": 7, "exception": "File a\n  sleep()"}),
    (ProcessReplaced("slow", "process 7"), "info", "strategy has a process again", {"strategy": "slow", "process": "process 7"}),
    (JournalWaits("no space"), "error", "journal has no room: the run pauses", {"problem": "no space"}),
    (JournalWeak("fsync = off"), "warning", "journal's server does not sync", {"settings": "fsync = off"}),
    (JournalGoesOn(1.5), "info", "journal has room again: the run goes on", {"seconds": 1.5}),
    (PartFailed("journal", "disk full", "the run ends"), "error", "part failed", {"consequence": "the run ends"}),
    (Draining("SIGTERM", 10.0, 3), "info", "draining", {"queued": 3}),
    (Stopped("SIGTERM", clean=True, queued=0, seconds=1.5), "info", "service stopped", {"seconds": 1.5}),
    (Stopped("failed", clean=False, queued=2, seconds=1.5), "error", "service stopped", {"queued": 2}),
]  # fmt: skip


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(("notice", "level", "event", "fields"), STORY, ids=lambda value: type(value).__name__)
def test_each_notice_is_one_record(
    notice: Notice, level: str, event: str, fields: dict[str, Any], written: Any
) -> None:
    NoticeLog(logger(json=True))(notice)
    (record,) = written()
    assert (record["level"], record["event"]) == (level, event)
    assert {name: record.get(name) for name in fields} == fields


def test_the_story_has_every_notice() -> None:
    assert {type(notice) for notice, *_ in STORY} == set(get_args(Notice))
    assert {notice.kind for notice, *_ in STORY if isinstance(notice, SourceNotice)} == set(NoticeKind)


def test_a_flood_of_dead_letters_is_written_down_in_part(written: Any) -> None:
    log = NoticeLog(logger(json=True))
    for _ in range(250):
        log(DEAD)
    log(DeadLettered("other", "s", "", 7, "unknown", "", 1))
    assert [(record["broker"], record["count"]) for record in written()] == [
        ("out", 1), ("out", 2), ("out", 3), ("out", 10), ("out", 100), ("other", 1),
    ]  # fmt: skip
