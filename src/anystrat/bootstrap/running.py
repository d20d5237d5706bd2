"""From a configuration to a runner that is ready to go: engines by shard, and what stands at their ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anystrat
from anystrat.adapters.offload import in_a_thread
from anystrat.adapters.signal_files.jsonl import signal_bodies
from anystrat.adapters.sink_fenced import FencedSink
from anystrat.adapters.system_clock import SystemClock
from anystrat.adapters.watchdog import Watchdog
from anystrat.bootstrap import Wiring, live_inference, open_sink, open_source, session_clock
from anystrat.bootstrap.history import open_history
from anystrat.bootstrap.isolating import IsolatedStrategies
from anystrat.bootstrap.journals import kept, open_journal, open_marks
from anystrat.bootstrap.models import ModelWatch, models_directory
from anystrat.bootstrap.recording import open_recorder
from anystrat.domain.configuration import BrokerSettings, Configuration, SourceSettings
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.notices import JournalWeak, PartFailed
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import fingerprint
from anystrat.runner.delivery import BrokerDelivery, PaperDelivery
from anystrat.runner.parts import Delivery, OnDead, RunnerParts
from anystrat.runner.plan import ShardPlan, in_shard, plan_shards
from anystrat.runner.runner import Runner

if TYPE_CHECKING:
    from anystrat.adapters.postgres_leases import Claim
    from anystrat.adapters.recording import RecordingFailed
    from anystrat.bootstrap.observing import Observation
    from anystrat.control.stream import OutcomeStream
    from anystrat.domain.clock import Clock
    from anystrat.domain.intake import LiveSource
    from anystrat.domain.journal import Journal
    from anystrat.domain.notices import Listener, Notice
    from anystrat.domain.protocols import Compiler, HistoryProvider
    from anystrat.observability.notifier import Notifier
    from anystrat.runner.shard import Observer
    from anystrat.strategies.catalog import Catalog


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is given beside its configuration. `random` decides nothing but how long a retry waits."""

    clock: Clock
    compiler: Compiler | None = None
    observation: Observation | None = None
    record: Path | None = None
    history: HistoryProvider | None = None
    drain_sec: float = 10.0
    random: Random = field(default_factory=Random)
    #: What the control API tells of.
    stream: OutcomeStream | None = None
    #: What tells people.
    notifier: Notifier | None = None
    #: Of a part of a run: why nothing may be sent now, and what its journal is taken over with.
    fence: Callable[[], str] | None = None
    claim: Claim | None = None
    #: Of a worker: makes of the source what the worker takes of it.
    share: Callable[[LiveSource], LiveSource] | None = None


def system_clock() -> Clock:
    """The machine's wall clock."""
    return SystemClock()


def build_runner(configuration: Configuration, wiring: Wiring, options: RunOptions) -> Runner:
    """A runner of the configuration; nothing is connected, opened or read before it runs.

    Raises `ConfigurationError` without a source, `MissingExtra`, `SourceFailed`, `TickFileError`.
    """
    if configuration.source is None:
        raise ConfigurationError(
            [
                Problem(
                    "a run needs a source of ticks, and there is none",
                    file=str(configuration.files[0]) if configuration.files else "",
                    path="source",
                    allowed="{type: synthetic}, {type: file, path: …}, {type: stdin}, {type: nats, …}",
                )
            ]
        )
    run, source = configuration.run, configuration.source
    plan = plan_shards(configuration.strategies, run.shards, run.sharding, together=configuration.account is not None)
    engines = build_engines(configuration, wiring, plan)
    for engine in engines:
        engine.use_compiler(options.compiler)
    bound_to = run_fingerprint(plan, engines)
    feed = open_source(
        source, tuple(plan.shard_of), clock=options.clock, catalog=wiring.catalog, specs=configuration.instruments
    )
    recorder = None
    if options.record is not None:
        recorder = open_recorder(
            options.record,
            shards=plan.count,
            fingerprint=bound_to,
            name=run.name,
            clock=options.clock,
            on_failure=lambda error: _unrecorded(error, _listener(options)),
        )
    listener = _listener(options)

    def weak(settings: str) -> None:
        if listener is not None:
            listener(JournalWeak(settings))

    journal = open_journal(configuration.journal, options.claim, on_weak=weak)
    keep_inputs, keep_settled = kept(configuration.journal)
    used = _brokers_of(engines, configuration.brokers)
    watching = options.observation
    if watching is not None:
        watching.outcome_log.registered([executor for engine in engines for executor in engine.executors])

    def deliveries(on_dead: OnDead) -> Sequence[Delivery]:
        return [_delivery(settings, wiring.catalog, journal, on_dead, options) for settings in used]

    def left_over(broker: str, on_dead: OnDead) -> Delivery | None:
        settings = configuration.brokers.get(broker)
        return None if settings is None else _delivery(settings, wiring.catalog, journal, on_dead, options)

    return Runner(
        RunnerParts(
            settings=run,
            fingerprint=bound_to,
            plan=plan,
            engines=engines,
            source=feed if options.share is None else options.share(feed),
            journal=journal,
            clock=options.clock,
            encode=signal_bodies,
            deliveries=deliveries,
            left_over=left_over,
            lifetime_ns={
                each.name: round(each.delivery.expire_sec * 1e9)
                for each in configuration.brokers.values()
                if each.delivery.expire_sec is not None
            },
            compiler=options.compiler,
            observers=_observers(options),
            listener=_listener(options),
            probe=None if watching is None else watching.probe,
            recorder=recorder,
            history=options.history or _history(configuration, source, engines, options.clock),
            models=ModelWatch(wiring.models, engines),
            marks=open_marks(configuration),
            inference=live_inference,
            processes=IsolatedStrategies(wiring.catalog, models_directory(configuration)),
            offload=in_a_thread,
            on_commit=None if watching is None or watching.meter is None else watching.meter.committed,
            version=anystrat.__version__,
            source_name=source.type,
            journal_name="memory" if configuration.journal is None else configuration.journal.type,
            feed=source.feed,
            drain_sec=options.drain_sec,
            keep_inputs=keep_inputs,
            keep_settled=keep_settled,
        )
    )


def _observers(options: RunOptions) -> Sequence[Observer]:
    return (
        *(() if options.observation is None else options.observation.observers),
        *(() if options.notifier is None else (options.notifier.take,)),
        *(() if options.stream is None else (options.stream.take,)),
    )


def _listener(options: RunOptions) -> Listener | None:
    """Who hears the runner's notices."""
    heard = [
        *(() if options.observation is None else (options.observation.listener,)),
        *(() if options.notifier is None else (options.notifier.hear,)),
        *(() if options.stream is None else (options.stream.hear,)),
    ]

    def all_of_them(notice: Notice) -> None:
        for each in heard:
            each(notice)

    return all_of_them if heard else None


def watchdog(configuration: Configuration, runner: Runner) -> Watchdog:
    """A thread that names the strategy that holds the event loop."""
    return Watchdog(configuration.run.watchdog_sec, runner.blocked)


def build_engines(configuration: Configuration, wiring: Wiring, plan: ShardPlan) -> list[Engine]:
    """One engine a shard, each with the executors of its instruments, in the order of the configuration's rows."""
    sessions = session_clock(configuration)
    instruments = {spec.token: spec for spec in configuration.instruments}
    wiring.use(configuration)
    engines = []
    for shard in range(plan.count):
        engine = Engine(
            instruments, sessions=sessions, rng_seed=configuration.run.rng_seed, account=configuration.account
        )
        mine = plan.tokens_of(shard)
        for row in configuration.strategies:
            tokens = in_shard(row, mine)
            if tokens:
                wiring.add_row(engine, row, configuration.brokers, tokens=tokens)
        engines.append(engine)
    return engines


def run_fingerprint(plan: ShardPlan, engines: Sequence[Engine]) -> str:
    """What a journal's state is bound to: the shards, and in each the executors with their parameters and limits."""
    parts = [f"{plan.count} {plan.sharding.value}", *(fingerprint(engine) for engine in engines)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _history(
    configuration: Configuration, source: SourceSettings, engines: Sequence[Engine], clock: Clock
) -> HistoryProvider | None:
    if configuration.history is None:
        return None
    wanted = {
        token: window.capacity
        for engine in engines
        for token, window in zip(engine.tokens, engine.windows, strict=True)
    }
    return open_history(configuration.history, wanted, source, clock)


def _unrecorded(error: RecordingFailed, listener: Listener | None) -> None:
    """A full disk under a recording is no reason to stop trading; what is missing then is in the journal."""
    if listener is not None:
        listener(
            PartFailed("recording", str(error), "the run goes on; the next start records what the journal still keeps")
        )


def _brokers_of(engines: Iterable[Engine], brokers: Mapping[str, BrokerSettings]) -> list[BrokerSettings]:
    """The brokers that executors send to, in the order of the configuration."""
    named = {executor.broker for engine in engines for executor in engine.executors}
    return [settings for name, settings in brokers.items() if name in named]


def _delivery(
    settings: BrokerSettings,
    catalog: Catalog,
    journal: Journal,
    on_dead: OnDead,
    options: RunOptions,
) -> Delivery:
    if settings.costs is not None:
        return PaperDelivery(settings.name, journal)
    log = None if options.observation is None else options.observation.log
    sink = open_sink(settings, catalog, log=log, clock=options.clock)
    return BrokerDelivery(
        settings.name,
        settings.type,
        sink if options.fence is None else FencedSink(sink, options.fence),
        journal,
        clock=options.clock,
        random=options.random,
        options=settings.delivery,
        on_dead=on_dead,
        listener=_listener(options),
        meter=None if options.observation is None else options.observation.meter,
    )
