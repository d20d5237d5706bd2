"""From a checked configuration to wired objects: the one place that knows adapters, models and plug-ins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from anystrat.domain.configuration import (
    BrokerSettings,
    Configuration,
    FeatureStoreSettings,
    InstrumentSpec,
    PaperCosts,
    SourceSettings,
    StrategyConfig,
)
from anystrat.domain.endpoints import MemoryFeatures, RedisFeatureStore
from anystrat.domain.errors import CalendarRefused, ConfigurationError, ModelRefused, Problem, UnknownName
from anystrat.domain.protocols import FeatureStore, MLCapable, StrategyProcessor, fulfils
from anystrat.engine.engine import Engine
from anystrat.strategies.catalog import BuildContext, Catalog, Kind, ModelShelf

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anystrat.adapters.onnx_batches import BatchReport
    from anystrat.adapters.signal_files import SignalWriter as SignalWriter
    from anystrat.adapters.tick_files import TickReader as TickReader
    from anystrat.domain.clock import Clock
    from anystrat.domain.delivery import Sink
    from anystrat.domain.intake import LiveSource
    from anystrat.domain.protocols import Compiler, InferencePort, SessionClock
    from anystrat.engine.executor import StrategyExecutor


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A strategy that does not take part because its model does not load (`on_model_failure: skip`)."""

    strategy_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Degraded:
    """A hybrid that goes on with its rules alone because its model does not load (`on_model_failure: rules_only`)."""

    strategy_id: str
    reason: str


@dataclass(slots=True)
class Wiring:
    """What strategies are built from, and what came of it."""

    catalog: Catalog
    models: ModelShelf
    left_out: list[LeftOut] = field(default_factory=list)
    degraded: list[Degraded] = field(default_factory=list)
    features: FeatureStore | None = None

    def use(self, configuration: Configuration) -> None:
        """Take over what strategies share and the configuration names: its feature store. Before the first row."""
        if configuration.feature_store is not None and self.features is None:
            self.features = feature_store(configuration.feature_store)

    def add_row(
        self,
        engine: Engine,
        row: StrategyConfig,
        brokers: Mapping[str, BrokerSettings],
        *,
        tokens: Sequence[int] | None = None,
    ) -> list[StrategyExecutor]:
        """Register the row's executors, one a broker (and instrument, with `per_instrument`), in the row's order.

        `tokens`: only those of its instruments, where the others are another engine's. Raises `ConfigurationError` where the processor refuses an instrument or a broker; nothing is registered then.
        """
        if not row.enabled:
            return []
        made = self._built(row)
        if made is None:
            return []
        build, kind = made
        watched = row.instrument_tokens if tokens is None else tuple(tokens)
        groups: list[tuple[int, ...]] = [(token,) for token in watched] if row.per_instrument else [watched]
        wanted = [(broker, tokens, build()) for broker in row.active_brokers for tokens in groups]
        problems = [
            problem for broker, tokens, processor in wanted for problem in _refused(row, broker, tokens, processor)
        ]
        if problems:
            raise ConfigurationError(problems)
        validator = self.catalog.validator(row.validator)
        return [
            engine.register(
                row,
                broker,
                processor,
                kind=kind,
                costs=costs_of(brokers, broker),
                validator=validator.build() if validator is not None else None,
                tokens=tokens,
            )
            for broker, tokens, processor in wanted
        ]

    def _built(self, row: StrategyConfig) -> tuple[Callable[[], StrategyProcessor], Kind] | None:
        entry = self.catalog.strategy(row.strategy_type)
        context = BuildContext(self.catalog, self.models, self.features, row.strategy_id)

        def build() -> StrategyProcessor:
            return entry.build(row.parameters, context)

        failure = model_failure(build())
        if failure is None:
            return build, entry.kind
        if getattr(row.parameters, "on_model_failure", "skip") == "rules_only":
            _say_once(self.degraded, Degraded(row.strategy_id, failure))
            return lambda: context.build(row.parameters.rules), "rules"
        _say_once(self.left_out, LeftOut(row.strategy_id, failure))
        return None


def _say_once(said: list[Any], what: LeftOut | Degraded) -> None:
    """A row of `per_instrument` may be registered in several engines."""
    if what not in said:
        said.append(what)


def model_failure(processor: StrategyProcessor) -> str | None:
    """Why the processor's model does not load; None where it loads or where there is none."""
    if not fulfils(processor, MLCapable):
        return None
    try:
        if processor.load_model():
            return None
    except ModelRefused as error:
        return str(error)
    # A hybrid answers for its ML part, which knows why.
    reasons = (getattr(each, "model_error", None) for each in (processor, getattr(processor, "ml", None)))
    return next((str(reason) for reason in reasons if reason), "load_model() answered False")


def costs_of(brokers: Mapping[str, BrokerSettings], name: str) -> PaperCosts:
    """A paper broker's own costs; for any other broker those of `paper`, with which its paper positions are kept."""
    for candidate in (name, "paper"):
        settings = brokers.get(candidate)
        if settings is not None and settings.costs is not None:
            return settings.costs
    return PaperCosts()


def build_engine(
    configuration: Configuration,
    wiring: Wiring,
    *,
    sessions: SessionClock | None = None,
    seeded_as: Mapping[str, str] | None = None,
) -> Engine:
    """An engine with every enabled strategy of the configuration registered, in the order of its rows.

    `seeded_as` names, by strategy, the one whose seed it is to have.
    """
    engine = Engine(
        {spec.token: spec for spec in configuration.instruments},
        sessions=sessions,
        rng_seed=configuration.run.rng_seed,
        seeded_as=seeded_as,
        account=configuration.account,
    )
    wiring.use(configuration)
    for row in configuration.strategies:
        wiring.add_row(engine, row, configuration.brokers)
    return engine


def feature_store(settings: FeatureStoreSettings) -> FeatureStore:
    """The feature store that a configuration names."""
    from anystrat.adapters.feature_memory import FeatureMemory

    options = settings.options
    if isinstance(options, RedisFeatureStore):
        from anystrat.adapters.redis_features import RedisFeatures

        return RedisFeatures(
            options.url.reveal(),
            size=options.size,
            prefix=options.prefix,
            ttl_sec=options.ttl_sec,
            timeout_sec=options.timeout_sec,
        )
    assert isinstance(options, MemoryFeatures)
    return FeatureMemory(options.size)


def session_clock(configuration: Configuration) -> SessionClock | None:
    """A clock for the calendars that the instruments name; None where none does. Raises `MissingExtra`."""
    instruments, settings = configuration.instruments, configuration.sessions
    calendars = {spec.token: spec.calendar for spec in instruments if spec.calendar is not None}
    if not calendars:
        return None
    from anystrat.adapters.calendars import PREOPEN_MINUTES, CalendarClock

    try:
        return CalendarClock(calendars, {**PREOPEN_MINUTES, **settings.preopen_minutes}, settings.overrides)
    except CalendarRefused as error:
        raise ConfigurationError(
            [
                Problem(str(error), path=f"instruments[{place}].calendar")
                for place, spec in enumerate(instruments)
                if spec.calendar == error.calendar
            ]
        ) from error
    except UnknownName as error:
        close = get_close_matches(error.found, error.allowed, n=3)
        raise ConfigurationError(
            [
                Problem(
                    f"unknown calendar {error.found!r}",
                    path=f"instruments[{place}].calendar",
                    allowed=f"the calendars of exchange_calendars; near to it: {', '.join(close) or 'none'}",
                )
                for place, spec in enumerate(instruments)
                if spec.calendar == error.found
            ]
        ) from error


def open_ticks(paths: Iterable[str | os.PathLike[str]], *, block_rows: int = 65_536) -> TickReader:
    """The ticks of one or several files, merged by time. Raises `TickFileError`, `MissingExtra`."""
    from anystrat.adapters.tick_files import open_ticks as opened

    return opened(paths, block_rows=block_rows)


def open_source(
    settings: SourceSettings,
    instruments: Sequence[int] = (),
    *,
    clock: Clock | None = None,
    catalog: Catalog | None = None,
    specs: Iterable[InstrumentSpec] = (),
) -> LiveSource:
    """Where live ticks come from: a built-in source, or a plug-in's; `instruments` are those that the strategies watch.

    `specs` give a source that names symbols their tokens. Nothing is connected before its `batches` are asked for. Raises `SourceFailed`, `TickFileError`, `MissingExtra`, and what
    a plug-in's builder raises.
    """
    from anystrat.adapters.sources import open_source as opened
    from anystrat.adapters.sources import plugged

    plugin = (catalog or default_catalog()).sources.get(settings.type)
    if plugin is not None:
        return plugged(plugin.build(settings.options), settings, instruments)
    symbols = {spec.symbol: spec.token for spec in specs if spec.symbol}
    return opened(settings, instruments, clock=clock, symbols=symbols)


def open_sink(
    settings: BrokerSettings,
    catalog: Catalog | None = None,
    *,
    log: FilteringBoundLogger | None = None,
    clock: Clock | None = None,
) -> Sink:
    """Where a broker's signals go: a built-in sink, or the publisher that a plug-in makes; none for type paper.

    `log` is where type `log` writes. Nothing is connected before its `open`. Raises `BrokerNotThere`, `MissingExtra`, and what a plug-in's builder raises.
    """
    publisher = (catalog or default_catalog()).publishers.get(settings.type)
    if publisher is not None:
        from anystrat.adapters.sink_publisher import PublisherSink

        made: Any = publisher.build(settings.options)
        return made if hasattr(made, "send") else PublisherSink(made)
    from anystrat.adapters.sinks import builtin_sink
    from anystrat.observability.records import logger

    return builtin_sink(settings, log or logger(getattr(settings.options, "level", "info")), clock=clock)


def open_signals(path: str | os.PathLike[str], *, reasons: bool = False, drops: bool = False) -> SignalWriter:
    """A writer of signals, or of drops, by the file's suffix. Raises `SignalFileError`, `MissingExtra`."""
    from anystrat.adapters.signal_files import open_signals as opened

    return opened(path, reasons=reasons, drops=drops)


def live_inference() -> InferencePort:
    """What measures inference deadlines in a live run; give it to `Engine.use_inference`. It keeps one thread."""
    from anystrat.adapters.inference_threads import ThreadedInference

    return ThreadedInference()


def kernel_compiler(on_cold: Callable[[str], None] | None = None) -> Compiler | None:
    """What makes block evaluation quick, or None without the extra `fast`; `on_cold` hears of each kernel compiled anew."""
    from anystrat.adapters.numba_kernels import numba_compiler

    return numba_compiler(on_cold)


def inspect_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file needs, gives and says about itself. Raises `ModelRefused`, `MissingExtra`."""
    from anystrat.adapters.model_facts import model_facts

    return model_facts(path)


def verify_model(path: str | os.PathLike[str], rows: int = 2048) -> BatchReport:
    """How a model's rows, one by one, compare with batches. Raises `ModelRefused`, `MissingExtra`."""
    from anystrat.adapters.onnx_batches import verify_batching
    from anystrat.adapters.onnx_model import load_onnx

    return verify_batching(load_onnx(path), rows)


def default_wiring(catalog: Catalog | None = None, *, model_store: str | os.PathLike[str] | None = None) -> Wiring:
    """The catalogue of everything that is registered, and a shelf of ONNX models that loads nothing before it is asked.

    `model_store` is the directory for the bytes of every model that is loaded, by hash: see `bootstrap.models`.
    """
    from anystrat.adapters.model_shelf import OnnxShelf
    from anystrat.adapters.model_store import ModelStore

    store = ModelStore(model_store) if model_store is not None else None
    return Wiring(catalog or default_catalog(), OnnxShelf(store=store))


def default_catalog() -> Catalog:
    """The built-in strategies and policies, those registered by call, and those of installed plug-ins."""
    from anystrat.plugins import catalog

    return catalog()


def _refused(row: StrategyConfig, broker: str, tokens: tuple[int, ...], processor: StrategyProcessor) -> list[Problem]:
    place = f"strategy {row.strategy_id!r}"
    problems = [
        Problem(f"{row.strategy_type} does not support this instrument", path=f"{place}.instruments", found=str(token))
        for token in tokens
        if not processor.supports_instrument(token)
    ]
    ml: Any = getattr(processor, "ml", processor)
    if row.isolation is not None and getattr(ml, "inference_deadline_ns", None) is not None:
        what = "an isolated strategy has one deadline, over a whole evaluation: leave `inference_deadline_ms` out"
        problems.append(Problem(what, path=f"{place}.isolate"))
    supports_broker: Any = getattr(processor, "supports_broker", None)
    if supports_broker is not None and not supports_broker(broker):
        problems.append(
            Problem(f"{row.strategy_type} does not support this broker", path=f"{place}.brokers", found=broker)
        )
    return problems


__all__ = [
    "Degraded",
    "LeftOut",
    "Wiring",
    "build_engine",
    "costs_of",
    "default_catalog",
    "default_wiring",
    "inspect_model",
    "kernel_compiler",
    "live_inference",
    "model_failure",
    "open_signals",
    "open_sink",
    "open_source",
    "open_ticks",
    "session_clock",
    "verify_model",
]
