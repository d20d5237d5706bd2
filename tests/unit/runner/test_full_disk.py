"""A run whose disk is full pauses, says so, and goes on by itself; with a real file, which may not grow for a while."""

from __future__ import annotations

import asyncio

from tests.unit.adapters.sqlite_journal.test_full_disk import UNLIMITED, limit
from tests.unit.runner.rig import ListSource, Rig, replayed

from anystrat.adapters.sqlite_journal import JournalFile, SqliteFileJournal
from anystrat.domain.columns import joined
from anystrat.domain.notices import JournalGoesOn, JournalWaits
from anystrat.testing.ticks import synthetic_ticks

ROWS = [
    {
        "id": "m",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 5, "threshold": 0.0005},
        "instruments": [1, 2],
        "brokers": ["paper"],
    }
]


def ticks(count):
    return joined(list(synthetic_ticks(3, [1, 2], count)))


class HeldSource(ListSource):
    """Waits before some of its rows until it may go on; notes how far what it gave was taken."""

    def __init__(self, block, *rows):
        super().__init__(block, [100])
        self.gates, self.taken = {row: asyncio.Event() for row in rows}, 0

    def let(self, row):
        self.gates[row].set()

    async def batches(self, after):
        async for batch in super().batches(after):
            if batch.last - 99 in self.gates:
                await self.gates[batch.last - 99].wait()
            yield batch
            self.taken = batch.last + 1


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  what is asked is anything
            await asyncio.sleep(0.01)


def test_a_run_waits_for_room_and_loses_and_doubles_nothing(tmp_path):
    block = ticks(3_000)
    path = tmp_path / "journal.db"

    async def story():
        rig = Rig(ROWS, block)
        source = HeldSource(block, 1_000, 2_000)
        journal = SqliteFileJournal(path)
        runner = rig.start(source, journal=journal)
        running = asyncio.ensure_future(runner.run())
        await until(lambda: source.acknowledged and source.acknowledged[-1] == 999)
        limit(journal, 2)
        source.let(1_000)
        await until(lambda: any(isinstance(each, JournalWaits) for each in rig.heard))
        assert "journal" in runner.health().troubles()
        source.let(2_000)
        await asyncio.sleep(0.1)
        assert source.taken == 2_000, "the intake is paused"
        assert source.acknowledged[-1] == 999, "nothing is acknowledged that is not kept"
        limit(journal, UNLIMITED)
        await running
        said = [type(each) for each in rig.heard if isinstance(each, JournalWaits | JournalGoesOn)]
        assert said == [JournalWaits, JournalGoesOn]
        assert source.acknowledged[-1] == 2_999

    asyncio.run(story())
    expected, _ = replayed(ROWS, block)
    with JournalFile(path) as found:
        assert [each.signal.signal_id for each in found.outbox()] == expected["paper"]


def test_a_run_that_is_stopped_while_its_disk_is_full_ends_by_the_deadline_and_is_taken_up_again(tmp_path):
    block = ticks(2_000)
    path = tmp_path / "journal.db"

    async def story():
        rig = Rig(ROWS, block, drain_sec=0.2)
        source = HeldSource(block, 1_000, 2_000)
        journal = SqliteFileJournal(path)
        runner = rig.start(source, journal=journal)
        running = asyncio.ensure_future(runner.run())
        await until(lambda: source.acknowledged and source.acknowledged[-1] == 999)
        limit(journal, 0)
        source.let(1_000)
        await until(lambda: journal.problem)
        runner.stop("asked to")
        (error,) = await asyncio.gather(running, return_exceptions=True)
        assert "no space is left" in str(error)
        source = ListSource(block, [100])
        await rig.start(source, journal=SqliteFileJournal(path)).run()

    asyncio.run(story())
    expected, _ = replayed(ROWS, block)
    with JournalFile(path) as found:
        assert [each.signal.signal_id for each in found.outbox()] == expected["paper"]
