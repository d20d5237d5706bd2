"""librdkafka's own cluster for tests: real brokers as far as any client can tell, on free ports, within this process."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition

_names = itertools.count()


class KafkaCluster:
    """Topics come into being with four partitions when they are first named."""

    def __enter__(self) -> Self:
        self._cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = self._cluster.list_topics(timeout=10).brokers.values()
        self.servers = f"{broker.host}:{broker.port}"
        self._producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._producer, self._cluster

    def name(self) -> str:
        """One that no topic and no group has had."""
        return f"name{next(_names)}"

    def publish(self, topic: str, messages: Mapping[int, Sequence[bytes]]) -> None:
        """Messages to partitions, in order; all are there on return."""
        for partition, several in messages.items():
            for message in several:
                self._producer.produce(topic, value=message, partition=partition)
        assert self._producer.flush(30) == 0

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """What the group has committed, by partition."""
        with self._reader(group) as consumer:
            found = consumer.committed([TopicPartition(topic, each) for each in range(4)], timeout=10)
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def records(self, topic: str) -> list[Any]:
        """Everything in the topic, partition by partition."""
        found = []
        with self._reader(self.name()) as consumer:
            for partition in range(4):
                _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                consumer.assign([TopicPartition(topic, partition, 0)])
                here: list[Any] = []
                while len(here) < high:
                    here += consumer.consume(high - len(here), 1.0)
                found += here
        return found

    def _reader(self, group: str) -> Any:
        conf = {"bootstrap.servers": self.servers, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        return _Closing(Consumer({**conf, "auto.offset.reset": "earliest"}))


class _Closing:
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
