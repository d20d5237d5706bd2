"""Spans for OpenTelemetry: one a tick that was chosen, one below it for each strategy that was asked.

This module needs the extra `otel`, and is imported only where a configuration asks for tracing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from anystrat.domain.errors import MissingDriver
from anystrat.domain.outcomes import Dropped, Emitted, Held, ProcessorFailed

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import TracingSettings
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.watched import Evaluation
    from anystrat.observability.probe import BlockLookedAt, LookedAt

_OTLP: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_OTLP_PACKAGE: Final = "opentelemetry-exporter-otlp-proto-http"


class SeededIds(IdGenerator):
    """Ids from a random generator of ours: the same seed, the same ids."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def generate_span_id(self) -> int:
        """64 bits, not 0."""
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """128 bits, not 0."""
        return self._random.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Whether the lowest 56 bits are random."""
        return True


class Tracing:
    """An onlooker that makes spans of what a probe sees. `close` sends what waits.

    `exporter` is for tests; else spans go to the collector of `settings.endpoint`, in a thread of OpenTelemetry's own, or
    to standard error, a line of JSON each. Raises `MissingDriver` where an endpoint is named and its exporter is not installed.
    """

    def __init__(
        self,
        settings: TracingSettings,
        *,
        run: str,
        version: str,
        clock: Clock,
        random: Random,
        exporter: SpanExporter | None = None,
    ) -> None:
        resource = Resource.create({"service.name": run, "service.version": version})
        self._provider = TracerProvider(resource=resource, id_generator=SeededIds(random), shutdown_on_exit=False)
        if exporter is not None or settings.endpoint is None:
            processor: Any = SimpleSpanProcessor(exporter or ConsoleSpanExporter(out=sys.stderr, formatter=_line))
        else:
            headers = {name: value.reveal() for name, value in settings.headers.items()}
            processor = BatchSpanProcessor(_otlp_exporter()(endpoint=settings.endpoint, headers=headers))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("anystrat", version)
        self._clock = clock

    def tick(self, seen: LookedAt) -> None:
        """See `Onlooker`."""
        # The probe's clock counts from anywhere: what it saw is placed before now.
        to_wall = self._clock.now_ns() - seen.ended
        attributes = {
            "instrument": seen.row.instrument_token,
            "tick.ts_ns": seen.row.ts_ns,
            "tick.price": seen.row.price,
        }
        span = self._tracer.start_span("tick", start_time=seen.began + to_wall, attributes=attributes)
        below = set_span_in_context(span)
        for one in seen.evaluations:
            made = self._tracer.start_span(
                "strategy.process_tick",
                context=below,
                start_time=one.began + to_wall,
                attributes=attributes_of(one.executor) | {"instrument": seen.row.instrument_token},
            )
            made.add_event("answered", timestamp=one.answered + to_wall)
            _tell(made, one)
            made.end(end_time=one.ended + to_wall)
        span.end(end_time=seen.ended + to_wall)

    def block(self, seen: BlockLookedAt) -> None:
        """See `Onlooker`."""
        to_wall = self._clock.now_ns() - seen.ended
        attributes = {"ticks": seen.ticks, "evaluations": seen.evaluations}
        span = self._tracer.start_span("block", start_time=seen.began + to_wall, attributes=attributes)
        span.end(end_time=seen.ended + to_wall)

    def close(self) -> None:
        """Send what waits, and end. Spans after that go nowhere."""
        self._provider.shutdown()


def attributes_of(executor: StrategyExecutor) -> dict[str, str | int]:
    """What a span says of who was asked. `decision_policy` is `none` but for hybrids."""
    policy = getattr(executor.config.parameters, "policy", None)
    return {
        "strategy": executor.strategy_id,
        "broker": executor.broker,
        "strategy.kind": executor.kind,
        "history_len": executor.need,
        "decision_policy": str(getattr(policy, "type", "none")),
    }


def _tell(span: Span, one: Evaluation) -> None:
    """What came of it: `outcome` none, signal, hold, dropped or error."""
    span.set_attribute("outcome", "none")
    for outcome in one.outcomes:
        if isinstance(outcome, Emitted):
            span.set_attribute("outcome", "signal")
            span.set_attribute("side", outcome.signal.signal_type)
            span.set_attribute("signal_id", outcome.signal.signal_id)
        elif isinstance(outcome, Dropped):
            span.set_attribute("outcome", "dropped")
            span.set_attribute("reason", str(outcome.reason))
        elif isinstance(outcome, Held):
            span.set_attribute("outcome", "hold")
        elif isinstance(outcome, ProcessorFailed):
            span.set_attribute("outcome", "error")
            span.set_status(Status(StatusCode.ERROR, outcome.error))


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


def _otlp_exporter() -> Callable[..., SpanExporter]:
    try:
        exporter: Callable[..., SpanExporter] = import_module(_OTLP).OTLPSpanExporter
    except ModuleNotFoundError:
        raise MissingDriver(
            f"tracing.endpoint needs an exporter that is not installed: pip install {_OTLP_PACKAGE}\n"
            "without an endpoint, spans go to standard error"
        ) from None
    return exporter
