"""The runner: recovers, then lets ticks flow from the source through the shards and the journal to the brokers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from enum import Enum, auto
from typing import TYPE_CHECKING

from anystrat.domain.configuration import OnGap, OnStale
from anystrat.domain.errors import AnystratError
from anystrat.domain.events import (
    Command,
    DeliveryFailed,
    FeedFresh,
    FeedGap,
    FeedStale,
    Operation,
    RecordedEvent,
)
from anystrat.domain.health import ExecutorTally, HealthReport, JournalHealth, Phase, ShardHealth
from anystrat.domain.inputs import decoded_inputs
from anystrat.domain.intake import NoticeKind, SourceNotice
from anystrat.domain.journal import Fate, JournalRefused
from anystrat.domain.notices import (
    Draining,
    Listening,
    PartFailed,
    Recovered,
    ShardsAssigned,
    Started,
    Stopped,
    StrategyBlocks,
)
from anystrat.domain.outcomes import Noted, Outcome
from anystrat.engine.carrying import carry_over
from anystrat.engine.tally import tally_of
from anystrat.runner import processes
from anystrat.runner.acknowledging import Acknowledgements
from anystrat.runner.committer import Committer
from anystrat.runner.driver import EngineDriver
from anystrat.runner.feeds import Feeds
from anystrat.runner.housekeeping import LIVE_NS, Housekeeping
from anystrat.runner.intake import Intake
from anystrat.runner.mailbox import Mailbox
from anystrat.runner.parts import RunnerParts
from anystrat.runner.preloading import fill, preload
from anystrat.runner.quarantine import Quarantine
from anystrat.runner.recovery import recover
from anystrat.runner.shard import (
    TICKS_AT_ONCE,
    TICKS_AT_ONCE_INTERPRETED,
    Numbers,
    OutboxWriter,
    Shard,
)
from anystrat.runner.tally import Accounts, total

if TYPE_CHECKING:
    from anystrat.domain.account import AccountLimits
    from anystrat.domain.events import Reconfigured
    from anystrat.domain.journal import OutboxEntry, OutboxSignal
    from anystrat.domain.protocols import InferencePort
    from anystrat.engine.engine import Engine
    from anystrat.runner.parts import Models
    from anystrat.runner.plan import ShardPlan


class SourceEnd(Enum):
    """How a source came to its end by itself."""

    ENDED = auto()
    FAILED = auto()


class Runner:
    """One run of the service. `run` once; `stop`, `command`, `kill` and the questions at any time meanwhile."""

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts
        self.phase = Phase.STARTING
        self.killed = False
        self._group: asyncio.TaskGroup | None = None
        self.reason = ""
        self.problem: BaseException | None = None
        #: How the source came to its end; None while it has not.
        self.source_end: SourceEnd | None = None
        #: Called whenever the kill switch is turned, as it takes effect.
        self.on_switch: Callable[[bool], object] = lambda _on: None
        self._ending = asyncio.Event()
        acknowledgements = Acknowledgements()
        self.deliveries = {each.broker: each for each in parts.deliveries(self._dead)}
        self._committer = Committer(
            parts.journal, self.deliveries, acknowledgements, recorder=parts.recorder, on_commit=parts.on_commit
        )
        self.mailboxes = [Mailbox(parts.settings.mailbox, parts.settings.overload) for _ in parts.engines]
        self.shards: list[Shard] = []
        self._stalls: list[Counter[str]] = [Counter() for _ in parts.engines]
        self._feeds = Feeds()
        self._inference: InferencePort | None = None
        #: Where the source has to begin in a new run whose history is its own.
        self._begin_after: Mapping[str, int] = {}
        self._quarantine = Quarantine(parts.marks, self._say) if parts.marks is not None else None
        self._at_once = TICKS_AT_ONCE if parts.compiler is not None else TICKS_AT_ONCE_INTERPRETED
        self._intake = Intake(
            parts.plan, self.mailboxes, acknowledgements, parts.clock, on_notice=self._noticed, at_most=self._at_once
        )

    # -- the run ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Recover, run until the source ends or `stop` is called, drain, close. Raises what ended the run early."""
        parts, loop = self._parts, asyncio.get_running_loop()
        began = loop.time()
        try:
            await parts.journal.open(parts.fingerprint)
            await self._recover()
            async with asyncio.TaskGroup() as self._group:
                await self._flow(self._group)
        except BaseExceptionGroup as several:
            self._failed(_first(several))
            raise _first(several) from several
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self.phase = Phase.STOPPED if self.problem is None else Phase.FAILED
            await self._close()
            queued = sum(each.health().queued for each in self.deliveries.values())
            self._say(Stopped(self.reason, self.problem is None, queued, loop.time() - began))
        if self.problem is not None:
            raise self.problem

    def _failed(self, error: BaseException) -> None:
        if error is not self.problem:  # what a source failed of was said then
            self.problem = error
            self._say(PartFailed("runner", f"{type(error).__name__}: {error}", "the run ends"))

    async def _recover(self) -> None:
        parts = self._parts
        self.phase = Phase.RECOVERING
        await self._take_up_left_over()
        executors = sum(len(engine.executors) for engine in parts.engines)
        self._say(
            Started(
                parts.settings.name,
                parts.version,
                parts.source_name,
                parts.journal_name,
                tuple(self.deliveries),
                executors,
                len(parts.plan.shard_of),
            )
        )
        self._say(ShardsAssigned(parts.plan.sizes))
        self.killed = await parts.journal.killed()
        await processes.isolate(parts, parts.engines)
        await self._recover_shards()
        self._open_quarantine()
        if not self.killed and any(one.account.pressed for one in parts.engines if one.account is not None):
            # It was decided with a tick that is committed, and the process ended before the switch was kept by itself.
            self.killed = True
            await parts.journal.set_killed(True)
        for delivery in self.deliveries.values() if self.killed else ():
            delivery.kill()
        switch = Operation.KILL if self.killed else Operation.UNKILL
        for shard in self.shards:
            if shard.driver.engine.killed != self.killed:
                shard.mailbox.put_event(Command(switch, parts.clock.now_ns()))
        for shard in self.shards:
            if shard.driver.engine.waits_for_feed:
                # How silent the feed is, the source measures anew; nothing else would ever say that it is not.
                shard.mailbox.put_event(FeedFresh(parts.clock.now_ns()))
        self._models_serve(parts.models, first=False)
        await processes.settle(parts)
        processes.let_go_on(parts, self.shards)
        if parts.history is not None:
            self._intake.hand_over, self._begin_after = await preload(parts.history, self.shards, self._say)
        self._measure_inference()

    def _open_quarantine(self) -> None:
        """Learn what the process before died of, and mark from now on what may kill this one."""
        if self._quarantine is None:
            return
        try:
            self._quarantine.open([shard.watermarks for shard in self.shards])
        except OSError as error:
            consequence = "the run goes on; a tick that kills the process will not be found out"
            self._say(PartFailed("quarantine", f"{error.filename}: {error.strerror}", consequence))

    async def _recover_shards(self) -> None:
        """Make the shards, and bring each to where it was committed last."""
        parts, loop = self._parts, asyncio.get_running_loop()
        observers = (*parts.observers, self._account_observed) if self._has_account else parts.observers
        numbers = Numbers({broker: await parts.journal.last_number(broker) for broker in self.deliveries})
        outbox = OutboxWriter(parts.clock, numbers, parts.encode, parts.lifetime_ns)
        for number, engine in enumerate(parts.engines):
            shard = Shard(
                number,
                EngineDriver(engine, parts.compiler),
                self.mailboxes[number],
                self._committer,
                outbox,
                observers=observers,
                ticks_at_once=self._at_once,
                checkpoint_inputs=parts.checkpoint_inputs,
                quarantine=self._quarantine,
                offload=parts.offload,
                shards=len(parts.engines),
            )
            self.shards.append(shard)
            start = loop.time()
            record = await parts.journal.shard(number)
            restored = recover(shard, record)
            if parts.probe is not None:
                shard.driver.probe = parts.probe(engine)
            if record is not None:
                seconds, epoch = loop.time() - start, parts.journal.epoch
                self._say(Recovered(number, restored.inputs, seconds, epoch, restored.diverged))
            if parts.recorder is not None:
                await self._complete_recording(shard)

    async def _take_up_left_over(self) -> None:
        """What was accepted for a broker is delivered, also where no executor sends to it any more."""
        for broker, fates in (await self._parts.journal.fates()).items():
            waiting = fates.get(Fate.PENDING, 0) + fates.get(Fate.SENDING, 0)
            if not waiting or broker in self.deliveries:
                continue
            delivery = self._parts.left_over(broker, self._dead)
            if delivery is not None:
                self.deliveries[broker] = delivery
                continue
            self._say(
                PartFailed(
                    f"broker {broker}",
                    f"{waiting} accepted signals wait for it, and the configuration has no broker of this name",
                    "they stay in the journal until a start with that broker",
                )
            )

    async def _complete_recording(self, shard: Shard) -> None:
        """What was committed and not recorded before a crash is recorded now."""
        parts = self._parts
        assert parts.recorder is not None
        from_input = parts.recorder.next_input(shard.number)
        if from_input is None:
            parts.recorder.begin(shard.number, shard.next_input)
            return
        if from_input > shard.next_input:
            raise JournalRefused(
                f"the recording holds {from_input} inputs of shard {shard.number}, and the journal {shard.next_input}: they "
                "are not of one run, and nothing new would be recorded. Record into another directory"
            )
        async for first, _, data in parts.journal.inputs(shard.number, from_input):
            parts.recorder.take(shard.number, first, list(decoded_inputs(data)))

    async def _flow(self, group: asyncio.TaskGroup) -> None:
        parts = self._parts
        watermarks = [{**self._begin_after, **shard.watermarks} for shard in self.shards]
        after = self._intake.resume(watermarks, resumable=parts.source.resumable)
        delivering = [group.create_task(each.run(), name=f"broker {each.broker}") for each in self.deliveries.values()]
        committing = group.create_task(self._committer.run(parts.source), name="committer")
        sharding = [group.create_task(each.run(), name=f"shard {each.number}") for each in self.shards]
        house = Housekeeping(parts, self.shards, self._intake, self._committer, self._say)
        keeping = group.create_task(house.run(), name="housekeeping")
        taking = group.create_task(self._take_in(after), name="intake")
        self.phase = Phase.RUNNING
        await self._ending.wait()
        self.phase = Phase.DRAINING
        queued = sum(each.health().queued for each in self.deliveries.values())
        self._say(Draining(self.reason, parts.drain_sec, queued))
        giving_up = asyncio.get_running_loop().call_later(parts.drain_sec, parts.journal.give_up)
        for task in (taking, keeping):
            task.cancel()
            # Waited for from outside: awaited, its cancellation could not be told from that of the whole run.
            await asyncio.wait({task})
        if self._intake.hand_over is not None:
            self._intake.hand_over.end()
        await self._settled()
        house.move_idle()
        deadline = asyncio.get_running_loop().time() + parts.drain_sec
        for each in self.deliveries.values():
            await each.drain(max(0.0, deadline - asyncio.get_running_loop().time()))
        for task in delivering:
            task.cancel()
        # Only now: a delivery that gave up has an event for its shard.
        for mailbox in self.mailboxes:
            mailbox.close()
        for task in sharding:
            await task
        self._committer.close()
        await committing
        giving_up.cancel()

    async def _settled(self) -> None:
        """Wait until every tick that was read is handled, committed and handed to its delivery."""
        for mailbox in self.mailboxes:
            await mailbox.idle()
        await self._committer.idle()

    async def _take_in(self, after: Mapping[str, int]) -> None:
        try:
            await self._intake.run(self._parts.source, after)
        except AnystratError as error:
            self.problem, self.source_end = error, SourceEnd.FAILED
            self._say(PartFailed("source", str(error), "what is accepted is delivered, then the run ends"))
            self.stop("the source failed")
        else:
            self.source_end = SourceEnd.ENDED
            self._feeds.ended()
            self.stop("the source ended")

    async def _close(self) -> None:
        parts = self._parts
        await processes.close(parts)
        await parts.source.close()
        if parts.recorder is not None:
            parts.recorder.close()
        if self._quarantine is not None:
            self._quarantine.close()
        await parts.journal.close()

    # -- from outside ----------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Take no more ticks, deliver what is accepted, end. Calling it again changes nothing."""
        if not self._ending.is_set():
            self.reason = reason
            self._ending.set()

    @property
    def open(self) -> bool:
        """Whether the journal is held: only then can a command be kept."""
        return self.phase in {Phase.RECOVERING, Phase.RUNNING, Phase.DRAINING}

    @property
    def now_ns(self) -> int:
        """Wall time, by the run's clock."""
        return self._parts.clock.now_ns()

    @property
    def fingerprint(self) -> str:
        """What the journal is bound to."""
        return self._parts.fingerprint

    @property
    def plan(self) -> ShardPlan:
        """Which shard each instrument is in."""
        return self._parts.plan

    @property
    def recorded(self) -> bool:
        """Whether the run is being recorded."""
        return self._parts.recorder is not None

    @property
    def version(self) -> str:
        """The program's."""
        return self._parts.version

    @property
    def forgets(self) -> bool:
        """Whether what is accepted ends with the process."""
        return self._parts.journal_name == "memory"

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._ending.is_set()

    def listening(self, what: str, address: str) -> None:
        """Say that an endpoint of this service takes connections."""
        self._say(Listening(what, address))

    def blocked(self, strategy_id: str, tokens: Sequence[int], seconds: float, stack: str) -> None:
        """A watchdog found the loop standing still. Called from its thread: it counts, and says so."""
        shard = self._parts.plan.shard_of.get(tokens[0], 0) if tokens else 0
        self._stalls[shard][strategy_id or "anystrat"] += 1
        self._say(StrategyBlocks(strategy_id, shard, tokens[0] if tokens else 0, seconds, stack))

    def command(self, command: Command) -> None:
        """Let an operator's command take its place behind the ticks that wait."""
        for mailbox in self.mailboxes:
            mailbox.put_event(command)

    async def kill(self, *, on: bool) -> None:
        """The kill switch: no send begins from now on, and no signal is accepted; kept over restarts.

        On holds at once, off once it is durable; on return both are. Whoever calls last while others wait has it their way.
        Not before the journal is open.
        """
        self.killed = on
        self.on_switch(on)
        if on:
            for delivery in self.deliveries.values():
                delivery.kill()
            self.command(Command(Operation.KILL, self._parts.clock.now_ns()))
        await self._parts.journal.set_killed(on)
        if not on and not self.killed:
            for delivery in self.deliveries.values():
                delivery.unkill()
            self.command(Command(Operation.UNKILL, self._parts.clock.now_ns()))

    async def let_reduce_only(self, *, on: bool) -> None:
        """From its place behind the ticks that wait: let only those signals pass that reduce a position; durable on return.

        For a run with an account. Kept over restarts, and repeated by a replay on the same tick.
        """
        operation = Operation.REDUCE_ONLY if on else Operation.OPEN_AGAIN
        event, waiting = Command(operation, self._parts.clock.now_ns()), []
        for mailbox in self.mailboxes:
            waiting.append(asyncio.get_running_loop().create_future())
            mailbox.put_event(event, kept=waiting[-1])
        await asyncio.wait(waiting)

    @property
    def reduce_only(self) -> bool | None:
        """Whether an operator lets only those signals pass that reduce a position; None where there is no account."""
        accounts = [engine.account for engine in self._parts.engines if engine.account is not None]
        return any(each.reduce_only for each in accounts) if accounts else None

    @property
    def account(self) -> AccountLimits | None:
        """What all strategies together are held to."""
        return next((engine.account.limits for engine in self._parts.engines if engine.account is not None), None)

    @property
    def _has_account(self) -> bool:
        return any(engine.account is not None for engine in self._parts.engines)

    def _account_observed(self, outcomes: Sequence[Outcome]) -> None:
        """Where the account's limits turned the kill switch on, it is on for everything, and kept."""
        if self.killed or not any(isinstance(one, Noted) and one.details.get("by") == "account" for one in outcomes):
            return
        self.killed = True
        self.on_switch(True)
        for delivery in self.deliveries.values():
            delivery.kill()
        self.command(Command(Operation.KILL, self._parts.clock.now_ns()))
        assert self._group is not None
        self._group.create_task(self._parts.journal.set_killed(True), name="kill switch")

    async def reconfigure(
        self, plan: ShardPlan, engines: Sequence[Engine], event: Reconfigured, models: Models | None
    ) -> None:
        """Let other engines decide from the next tick on; durable on return. What is the same in both goes on.

        The plan has as many shards, and every instrument where it was. Raises `SnapshotRefused`, with nothing changed, for
        a model that served and cannot be had any more.
        """
        parts = self._parts
        await processes.isolate(parts, engines)
        async with AsyncExitStack() as at_rest:
            for shard in self.shards:
                await at_rest.enter_async_context(shard.at_work)
            for shard, engine in zip(self.shards, engines, strict=True):
                carry_over(shard.driver.engine, engine)
            # From here to the committer nothing waits: every shard is between two steps, and no other step comes between.
            parts.plan, parts.fingerprint, parts.models = plan, event.after, models
            parts.engines = engines
            self._intake.use(plan)
            works = []
            for shard, engine in zip(self.shards, engines, strict=True):
                driver = EngineDriver(engine, parts.compiler)
                if parts.probe is not None:
                    driver.probe = parts.probe(engine)
                works.append(shard.reconfigured(driver, event))
            for work in works:
                self._committer.add(work)
            self._measure_inference()
            self._models_serve(models, first=True)
        await processes.settle(parts)
        await self._committer.idle()

    def _models_serve(self, models: Models | None, *, first: bool) -> None:
        """Say in every shard which versions serve: behind what waits there, or before it (`first`)."""
        for event in models.at_start(self._parts.clock.now_ns()) if models is not None else ():
            for shard in self.shards:
                put = shard.mailbox.put_first if first else shard.mailbox.put_event
                put(event)

    def _measure_inference(self) -> None:
        """Hand what measures deadlines to the shards that have some."""
        parts = self._parts
        if parts.inference is None or not any(shard.has_deadlines for shard in self.shards):
            return
        if self._inference is None:
            self._inference = parts.inference()
        for shard in self.shards:
            shard.driver.engine.use_inference(self._inference)

    async def dead_letters(self, broker: str | None = None) -> Sequence[OutboxEntry]:
        """Signals that are DEAD or UNKNOWN, in order."""
        return await self._parts.journal.dead_letters(broker)

    async def revive(self, broker: str, numbers: Sequence[int], expires_ns: int) -> int:
        """Have dead letters of a broker sent again, under their ids; how many."""
        revived = await self._parts.journal.revive(broker, numbers, expires_ns)
        if revived and broker in self.deliveries:
            self.deliveries[broker].recall()
        return revived

    async def _dead(self, signals: Sequence[OutboxSignal]) -> None:
        """Signals go to the dead letters: their strategies are paused. Returns once that is committed."""
        loop, waiting = asyncio.get_running_loop(), []
        for signal in signals:
            shard = self._parts.plan.shard_of.get(signal.instrument_token, 0)
            event = DeliveryFailed(signal.ts_ns, signal.strategy_id, signal.broker, signal.signal_id)
            waiting.append(loop.create_future())
            self.mailboxes[shard].put_event(event, kept=waiting[-1])
        await asyncio.wait(waiting)

    def _noticed(self, notice: SourceNotice) -> None:
        parts = self._parts
        self._feeds.noticed(notice)
        self._say(notice)
        now, details = parts.clock.now_ns(), {"partition": notice.partition, **notice.details}
        on_gap = parts.feed.on_gap
        event: RecordedEvent
        if notice.kind is NoticeKind.GAP:
            event = FeedGap(now, None, on_gap in {OnGap.REWARM, OnGap.BACKFILL}, details)
        elif notice.kind is NoticeKind.STALE:
            event = FeedStale(now, parts.feed.on_stale is OnStale.PAUSE, details)
        elif notice.kind is NoticeKind.FRESH:
            event = FeedFresh(now)
        else:
            return
        for shard in self.shards:
            shard.mailbox.put_event(event)
            if notice.kind is NoticeKind.GAP and on_gap is OnGap.PAUSE:
                shard.mailbox.put_event(Command(Operation.PAUSE, now))
            elif notice.kind is NoticeKind.GAP and on_gap is OnGap.BACKFILL and parts.history is not None:
                fill(shard, parts.history)

    # -- questions -------------------------------------------------------------------------------------------------

    @property
    def accounts(self) -> Accounts:
        """Where every tick went so far."""
        return total([shard.accounts for shard in self.shards])

    def health(self) -> HealthReport:
        """How every part is, now."""
        parts = self._parts
        now = parts.clock.now_ns()
        sizes = parts.plan.sizes
        shards = []
        for shard in self.shards:
            engine = shard.driver.engine
            latest = engine.latest_ts()
            lag = (now - latest) / 1e9 if latest and abs(now - latest) < LIVE_NS else None
            shards.append(
                ShardHealth(
                    shard.number,
                    sizes[shard.number],
                    len(engine.executors),
                    shard.mailbox.waiting_ticks,
                    shard.mailbox.capacity,
                    engine.ticks,
                    lag,
                    shard.tally.shed,
                    stalls=dict(self._stalls[shard.number]),
                )
            )
        journal = JournalHealth(parts.journal_name, parts.journal.epoch, self._committer.waiting, parts.journal.problem)
        feeds = self._feeds.health(self._intake.heard, now)
        brokers = tuple(each.health() for each in self.deliveries.values())
        apart = () if parts.processes is None else parts.processes.health()
        return HealthReport(parts.settings.name, self.phase, tuple(shards), feeds, journal, brokers, self.killed, apart)

    def executors(self) -> Iterable[ExecutorTally]:
        """What every executor did, all shards together."""
        for shard in self.shards:
            yield from map(tally_of, shard.driver.engine.executors)

    def tick_drops(self) -> Mapping[str, int]:
        """Dropped ticks by reason, all shards together."""
        return Counter(self.accounts.dropped)

    def _say(self, notice: object) -> None:
        if self._parts.listener is not None:
            self._parts.listener(notice)  # type: ignore[arg-type]  # each caller gives one of the notices


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that the others followed from: the first that is no group itself."""
    error: BaseException = several
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
