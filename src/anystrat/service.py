"""The synchronous face of the engine: register rows, push ticks, get signals. No server, no event loop, no threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anystrat.bootstrap import Wiring, build_engine, default_wiring, session_clock
from anystrat.config import configuration_from_mapping, load_configuration, row_from_mapping
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.events import Event, ModelSwapped
from anystrat.domain.outcomes import Emitted, Noted, Outcome
from anystrat.domain.tick import MarketTick, row_of
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.observability.log import OutcomeLog

if TYPE_CHECKING:
    from anystrat.domain.signal import EmittedSignal
    from anystrat.engine.executor import StrategyExecutor

Observer = Callable[[Sequence[Outcome]], None]


class StrategyRunnerService:
    """Routes ticks to the registered strategies and answers with the signals that they emit.

    It is the very engine that replay and the live runner drive: the same rows and ticks give the same signals, ids
    included. `observers` are called with the outcomes of every event; without any, transitions, dropped signals and
    strategy errors go to the log.

    `directory` is what relative paths of rows (a `model_path`) are relative to.
    """

    def __init__(
        self,
        configuration: Configuration | None = None,
        *,
        wiring: Wiring | None = None,
        directory: str | Path = ".",
        observers: Iterable[Observer] | None = None,
    ) -> None:
        self.configuration = configuration or Configuration()
        self.wiring = wiring or default_wiring()
        self.observers: list[Observer] = list(observers) if observers is not None else [OutcomeLog()]
        self._directory = Path(directory)
        self._log = OutcomeLog()
        self.engine: Engine = build_engine(
            self.configuration, self.wiring, sessions=session_clock(self.configuration.instruments)
        )
        self._report_models()

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
            self.configuration = configuration
            self.engine = build_engine(configuration, self.wiring, sessions=session_clock(configuration.instruments))
            self._report_models()
            return list(self.engine.executors)
        config = row_from_mapping(
            row, self.wiring.catalog, base_dir=self._directory, brokers=self.configuration.brokers
        )
        if any(executor.strategy_id == config.strategy_id for executor in self.engine.executors):
            raise ConfigurationError([Problem("this strategy is registered already", path="id", found=repr(config.strategy_id))])
        executors = self.wiring.add_row(self.engine, config, self.configuration.brokers)
        self._report_models()
        return executors

    @property
    def executors(self) -> Sequence[StrategyExecutor]:
        """Every executor, in the order of rows and brokers."""
        return tuple(self.engine.executors)

    def on_market_tick(self, tick: MarketTick) -> list[EmittedSignal]:
        """Push one tick; the signals that it led to, in the order of rows and brokers (often none).

        A bad tick, a raising strategy and a refused signal are outcomes, never exceptions.
        """
        outcomes = self.engine.step(row_of(tick))
        if not outcomes:
            return []
        for observer in self.observers:
            observer(outcomes)
        return [outcome.signal for outcome in outcomes if isinstance(outcome, Emitted)]

    def handle(self, event: Event) -> list[Outcome]:
        """Push any event (a tick row, an operator's command, a timer); everything that it led to."""
        outcomes = self.engine.step(event)
        for observer in self.observers:
            observer(outcomes)
        return outcomes

    def refresh_models(self) -> list[Outcome]:
        """Swap in model files that changed on disk, between ticks; call it as often as you like.

        A change counts once it was seen unchanged by two calls in a row. A bad new file leaves the old model serving.
        """
        outcomes: list[Outcome] = []
        latest = max((ts for ts in self.engine.state.book.last_ts), default=0)  # type: ignore[attr-defined]
        for change in self.wiring.refresh_models():
            if change.error:
                outcomes.append(Noted("model_refused", latest, None, {"path": change.path, "error": change.error}))
            else:
                outcomes += self.engine.step(ModelSwapped(latest, change.path, change.sha256))
        for observer in self.observers:
            observer(outcomes)
        return outcomes

    def snapshot(self) -> bytes:
        """The whole state; see `restore`."""
        return snapshot(self.engine)

    def restore(self, data: bytes) -> None:
        """Go on where a snapshot of the same rows was taken, to the last bit. Raises `SnapshotRefused`."""
        restore(self.engine, data)

    def _report_models(self) -> None:
        self._log.models(self.wiring.left_out, self.wiring.degraded)


