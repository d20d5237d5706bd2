"""One history: processes of the service come and go in the world of a seed, until everything is done; then it is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from anystrat.adapters.signal_files.jsonl import signal_bodies
from anystrat.adapters.source_watch import WatchedFeed
from anystrat.bootstrap.models import ModelWatch
from anystrat.domain.intake import SourceFailed
from anystrat.domain.journal import JournalFailed, JournalRefused
from anystrat.domain.notices import Recovered
from anystrat.runner.delivery import BrokerDelivery, PaperDelivery
from anystrat.runner.parts import Delivery, OnDead, RunnerParts
from anystrat.runner.runner import Runner
from anystrat.testing.loop import Deadlock, Livelock, SimulatedLoop
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.faults import Faults
from anystrat.testing.simulate.invariants import check
from anystrat.testing.simulate.journal_port import SimulatedJournal
from anystrat.testing.simulate.operator import Operator
from anystrat.testing.simulate.process import Process, adopting, first_of
from anystrat.testing.simulate.scenario import Scenario, Subject, drawn, engines_of
from anystrat.testing.simulate.sink_port import SimulatedSink
from anystrat.testing.simulate.source_port import SimulatedSource
from anystrat.testing.simulate.trace import Trace
from anystrat.testing.simulate.world import Violation, World

if TYPE_CHECKING:
    from collections import Counter

    from anystrat.domain.delivery import Sink
    from anystrat.domain.intake import LiveSource
    from anystrat.domain.journal import Journal
    from anystrat.domain.notices import Notice
    from anystrat.runner.parcel import Parcel

TICKS: Final = 200
#: After the last fault, everything has to be done within so many simulated seconds.
_LIVELY_SEC: Final = 600.0
_LOOK_SEC: Final = 0.25
_DRAIN_SEC: Final = 2.0
#: Within so long a runner that was taken over has to have found that out.
_RETIRES_SEC: Final = 60.0
_MOST_TURNS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Seams:
    """Where a test puts something else in the place of a part, to see that the simulator finds what is wrong with it."""

    source: Callable[[LiveSource], LiveSource] = lambda source: source
    journal: Callable[[Journal], Journal] = lambda journal: journal
    sink: Callable[[Sink], Sink] = lambda sink: sink
    deliveries: Callable[[Delivery], Delivery] = lambda delivery: delivery
    runner: Callable[[RunnerParts], Runner] = Runner


@dataclass(frozen=True, slots=True)
class History:
    """What came of it."""

    seed: int
    ticks: int
    signals: int
    processes: int
    crashes: int
    seconds: float
    digest: str
    violations: tuple[Violation, ...]
    faults: tuple[str, ...]
    sometimes: Counter[str]
    lines: tuple[str, ...] = field(default=(), repr=False)


def history(
    seed: int,
    *,
    ticks: int = TICKS,
    only: Collection[str] | None = None,
    keep: bool = False,
    seams: Seams | None = None,
    subject: Subject | None = None,
) -> History:
    """Live through the history of a seed, and check it. The same arguments give the same one, anywhere.

    `only`: the faults that may happen, by name; None: all that the seed has. `keep`: with all its lines.
    `subject`: strategies of one's own in the place of drawn ones; their brokers are simulated, whatever their type.
    """
    loop = SimulatedLoop(turns=_MOST_TURNS)
    loop.set_exception_handler(lambda *_: None)  # what a killed process leaves behind is nobody's
    adopting(loop)
    trace = Trace(loop.time, keep=keep)
    try:
        asyncio.set_event_loop(loop)
        scenario = drawn(seed, ticks, subject)
        lives = _Lives(scenario, Faults(seed, only=only), trace, loop, seams or Seams())
        try:
            loop.run_until_complete(lives.run())
        except (Deadlock, Livelock) as error:
            lives.world.broken("I8", str(error))
        world = lives.world
        try:
            check(world, lives.last)
        finally:
            world.close()
        return History(
            seed,
            ticks,
            sum(len(each) for each in world.ledger.signals.values()),
            lives.processes,
            lives.crashes,
            loop.time(),
            trace.digest,
            tuple(world.violations),
            tuple(world.faults.injected),
            trace.sometimes,
            tuple(trace.lines),
        )
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class _Lives:
    """Starts the service again whenever it has ended, as a supervisor of services does."""

    def __init__(
        self,
        scenario: Scenario,
        faults: Faults,
        trace: Trace,
        loop: asyncio.AbstractEventLoop,
        seams: Seams,
    ) -> None:
        self.world = World(scenario, faults, trace, loop)
        self.processes = self.crashes = 0
        #: The runner that ended well.
        self.last: Runner | None = None
        self._seams = seams
        self._dice = Dice(scenario.seed, "lives")
        self._taken = asyncio.Event()
        self._retiring: list[tuple[Process, asyncio.Task[None]]] = []
        self._aside: list[asyncio.Future[None]] = []
        self._current: tuple[Process, Runner] | None = None
        #: A process that is newer than this one has met no fault at all.
        self._healed_from = 1 << 62
        self._heals_at = self.world.scenario.last_second * self._dice.between(0.7, 1.3)

    async def run(self) -> None:
        """Until everything is done, or should have been."""
        operator = Operator(self.world, lambda: self._current, self)
        self._aside += [asyncio.ensure_future(operator.run()), asyncio.ensure_future(self._heal(operator))]
        deadline = asyncio.ensure_future(asyncio.sleep(self._heals_at + _LIVELY_SEC))
        try:
            while not deadline.done() and not await self._life(deadline):  # noqa: ASYNC110  it is no polling
                await asyncio.sleep(self._dice.between(0.01, 1.5))
        finally:
            for each in (*self._aside, deadline):
                each.cancel()
        await self._retired()
        if self.last is None:
            self.world.broken("I8", f"not done {_LIVELY_SEC:g} s after the last fault: {self.world.undone()}")

    async def _life(self, deadline: asyncio.Future[None]) -> bool:
        """One process, from its start to its end; whether that was the end of everything."""
        world = self.world
        self.processes += 1
        process = Process(self.processes, Dice(world.scenario.seed, f"latency {self.processes}"))
        world.trace.say(f"{process} starts")
        runner = self._runner(process)
        world.runners[process] = runner
        self._current = (process, runner)
        task = process.spawn(runner.run())
        self._taken.clear()
        await first_of(_done(task), process.ended.wait(), _done(deadline), self._taken.wait())
        self._current = None
        if self._taken.is_set() and process.alive and not task.done():
            self._retiring.append((process, task))
            return False
        if task.done() and process.alive:
            self._ended(process, runner, task)
        elif not process.alive:
            self.crashes += 1
            world.trace.say(f"{process} is killed: {process.killed_by}")
            world.trace.happened(f"crash: {process.killed_by.removesuffix(process.killed_by.partition(' to ')[2])}")
        process.kill("")
        await process.buried()
        world.gone(process)
        return self.last is not None

    # -- others on the same journal --------------------------------------------------------------------------------

    def second(self) -> None:
        """Start one while the first one runs: it has to be refused."""
        if self.world.disk is None:  # there, the lock is waited for in real time
            self._aside.append(asyncio.ensure_future(self._refused()))

    async def _refused(self) -> None:
        world = self.world
        self.processes += 1
        process = Process(self.processes, Dice(world.scenario.seed, f"latency {self.processes}"))
        world.trace.say(f"{process} starts beside {world.ledger.owner}")
        task = process.spawn(self._runner(process).run())
        # Where the first one has just ended, it is not refused, and ended at once.
        await first_of(_done(task), process.ended.wait(), process.opened.wait())
        if task.done() and isinstance(task.exception(), JournalRefused):
            world.trace.happened("a second runner is refused")
        process.kill("")
        await process.buried()
        if world.ledger.owner is process:
            world.gone(process)

    def take_over(self) -> None:
        """The first one stands still and is taken for dead; it wakes up once another has its journal."""
        if self._current is None or not self.world.scenario.takeover:
            return
        process, _ = self._current
        if self.world.ledger.owner is not process:
            return  # it has taken nothing yet
        self.world.trace.happened("taken over")
        process.freeze()
        self.world.ledger.owner_lost = True
        self.world.lock_is_lost()
        self._taken.set()
        self.world.loop.call_later(self._dice.between(0.1, 6.0), process.thaw)

    async def _retired(self) -> None:
        """Those that were taken over find that out, and end."""
        for process, task in self._retiring:
            process.thaw()
            await first_of(_done(task), process.ended.wait(), asyncio.sleep(_RETIRES_SEC))
            if process.alive and not (task.done() and isinstance(task.exception(), JournalFailed | SourceFailed)):
                said = repr(task.exception()) if task.done() else "still runs"
                self.world.broken("I4", f"{process} was taken over, and {said}")
            process.kill("")
            await process.buried()
            self.world.gone(process)

    def _ended(self, process: Process, runner: Runner, task: asyncio.Task[None]) -> None:
        world = self.world
        error = task.exception()
        if error is None:
            world.trace.say(f"{process} ends: {runner.reason}")
            if world.finished.is_set():
                self.last = runner
            return
        world.trace.say(f"{process} fails: {type(error).__name__}: {error}")
        expected = isinstance(error, JournalFailed | JournalRefused | SourceFailed)
        if not expected or process.number > self._healed_from:
            world.broken("I8", f"a run ended with {type(error).__name__}: {error}")

    def _runner(self, process: Process) -> Runner:
        world, seams, scenario = self.world, self._seams, self.world.scenario
        setting = world.setting_in_force()
        configuration = setting.configuration
        engines, wiring = engines_of(setting, world.model_file)
        journal = seams.journal(SimulatedJournal(world.journal(process), process, world))
        source: LiveSource = SimulatedSource(process, world)
        if scenario.feed.stale_after_sec is not None:
            source = WatchedFeed(source, scenario.feed.stale_after_sec, tuple(scenario.messages))
        used = {executor.broker for engine in engines for executor in engine.executors}

        def hear(notice: Notice) -> None:
            if process.alive and isinstance(notice, Recovered) and notice.diverged:
                world.broken("I5", f"shard {notice.shard}: the inputs since the checkpoint led to other signals")

        def delivery(name: str, on_dead: OnDead) -> Delivery | None:
            settings = configuration.brokers.get(name)
            if settings is None:
                return None
            if settings.costs is not None:
                return seams.deliveries(PaperDelivery(name, journal))
            sink = seams.sink(SimulatedSink(world.brokers[name], process, world))
            random = Random(scenario.seed * 1_000 + process.number)  # noqa: S311  how long a retry waits
            return seams.deliveries(
                BrokerDelivery(
                    name,
                    "simulated",
                    sink,
                    journal,
                    clock=world.clock,
                    random=random,
                    options=settings.delivery,
                    on_dead=on_dead,
                )
            )

        def deliveries(on_dead: OnDead) -> Sequence[Delivery]:
            made = (delivery(name, on_dead) for name in configuration.brokers if name in used)
            return [each for each in made if each is not None]

        runner = seams.runner(
            RunnerParts(
                settings=configuration.run,
                fingerprint=setting.fingerprint,
                plan=setting.plan,
                engines=engines,
                source=seams.source(source),
                journal=journal,
                clock=world.clock,
                encode=signal_bodies,
                deliveries=deliveries,
                left_over=delivery,
                lifetime_ns={
                    name: round(each.delivery.expire_sec * 1e9)
                    for name, each in configuration.brokers.items()
                    if each.delivery.expire_sec is not None
                },
                listener=hear,
                models=ModelWatch(wiring.models, engines),
                feed=scenario.feed,
                drain_sec=_DRAIN_SEC,
                keep_inputs=scenario.keep_inputs,
                checkpoint_inputs=scenario.checkpoint_inputs,
            )
        )
        for mailbox, seconds in zip(runner.mailboxes, world.pace.shards, strict=True):
            if seconds:
                vars(mailbox)["take"] = _late(mailbox.take, process, seconds)
        return runner

    async def _heal(self, operator: Operator) -> None:
        """From a moment on nothing goes wrong; see then whether everything comes to its end."""
        world = self.world
        await asyncio.sleep(self._heals_at)
        world.faults.healed = True
        self._healed_from = self.processes
        world.trace.say("nothing goes wrong from here on")
        while world.undone():
            await operator.tidy_up()
            await asyncio.sleep(_LOOK_SEC)
        world.trace.say("everything is done")
        world.finished.set()


def _late(
    take: Callable[[int], Coroutine[None, None, list[Parcel]]], process: Process, seconds: float
) -> Callable[[int], Coroutine[None, None, list[Parcel]]]:
    """A mailbox whose shard comes back for more only after so long: the strategies of it took their time."""

    async def late(at_most: int) -> list[Parcel]:
        await process.reach(seconds)
        return await take(at_most)

    return late


async def _done(future: asyncio.Future[None]) -> None:
    await asyncio.wait({future})
