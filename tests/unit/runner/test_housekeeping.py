"""What a runner does now and then does not hold up what it does otherwise."""

from __future__ import annotations

import asyncio

from anystrat.adapters.journal_memory import InMemoryJournal
from anystrat.domain.columns import joined
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import synthetic_ticks

from .rig import ListSource, Rig

ROWS = [{"id": "m", "strategy_type": "momentum", "instruments": [1], "brokers": ["paper"]}]


class LongJournal(InMemoryJournal):
    """Its compaction takes ten minutes; notes when it was asked how it is."""

    def __init__(self, store):
        super().__init__(store)
        self.compactions = 0
        self.asked_at = []

    @property
    def problem(self):
        self.asked_at.append(asyncio.get_running_loop().time())
        return ""

    async def compact(self, *, keep_inputs, keep_settled):
        self.compactions += 1
        await asyncio.sleep(600)


class SlowSource(ListSource):
    async def batches(self, after):
        async for batch in super().batches(after):
            await asyncio.sleep(300)
            yield batch


def test_a_long_compaction_of_the_journal_holds_up_neither_the_house_nor_the_end_of_the_run():
    rig = Rig(ROWS, joined(list(synthetic_ticks(3, [1], 10))))
    journal = LongJournal(rig.store)

    async def story():
        began = asyncio.get_running_loop().time()
        await rig.start(SlowSource(rig.block, [10]), journal=journal).run()
        return began, asyncio.get_running_loop().time()

    began, ended = simulate(story)
    assert journal.compactions == 1, "it is not begun again while it goes on"
    assert ended - began < 310
    assert sum(began + 60 < at for at in journal.asked_at) > 200
