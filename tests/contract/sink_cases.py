"""The surroundings that the contract of sinks is tried in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import nats
import structlog
from tests.kafka_cluster import KafkaCluster
from tests.web_server import NAME, Certificates, WebServer

from anystrat.adapters.sink_jsonl import JsonlSink
from anystrat.adapters.sink_kafka import KafkaSink
from anystrat.adapters.sink_log import LogSink
from anystrat.adapters.sink_nats import NatsSink
from anystrat.adapters.sink_publisher import PublisherSink
from anystrat.adapters.sink_webhook import WebhookSink
from anystrat.adapters.system_clock import SystemClock
from anystrat.domain.configuration import Secret
from anystrat.domain.delivery import Sink
from anystrat.domain.endpoints import KafkaBroker, NatsBroker
from anystrat.domain.journal import OutboxSignal
from anystrat.domain.webhook import WebhookBroker
from anystrat.testing.servers import NatsServer


def signal(number: int) -> OutboxSignal:
    body = {
        "ts_ns": 1_700_000_000_000_000_000 + number,
        "strategy_id": "strat",
        "broker": "out",
        "instrument_token": 7,
        "signal_type": "BUY",
        "confidence": 0.5,
        "quantity": 10,
        "price": "100.05",
        "signal_id": f"{number:032x}",
        "reasoning": "€ and \n line",
        "metadata": {"n": number},
    }
    return OutboxSignal("out", number, body["signal_id"], "strat", 7, body["ts_ns"], 0, json.dumps(body).encode())


def signals(first: int, last: int) -> list[OutboxSignal]:
    return [signal(number) for number in range(first, last + 1)]


class Case(Protocol):
    """A sink's surroundings. `sink()` makes one as a new process would; `ids()` is what arrived, each effect once."""

    def sink(self) -> Sink: ...

    async def ids(self) -> list[str]: ...


class LogCase:
    def __init__(self, _place: Path) -> None:
        self.lines: list[dict[str, Any]] = []

    def sink(self) -> Sink:
        def keep(_logger: Any, _method: str, record: Any) -> Any:
            self.lines.append(dict(record))
            raise structlog.DropEvent

        log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(10))
        return LogSink(log)

    async def ids(self) -> list[str]:
        return list(dict.fromkeys(line["signal_id"] for line in self.lines))


class JsonlCase:
    def __init__(self, place: Path) -> None:
        self.path = place / "out" / "signals.jsonl"

    def sink(self) -> Sink:
        return JsonlSink(self.path)

    async def ids(self) -> list[str]:
        return [json.loads(line)["signal_id"] for line in self.path.read_bytes().splitlines()]


class PublisherCase:
    def __init__(self, _place: Path) -> None:
        self.held: dict[str, Any] = {}

    def sink(self) -> Sink:
        return PublisherSink(self)

    async def publish(self, signal: Any, *, strategy_id: str, broker: str) -> None:
        assert (strategy_id, broker) == (signal.strategy_id, signal.broker)
        self.held.setdefault(signal.signal_id, signal)

    async def ids(self) -> list[str]:
        return list(self.held)


class NatsCase:
    def __init__(self, server: NatsServer, name: str) -> None:
        self.server, self.name = server, name

    def sink(self) -> Sink:
        subject = self.name + ".{strategy_id}.{instrument_token}"
        return NatsSink(NatsBroker(Secret(self.server.url), subject, self.name), timeout_sec=5.0)

    async def client(self) -> nats.NATS:
        return await nats.connect(self.server.url, allow_reconnect=False)

    async def ids(self) -> list[str]:
        client = await self.client()
        try:
            context = client.jetstream()
            count = (await context.stream_info(self.name)).state.messages
            found = [await context.get_msg(self.name, seq) for seq in range(1, count + 1)]
            return [json.loads(each.data)["signal_id"] for each in found]
        finally:
            await client.close()


class WebhookCase:
    def __init__(self, server: WebServer, certificates: Certificates) -> None:
        self.server, self.certificates = server, certificates

    def sink(self) -> Sink:
        async def here(_host: str, _port: int) -> list[str]:
            return ["127.0.0.1"]

        url = Secret(f"https://{NAME}:{self.server.port}/signals")
        options = WebhookBroker(url, secret=Secret("key"), allow_private=True, ca_file=self.certificates.ca_file)
        return WebhookSink(options, 5.0, SystemClock(), here)

    async def ids(self) -> list[str]:
        """As a receiver that honours the key sees them."""
        return list(dict.fromkeys(each.headers["idempotency-key"] for each in self.server.requests))


class KafkaCase:
    def __init__(self, cluster: KafkaCluster) -> None:
        self.cluster, self.topic = cluster, cluster.name()

    def sink(self) -> Sink:
        return KafkaSink(KafkaBroker(self.cluster.servers, self.topic), 10.0)

    async def ids(self) -> list[str]:
        """As a consumer that honours the id sees them."""
        return list(dict.fromkeys(dict(each.headers())["id"].decode() for each in self.cluster.records(self.topic)))
