"""The synchronous face of the engine: register rows, push ticks, get signals. No server, no event loop, no threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from anystrat.bootstrap import (
    Wiring,
    build_engine,
    default_wiring,
    kernel_compiler,
    open_ticks,
    session_clock,
)
from anystrat.bootstrap.models import ModelWatch
from anystrat.config import configuration_from_mapping, load_configuration, row_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.events import Event
from anystrat.domain.outcomes import Emitted, Filled, Outcome
from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.observability.log import OutcomeLog
from anystrat.strategies.catalog import StrategyType

if TYPE_CHECKING:
    from anystrat.domain.protocols import InferencePort
    from anystrat.domain.signal import EmittedSignal
    from anystrat.engine.executor import StrategyExecutor

Observer = Callable[[Sequence[Outcome]], object]
#: With fewer ticks than this, loading the compiler would take longer than it saves.
_WORTH_COMPILING: Final = 20_000
TickPath = str | os.PathLike[str]


class StrategyRunnerService:
    """Routes ticks to the registered strategies and answers with the signals that they emit.

    It is the very engine that replay and the live runner drive: the same rows and ticks give the same signals, ids
    included. `observers` are called with the outcomes of every event; without any, transitions, dropped signals and
    strategy errors go to the log.

    `directory` is what relative paths of rows (a `model_path`) are relative to. `compiled` says whether a tick goes
    through all strategies of its instrument in one compiled call (extra `fast`; without it nothing changes): True from
    the first tick on, False never, "auto" once so many ticks have passed that it pays. Signals are the same. Compiling
    takes some seconds on a machine that has not done so before, which the log says, and about a second elsewhere.

    An observer whose attribute `notes_only` is true is not shown emitted signals and fills, so that none are made for it.

    `inference` (`bootstrap.live_inference()`) measures `inference_deadline_ms`, for ticks that come as they happen. Without
    it nothing is ever late, so that the same ticks give the same signals.
    """

    def __init__(
        self,
        configuration: Configuration | None = None,
        *,
        wiring: Wiring | None = None,
        directory: str | Path = ".",
        observers: Iterable[Observer] | None = None,
        compiled: bool | Literal["auto"] = "auto",
        inference: InferencePort | None = None,
    ) -> None:
        self.configuration = configuration or Configuration()
        self.wiring = wiring or default_wiring()
        self.observers: tuple[Observer, ...] = tuple(observers) if observers is not None else (OutcomeLog(),)
        self._everything_is_watched = not all(getattr(each, "notes_only", False) for each in self.observers)
        self._directory = Path(directory)
        self._log = OutcomeLog()
        self._models_reported = (0, 0)
        #: How many ticks go on uncompiled; None: all of them, or none any more.
        self._ticks_before_compiling = _WORTH_COMPILING if compiled == "auto" else 0 if compiled else None
        self._inference = inference
        self.engine: Engine
        self._build(self.configuration)

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> StrategyRunnerService:
        """A service with everything that the configuration file says. Raises `ConfigurationError`."""
        wiring = options.pop("wiring", None) or default_wiring()
        return cls(load_configuration(path, wiring.catalog), wiring=wiring, **options)

    def register_from_config(self, row: Mapping[str, Any]) -> list[StrategyExecutor]:
        """Register one row (`id`, `strategy_type`, `parameters`, `instruments`, `brokers`, `enabled`), or a whole file.

        A mapping with `strategies` is taken as a whole configuration, and can only be the first thing registered. A row
        whose model does not load is left out with a warning, as `on_model_failure` says; the answer is empty then.

        Raises `ConfigurationError`, registering nothing, for anything that the configuration refuses.
        """
        if "strategies" in row:
            if self.engine.executors:
                raise ConfigurationError(
                    [Problem("a whole configuration can only be registered before any row; pass its rows one by one")]
                )
            configuration = configuration_from_mapping(row, self.wiring.catalog, base_dir=self._directory)
            self._build(configuration)
            self.configuration = configuration
            return list(self.engine.executors)
        config = row_from_mapping(
            row, self.wiring.catalog, base_dir=self._directory, brokers=self.configuration.brokers
        )
        if config.strategy_id in self.engine.strategy_ids:
            raise ConfigurationError(
                [Problem("this strategy is registered already", path="id", found=repr(config.strategy_id))]
            )
        executors = self.wiring.add_row(self.engine, config, self.configuration.brokers)
        self._report_models()
        return executors

    def _build(self, configuration: Configuration) -> None:
        self.engine = build_engine(configuration, self.wiring, sessions=session_clock(configuration))
        vars(self).pop("on_market_tick", None)
        self._door: Callable[[MarketTick | TickRow], list[EmittedSignal]] = self._past_the_door
        if self._ticks_before_compiling == 0:
            self._use_compiler()
        if self._inference is not None:
            self.engine.use_inference(self._inference)
        self._report_models()

    def _count_uncompiled(self, ticks: int) -> None:
        """Hand the compiler over once so many ticks have passed that it pays."""
        if self._ticks_before_compiling:
            self._ticks_before_compiling = max(0, self._ticks_before_compiling - ticks)
            if not self._ticks_before_compiling:
                self._use_compiler()

    def register(
        self,
        strategy: str | StrategyType,
        /,
        *,
        instruments: Iterable[int],
        id: str | None = None,  # noqa: A002  what a row calls it
        brokers: Iterable[str] = ("paper",),
        per_instrument: bool = False,
        **parameters: Any,
    ) -> list[StrategyExecutor]:
        """Register a strategy by its type and its parameters: `register("momentum", instruments=[1], threshold=0.02)`.

        `strategy` is the name of a type, or a type itself, such as a function under `@rule`; this service then knows it
        by its name. So may be `rules` and `ml` of a hybrid: `register("hybrid", rules=my_rule, ml={...}, ...)`. `risk`
        and whatever else stands under `parameters` of a row goes the same way. The id, if none is given, is the type's
        name, with a number where that is taken.

        Answers and raises as `register_from_config` does.
        """
        name = self._known(strategy)
        row = {
            "id": self._free_id(name) if id is None else id,
            "strategy_type": name,
            "parameters": {key: self._named(value) for key, value in parameters.items()},
            "instruments": list(instruments),
            "brokers": list(brokers),
            "per_instrument": per_instrument,
        }
        return self.register_from_config(row)

    def run(
        self, ticks: TickPath | TickColumns | Iterable[TickPath] | Iterable[MarketTick | TickRow | TickColumns]
    ) -> Iterator[EmittedSignal]:
        """Push many ticks, and yield every signal as soon as it is there: `for signal in service.run("ticks.csv"): ...`.

        `ticks` is the path of a tick file, a list of paths (merged by time), or anything that gives ticks or blocks of
        them, endless if need be. Ticks are taken only as fast as signals are asked for.
        """
        for row in _rows(ticks):
            yield from self._push(row)

    @property
    def executors(self) -> Sequence[StrategyExecutor]:
        """Every executor, in the order of rows and brokers."""
        return tuple(self.engine.executors)

    def on_market_tick(self, tick: MarketTick | TickRow) -> list[EmittedSignal]:
        """Push one tick; the signals that it led to, in the order of rows and brokers (often none).

        A feed that has numbers need not make decimals and datetimes of them: `TickRow(token, ts_ns, price)` is a tick too,
        several times quicker to make.

        A bad tick, a raising strategy and a refused signal are outcomes, never exceptions.
        """
        return self._door(tick)

    def _past_the_door(self, tick: MarketTick | TickRow) -> list[EmittedSignal]:
        """Any tick, the slow way, unless the door was closed only because something moved."""
        if self.engine.find_lanes() and self._door != self._past_the_door:
            return self._door(tick)
        self._count_uncompiled(1)
        outcomes = self.engine.take(tick, fills=self._everything_is_watched)
        return self._shown(outcomes) if outcomes else []

    def _said(self, tick: MarketTick | TickRow) -> list[EmittedSignal]:
        """What came of a tick that went through the door."""
        live: Any = self.engine.live
        if self._everything_is_watched:
            return self._shown(live.said_at_door(tick))
        signals, notes = live.signals_and_notes(tick)
        if notes:
            for observer in self.observers:
                observer(notes)
        return signals  # type: ignore[no-any-return]  # there is a compiled side where there is a door

    def _use_compiler(self) -> None:
        engine = self.engine
        engine.use_compiler(kernel_compiler(self._log.compiling))
        live = engine.live
        door = live.door(self._said, self._past_the_door, fills=self._everything_is_watched) if live else None
        self._door = door or self._past_the_door
        if door is not None and type(self).on_market_tick is StrategyRunnerService.on_market_tick:
            # In the method's place: going through the method first costs as much as half a tick.
            vars(self)["on_market_tick"] = door

    def on_market_ticks(self, ticks: TickColumns) -> Sequence[EmittedSignal]:
        """Push a block of ticks in their order, such as a backlog: what `on_market_tick` answers to each, all together.

        The signals are counted at once, and made when they are looked at.
        """
        self._count_uncompiled(len(ticks))
        taken = self.engine.step_block(ticks, fills=self._everything_is_watched)
        for observer in self.observers:
            everything = not getattr(observer, "notes_only", False)
            outcomes = taken.outcomes(signals=everything, fills=everything)
            if outcomes:
                observer(outcomes)
        return taken.signals()

    def handle(self, event: Event) -> list[Outcome]:
        """Push any event (a tick row, an operator's command, a timer); everything that it led to."""
        outcomes = self.engine.step(event)
        for observer in self.observers:
            observer(outcomes)
        return outcomes

    def refresh_models(self) -> list[Outcome]:
        """Swap in model files that changed on disk, between ticks; call it as often as you like.

        A change counts once it was seen unchanged by two calls in a row. A bad new file leaves the old model serving, and
        so does one that fails within its first inferences: the next call goes back to the model before it.
        """
        watch = ModelWatch(self.wiring.models, [self.engine])
        watch.look()
        outcomes = [each for event in watch.events(self.engine.latest_ts()) for each in self.engine.step(event)]
        for observer in self.observers:
            observer(outcomes)
        return outcomes

    def snapshot(self) -> bytes:
        """The whole state; see `restore`."""
        return snapshot(self.engine)

    def restore(self, data: bytes) -> None:
        """Go on where a snapshot of the same rows was taken, to the last bit. Raises `SnapshotRefused`."""
        restore(self.engine, data)

    def _push(self, row: TickRow) -> list[EmittedSignal]:
        self._count_uncompiled(1)
        outcomes = self.engine.step(row)
        return self._shown(outcomes) if outcomes else []

    def _shown(self, outcomes: Sequence[Outcome]) -> list[EmittedSignal]:
        """Let the observers see the outcomes; the signals among them."""
        signals = [outcome.signal for outcome in outcomes if isinstance(outcome, Emitted)]
        for observer in self.observers:
            seen = outcomes
            if getattr(observer, "notes_only", False):
                seen = [outcome for outcome in outcomes if not isinstance(outcome, Emitted | Filled)]
            if seen:
                observer(seen)
        return signals

    def _known(self, strategy: str | StrategyType) -> str:
        if isinstance(strategy, StrategyType):
            self.wiring.catalog.register(strategy)
            return strategy.name
        return strategy

    def _named(self, value: Any) -> Any:
        """A parameter as a row has it: a strategy type in it, alone or as the `type` of a part, by its name."""
        if isinstance(value, StrategyType):
            return {"type": self._known(value)}
        if isinstance(value, Mapping) and isinstance(value.get("type"), StrategyType):
            return {**value, "type": self._known(value["type"])}
        return value

    def _free_id(self, name: str) -> str:
        taken = self.engine.strategy_ids
        return next(each for n in range(1, len(taken) + 2) if (each := name if n == 1 else f"{name}-{n}") not in taken)

    def _report_models(self) -> None:
        out, degraded = self._models_reported
        self._log.models(self.wiring.left_out[out:], self.wiring.degraded[degraded:])
        self._models_reported = (len(self.wiring.left_out), len(self.wiring.degraded))


def _rows(
    ticks: TickPath | TickColumns | Iterable[TickPath] | Iterable[MarketTick | TickRow | TickColumns],
) -> Iterator[TickRow]:
    items: Iterable[Any] = [ticks] if isinstance(ticks, str | os.PathLike | TickColumns) else ticks
    if isinstance(items, list | tuple) and items and all(isinstance(each, str | os.PathLike) for each in items):
        items = open_ticks(items)
    for item in items:
        if isinstance(item, TickColumns):
            yield from item.rows()
        elif isinstance(item, TickRow):
            yield item
        elif isinstance(item, MarketTick):
            yield row_of(item)
        else:
            raise TypeError(f"expected ticks, blocks of ticks or the paths of tick files, found {type(item).__name__}")
