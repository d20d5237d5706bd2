"""The built-in types of brokers, from their options to a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.adapters.system_clock import SystemClock
from anystrat.domain.endpoints import JsonlBroker, KafkaBroker, LogBroker, NatsBroker
from anystrat.domain.errors import AnystratError
from anystrat.domain.webhook import WebhookBroker

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import BrokerSettings
    from anystrat.domain.delivery import Sink


class BrokerNotThere(AnystratError):
    """A type of broker that a configuration may name, and that nothing can be sent to yet."""

    exit_code = 4


def builtin_sink(
    settings: BrokerSettings,
    log: FilteringBoundLogger,
    *,
    clock: Clock | None = None,
    offload: Offload = in_a_thread,
) -> Sink:
    """The sink that the settings name; nothing is connected before its `open`. Raises `BrokerNotThere`, `MissingExtra`."""
    options = settings.options
    if isinstance(options, LogBroker):
        from anystrat.adapters.sink_log import LogSink

        return LogSink(log, options.level)
    if isinstance(options, JsonlBroker):
        from anystrat.adapters.sink_jsonl import JsonlSink

        return JsonlSink(options.path, offload=offload)
    if isinstance(options, NatsBroker):
        from anystrat.adapters.sink_nats import NatsSink

        return NatsSink(options, settings.delivery.timeout_sec)
    if isinstance(options, KafkaBroker):
        from anystrat.adapters.sink_kafka import KafkaSink

        return KafkaSink(options, settings.delivery.timeout_sec, offload=offload)
    if isinstance(options, WebhookBroker):
        from anystrat.adapters.sink_webhook import WebhookSink

        return WebhookSink(options, settings.delivery.timeout_sec, clock or SystemClock())
    raise BrokerNotThere(
        f"broker {settings.name!r}: nothing can be sent to type {settings.type!r}; "
        "use log, jsonl, nats, kafka or webhook, or register a publisher of your own"
    )
