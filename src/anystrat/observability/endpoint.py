"""What a running service answers over HTTP: /metrics for scrapers, /health and /ready for whoever starts and stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from anystrat.domain.health import HealthReport, Phase, Reporter
from anystrat.observability.http_get import Answer, GetServer, Handler, Request

if TYPE_CHECKING:
    from anystrat.domain.configuration import MetricsSettings
    from anystrat.observability.exposition import Exposition

_JSON: Final = "application/json"


class MonitoringEndpoint:
    """The `Endpoint` of `metrics:` in a configuration. `exposition` None: no /metrics."""

    def __init__(
        self,
        settings: MetricsSettings,
        reporter: Reporter,
        exposition: Exposition | None,
        *,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._reporter = reporter
        self._exposition = exposition
        routes: dict[str, Handler] = {"/health": self._health, "/ready": self._ready}
        if exposition is not None:
            routes["/metrics"] = self._metrics
        self._server = GetServer(routes, settings.host, settings.port, hosts=settings.hosts, on_error=on_error)

    async def start(self) -> str:
        """See `Endpoint`."""
        return await self._server.start()

    async def stop(self) -> None:
        """See `Endpoint`."""
        await self._server.stop()

    async def _metrics(self, request: Request) -> Answer:
        assert self._exposition is not None
        body, content_type = await self._exposition.page(request.headers.get("accept", ""))
        return Answer(200, body, content_type)

    async def _health(self, _request: Request) -> Answer:
        """Alive: the event loop answers, and the service has not given up. Restart it where this fails."""
        phase = self._reporter.health().phase
        alive = phase is not Phase.FAILED
        return Answer(200 if alive else 503, _json({"alive": alive, "phase": phase.value}), _JSON)

    async def _ready(self, _request: Request) -> Answer:
        """Ready: ticks are taken and signals delivered. Part by part, with what is wrong."""
        report = self._reporter.health()
        answer = readiness(report)
        return Answer(200 if answer["ready"] else 503, _json(answer), _JSON)


def readiness(report: HealthReport) -> dict[str, Any]:
    """The report as /ready gives it: `ready`, `troubles` (part -> why), and every part with a `ready` of its own."""
    troubles = report.troubles()

    def part(one: Any) -> dict[str, Any]:
        return {**msgspec.to_builtins(one), "ready": not one.trouble}

    return {
        "ready": not troubles,
        "run": report.run,
        "phase": report.phase.value,
        "killed": report.killed,
        "troubles": troubles,
        "shards": [part(one) for one in report.shards],
        "feeds": [{**part(one), "state": one.state.name.lower()} for one in report.feeds],
        "journal": None if report.journal is None else part(report.journal),
        "brokers": [{**part(one), "breaker": one.breaker.name.lower()} for one in report.brokers],
    }


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
