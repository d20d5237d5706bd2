"""The simulator's own test: each bug that is put into the service is found, and what falls is named."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from anystrat.adapters.journal_memory import InMemoryJournal
from anystrat.domain.columns import TickColumns
from anystrat.domain.delivery import TAKEN, Idempotent
from anystrat.domain.events import FeedFresh
from anystrat.domain.health import Phase
from anystrat.domain.journal import Fate, JournalFailed
from anystrat.runner import intake as intake_module
from anystrat.runner import recovery
from anystrat.runner import runner as runner_module
from anystrat.runner import shard as shard_module
from anystrat.runner.acknowledging import Acknowledgements
from anystrat.runner.committer import Committer
from anystrat.runner.delivery import verdicts
from anystrat.runner.delivery.attempt import SinkCalls
from anystrat.runner.delivery.broker import BrokerDelivery
from anystrat.runner.delivery.limiter import RateLimit
from anystrat.runner.delivery.queue import OutboxWindow
from anystrat.runner.housekeeping import Housekeeping
from anystrat.runner.intake import Intake
from anystrat.runner.mailbox import Mailbox
from anystrat.runner.runner import Runner
from anystrat.testing.simulate import Seams, history
from anystrat.testing.simulate.minimise import minimised

#: Each has to be found within so many seeds.
WITHIN = 1_000


class Through:
    """Another object, but for what a subclass does otherwise."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def caught(*invariants, near=0, ticks=100, **seams):
    """The first history in which something falls, which has to be one of these invariants.

    `near`: where it was found last, so that the suite need not look long; 0 with `SIMULATE_THOROUGHLY` set.
    """
    first = 0 if os.environ.get("SIMULATE_THOROUGHLY") else near
    for seed in range(first, first + WITHIN):
        found = history(seed, ticks=ticks, seams=Seams(**seams))
        fallen = {each.invariant for each in found.violations}
        if fallen:
            assert fallen & set(invariants), f"seed {seed}: expected {invariants}, found {found.violations}"
            return found
    raise AssertionError(f"not caught within {WITHIN} seeds")


# -- the protocol between source, journal and sink


def test_acknowledging_before_the_commit(monkeypatch):
    run = Committer.run

    async def ack_first(self, source):
        class AckFirst(Through):
            async def commit(self, steps):
                for step in steps:
                    for partition, last in step.watermarks.items():
                        await source.acknowledge(partition, last)
                await self.inner.commit(steps)

        self._journal = AckFirst(self._journal)
        await run(self, source)

    monkeypatch.setattr(Committer, "run", ack_first)
    caught("I4")


def test_acknowledging_when_the_first_of_several_shards_is_done(monkeypatch):
    committed = Acknowledgements.committed

    def for_all(self, shard, watermarks):
        for each in range(8):
            committed(self, each, watermarks)

    monkeypatch.setattr(Acknowledgements, "committed", for_all)
    caught("I4", near=1)


def test_acknowledging_although_the_commit_failed():
    class Hopeful(Through):
        async def commit(self, steps):
            with suppress(JournalFailed):
                await self.inner.commit(steps)

    caught("I4", journal=Hopeful)


def test_handing_signals_to_the_delivery_before_they_are_committed(monkeypatch):
    run = Committer.run

    async def publish_first(self, source):
        committer = self

        class PublishFirst(Through):
            async def commit(self, steps):
                for step in steps:
                    for signal in step.signals:
                        await committer._takers[signal.broker].accept([signal])
                await self.inner.commit(steps)

        self._journal = PublishFirst(self._journal)
        await run(self, source)

    class Unchecked(Through):
        """A journal that would let a signal be sent that it does not have."""

        async def sending(self, broker, first, last):
            with suppress(ValueError):
                await self.inner.sending(broker, first, last)

    monkeypatch.setattr(Committer, "run", publish_first)
    caught("I4", "I8", journal=Unchecked)


def test_two_transactions_in_the_place_of_one():
    class Two(Through):
        async def commit(self, steps):
            await self.inner.commit([msgspec.structs.replace(step, signals=()) for step in steps])
            rest = [
                msgspec.structs.replace(step, first=step.first + step.count, count=0, inputs=b"", checkpoint=None)
                for step in steps
                if step.signals
            ]
            await self.inner.commit(rest)

    caught("I2", journal=Two)


def test_the_offsets_are_not_in_the_transaction():
    class NoOffsets(Through):
        async def commit(self, steps):
            await self.inner.commit([msgspec.structs.replace(step, watermarks={}) for step in steps])

    caught("I1", near=3, journal=NoOffsets)


def test_sending_without_writing_the_intent_down():
    class NoIntent(Through):
        async def sending(self, broker, first, last):
            pass

    caught("I4", journal=NoIntent)


def test_a_new_id_for_another_attempt():
    class NewId(Through):
        def __init__(self, inner):
            super().__init__(inner)
            self.sent = set()

        async def send(self, signals):
            fresh = [
                msgspec.structs.replace(each, signal_id=each.signal_id[::-1]) if each.number in self.sent else each
                for each in signals
            ]
            self.sent.update(each.number for each in signals)
            return await self.inner.send(fresh)

    caught("I4", near=8, sink=NewId)


def test_a_runner_whose_journal_was_taken_over_goes_on_writing(monkeypatch):
    monkeypatch.setattr(InMemoryJournal, "_open", lambda self: self._store)
    caught("I4", "I1", near=10, ticks=60)


# -- what a restart takes up


def test_ticks_that_come_again_are_taken_again(monkeypatch):
    parts = Intake._parts
    monkeypatch.setattr(Intake, "_parts", lambda self, batch, handed: parts(self, batch, [-1] * len(handed)))
    caught("I1")


def test_the_source_is_asked_to_go_on_one_message_too_far(monkeypatch):
    resume = Intake.resume

    def too_far(self, watermarks, **options):
        return {name: last + 1 for name, last in resume(self, watermarks, **options).items()}

    monkeypatch.setattr(Intake, "resume", too_far)
    caught("I1", "I8")


def test_the_last_inputs_since_the_checkpoint_are_not_pushed_through_again(monkeypatch):
    recover = recovery.recover

    def short(shard, record):
        if record is not None and record.since:
            record = msgspec.structs.replace(record, since=record.since[:-1])
        return recover(shard, record)

    monkeypatch.setattr(runner_module, "recover", short)
    caught("I5")


def restored_without(monkeypatch, forget):
    """A restored engine lacks what `forget` takes from it."""
    restore = recovery.restore

    def forgetful(engine, data):
        restore(engine, data)
        forget(engine)

    monkeypatch.setattr(recovery, "restore", forgetful)


def test_pending_orders_are_lost_on_restore(monkeypatch):
    def forget(engine):
        engine.state.tables["slot"]["pending_count"] = 0

    restored_without(monkeypatch, forget)
    caught("I5", near=8)


def test_a_window_is_off_by_one_after_restore(monkeypatch):
    def forget(engine):
        for window in engine.windows:
            rows = window.rows()
            window.clear()
            for row in rows[1:]:
                window.push(row)

    restored_without(monkeypatch, forget)
    caught("I5", "I2", near=8)


def test_a_cooldown_is_forgotten_on_restart(monkeypatch):
    def forget(engine):
        for table in ("slot", "executor"):
            engine.state.tables[table]["last_emit"] = -(2**63)

    restored_without(monkeypatch, forget)
    caught("I5", "I2", near=7)


def test_a_checkpoint_is_older_than_the_journal_says(monkeypatch):
    snapshot = shard_module.snapshot
    first = {}
    monkeypatch.setattr(shard_module, "snapshot", lambda engine: first.setdefault(engine, snapshot(engine)))
    caught("I5", "I2", near=7)


def test_signals_that_an_earlier_process_left_are_not_taken_up(monkeypatch):
    async def forgetful(self, *, first):
        self._recall = False
        self._window.forget(0)

    monkeypatch.setattr(BrokerDelivery, "_count", forgetful)
    caught("I8", near=3, ticks=30)


def test_a_feed_that_was_silent_stays_silent_after_a_restart(monkeypatch):
    put = Mailbox.put_event

    def start(parts):
        runner = Runner(parts)
        for mailbox in runner.mailboxes:

            def put_event(event, mailbox=mailbox):
                if not (isinstance(event, FeedFresh) and runner.phase is Phase.RECOVERING):
                    put(mailbox, event)

            mailbox.put_event = put_event
        return runner

    caught("I8", near=11, runner=start)


# -- what is written into the log


def test_an_event_is_written_down_behind_the_ticks_that_it_came_before(monkeypatch):
    encoded = shard_module.encoded_inputs
    monkeypatch.setattr(
        shard_module,
        "encoded_inputs",
        lambda inputs: encoded(sorted(inputs, key=lambda each: not isinstance(each, TickColumns))),
    )
    caught("I2", "I5", near=3)


def test_a_model_is_swapped_and_the_swap_is_not_written_down(monkeypatch):
    async def unrecorded(self):
        parts = self._parts
        parts.models.look()
        for event in parts.models.events(parts.clock.now_ns()):
            for shard in self._shards:
                shard.driver.event(event)

    monkeypatch.setattr(Housekeeping, "watch_models", unrecorded)
    caught("I2", "I5", near=68)


def test_a_reload_begins_everything_anew(monkeypatch):
    monkeypatch.setattr(runner_module, "carry_over", lambda old, new: [])
    caught("I2", "I5", near=22)


def test_ticks_of_a_batch_are_taken_in_the_order_of_instruments(monkeypatch):
    new = intake_module._new

    def sorted_(ticks, offsets, handed):
        ticks, duplicates = new(ticks, offsets, handed)
        return ticks.taken(np.argsort(ticks.instrument_token, kind="stable")), duplicates

    monkeypatch.setattr(intake_module, "_new", sorted_)
    caught("I5", "I2")


def test_malformed_messages_are_counted_again_when_they_come_again(monkeypatch):
    monkeypatch.setattr(intake_module, "_malformed", lambda batch, handed: batch.malformed)
    caught("I9", near=10)


# -- what reaches a broker


def test_a_signal_in_doubt_is_sent_again_blindly():
    class Pretends(Through):
        guarantee = Idempotent()

    caught("I3", near=39, sink=Pretends)


def test_doubt_is_forgotten_on_restart():
    class Certain(Through):
        async def unsettled(self, broker, after, limit):
            found = await self.inner.unsettled(broker, after, limit)
            return [msgspec.structs.replace(each, fate=Fate.PENDING) for each in found]

    caught("I3", near=39, journal=Certain)


def test_a_signal_that_may_have_been_taken_is_called_dead(monkeypatch):
    monkeypatch.setattr(verdicts, "_given_up", lambda tried: Fate.DEAD)
    caught("I3", near=169)


def test_a_signal_is_given_up_before_the_pause_of_its_strategy_is_durable():
    def start(parts):
        make = parts.deliveries

        def deliveries(on_dead):
            async def not_waited_for(signals):
                told = asyncio.ensure_future(on_dead(signals))
                await asyncio.wait({told}, timeout=0)

            return make(not_waited_for)

        parts.deliveries = deliveries
        return Runner(parts)

    caught("I4", near=17, runner=start)


def test_a_signal_counts_as_taken_when_it_was_only_given_away():
    class Trusting(Through):
        async def send(self, signals):
            with suppress(Exception):
                await self.inner.send(signals)
            return [TAKEN] * len(signals)

    caught("I3", near=13, sink=Trusting)


def test_a_later_signal_overtakes_one_that_waits_for_another_attempt(monkeypatch):
    def pick(self, now, limit):
        ready = [
            each for each in self._waiting if self.tried.get(each.number) is None or self.tried[each.number].due <= now
        ]
        return self.take_out(ready[:limit])

    monkeypatch.setattr(OutboxWindow, "pick", pick)
    caught("I3", near=13)


def test_an_expired_signal_is_sent(monkeypatch):
    class Ageless:
        def now_ns(self):
            return 0

    def ageless(delivery):
        if isinstance(delivery, BrokerDelivery):
            delivery._clock = Ageless()
        return delivery

    caught("I6", near=5, deliveries=ageless)


def test_the_rate_limit_is_forgotten_on_restart(monkeypatch):
    monkeypatch.setattr(RateLimit, "fill", lambda self, now: None)
    caught("I6", near=47)


def test_the_kill_switch_is_forgotten_on_restart():
    class Forgets(Through):
        async def killed(self):
            await self.inner.killed()
            return False

    caught("I6", near=32, journal=Forgets)


def test_the_kill_switch_is_not_written_down():
    class Unwritten(Through):
        async def set_killed(self, killed):
            pass

    caught("I6", near=7, journal=Unwritten)


def test_the_kill_switch_waits_for_the_disk(monkeypatch):
    async def kill(self, *, on):
        await self._parts.journal.set_killed(on)
        await kill_(self, on=on)

    kill_ = Runner.kill
    monkeypatch.setattr(Runner, "kill", kill)
    caught("I6", near=450, ticks=200)


def test_a_mailbox_takes_whatever_comes(monkeypatch):
    async def put(self, parcel):
        self._add(parcel)

    async def late(self, at_most):
        await asyncio.sleep(20)
        return await take(self, at_most)

    take = Mailbox.take
    monkeypatch.setattr(Mailbox, "put", put)
    monkeypatch.setattr(Mailbox, "take", late)
    caught("I7", ticks=400)


def test_a_sink_that_cannot_be_opened_is_given_up_for_good(monkeypatch):
    opened = SinkCalls.open

    async def once(self):
        failed = await opened(self)
        if failed is not None:
            await asyncio.Event().wait()
        return failed

    monkeypatch.setattr(SinkCalls, "open", once)
    caught("I8", near=23, ticks=30)


def test_a_failing_history_is_made_small():
    class NoIntent(Through):
        async def sending(self, broker, first, last):
            pass

    seams = Seams(journal=NoIntent)
    found = caught("I4", journal=NoIntent)
    small = minimised(found, lambda ticks, only: history(found.seed, ticks=ticks, only=only, seams=seams, keep=True))
    assert {each.invariant for each in small.violations} >= {"I4"}
    assert not small.faults, "nothing has to go wrong for this one to show"
    assert small.ticks < 40
    assert len(small.lines) < 80
