"""The last ticks that an engine took, from a journal."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from anystrat.adapters.journal_history import JournalHistory
from anystrat.adapters.journal_memory import InMemoryJournal
from anystrat.domain.events import FeedGap, HistoryLoaded, TimerDue
from anystrat.domain.inputs import Input, count_of, encoded_inputs
from anystrat.domain.journal import Step
from anystrat.domain.protocols import HistoryProvider
from anystrat.testing.ticks import START_NS, columns, row


def history(*steps: list[Input], longest: int = 10) -> JournalHistory:
    async def story() -> JournalHistory:
        journal = InMemoryJournal()
        await journal.open("config")
        first = 0
        for inputs in steps:
            count = count_of(inputs)
            await journal.commit([Step(0, first, count, encoded_inputs(inputs), {}, (), b"")])
            first += count
        return await JournalHistory.load(journal, [0, 1], longest)

    return asyncio.run(story())


def prices(provider: HistoryProvider, token: int, count: int = 10) -> list[str]:
    return [f"{tick.last_price.normalize():f}" for tick in provider.last_ticks(token, count)]


def test_the_last_ticks_come_oldest_first_over_all_steps():
    found = history(
        [columns([row(1, "100", 0), row(2, "7", 0), row(1, "101.50", 1)])],
        [TimerDue(START_NS), columns([row(1, "102", 2)])],
    )
    assert prices(found, 1) == ["100", "101.5", "102"]
    assert prices(found, 1, 2) == ["101.5", "102"]
    assert prices(found, 2) == ["7"]
    assert prices(found, 3) == []
    assert prices(found, 1, 0) == []


def test_ticks_that_the_engine_dropped_are_no_history():
    found = history([columns([row(1, "100", 5), row(1, "99", 4), row(1, "0", 6), row(1, "NaN", 6), row(1, "101", 5)])])
    assert prices(found, 1) == ["100", "101"]


def test_no_more_than_the_longest_window_is_held():
    found = history([columns([row(1, str(100 + at), at) for at in range(20)])], longest=3)
    assert prices(found, 1) == ["117", "118", "119"]


def test_what_was_before_a_gap_that_emptied_the_windows_is_left_out():
    before = columns([row(1, "100", 0), row(2, "7", 0)])
    after = columns([row(1, "101", 2), row(1, "90", -1)])
    assert prices(history([before, FeedGap(START_NS, (1, 3)), after]), 1) == ["101"]
    assert prices(history([before, FeedGap(START_NS, (1, 3)), after]), 2) == ["7"]
    assert prices(history([before, FeedGap(START_NS), after]), 2) == []
    assert prices(history([before, FeedGap(START_NS, rewarm=False), after]), 1) == ["100", "101"]


def test_history_that_was_loaded_before_the_first_tick_is_history():
    loaded = HistoryLoaded(1, (START_NS - 2, START_NS - 1), ("98.10", "99"))
    found = history([loaded, columns([row(1, "100", 0)]), loaded])
    assert prices(found, 1) == ["98.1", "99", "100"]
    assert found.last_ticks(1, 3)[0].last_price == Decimal("98.10")
