"""What a runner must withstand between its parts: failures at awkward moments, restarts in the middle of something."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import numpy as np
import pytest

from anystrat.adapters.source_stdin import StdinFeed
from anystrat.bootstrap import default_wiring
from anystrat.config import configuration_from_mapping
from anystrat.domain.configuration import FeedSettings, OnStale
from anystrat.domain.events import ModelKept
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, TickBatch
from anystrat.domain.journal import JournalFailed, JournalRefused, Step
from anystrat.runner import committer as committer_module
from anystrat.runner.acknowledging import Acknowledgements
from anystrat.runner.driver import StrategyEnds
from anystrat.runner.intake import Intake
from anystrat.runner.plan import plan_shards
from anystrat.runner.shard import TICKS_AT_ONCE_INTERPRETED, Work
from anystrat.strategies.catalog import StrategyType
from anystrat.testing.loop import SimulatedClock, simulate
from anystrat.testing.ticks import synthetic_ticks

from . import rig as rig_module
from .rig import Fence, ListSource, Rig


@dataclass(frozen=True)
class NoParameters:
    """A strategy that has none."""


ROWS = [
    {
        "id": "m",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 3, "threshold": 0.0005},
        "instruments": [1, 2, 3, 4, 5, 6],
        "per_instrument": True,
    },
]


def ticks(seed, count):
    (block,) = synthetic_ticks(seed, [1, 2, 3, 4, 5, 6], count, block_rows=count)
    return block


def lines_of(chunks):
    """A reader of standard input that gives these."""
    left = list(chunks)

    async def read():
        await asyncio.sleep(0.01)
        return left.pop(0) if left else b""

    return read


def test_lines_that_come_after_a_restart_are_new_to_every_shard():
    block = ticks(3, 60)
    lines = [
        f'{{"ts_ns":{row.ts_ns},"instrument_token":{row.instrument_token},"price":{row.price}}}\n'.encode()
        for row in block.rows()
    ]
    rig = Rig(ROWS, block, shards=3)

    async def run(chunks):
        runner = rig.start(StdinFeed(read=lines_of(chunks)))
        await runner.run()
        return runner.accounts

    simulate(lambda: run(lines[:31]))
    accounts = simulate(lambda: run(lines[31:]))
    assert (accounts.processed, accounts.duplicates) == (60, 0)


class FailingSource(ListSource):
    """Fails after its ticks."""

    async def batches(self, after):
        async for item in super().batches(after):
            yield item
        raise SourceFailed("the wire is cut")


def test_a_source_that_fails_is_what_the_run_ends_with_once_what_was_read_is_safe():
    block = ticks(3, 60)
    rig = Rig(ROWS, block)

    async def run():
        runner = rig.start(FailingSource(block, [7]))
        with pytest.raises(SourceFailed, match="the wire is cut"):
            await runner.run()
        return runner.accounts

    assert simulate(run).processed == 60


@pytest.mark.parametrize("on_stale", OnStale)
def test_a_feed_that_was_silent_when_the_process_ended_is_heard_after_the_restart(on_stale):
    block = ticks(3, 120)
    rig = Rig(ROWS, block, feed=FeedSettings(on_stale=on_stale))

    async def silent():
        source = ListSource(block, [10], notices={60: SourceNotice(NoticeKind.STALE, "list")})
        runner = rig.start(source)
        asyncio.get_running_loop().call_later(0.1, runner.stop, "asked to")
        await runner.run()
        return any(shard.driver.engine.waits_for_feed for shard in runner.shards)

    while not simulate(silent):
        pass

    async def speaks_again():
        runner = rig.start(ListSource(block, [10]))
        await runner.run()
        return any(shard.driver.engine.waits_for_feed for shard in runner.shards)

    assert not simulate(speaks_again)


class SlowToLetGo(ListSource):
    """Takes its time when it is cancelled."""

    async def batches(self, after):
        try:
            async for item in super().batches(after):
                yield item
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.0)


def test_a_journal_that_fails_while_the_source_lets_go_ends_the_run():
    block = ticks(3, 60)
    rig = Rig(ROWS, block)

    async def run():
        runner = rig.start(SlowToLetGo(block, [60]))

        async def failing(steps):
            await asyncio.sleep(0.5)
            raise JournalFailed("the disk is full")

        rig.journal.commit = failing
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, runner.stop, "asked to")
        began = loop.time()
        with pytest.raises(JournalFailed):
            async with asyncio.timeout(60):
                await runner.run()
        return loop.time() - began

    assert simulate(run) < 5


def test_a_kill_switch_that_was_released_stays_released_whenever_the_process_ends():
    block = ticks(3, 60)
    rig = Rig(ROWS, block)

    async def killed():
        runner = rig.start(ListSource(block, [10]))
        task = asyncio.ensure_future(runner.run())
        await asyncio.sleep(0.02)
        await runner.kill(on=True)
        runner.stop("killed")
        await task

    simulate(killed)
    # The release is in the journal, and its place among the ticks was not committed before the process ended.
    rig.store.killed = False

    async def again():
        runner = rig.start(ListSource(block, [10]))
        await runner.run()
        return [shard.driver.engine.killed for shard in runner.shards]

    assert simulate(again) == [False]


def test_steps_are_committed_in_the_order_of_their_signals_numbers_however_many_shards_wait(monkeypatch):
    monkeypatch.setattr(committer_module, "_STEPS", 2)
    committed = []

    class Journal:
        async def commit(self, steps):
            await asyncio.sleep(0.01)
            committed.extend(step.first for step in steps)

    async def run():
        committer = committer_module.Committer(Journal(), {}, Acknowledgements())
        numbers = iter(range(10_000))

        async def shard(pause):
            for _ in range(40):
                # As a shard does it: numbered, and handed over without anything between.
                await committer.put(Work(Step(0, next(numbers), 0, b"", {}, (), b"", None)))
                await asyncio.sleep(pause)

        task = asyncio.ensure_future(committer.run(None))
        await asyncio.gather(*(shard(pause) for pause in (0, 0, 0.0003, 0.0007, 0.01)))
        committer.close()
        await task

    simulate(run)
    assert committed == list(range(200))


class Recording:
    """Knows up to where it has every shard."""

    def __init__(self, has):
        self.has = has

    def next_input(self, shard):
        return self.has

    def begin(self, shard, first):
        pass

    def take(self, shard, first, inputs, marks=None):
        pass

    def close(self):
        pass


def test_a_recording_that_is_ahead_of_its_journal_is_of_another_run_and_refused():
    block = ticks(3, 60)
    rig = Rig(ROWS, block, recorder=Recording(400))

    async def run():
        with pytest.raises(JournalRefused, match="400 inputs of shard 0, and the journal 0"):
            await rig.start(ListSource(block, [10])).run()

    simulate(run)


class TwoChanges:
    """A version that failed goes, and then another comes."""

    def __init__(self):
        self.changes = [ModelKept(1, "m.onnx", "first"), ModelKept(1, "m.onnx", "second")]

    def at_start(self, ts_ns):
        return []

    def look(self):
        pass

    def events(self, ts_ns):
        changes, self.changes = self.changes, []
        return changes


def test_changes_of_models_take_their_places_in_the_order_in_which_they_happened():
    block = ticks(3, 60)
    rig = Rig(ROWS, block, models=TwoChanges())

    async def run():
        runner = rig.start(SlowToLetGo(block, [60]))
        asyncio.get_running_loop().call_later(2, runner.stop, "asked to")
        await runner.run()

    simulate(run)
    inputs = [each for _, _, data in rig.store.inputs[0] for each in decoded_inputs(data)]
    assert [each.why for each in inputs if isinstance(each, ModelKept)] == ["first", "second"]


def test_a_large_batch_is_handled_piece_by_piece_so_that_nothing_else_waits_for_all_of_it():
    block = ticks(3, 2_000)
    rig = Rig(ROWS, block)

    async def run():
        runner = rig.start(ListSource(block, [2_000]))
        await runner.run()
        return runner.accounts

    accounts = simulate(run)
    assert (accounts.processed, accounts.duplicates) == (2_000, 0)
    assert max(count for _, count, _ in rig.store.inputs[0]) <= TICKS_AT_ONCE_INTERPRETED


def test_pieces_of_a_batch_end_where_messages_end():
    block = ticks(3, 60)
    offsets = np.repeat(np.arange(12), 5)

    class Mailbox:
        def __init__(self):
            self.parcels = []

        async def put(self, parcel):
            self.parcels.append(parcel)

    class OneBatch(ListSource):
        async def batches(self, after):
            yield TickBatch("list", block, offsets, 20, 3)

    mailbox = Mailbox()

    async def run():
        intake = Intake(
            plan_shards([], 1), [mailbox], Acknowledgements(), SimulatedClock(asyncio.get_running_loop()), at_most=7
        )
        await intake.run(OneBatch(block, [1]), {})

    simulate(run)
    assert [len(each) for each in mailbox.parcels] == [10] * 6
    assert [each.last for each in mailbox.parcels] == [1, 3, 5, 7, 9, 20]
    assert [each.malformed for each in mailbox.parcels] == [0, 0, 0, 0, 0, 3]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_strategy_that_raises_what_nothing_contains_ends_the_run_and_is_named(error, monkeypatch):
    class Ending:
        def process_tick(self, tick, history):
            raise error

        def get_required_history_length(self):
            return 1

        def supports_instrument(self, instrument_token):
            return True

        def get_strategy_name(self):
            return "ending"

    def configured(rows, **top):
        wiring = default_wiring()
        wiring.catalog.register(StrategyType("ending", "rules", NoParameters, lambda *_: Ending(), "Ends."))
        return configuration_from_mapping({"version": 1, "strategies": rows, **top}, wiring.catalog), wiring

    monkeypatch.setattr(rig_module, "configured", configured)
    block = ticks(3, 60)
    rig = Rig([{**ROWS[0], "strategy_type": "ending", "parameters": {}}], block)

    async def run():
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(StrategyEnds, match=f"strategy 'm' ended the program .{type(error).__name__}"):
            async with asyncio.timeout(60):
                await rig.start(ListSource(block, [10])).run()
        return loop.time() - began

    assert simulate(run) < 5


class Malformed(ListSource):
    """Three rows of every batch are none."""

    def _batch(self, start, stop):
        return replace(super()._batch(start, stop), malformed=3)


def accounts_of_two_lives(rows, block, *, kill):
    rig = Rig(rows, block, shards=8)

    async def first():
        fence = Fence()
        source = Malformed(block, [10], fence=fence)
        runner = rig.start(source, fence=fence)
        task = asyncio.ensure_future(runner.run())
        while len(source.acknowledged) < 3:  # noqa: ASYNC110  a moment of simulated time
            await asyncio.sleep(0.001)
        if kill:
            fence.down = True
        else:
            runner.stop("asked to")
            await task

    simulate(first)
    rig.store.crash()

    async def second():
        runner = rig.start(Malformed(block, [10]))
        await runner.run()
        return runner.accounts

    return simulate(second)


@pytest.mark.parametrize("kill", [True, False])
def test_malformed_rows_are_counted_once_whatever_shards_must_read_again(kill):
    assert accounts_of_two_lives(ROWS, ticks(3, 600), kill=kill).dropped == {"malformed": 180}


def test_after_a_stop_nothing_is_read_again_for_shards_that_the_feed_left_alone():
    assert accounts_of_two_lives(ROWS, ticks(3, 600), kill=False).duplicates == 0
