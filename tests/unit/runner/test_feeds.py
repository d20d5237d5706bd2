"""What is known of each partition of a source: what came, what is missing, how long it is silent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np

from anystrat.domain.configuration import Overload
from anystrat.domain.health import FeedHealth, FeedState
from anystrat.domain.intake import NoticeKind, SourceNotice, TickBatch
from anystrat.runner.acknowledging import Acknowledgements
from anystrat.runner.feeds import Feeds
from anystrat.runner.intake import Heard, Intake
from anystrat.runner.mailbox import Mailbox
from anystrat.testing import ticks

SECOND = 10**9


def test_a_partition_is_as_it_was_heard_and_spoken_of() -> None:
    feeds = Feeds()
    for kind in (NoticeKind.GAP, NoticeKind.GAP, NoticeKind.RECONNECTED, NoticeKind.QUARANTINED, NoticeKind.STALE):
        feeds.noticed(SourceNotice(kind, "a"))
    heard = {"b": Heard(received=10, duplicates=2, malformed=1, at_ns=5 * SECOND)}
    assert feeds.health(heard, 7 * SECOND) == (
        FeedHealth("a", FeedState.STALE, None, gaps=2, reconnects=1, quarantined=1),
        FeedHealth("b", FeedState.FRESH, 2.0, 10, 2, 1),
    )
    feeds.noticed(SourceNotice(NoticeKind.FRESH, "a"))
    assert feeds.health({}, 0)[0].state is FeedState.FRESH
    feeds.ended()
    assert {feed.state for feed in feeds.health(heard, 0)} == {FeedState.ENDED}


def test_a_wall_clock_that_is_set_back_makes_no_silence_below_zero() -> None:
    assert Feeds().health({"b": Heard(at_ns=5 * SECOND)}, 0)[0].silent_sec == 0.0


def test_intake_counts_what_each_partition_brought_and_what_came_again() -> None:
    plan: Any = SimpleNamespace(count=1)
    clock: Any = SimpleNamespace(now_ns=lambda: 42)
    intake = Intake(plan, [Mailbox(100, Overload.BLOCK)], Acknowledgements(), clock)
    block = ticks.columns([ticks.row(1, 100 + n, n) for n in range(3)])
    batches = [
        TickBatch("p", block, np.array([0, 1, 2]), 2, malformed=1),
        TickBatch("p", block, np.array([1, 2, 3]), 3),
        TickBatch("p", block, np.array([1, 2, 3]), 3, malformed=1),
        TickBatch("q", block.taken(np.array([], np.int64)), np.array([], np.int64), 0, malformed=2),
    ]

    async def hand_out() -> None:
        for batch in batches:
            await intake.hand_out(batch)

    asyncio.run(hand_out())
    assert intake.heard == {"p": Heard(9, 5, 1, 42), "q": Heard(0, 0, 2, 42)}
