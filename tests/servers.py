"""Fixtures of real servers; a `conftest.py` takes them by importing them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anystrat.testing.servers import NatsServer


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One JetStream server for a module's tests: use streams of your own names, and leave it running."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A JetStream server that the test may stop, kill, freeze and start again."""
    with NatsServer(tmp_path / "nats") as server:
        yield server
