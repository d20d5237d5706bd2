"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contract.source_places import socket_messages
from tests.feed_server import FeedServer
from tests.kafka_cluster import KafkaCluster
from tests.servers import nats_server, own_nats_server, redis_server

__all__ = ["kafka_server", "nats_server", "own_nats_server", "redis_server", "websocket_server"]


@pytest.fixture(scope="module")
def websocket_server() -> Iterator[FeedServer]:
    """A venue that tells everybody the same."""
    with FeedServer(socket_messages()) as server:
        yield server


@pytest.fixture(scope="module")
def kafka_server() -> Iterator[KafkaCluster]:
    """One cluster for a module's tests: use topics and groups of your own names."""
    with KafkaCluster() as cluster:
        yield cluster
