"""A strategy that blocks the loop is named, from beside it."""

from __future__ import annotations

import asyncio
import threading

from anystrat import StrategyRunnerService, rule
from anystrat.adapters.watchdog import Watchdog
from anystrat.testing.ticks import row


def test_a_strategy_that_blocks_is_named_while_it_does():
    noticed, seen = threading.Event(), []

    def on_block(*blocked):
        seen.append(blocked)
        noticed.set()

    @rule(history=1)
    def sleeper(prices):
        noticed.wait(30)

    service = StrategyRunnerService()
    service.register(sleeper, instruments=[7], id="sleepy")

    async def run():
        watchdog = Watchdog(0.05, on_block)
        watchdog.start()
        service.handle(row(7, "100", 0))
        await asyncio.sleep(0)
        watchdog.stop()

    asyncio.run(run())
    ((strategy_id, tokens, seconds, stack),) = seen
    assert (strategy_id, tokens) == ("sleepy", (7,))
    assert seconds > 0.05
    assert "noticed.wait(30)" in stack


def test_a_loop_that_nobody_holds_is_left_in_peace():
    seen = []

    async def run():
        watchdog = Watchdog(0.5, lambda *blocked: seen.append(blocked))
        watchdog.start()
        await asyncio.sleep(0.05)
        watchdog.stop()

    asyncio.run(run())
    assert seen == []


def test_whatever_else_blocks_has_no_strategys_name():
    noticed, seen = threading.Event(), []

    async def run():
        watchdog = Watchdog(0.05, lambda *blocked: (seen.append(blocked), noticed.set()))
        watchdog.start()
        noticed.wait(30)
        watchdog.stop()

    asyncio.run(run())
    assert [strategy_id for strategy_id, *_ in seen] == [""]
