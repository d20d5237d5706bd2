"""What people are told of, in their words; and that telling them costs a run nothing."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from anystrat.domain.health import Breaker
from anystrat.domain.intake import NoticeKind, SourceNotice
from anystrat.domain.lifecycle import State, Trigger
from anystrat.domain.notices import (
    BreakerMoved,
    DeadLettered,
    Expired,
    Listening,
    PartFailed,
    Stopped,
    StrategyBlocks,
)
from anystrat.domain.notifying import NotifyRules, Topic
from anystrat.domain.outcomes import Noted, Transition
from anystrat.observability.log import logger
from anystrat.observability.messages import of_notice, of_outcome
from anystrat.observability.notifier import Notifier
from anystrat.testing.loop import simulate


class Clock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000


class Told:
    """A poster that keeps what it is given, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.at: list[float] = []
        self.tries = 0
        self.failures = failures
        self.closed = False

    async def open(self) -> None: ...

    async def tell(self, body: bytes, key: str) -> None:
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        self.bodies.append(json.loads(body))
        self.keys.append(key)
        self.at.append(asyncio.get_running_loop().time())

    async def close(self) -> None:
        self.closed = True


def notifier(told: Told, **rules: Any) -> Notifier:
    return Notifier(told, NotifyRules(**rules), "desk", Clock(), Random(1), logger())


def paused(name: str = "mom", after: State = State.PAUSED, before: State = State.ACTIVE) -> Transition:
    return Transition(name, "out", before, after, Trigger.DEAD_LETTERED, 1)


def dead(number: int = 1) -> DeadLettered:
    return DeadLettered("out", "mom", f"{number:032x}", 7, "dead", "HTTP 400", 8)


class TestWhatIsTold:
    @pytest.mark.parametrize(
        ("happened", "event", "severity", "text"),
        [
            (paused(), "strategy.paused", "warning", "mom on out is PAUSED: dead lettered"),
            (paused(after=State.ERROR), "strategy.error", "error", "mom on out is ERROR: dead lettered"),
            (paused(after=State.STOPPED), "strategy.stopped", "warning", "mom on out is STOPPED: dead lettered"),
            (paused(after=State.ACTIVE, before=State.PAUSED), "strategy.active", "info", "mom on out is ACTIVE"),
            (Noted("killed", 1), "killed", "error", "The kill switch is on: no signal leaves"),
            (Noted("unkilled", 1), "unkilled", "info", "The kill switch is off"),
            (Noted("model_reverted", 1, "mom", {}), "model_reverted", "error", "mom: a new model failed"),
            (Noted("model_refused", 1, None, {}), "model_refused", "warning", "A new model does not fit"),
            (SourceNotice(NoticeKind.STALE, "TICKS"), "feed.stale", "warning", "The feed TICKS has been silent"),
            (SourceNotice(NoticeKind.FRESH, "TICKS"), "feed.fresh", "info", "The feed TICKS speaks again"),
            (SourceNotice(NoticeKind.GAP, "TICKS", {"first": 3}), "feed.gap", "warning", "ticks are missing"),
            (dead(), "dead_letter", "error", "A signal of mom for out is a dead letter: HTTP 400"),
            (Expired("out", 3, "a"), "broker.expired", "warning", "3 signals for out became too old"),
            (BreakerMoved("out", Breaker.CLOSED, Breaker.OPEN, "no route"), "broker.away", "error", "no route"),
            (BreakerMoved("out", Breaker.HALF_OPEN, Breaker.CLOSED), "broker.back", "info", "The broker out is back"),
            (StrategyBlocks("mom", 0, 7, 5.0), "strategy.blocks", "error", "mom holds its shard up, for 5.0 s"),
            (PartFailed("journal", "disk full", "the run ends"), "service.failed", "error", "disk full; the run ends"),
            (Stopped("SIGINT", clean=True, queued=0, seconds=1.0), "service.stopped", "info", "stopped: SIGINT"),
            (Stopped("", clean=False, queued=2, seconds=1.0), "service.stopped", "error", "stopped: it failed"),
        ],
    )
    def test_says_what_happened_and_how_bad_it_is(self, happened, event, severity, text) -> None:
        message = of_outcome(happened) if isinstance(happened, Transition | Noted) else of_notice(happened)
        assert message is not None
        assert (message.event, message.severity) == (event, severity)
        assert text in message.text

    @pytest.mark.parametrize(
        "happened",
        [
            Transition("mom", "out", State.WARMUP, State.ACTIVE, Trigger.WINDOW_FULL, 1),
            Noted("conflated", 1),
            SourceNotice(NoticeKind.RECONNECTED, "TICKS"),
            BreakerMoved("out", Breaker.OPEN, Breaker.HALF_OPEN),
            Listening("metrics", "http://127.0.0.1"),
        ],
    )
    def test_is_not_what_everybody_expects(self, happened) -> None:
        assert (of_outcome(happened) if isinstance(happened, Transition | Noted) else of_notice(happened)) is None


class TestTheNotifier:
    def test_posts_each_message_under_a_key_of_its_own(self) -> None:
        async def main() -> Told:
            told = Told()
            one = notifier(told)
            await one.start()
            one.take([paused(), Noted("conflated", 1)])
            one.hear(dead())
            await one.stop()
            return told

        told = simulate(main)
        assert [body["event"] for body in told.bodies] == ["strategy.paused", "dead_letter"]
        assert told.bodies[0]["run"] == "desk"
        assert told.bodies[0]["at"] == "2023-11-14T22:13:20+00:00"
        assert told.bodies[0]["details"]["trigger"] == "dead_lettered"
        assert len(set(told.keys)) == 2
        assert told.closed

    def test_tells_of_the_topics_that_are_asked_for_alone(self) -> None:
        async def main() -> Told:
            told = Told()
            one = notifier(told, on=(Topic.DEAD_LETTER,))
            await one.start()
            one.take([paused()])
            one.hear(dead())
            await one.stop()
            return told

        assert [body["event"] for body in simulate(main).bodies] == ["dead_letter"]

    def test_tells_of_the_kill_switch_once_however_many_shards_there_are(self) -> None:
        async def main() -> Told:
            told = Told()
            one = notifier(told)
            await one.start()
            for kind in ("killed", "killed", "killed", "unkilled", "unkilled", "killed"):
                one.take([Noted(kind, 1)])
            await one.stop()
            return told

        assert [body["event"] for body in simulate(main).bodies] == ["killed", "unkilled", "killed"]

    def test_never_posts_more_than_it_may_in_any_minute(self) -> None:
        async def main() -> Told:
            told = Told()
            one = notifier(told, per_minute=5)
            await one.start()
            for number in range(23):
                one.hear(dead(number))
            await asyncio.sleep(1_000)
            await one.stop()
            return told

        at = simulate(main).at
        assert len(at) == 23
        assert all(later - earlier >= 60.0 - 1e-6 for earlier, later in zip(at, at[5:], strict=False))

    def test_leaves_out_what_finds_no_room_and_says_how_much(self) -> None:
        async def main() -> tuple[Told, Notifier]:
            told = Told()
            one = notifier(told, per_minute=600)
            for number in range(300):
                one.hear(dead(number))
            await one.start()
            await asyncio.sleep(100)
            one.hear(dead(1_000))
            await one.stop()
            return told, one

        told, one = simulate(main)
        assert len(told.bodies) == 257
        assert one.counts == {"sent": 257, "left_out": 44}
        assert sum(body["left_out_before"] for body in told.bodies) == 44

    def test_tries_again_and_counts_what_it_gives_up(self) -> None:
        async def main() -> tuple[Told, Notifier]:
            told = Told(failures=4)
            one = notifier(told)
            await one.start()
            one.hear(dead(1))
            one.hear(dead(2))
            await asyncio.sleep(100)
            await one.stop()
            return told, one

        with capture_logs():
            told, one = simulate(main)
        assert told.tries == 5
        assert one.counts == {"failed": 1, "sent": 1}
        assert told.bodies[0]["details"]["signal_id"] == f"{2:032x}"
        assert told.bodies[0]["left_out_before"] == 1

    def test_ends_soon_also_where_nobody_answers(self) -> None:
        class Mute(Told):
            async def tell(self, body: bytes, key: str) -> None:
                await asyncio.sleep(1e9)

        async def main() -> tuple[float, Notifier]:
            one = notifier(Mute())
            await one.start()
            one.hear(dead(1))
            one.hear(dead(2))
            began = asyncio.get_running_loop().time()
            await one.stop()
            return asyncio.get_running_loop().time() - began, one

        took, one = simulate(main)
        assert took <= 5.001
        assert one.counts["failed"] == 2

    def test_keeps_to_the_rate_at_the_end_too_and_tells_of_the_end(self) -> None:
        async def main() -> tuple[Told, Notifier]:
            told = Told()
            one = notifier(told, per_minute=5)
            await one.start()
            for number in range(20):
                one.hear(dead(number))
            await asyncio.sleep(1)
            one.hear(Stopped("SIGINT", clean=True, queued=0, seconds=1.0))
            await one.stop()
            return told, one

        told, one = simulate(main)
        assert [body["event"] for body in told.bodies] == ["dead_letter"] * 5 + ["service.stopped"]
        assert told.bodies[-1]["left_out_before"] == one.counts["left_out"] == 15
