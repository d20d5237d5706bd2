"""Signals into a Kafka topic: the signal's id is the record's header `id`, its instrument the key."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from anystrat.adapters.kafka_client import LOG, library, reason, refused, settings
from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.domain.delivery import TAKEN, Idempotent, SendResult, SinkUnavailable, Verdict

if TYPE_CHECKING:
    from anystrat.domain.endpoints import KafkaBroker
    from anystrat.domain.journal import OutboxSignal

_LARGEST_GROUP: Final = 1_024
#: Of the time for an answer: what was reported by then counts, whatever is missing.
_SHARE: Final = 0.9
#: ... and of that, how long a record may be under way.
_UNDER_WAY: Final = 0.8

Make = Callable[[dict[str, Any]], Any]


class KafkaSink:
    """Produces a group at once, and waits for the delivery report of each.

    The producer is idempotent: its own retries within the time make no second record, and keep the order of a key. What
    is sent again later has the same header `id`, by which consumers have to leave it out.
    """

    def __init__(
        self, options: KafkaBroker, timeout_sec: float, *, offload: Offload = in_a_thread, make: Make | None = None
    ) -> None:
        self._kafka = library()
        self._options = options
        self._timeout_sec = _SHARE * timeout_sec
        self._offload = offload
        self._make = make or (lambda conf: self._kafka.Producer(conf, logger=LOG))
        packed = options.format == "msgpack"
        self._content_type = "application/msgpack" if packed else "application/json"
        self._written: Callable[[bytes], bytes] = _packed if packed else bytes
        self._producer: Any = None
        self._away = ""

    @property
    def guarantee(self) -> Idempotent:
        return Idempotent()

    @property
    def largest_group(self) -> int:
        return _LARGEST_GROUP

    async def open(self) -> None:
        await self._offload(self._open)

    async def send(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        producer = self._producer
        if producer is None:
            raise SinkUnavailable("the connection to Kafka is lost")
        return await self._offload(lambda: self._sent(producer, signals))

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        return [None] * len(signals)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._offload(lambda: _dropped(producer))

    def _open(self) -> None:
        """Make a producer, and look whether the topic is there. Raises `SinkUnavailable`."""
        self._away = ""
        ours = {
            "enable.idempotence": True,
            "acks": "all",
            "error_cb": self._said,
            "linger.ms": 0,
            "message.timeout.ms": max(1, round(1_000 * _UNDER_WAY * self._timeout_sec)),
        }
        conf = settings(self._options.bootstrap_servers, self._options.options, ours)
        try:
            producer = self._make(conf)
        except (self._kafka.KafkaException, ValueError, TypeError) as error:
            raise SinkUnavailable(str(refused(error))) from None
        try:
            topic = producer.list_topics(self._options.topic, timeout=self._timeout_sec).topics[self._options.topic]
        except self._kafka.KafkaException as error:
            _dropped(producer)
            raise SinkUnavailable(f"no Kafka broker can be reached: {reason(error.args[0])}") from error
        if topic.error is not None and topic.error.code() != self._kafka.KafkaError.LEADER_NOT_AVAILABLE:
            _dropped(producer)
            raise SinkUnavailable(
                f"Kafka does not take the topic {self._options.topic!r}: {reason(topic.error)}; make it: kafka-topics.sh "
                f"--create --topic {self._options.topic} --bootstrap-server {self._options.bootstrap_servers}"
            )
        self._producer = producer

    def _sent(self, producer: Any, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        producer.poll(0)
        if self._away:
            raise SinkUnavailable(f"no Kafka broker can be reached: {self._away}")
        results: list[SendResult | None] = [None] * len(signals)
        waiting = 0

        def reported(at: int) -> Callable[[Any, Any], None]:
            def report(error: Any, _message: Any) -> None:
                nonlocal waiting
                waiting -= 1
                results[at] = TAKEN if error is None else self._verdict(error)

            return report

        for at, signal in enumerate(signals):
            try:
                producer.produce(
                    self._options.topic,
                    value=self._written(signal.body),
                    key=str(signal.instrument_token).encode(),
                    headers=[("id", signal.signal_id), ("content-type", self._content_type)],
                    on_delivery=reported(at),
                )
                waiting += 1
            except BufferError:
                results[at] = SendResult(Verdict.FAILED, "librdkafka's queue is full")
            except self._kafka.KafkaException as error:
                results[at] = self._verdict(error.args[0])
        # Waits here are librdkafka's own, in a thread beside the loop.
        until = time.monotonic() + self._timeout_sec
        while waiting > 0 and (left := until - time.monotonic()) > 0:
            producer.poll(left)
        unknown = SendResult(Verdict.UNKNOWN, "Kafka did not report the delivery in time")
        if waiting > 0:
            # Nothing of it may go out later, when nobody knows of it any more.
            self._producer = None
            _dropped(producer)
        return [unknown if each is None else each for each in results]

    def _said(self, error: Any) -> None:
        if error.code() == self._kafka.KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  the library's name
            self._away = reason(error)

    def _verdict(self, error: Any) -> SendResult:
        kafka, code, said = self._kafka.KafkaError, error.code(), f"Kafka: {reason(error)}"
        if error.fatal():
            self._producer = None
        if code in {
            kafka.MSG_SIZE_TOO_LARGE,
            kafka.RECORD_LIST_TOO_LARGE,
            kafka.INVALID_RECORD,
            kafka.POLICY_VIOLATION,
        }:
            return SendResult(Verdict.REJECTED, said)
        # librdkafka's own, from before anything was sent; and what a broker says when it has not taken a record.
        unsent = {
            *(kafka._UNKNOWN_TOPIC, kafka._UNKNOWN_PARTITION, kafka._PURGE_QUEUE, kafka._QUEUE_FULL),  # noqa: SLF001  the library's names
            *(kafka.UNKNOWN_TOPIC_OR_PART, kafka.TOPIC_AUTHORIZATION_FAILED, kafka.CLUSTER_AUTHORIZATION_FAILED),
            *(kafka.NOT_ENOUGH_REPLICAS, kafka.INVALID_TXN_STATE, kafka.THROTTLING_QUOTA_EXCEEDED),
        }
        return SendResult(Verdict.FAILED if code in unsent else Verdict.UNKNOWN, said)


def _packed(body: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.json.decode(body))


def _dropped(producer: Any) -> None:
    """Let go of a producer, and of all that it has not sent."""
    producer.purge(in_queue=True, in_flight=True, blocking=False)
    producer.poll(0)
