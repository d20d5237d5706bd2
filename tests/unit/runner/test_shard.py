"""A shard: what it takes out of its mailbox is one step, with its inputs, signals, accounts and, when due, a checkpoint."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
import pytest

from anystrat.adapters.signal_files.jsonl import signal_bodies
from anystrat.bootstrap.running import build_engines
from anystrat.domain.events import (
    INFERENCE_MISSED,
    Arrived,
    Command,
    Conflated,
    InferenceMissed,
    ModelReverted,
    ModelSwapped,
    Operation,
    Reconfigured,
    TickQuarantined,
    TimerDue,
)
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.journal import OutboxSignal
from anystrat.domain.outcomes import Noted
from anystrat.engine.snapshot import fingerprint, snapshot
from anystrat.runner.driver import EngineDriver
from anystrat.runner.mailbox import Mailbox
from anystrat.runner.parcel import Parcel
from anystrat.runner.plan import plan_shards
from anystrat.runner.shard import (
    CHECKPOINT_INPUTS,
    CHECKPOINT_WINDOWS,
    Checkpoint,
    Numbers,
    OutboxWriter,
    Shard,
    chained,
)
from anystrat.runner.tally import Accounts, Tally, accounts_of, total
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import START_NS, columns, row

from .rig import configured

PAUSE = Command(Operation.PAUSE, START_NS)


def rows(instruments=(1,), **risk):
    return [
        {
            "id": "m",
            "strategy_type": "momentum",
            "parameters": {"lookback_periods": 2, "threshold": 0.0005, "risk": risk},
            "instruments": list(instruments),
        }
    ]


def ticks(*prices, token=1, at=0):
    return columns([row(token, str(price), at + k) for k, price in enumerate(prices)])


def parcel(block, last=0, **fields):
    return Parcel(None, block, "p", last, **fields)


class Kept(list):
    """A committer that keeps what it is given."""

    async def put(self, work):
        await asyncio.sleep(0)
        self.append(work)


class Clock:
    def now_ns(self):
        return 1_000


def driver(strategies=None):
    configuration, wiring = configured(strategies or rows())
    (engine,) = build_engines(configuration, wiring, plan_shards(configuration.strategies, 1))
    return EngineDriver(engine)


def shard_of(strategies=None, *, driven=None, **options):
    outbox = OutboxWriter(Clock(), Numbers({}), signal_bodies, {})
    return Shard(4, driven or driver(strategies), Mailbox(1_000), Kept(), outbox, **options)


def handled(shard, *parcels):
    """The step of parcels that are taken together."""
    return simulate(lambda: shard._handled(list(parcels)))


def inputs_of(step):
    return list(decoded_inputs(step.inputs)) if step.inputs else []


def tally_of(step):
    return msgspec.msgpack.decode(step.tally, type=Tally)


def test_numbers_go_on_after_the_last_one_of_each_broker():
    numbers = Numbers({"a": 4})
    assert [numbers.next(broker) for broker in ("a", "b", "a", "b")] == [5, 1, 6, 2]


def test_signals_are_numbered_in_order_and_end_with_their_brokers_lifetime():
    shard = shard_of()
    (signal,) = handled(shard, parcel(ticks(100, 101))).step.signals
    found = {}
    for lifetime in ({}, {"paper": 7}):
        outbox = OutboxWriter(
            Clock(), Numbers({"paper": 3}), lambda signals: [("id", b"body")] * len(signals), lifetime
        )
        emitted = [outcome.signal for outcome in driver().ticks(ticks(100, 101)) if hasattr(outcome, "signal")]
        found[lifetime.get("paper")] = outbox.entries(emitted)
        assert outbox.entries([]) == ()
        with pytest.raises(ValueError, match="shorter"):
            OutboxWriter(Clock(), Numbers({}), lambda _: [], {}).entries(emitted)
    assert found[None] == (OutboxSignal("paper", 4, "id", "m", 1, signal.ts_ns, 0, b"body"),)
    assert found[7] == (OutboxSignal("paper", 4, "id", "m", 1, signal.ts_ns, 1_007, b"body"),)


def test_a_step_has_what_was_taken_and_the_next_one_follows_on_it():
    shard = shard_of()
    first = handled(shard, parcel(ticks(100, 100), 7)).step
    second = handled(shard, parcel(ticks(100, at=2), 8), Parcel(event=PAUSE)).step
    assert (first.shard, first.first, first.count, first.watermarks) == (4, 0, 2, {"p": 7})
    assert (second.shard, second.first, second.count, second.watermarks) == (4, 2, 2, {"p": 8})
    assert [len(each) for each in inputs_of(first)] == [2]
    assert inputs_of(second)[1] == PAUSE
    assert shard.watermarks == {"p": 8}
    assert first.checkpoint is second.checkpoint is None


def test_every_tick_is_in_the_accounts_of_the_step_that_took_it():
    shard = shard_of()
    handled(shard, parcel(ticks(100), malformed=2, duplicates=4))
    step = handled(shard, Parcel(event=Conflated(START_NS, 1, 8)), parcel(ticks(100, 100, at=1), malformed=1)).step
    tally = tally_of(step)
    assert (tally.received, tally.malformed, tally.duplicates, tally.shed) == (18, 3, 4, 8)
    assert (tally.processed, tally.dropped, shard.accounts.balanced) == (3, {}, True)


def test_accounts_of_several_shards_are_added_up_and_say_whether_a_tick_is_missing():
    assert accounts_of(Tally()) == Accounts(0, 0, 0, {}, 0)
    one = accounts_of(
        Tally(received=10, malformed=1, duplicates=2, shed=3, processed=2, dropped={"unrouted": 1, "malformed": 1})
    )
    assert one == Accounts(10, 2, 2, {"unrouted": 1, "malformed": 2}, 3)
    other = Accounts(5, 4, 0, {"unrouted": 1, "bad_price": 1}, 0)
    assert (one.balanced, other.balanced) == (True, False)
    assert total([one, other]) == Accounts(15, 6, 2, {"unrouted": 2, "malformed": 2, "bad_price": 1}, 3)


def test_the_digest_runs_over_the_ids_of_all_signals():
    shard = shard_of()
    steps = [handled(shard, parcel(ticks(*prices, at=at))).step for at, prices in ((0, (100, 101)), (60, (90, 91)))]
    digest = b""
    for step in steps:
        assert step.signals
        digest = chained(digest, [each.signal_id for each in step.signals])
        assert tally_of(step).digest == digest
    assert tally_of(handled(shard, parcel(ticks(91, at=62))).step).digest == digest


def test_observers_hear_what_came_of_a_step_and_nothing_of_one_without():
    heard = []
    shard = shard_of(observers=[heard.append])
    outcomes = driver().ticks(ticks(100, 101))
    handled(shard, parcel(ticks(100, 101)))
    handled(shard, parcel(ticks()))
    assert [len(each) for each in heard] == [len(outcomes)]


def test_who_waits_for_an_event_goes_with_its_step():
    async def story():
        shard = shard_of()
        waits = asyncio.get_running_loop().create_future()
        work = await shard._handled([Parcel(event=PAUSE, kept=waits), Parcel(event=PAUSE)])
        return work.kept == [waits]

    assert simulate(story)


@pytest.mark.parametrize(
    ("events", "due"),
    [
        ([], False),
        ([PAUSE], False),
        ([ModelSwapped(START_NS, "m", "1")], True),
        ([ModelReverted(START_NS, "m", "1", "2", "it failed"), PAUSE], True),
    ],
)
def test_a_checkpoint_is_due_once_a_model_was_put_in_place(events, due):
    class Obeying(EngineDriver):
        def event(self, event):
            return []

    shard = shard_of(driven=Obeying(driver().engine))
    step = handled(shard, *(Parcel(event=event) for event in events), parcel(ticks(100))).step
    assert (step.checkpoint is not None) is due


def test_a_checkpoint_is_due_after_so_many_inputs_and_again_after_so_many():
    shard = shard_of(checkpoint_inputs=3)
    sizes = [2, 1, 2, 2, 1, 1, 1]
    found = [handled(shard, parcel(ticks(*[100] * size, at=10 * at))).step for at, size in enumerate(sizes)]
    assert [each.checkpoint is not None for each in found] == [False, True, False, True, False, False, True]
    checkpoint = msgspec.msgpack.decode(found[-1].checkpoint, type=Checkpoint)
    assert checkpoint == Checkpoint(shard.tally.digest, snapshot(shard.driver.engine))
    assert shard.checkpointed_at == shard.next_input == sum(sizes)


def test_windows_that_hold_much_are_written_down_seldom():
    few = shard_of()
    many = shard_of([{**rows()[0], "parameters": {"lookback_periods": 10_000, "threshold": 0.1}}])
    assert few._window_inputs < CHECKPOINT_INPUTS
    assert many._window_inputs == CHECKPOINT_WINDOWS * sum(window.capacity for window in many.driver.engine.windows)
    assert many._window_inputs > CHECKPOINT_INPUTS
    for shard, every in ((few, CHECKPOINT_INPUTS), (many, many._window_inputs)):
        shard.next_input = every - 2
        assert handled(shard, parcel(ticks(100))).step.checkpoint is None
        assert handled(shard, parcel(ticks(100, at=1))).step.checkpoint is not None


def test_executors_are_told_of_when_somebody_asked_and_with_every_checkpoint():
    shard = shard_of(checkpoint_inputs=100)
    told = []
    for at in range(4):
        if at == 1:
            shard.report_executors()
        told.append([each.ticks for each in tally_of(handled(shard, parcel(ticks(100, at=at))).step).executors])
    told.append([each.ticks for each in tally_of(shard._made([], {}, (), checkpoint=True).step).executors])
    assert told == [[], [2], [2], [2], [4]]


def test_ticks_have_an_age_where_one_may_be_too_old_and_their_arrival_is_an_input():
    shard = shard_of(rows(max_tick_age_sec=5))
    taken = [parcel(ticks(100, at=at), arrived_ns=arrived) for at, arrived in enumerate((7, 7, 8))]
    empty = parcel(ticks(), arrived_ns=9)
    step = handled(shard, *taken[:2], empty).step
    assert [each if isinstance(each, Arrived) else len(each) for each in inputs_of(step)] == [Arrived(7), 2]
    step = handled(shard, *taken[1:]).step
    assert [each if isinstance(each, Arrived) else len(each) for each in inputs_of(step)] == [1, Arrived(8), 1]


def test_without_an_age_that_is_too_old_arrivals_are_nothing():
    step = handled(shard_of(), parcel(ticks(100), arrived_ns=7)).step
    assert [len(each) for each in inputs_of(step)] == [1]


def test_where_the_source_moved_on_without_it_a_step_says_so_once():
    shard = shard_of()
    shard.watermarks = {"p": 3}
    step = shard.idle_step({"p": 3, "q": 0}).step
    assert (step.count, step.inputs, step.watermarks, step.checkpoint) == (0, b"", {"q": 0}, None)
    assert shard.watermarks == {"p": 3, "q": 0}
    assert shard.idle_step({"p": 3, "q": 0}) is None
    assert shard.idle_step({"p": 4}).step.watermarks == {"p": 4}


def test_a_shard_that_has_something_to_do_is_not_idle():
    class Full(Kept):
        def __init__(self):
            self.room = asyncio.Event()

        async def put(self, work):
            await self.room.wait()
            self.append(work)

    async def story():
        shard = shard_of()
        shard._committer = Full()
        running = asyncio.ensure_future(shard.run())
        await asyncio.sleep(0)
        assert shard.idle_step({"q": 1}) is not None
        await shard.mailbox.put(parcel(ticks(100), 5))
        assert shard.idle_step({"q": 2}) is None  # it waits in the mailbox
        await asyncio.sleep(1)
        assert not len(shard.mailbox)
        assert shard.idle_step({"q": 2}) is None  # its step is made, and not queued
        shard._committer.room.set()
        await asyncio.sleep(1)
        assert shard.idle_step({"q": 2}) is not None
        shard.mailbox.close()
        await running

    simulate(story)


def test_it_ends_with_a_checkpoint_once_its_mailbox_is_closed_and_empty():
    async def story():
        shard = shard_of(ticks_at_once=2)
        for at in range(3):
            await shard.mailbox.put(parcel(ticks(100, at=at), at))
        shard.mailbox.close()
        await shard.run()
        return [(work.step.first, work.step.count, work.step.checkpoint is not None) for work in shard._committer]

    assert simulate(story) == [(0, 2, False), (2, 1, False), (3, 0, True)]


def test_others_have_their_turn_between_two_steps():
    class AtOnce(Kept):
        async def put(self, work):
            self.append(work)

    async def story():
        shard = shard_of(ticks_at_once=1)
        shard._committer = AtOnce()
        for at in range(3):
            await shard.mailbox.put(parcel(ticks(100, at=at), at))
        running = asyncio.ensure_future(shard.run())
        seen = []
        while len(shard._committer) < 3:
            seen.append(len(shard._committer))
            await asyncio.sleep(0)
        running.cancel()
        return seen

    assert simulate(story) == [0, 1, 2]


def test_another_configuration_is_a_step_of_its_own_that_binds_the_journal_to_it():
    heard = []
    shard = shard_of(observers=[heard.append])
    handled(shard, parcel(ticks(100)))
    other = driver(rows(instruments=(1, 2), max_tick_age_sec=5))
    event = Reconfigured(START_NS, before=fingerprint(shard.driver.engine), after="the other one's")
    work = shard.reconfigured(other, event)
    assert shard.driver is other
    assert (work.step.first, work.step.count, work.step.fingerprint) == (1, 1, "the other one's")
    assert work.step.checkpoint is not None
    assert (inputs_of(work.step), work.inputs) == ([event], [event])
    assert len(heard) == 1
    # … and its limits are those from now on.
    assert inputs_of(handled(shard, parcel(ticks(100, at=1), arrived_ns=7)).step)[0] == Arrived(7)


def missed():
    return Noted(INFERENCE_MISSED, START_NS, "m", {"broker": "paper", "instrument": 1, "tick": 1})


@pytest.mark.parametrize("measures", ["deadline", "isolation", None])
def test_what_only_a_live_run_finds_out_is_an_input_before_the_ticks_that_it_happened_on(measures):
    driven = driver()
    if measures is not None:
        (executor,) = driven.engine.executors
        setattr(executor, measures, object())
    shard = shard_of(driven=driven, offload=None)
    assert (shard.has_deadlines, shard._waits_for_processes) == (measures == "deadline", measures == "isolation")
    driven.ticks = lambda block: [missed()]
    step = handled(shard, parcel(ticks(100))).step
    events = [InferenceMissed(START_NS, "m", "paper", 1, 1)] if measures else []
    assert inputs_of(step)[:-1] == events


def test_where_a_process_may_be_waited_for_the_engine_works_beside_the_loop():
    began = []

    async def offload(work):
        began.append(asyncio.current_task())
        work()

    class Marked:
        def suspects(self, *_):
            return ()

        def watched(self, shard, block, moved):
            began.append("watched")
            yield block

    for waits, shards, expected in ((False, 2, ["watched"]), (True, 2, [...]), (True, 1, [..., "watched"])):
        shard = shard_of(offload=offload, quarantine=Marked(), shards=shards)
        shard._waits_for_processes = waits
        began.clear()
        assert handled(shard, parcel(ticks(100))).step.count == 1
        assert [each if each == "watched" else ... for each in began] == expected


class Suspecting:
    """A quarantine that suspects the ticks of partition `q`, and notes what it is asked."""

    def __init__(self):
        self.log = []

    def suspects(self, shard, partition, watermarks):
        return ["the process died of it"] if partition == "q" else []

    def watched(self, shard, block, moved):
        self.log.append(("watched", block.price.tolist()))
        yield block

    def one_by_one(self, shard, block, partition, moved, suspects):
        self.log.append((suspects, dict(moved)))
        for place in range(len(block)):
            yield block.taken(np.array([place]))
        yield TickQuarantined(START_NS, 1, "666", 3)

    def begins(self, shard, watermarks):
        self.log.append(("begins", watermarks))
        return len(self.log) == 1

    def ended(self):
        self.log.append("ended")


def test_what_waits_goes_before_ticks_that_are_suspected_and_those_go_one_by_one():
    shard = shard_of(quarantine=Suspecting())
    suspected = Parcel(None, ticks(101, 102, at=1), "q", 7)
    step = handled(shard, parcel(ticks(100), 3), suspected, parcel(ticks(103, at=3), 4)).step
    found = [each.price.tolist() if hasattr(each, "price") and len(each) else each for each in inputs_of(step)[:3]]
    assert found == [[100.0], [101.0], [102.0]]
    assert isinstance(inputs_of(step)[3], TickQuarantined)
    assert inputs_of(step)[4].price.tolist() == [103.0]
    assert shard._quarantine.log == [
        ("watched", [100.0]),
        (["the process died of it"], {"p": 3, "q": 7}),
        ("watched", [103.0]),
    ]


def test_a_timer_is_marked_while_it_runs_and_one_that_is_suspected_does_not_run():
    quarantine = Suspecting()
    shard = shard_of(quarantine=quarantine)
    shard.watermarks = {"p": 2}
    first = handled(shard, Parcel(event=TimerDue(START_NS))).step
    second = handled(shard, Parcel(event=TimerDue(START_NS))).step
    assert quarantine.log == [("begins", {"p": 2}), "ended", ("begins", {"p": 2})]
    assert (inputs_of(first), inputs_of(second)) == ([TimerDue(START_NS)], [])
