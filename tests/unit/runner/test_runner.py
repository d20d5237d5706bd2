"""The runner on a simulated loop: what it accepts is what a replay gives, whatever happens to it on the way."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.configuration import FeedSettings, OnGap
from anystrat.domain.events import Command, DeliveryFailed, Operation
from anystrat.domain.health import Phase
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice
from anystrat.domain.journal import JournalRefused
from anystrat.domain.lifecycle import State
from anystrat.domain.notices import HandedOver, Recovered, Stopped
from anystrat.runner import shard as shard_module
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import columns, synthetic_ticks, tick
from anystrat.testing.ticks import row as tick_row

from .rig import Fence, ListSource, Rig, replayed

ROWS = [
    {
        "id": "m",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 3, "threshold": 0.0005, "risk": {"cooldown_sec": 20}},
        "instruments": [1, 2],
        "brokers": ["paper", "out"],
    },
    {
        "id": "z",
        "strategy_type": "mean_reversion",
        "parameters": {"lookback_periods": 4, "z_entry": 1.2, "risk": {"max_loss_streak": 2, "resume_after_sec": 60}},
        "instruments": [3, 4, 5],
        "per_instrument": True,
    },
    {
        "id": "b",
        "strategy_type": "breakout",
        "parameters": {"lookback_periods": 4, "risk": {"max_signals_per_min": 2, "pause_on_throttle": True}},
        "instruments": [5, 6],
    },
]
BROKERS = {"out": {"type": "log"}}


@pytest.fixture(autouse=True)
def _brokers(monkeypatch):
    """Rows may name the broker `out`; how it delivers is not what is tested here."""
    from . import rig

    plain = rig.configured
    monkeypatch.setattr(rig, "configured", lambda rows, **top: plain(rows, brokers=BROKERS, **top))


def ticks(seed, count):
    (block,) = synthetic_ticks(seed, [1, 2, 3, 4, 5, 6, 99], count, block_rows=count)
    return block


def in_any_order(by_broker):
    return {broker: sorted(ids) for broker, ids in by_broker.items()}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_what_a_run_accepts_is_what_a_replay_emits_whatever_the_shards(seed, shards, sizes):
    block = ticks(seed, 400)
    rig = Rig(ROWS, block, shards=shards)
    source = ListSource(block, sizes, rng=random.Random(seed), again=0.3)

    async def main():
        runner = rig.start(source, rng=random.Random(seed))
        await runner.run()
        return runner

    runner = simulate(main)
    expected, engine = replayed(ROWS, block)
    assert in_any_order(rig.accepted()) == in_any_order(expected)
    if shards == 1:
        assert rig.accepted() == expected
    taken = {each.broker: [signal.signal_id for signal in each.taken] for each in rig.deliveries if each.taken}
    assert taken == rig.accepted()
    accounts = runner.accounts
    assert accounts.balanced
    assert accounts.processed == engine.ticks
    assert accounts.dropped == dict(engine.tick_drops)
    assert accounts.received == 400 + accounts.duplicates
    assert source.acknowledged == sorted(set(source.acknowledged))
    assert source.acknowledged[-1] == 399
    assert runner.phase is Phase.STOPPED


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.lists(st.floats(0.001, 0.4), max_size=5),
    st.sampled_from([7, 64, 65_536]),
)
def test_kills_at_any_moment_lose_nothing_and_accept_nothing_twice(seed, shards, lives, checkpoint_inputs):
    block = ticks(seed, 300)
    rig = Rig(ROWS, block, shards=shards)
    rng = random.Random(seed)
    handed = {}

    def live(life):
        """One incarnation; `life` in seconds, None: to its end. What it handed to deliveries is noted."""
        fence = Fence()

        async def main():
            source = ListSource(block, [rng.randint(1, 40) for _ in range(4)], fence=fence, rng=rng, again=0.2)
            runner = rig.start(source, fence=fence, rng=rng)
            task = asyncio.ensure_future(runner.run())
            done, _ = await asyncio.wait({task}, timeout=life)
            # As kill -9: from here on nothing that runs touches anything that stays.
            fence.down = True
            for each in rig.deliveries:
                for signal in each.taken:
                    assert handed.setdefault(signal.signal_id, signal.body) == signal.body
            if done:
                task.result()
                return runner
            return None

        try:
            return simulate(main)
        finally:
            rig.store.crash()

    before = shard_module.CHECKPOINT_INPUTS
    shard_module.CHECKPOINT_INPUTS = checkpoint_inputs
    try:
        for life in lives:
            if live(life) is not None:
                break
        runner = live(None)
    finally:
        shard_module.CHECKPOINT_INPUTS = before
    expected, engine = replayed(ROWS, block)
    assert in_any_order(rig.accepted()) == in_any_order(expected)
    assert not any(notice.diverged for notice in rig.heard if isinstance(notice, Recovered))
    accounts = runner.accounts
    assert accounts.balanced
    assert accounts.processed == engine.ticks


def test_a_stop_drains_what_was_read_and_the_next_run_goes_on_from_there():
    block = ticks(5, 300)
    rig = Rig(ROWS, block)

    async def first():
        source = ListSource(block, [4])
        runner = rig.start(source)
        task = asyncio.ensure_future(runner.run())
        await asyncio.sleep(0.15)
        runner.stop("asked to")
        runner.stop("asked to again")
        await task
        return runner, source

    runner, source = simulate(first)
    assert runner.reason == "asked to"
    assert 0 < runner.accounts.processed < 300
    assert source.acknowledged[-1] + 1 == runner.accounts.received
    assert isinstance(rig.heard[-1], Stopped)

    async def second():
        runner = rig.start(ListSource(block, [10]))
        await runner.run()
        return runner

    runner = simulate(second)
    assert runner.accounts.duplicates == 0
    assert rig.accepted() == replayed(ROWS, block)[0]


def test_a_command_takes_its_place_among_the_ticks_and_a_restart_remembers_it():
    block = ticks(5, 200)
    rig = Rig(ROWS, block)

    async def first():
        runner = rig.start(ListSource(block, [10]))
        runner.command(Command(Operation.PAUSE, 0, "b"))
        runner.command(Command(Operation.PAUSE, 0, "nobody"))
        task = asyncio.ensure_future(runner.run())
        await asyncio.sleep(0.1)
        runner.stop("enough")
        await task

    simulate(first)

    async def second():
        runner = rig.start(ListSource(block, [10]))
        await runner.run()
        return [one.state for shard in runner.shards for one in shard.driver.engine.executors if one.strategy_id == "b"]

    assert simulate(second) == [State.PAUSED]


def test_the_kill_switch_outlives_the_process():
    block = ticks(5, 200)
    rig = Rig(ROWS, block)

    async def first():
        runner = rig.start(ListSource(block, [10]))
        task = asyncio.ensure_future(runner.run())
        await asyncio.sleep(0.02)
        await runner.kill(on=True)
        assert not any(each.on for each in rig.deliveries)
        runner.stop("killed")
        await task
        return sum(len(ids) for ids in rig.accepted().values())

    accepted = simulate(first)

    async def second():
        runner = rig.start(ListSource(block, [10]))
        await runner.run()
        return runner, [each.on for each in rig.deliveries]

    runner, on = simulate(second)
    assert runner.killed
    assert not any(on)
    assert sum(len(ids) for ids in rig.accepted().values()) == accepted


def test_a_dead_letter_pauses_its_strategy_durably():
    block = ticks(5, 200)
    rig = Rig(ROWS, block)

    def kept():
        inputs = [each for steps in rig.store.inputs.values() for _, _, data in steps for each in decoded_inputs(data)]
        return [each.signal_id for each in inputs if isinstance(each, DeliveryFailed)]

    async def main():
        runner = rig.start(ListSource(block, [50]))
        task = asyncio.ensure_future(runner.run())
        while not any(each.taken for each in rig.deliveries):  # noqa: ASYNC110  a moment of simulated time
            await asyncio.sleep(0.001)
        dead = next(each.taken[0] for each in rig.deliveries if each.taken)
        await rig.on_dead([dead])
        assert kept() == [dead.signal_id]
        await task
        engine = runner.shards[0].driver.engine
        return next(
            one.state
            for one in engine.executors
            if (one.strategy_id, one.broker) == (dead.strategy_id, dead.broker) and dead.instrument_token in one.tokens
        )

    assert simulate(main) is State.PAUSED


def test_a_gap_is_an_event_among_the_ticks():
    block = columns([tick_row(1, str(100 + k), k) for k in range(6)])
    row = {**ROWS[0], "brokers": ["paper"], "parameters": {"lookback_periods": 3, "threshold": 0.0001}}
    rig = Rig([row], block)
    source = ListSource(block, [2], notices={4: SourceNotice(NoticeKind.GAP, "list", {"missing": 7})})

    async def main():
        runner = rig.start(source)
        await runner.run()
        return runner

    runner = simulate(main)
    # Ticks 2 and 3 are evaluated; the gap empties the window, and two ticks do not fill it.
    assert sum(one.evaluations for one in runner.executors()) == 2
    assert runner.health().feeds[0].gaps == 1


def up_to_a_gap(on_gap, **options):
    """Ticks 0 to 3, a gap, ticks 4 and 5, under momentum over 3 ticks; the runner after them."""
    block = columns([tick_row(1, str(100 + k), k) for k in range(6)])
    row = {**ROWS[0], "brokers": ["paper"], "parameters": {"lookback_periods": 3, "threshold": 0.0001}}
    rig = Rig([row], block, feed=FeedSettings(on_gap=on_gap), **options)

    async def main():
        runner = rig.start(ListSource(block, [2], notices={4: SourceNotice(NoticeKind.GAP, "list")}))
        await runner.run()
        return runner

    return simulate(main)


class TwoTicks:
    def last_ticks(self, instrument_token, count):
        return [tick(instrument_token, price, second) for price, second in (("98", -5), ("99", -4))][-count:]


@pytest.mark.parametrize(
    ("on_gap", "evaluations", "state"),
    [
        (OnGap.NOTE, 4, State.ACTIVE),
        (OnGap.REWARM, 2, State.ACTIVE),
        (OnGap.PAUSE, 2, State.PAUSED),
        (OnGap.BACKFILL, 2, State.ACTIVE),
    ],
)
def test_what_becomes_of_windows_at_a_gap_is_configured(on_gap, evaluations, state):
    (one,) = up_to_a_gap(on_gap).executors()
    assert (one.evaluations, one.state) == (evaluations, state)


def test_history_fills_windows_at_the_start_and_after_a_gap():
    (one,) = up_to_a_gap(OnGap.BACKFILL, history=TwoTicks()).executors()
    assert one.evaluations == 6


def test_what_the_feed_and_the_history_both_have_is_counted_and_the_time_between_them_is_said():
    block = columns([tick_row(1, str(100 + k), k) for k in (-6, -4, 3, 4)] + [tick_row(2, "7", 9)])
    row = {**ROWS[0], "instruments": [1, 2, 3], "brokers": ["paper"]}
    rig = Rig([row], block, history=TwoTicks())

    async def main():
        await rig.start(ListSource(block, [1, 4])).run()

    simulate(main)
    [told] = [each for each in rig.heard if isinstance(each, HandedOver)]
    assert (told.instruments, told.silent, told.duplicates) == (2, 1, 2)
    assert (told.longest_gap_sec, told.gap_token) == (13.0, 2)


class FirstHalf:
    """What the source itself had up to an offset."""

    def __init__(self, block, last):
        self.block, self.last = block, last

    def last_ticks(self, instrument_token, count):
        rows = [row for row in self.block.rows() if row.instrument_token == instrument_token]
        return [
            row.market_tick() for row in rows[: sum(self.block.instrument_token[: self.last + 1] == instrument_token)]
        ][-count:]

    def position(self):
        return {"list": self.last}


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_whose_history_is_its_source_begins_where_that_ends_and_so_does_the_next_one(shards):
    block = ticks(5, 200)
    rig = Rig(ROWS, block, shards=shards, history=FirstHalf(block, 99))
    asked = []

    class Noting(ListSource):
        async def batches(self, after):
            asked.append(dict(after))
            if len(asked) == 1:
                await asyncio.sleep(1)
                raise SourceFailed("gone before it said anything")
            async for each in super().batches(after):
                yield each

    async def main():
        runner = rig.start(Noting(block, [10]))
        with suppress(SourceFailed):
            await runner.run()
        return runner

    simulate(main)
    # Meanwhile the source has got more: that is no history of the run that has begun.
    rig.options["history"] = FirstHalf(block, 149)
    runner = simulate(main)
    assert asked == [{"list": 99}, {"list": 99}]
    assert runner.accounts.received == 100
    assert runner.accounts.balanced
    windows = [window for shard in runner.shards for window in shard.driver.engine.windows]
    assert all(window.count == window.capacity for window in windows)


def test_a_journal_of_another_configuration_is_refused():
    block = ticks(5, 50)
    rig = Rig(ROWS, block)

    async def run(rig):
        await rig.start(ListSource(block, [10])).run()

    simulate(lambda: run(rig))
    other = Rig(ROWS[:1], block)
    other.store = rig.store
    with pytest.raises(JournalRefused):
        simulate(lambda: run(other))


def test_conflation_is_recorded_so_that_what_was_left_out_is_accounted_for():
    block = ticks(5, 2_000)
    rig = Rig(ROWS, block, overload="conflate", mailbox=10)

    async def main():
        runner = rig.start(ListSource(block, [200]))
        await runner.run()
        return runner

    runner = simulate(main)
    accounts = runner.accounts
    assert accounts.shed > 0
    assert accounts.balanced
    assert accounts.received == 2_000


@pytest.mark.parametrize("kept", [True, False])
def test_a_kill_switch_that_the_account_turned_on_stays_on_over_restarts(kept):
    block = ticks(7, 400)
    rig = Rig(ROWS, block, shards=2, account={"max_signals_per_day": 3, "kill_drops_per_min": 1})

    async def whole():
        runner = rig.start(ListSource(block, [20]))
        await runner.run()
        assert runner.killed
        assert not any(each.on for each in rig.deliveries)
        assert rig.store.killed
        rig.store.killed = kept  # a process that ended right after the tick's commit has not kept the switch by itself
        again = rig.start(ListSource(block, [20]))
        await again.run()
        assert again.killed
        assert rig.store.killed
        assert not any(each.on for each in rig.deliveries)

    simulate(whole)
    assert sum(map(len, rig.accepted().values())) == 3
