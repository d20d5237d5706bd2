"""A runner on a simulated loop: a source that is a list, a journal in memory, brokers that only note what they were handed."""

from __future__ import annotations

import asyncio
import random

import numpy as np

from anystrat.adapters.journal_memory import InMemoryJournal, MemoryStore
from anystrat.adapters.signal_files.jsonl import signal_bodies
from anystrat.bootstrap import default_wiring
from anystrat.bootstrap.running import build_engines, run_fingerprint
from anystrat.config import configuration_from_mapping
from anystrat.domain.health import BrokerHealth
from anystrat.domain.intake import TickBatch
from anystrat.runner.parts import RunnerParts
from anystrat.runner.plan import plan_shards
from anystrat.runner.runner import Runner
from anystrat.testing.loop import SimulatedClock


class Crashed(BaseException):
    """What a port answers after a crash, to code that is only being cleaned up."""


class Fence:
    """After a crash nothing leaves or enters."""

    def __init__(self):
        self.down = False

    async def hold(self):
        if self.down:
            raise Crashed


class SlowJournal:
    """A journal whose calls take their time, before and after they take effect."""

    def __init__(self, journal, fence, rng):
        self._journal, self._fence, self._rng = journal, fence, rng

    def __getattr__(self, name):
        found = getattr(self._journal, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def slowly(*args, **options):
            await asyncio.sleep(self._rng.random() * 0.01)
            await self._fence.hold()
            answer = await found(*args, **options)
            await asyncio.sleep(self._rng.random() * 0.01)
            await self._fence.hold()
            return answer

        return slowly


class ListSource:
    """Row `k` of a list of ticks has offset `k`; `sizes` are those of the batches. Remembers what was acknowledged."""

    resumable = True

    def __init__(self, block, sizes, *, fence=None, rng=None, notices=(), again=0.0):
        self.block, self.sizes, self.fence, self.rng = block, sizes, fence or Fence(), rng or random.Random(0)
        self.notices = dict(notices)
        self.again = again
        self.acknowledged = []

    async def batches(self, after):
        at = after.get("list", -1) + 1
        turn = 0
        while at < len(self.block):
            await asyncio.sleep(self.rng.random() * 0.005)
            await self.fence.hold()
            if at in self.notices:
                yield self.notices.pop(at)
            size = self.sizes[turn % len(self.sizes)]
            turn += 1
            yield self._batch(at, at + size)
            if self.rng.random() < self.again:
                yield self._batch(max(0, at - 3), at + size)
            at += size

    def _batch(self, start, stop):
        places = np.arange(start, min(stop, len(self.block)))
        return TickBatch("list", self.block.taken(places), places.astype(np.int64), int(places[-1]))

    async def acknowledge(self, partition, offset):
        await self.fence.hold()
        self.acknowledged.append(offset)

    async def close(self):
        pass


class NotingDelivery:
    """Notes what it was handed, in order."""

    def __init__(self, broker, journal):
        self.broker, self.journal = broker, journal
        self.taken = []
        self.on = True

    async def accept(self, signals):
        self.taken += signals

    async def run(self):
        await asyncio.Event().wait()

    async def drain(self, deadline_sec):
        pass

    def kill(self):
        self.on = False

    def unkill(self):
        self.on = True

    def recall(self):
        pass

    def health(self):
        return BrokerHealth(self.broker, "noting", queued=len(self.taken))


def configured(rows, **top):
    wiring = default_wiring()
    return configuration_from_mapping({"version": 1, "strategies": rows, **top}, wiring.catalog), wiring


class Rig:
    """Everything that outlives a crash: the store, the ticks. `start` makes a runner of it."""

    def __init__(self, rows, block, *, shards=1, overload="block", mailbox=4096, account=None, **options):
        self.configuration, self.wiring = configured(
            rows, run={"shards": shards, "overload": overload, "mailbox": mailbox}, account=account
        )
        self.block = block
        self.store = MemoryStore()
        self.options = options
        self.heard = []
        self.on_dead = None

    def start(self, source, *, fence=None, rng=None, journal=None):
        settings = self.configuration.run
        plan = plan_shards(
            self.configuration.strategies,
            settings.shards,
            settings.sharding,
            together=self.configuration.account is not None,
        )
        engines = build_engines(self.configuration, self.wiring, plan)
        if journal is None:
            journal = SlowJournal(InMemoryJournal(self.store), fence or Fence(), rng or random.Random(0))
        self.journal = journal
        self.deliveries = []

        def deliveries(on_dead):
            self.on_dead = on_dead
            brokers = sorted({broker for row in self.configuration.strategies for broker in row.active_brokers})
            self.deliveries = [NotingDelivery(broker, journal) for broker in brokers]
            return self.deliveries

        def left_over(broker, on_dead):
            return NotingDelivery(broker, journal) if broker in self.configuration.brokers else None

        return Runner(
            RunnerParts(
                settings=settings,
                fingerprint=run_fingerprint(plan, engines),
                plan=plan,
                engines=engines,
                source=source,
                journal=self.journal,
                clock=SimulatedClock(asyncio.get_running_loop()),
                encode=signal_bodies,
                deliveries=deliveries,
                left_over=left_over,
                listener=self.heard.append,
                **self.options,
            )
        )

    def accepted(self):
        """Every accepted signal that the journal holds, by broker, in the order of its numbers."""
        return {
            broker: [signals[number].signal_id for number in sorted(signals)]
            for broker, signals in self.store.signals.items()
        }


def replayed(rows, block, **top):
    """The ids that a plain replay of the ticks gives, by broker."""
    from anystrat.bootstrap import build_engine
    from anystrat.domain.outcomes import Emitted

    configuration, wiring = configured(rows, **top)
    engine = build_engine(configuration, wiring)
    found = {}
    for row in block.rows():
        for outcome in engine.step(row):
            if isinstance(outcome, Emitted):
                found.setdefault(outcome.signal.broker, []).append(outcome.signal.signal_id)
    return found, engine
