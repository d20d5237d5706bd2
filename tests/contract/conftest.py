"""Fixtures of the contract tests."""

from tests.servers import nats_server, own_nats_server

__all__ = ["nats_server", "own_nats_server"]
