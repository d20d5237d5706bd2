"""What observes a running service, as its configuration says: the log, metrics, traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from anystrat.domain.errors import MissingExtra
from anystrat.observability.endpoint import MonitoringEndpoint
from anystrat.observability.exposition import Exposition
from anystrat.observability.library_logs import LibraryLogs
from anystrat.observability.log import OutcomeLog
from anystrat.observability.measurements import Measurements
from anystrat.observability.notice_log import NoticeLog
from anystrat.observability.probe import Onlooker, Probe, Sampler, StageTimes
from anystrat.observability.records import logger

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import Configuration, TracingSettings
    from anystrat.domain.health import Endpoint, Reporter
    from anystrat.domain.measuring import StepProbe
    from anystrat.domain.notices import Listener
    from anystrat.domain.outcomes import Outcome
    from anystrat.engine.engine import Engine
    from anystrat.observability.tracing import Tracing


@dataclass(slots=True, eq=False)
class Observation:
    """The observers of one service: hand each to whom it belongs. `close` comes last.

    `meter` and `probe` are None where the configuration turns them off: then nothing is measured. `observers` take the
    engines' outcomes, `listener` the runner's notices.
    """

    log: FilteringBoundLogger
    outcome_log: OutcomeLog
    listener: Listener
    observers: tuple[Callable[[Sequence[Outcome]], object], ...]
    meter: Measurements | None
    probe: Callable[[Engine], StepProbe] | None
    _configuration: Configuration
    _version: str
    _tracing: Tracing | None
    _libraries: LibraryLogs

    def endpoint(self, reporter: Reporter) -> Endpoint | None:
        """What answers /metrics, /health and /ready; None where the configuration has no `metrics`. Raises `MissingExtra`."""
        settings = self._configuration.metrics
        if settings is None or self.meter is None:
            return None
        exposition = Exposition(reporter, self.meter, version=self._version)

        def failed(error: Exception) -> None:
            self.log.error("a page failed", error=f"{type(error).__name__}: {error}")

        return MonitoringEndpoint(settings, reporter, exposition, on_error=failed)

    def close(self) -> None:
        """Send the spans that wait; libraries' records go again where they went before."""
        if self._tracing is not None:
            self._tracing.close()
        self._libraries.close()


def observation(
    configuration: Configuration, *, clock: Clock, version: str, json: bool = False, ids: Random | None = None
) -> Observation:
    """The observers that a configuration asks for; `json`: log in JSON whatever it says.

    Which ticks are looked at follows from the run's seed. `ids` makes the ids of spans, which must differ from run to
    run. Raises `MissingExtra`, `MissingDriver`.
    """
    log = logger(configuration.log.level, json=json or configuration.log.format == "json", clock=clock)
    outcome_log = OutcomeLog(log)
    meter = None if configuration.metrics is None else Measurements()
    tracing = None
    if configuration.tracing is not None and configuration.tracing.sample:
        tracing = _tracing(configuration.tracing, configuration.run.name, version, clock, ids or SystemRandom())
    onlookers: list[tuple[str, float, Onlooker]] = []
    if meter is not None and configuration.metrics is not None and configuration.metrics.sample:
        onlookers.append(("stages", configuration.metrics.sample, StageTimes(meter)))
    if tracing is not None and configuration.tracing is not None:
        onlookers.append(("spans", configuration.tracing.sample, tracing))
    engines = 0

    def sampler(what: str, share: float) -> Sampler:
        # Chooses what is looked at, and nothing else.
        return Sampler(share, Random(f"{configuration.run.rng_seed} {what} {engines}"))  # noqa: S311  no secret follows from it

    def probe(engine: Engine) -> StepProbe:
        nonlocal engines
        engines += 1
        return Probe(engine, [(sampler(what, share), onlooker) for what, share, onlooker in onlookers])

    return Observation(
        log,
        outcome_log,
        NoticeLog(log),
        (outcome_log, *(() if meter is None else (meter.outcomes,))),
        meter,
        probe if onlookers else None,
        configuration,
        version,
        tracing,
        LibraryLogs(log),
    )


def _tracing(settings: TracingSettings, run: str, version: str, clock: Clock, ids: Random) -> Tracing:
    try:
        from anystrat.observability.tracing import Tracing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise MissingExtra("tracing", "otel") from None
    return Tracing(settings, run=run, version=version, clock=clock, random=ids)
