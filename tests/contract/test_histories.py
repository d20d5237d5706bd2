"""What every history says of what was before a run, whatever keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from tests.servers import RedisServer, postgres_url

from anystrat.adapters.file_history import FileHistory
from anystrat.adapters.postgres_history import PostgresTicks
from anystrat.adapters.redis_history import RedisTicks
from anystrat.bootstrap.history import open_history
from anystrat.config import configuration_from_mapping
from anystrat.domain.errors import ConfigurationError, HistoryRefused
from anystrat.domain.protocols import HistoryProvider
from anystrat.strategies.builtin import builtin_catalog

BEGIN = datetime(2024, 1, 2, 9, tzinfo=UTC)
BEGIN_NS = 1_704_186_000_000_000_000
SECOND_NS = 1_000_000_000
#: (seconds after nine, instrument, price)
TICKS = [(0, 1, "100.05"), (1, 2, "7"), (2, 1, "0.1"), (3, 1, "-5"), (4, 1, "100.10"), (6, 2, "8.5"), (7, 1, "101")]

Make = Callable[[Sequence[tuple[int, int, str]], int | None], HistoryProvider]


def asked(statement: Any, rows: Sequence[tuple[Any, ...]] = ()) -> None:
    with psycopg.connect(postgres_url(), autocommit=True) as connection, connection.cursor() as cursor:
        if rows:
            cursor.executemany(statement, rows)
        else:
            cursor.execute(statement)


def table_of(columns: str, ticks: Sequence[tuple[int, int, str]]) -> str:
    """A table with a schema in its name, its times under the first column's name."""
    schema = f"h{uuid4().hex}"
    asked(f"CREATE SCHEMA {schema}")
    asked(f"CREATE TABLE {schema}.ticks ({columns}, instrument_token BIGINT, size BIGINT)")
    by_ns = columns.startswith("ts_ns")
    times = [BEGIN_NS + at * SECOND_NS if by_ns else BEGIN + timedelta(seconds=at) for at, _, _ in ticks]
    rows = [(time, price, token, 5) for time, (_, token, price) in zip(times, ticks, strict=True)]
    asked(f"INSERT INTO {schema}.ticks VALUES (%s, %s, %s, %s)", rows)
    return f"{schema}.ticks"


def in_postgres(columns: str) -> Callable[[pytest.FixtureRequest], Make]:
    def make(ticks: Sequence[tuple[int, int, str]], before: int | None) -> HistoryProvider:
        return PostgresTicks(postgres_url(), table_of(columns, ticks), lambda: before)

    return lambda _: make


def in_redis(request: pytest.FixtureRequest) -> Make:
    url = request.getfixturevalue("redis_server").url

    def make(ticks: Sequence[tuple[int, int, str]], before: int | None) -> HistoryProvider:
        prefix = uuid4().hex
        with redis.Redis.from_url(url) as client:
            for at, token, price in ticks:
                client.xadd(f"{prefix}:{token}", {"ts_ns": BEGIN_NS + at * SECOND_NS, "price": price, "size": 5})
        return RedisTicks(url, prefix + ":{token}", lambda: before)

    return make


def in_files(request: pytest.FixtureRequest) -> Make:
    path: Path = request.getfixturevalue("tmp_path") / "ticks.csv"

    def make(ticks: Sequence[tuple[int, int, str]], before: int | None) -> HistoryProvider:
        rows = [f"{BEGIN_NS + at * SECOND_NS},{token},{price}" for at, token, price in ticks]
        path.write_text("\n".join(["ts_ns,instrument_token,price", *rows]) + "\n")
        return FileHistory([path], {1: 10, 2: 10}, lambda: before)

    return make


HISTORIES: dict[str, Callable[[pytest.FixtureRequest], Make]] = {
    "files": in_files,
    "postgres, nanoseconds": in_postgres("ts_ns BIGINT, price NUMERIC"),
    "postgres, timestamptz": in_postgres("timestamp TIMESTAMPTZ, price TEXT"),
    "postgres, timestamp": in_postgres("timestamp TIMESTAMP, price FLOAT8"),
    "redis": in_redis,
}


@pytest.fixture(params=[pytest.param(name, marks=() if name == "files" else pytest.mark.server) for name in HISTORIES])
def make(request: pytest.FixtureRequest) -> Make:
    return HISTORIES[request.param](request)


def told(history: HistoryProvider, token: int, count: int) -> list[tuple[int, Decimal]]:
    ticks = history.last_ticks(token, count)
    assert all(tick.instrument_token == token for tick in ticks)
    return [((tick.ts_ns - BEGIN_NS) // SECOND_NS, tick.last_price) for tick in ticks]


def test_the_last_ticks_come_oldest_first_without_those_that_have_no_price(make: Make) -> None:
    history = make(TICKS, None)
    assert told(history, 1, 10) == [
        (0, Decimal("100.05")),
        (2, Decimal("0.1")),
        (4, Decimal("100.1")),
        (7, Decimal(101)),
    ]
    assert told(history, 1, 2) == [(4, Decimal("100.1")), (7, Decimal(101))]
    assert told(history, 2, 1) == [(6, Decimal("8.5"))]
    assert told(history, 3, 10) == []
    assert told(history, 1, 0) == []


def test_only_what_is_older_than_the_first_tick_counts(make: Make) -> None:
    assert told(make(TICKS, BEGIN_NS + 4 * SECOND_NS), 1, 2) == [(0, Decimal("100.05")), (2, Decimal("0.1"))]
    assert told(make(TICKS, BEGIN_NS + 4 * SECOND_NS + 1), 1, 1) == [(4, Decimal("100.1"))]
    assert told(make(TICKS, BEGIN_NS), 1, 2) == []


@pytest.mark.server
def test_a_stream_is_read_page_by_page_as_far_as_it_is_needed(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client, client.pipeline() as many:
        for at in range(2_500):
            many.xadd("long:1", {"ts_ns": BEGIN_NS + at, "price": "5"})
        many.execute()
    history = RedisTicks(redis_server.url, "long:{token}", lambda: BEGIN_NS + 1_200)
    assert [tick.ts_ns - BEGIN_NS for tick in history.last_ticks(1, 1_150)] == list(range(50, 1_200))


@pytest.mark.server
def test_what_cannot_be_read_is_named(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd("odd:1", {"when": 5, "price": "5"})
    with pytest.raises(HistoryRefused, match=r"stream odd:1, entry .*: expected ts_ns .* and price; found"):
        RedisTicks(redis_server.url, "odd:{token}").last_ticks(1, 5)
    table = table_of("ts_ns BIGINT, price NUMERIC", TICKS)
    asked(f"ALTER TABLE {table} RENAME price TO last")
    with pytest.raises(HistoryRefused, match="expected columns instrument_token, price, and ts_ns or timestamp; found"):
        PostgresTicks(postgres_url(), table).last_ticks(1, 5)
    with pytest.raises(HistoryRefused, match='PostgreSQL, table nowhere: relation "nowhere" does not exist'):
        PostgresTicks(postgres_url(), "nowhere").last_ticks(1, 5)


def test_a_server_that_is_not_there_is_told_of_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(HistoryRefused, match="PostgreSQL server does not answer") as refused:
        PostgresTicks("postgresql://desk:CANARY@127.0.0.1:1/x", "ticks").last_ticks(1, 5)
    assert "CANARY" not in str(refused.value)
    with pytest.raises(HistoryRefused, match="Redis, stream ticks:1: ConnectionError") as away:
        RedisTicks("redis://:CANARY@127.0.0.1:1", "ticks:{token}").last_ticks(1, 5)
    assert "CANARY" not in str(away.value)


@pytest.mark.parametrize(
    ("history", "kind"),
    [
        ({"type": "postgres", "url": "postgresql://h/d", "table": "t"}, PostgresTicks),
        ({"type": "redis", "url": "redis://h", "key": "k{token}"}, RedisTicks),
    ],
)
def test_a_configuration_names_it(history: dict[str, Any], kind: type[object]) -> None:
    mapping = {"source": {"type": "synthetic"}, "history": history, "strategies": []}
    configured = configuration_from_mapping(mapping, builtin_catalog())
    assert configured.history is not None
    assert configured.source is not None

    async def opened() -> HistoryProvider:
        assert configured.history is not None
        assert configured.source is not None
        from anystrat.adapters.system_clock import SystemClock

        return open_history(configured.history, {1: 5}, configured.source, SystemClock())

    assert isinstance(asyncio.run(opened()), kind)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"type": "nats", "url": "nats://h"}, "give the source `start: new`"),
        ({"type": "kafka", "bootstrap_servers": "h:1", "topic": "t", "start": "new"}, "name the source's `partitions`"),
        (
            {"type": "kafka", "bootstrap_servers": "h:1", "topic": "t", "partitions": [0]},
            "give the source `start: new`",
        ),
        ({"type": "synthetic"}, "a source of type synthetic cannot be read before the run begins with it"),
    ],
)
def test_a_source_that_has_nothing_from_before_the_run_is_no_history(source: dict[str, Any], why: str) -> None:
    mapping = {"source": source, "history": {"type": "source"}, "strategies": []}
    configured = configuration_from_mapping(mapping, builtin_catalog())
    assert configured.history is not None
    assert configured.source is not None
    from anystrat.adapters.system_clock import SystemClock

    with pytest.raises(ConfigurationError, match=why):
        open_history(configured.history, {1: 5}, configured.source, SystemClock())


def test_a_key_for_all_instruments_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"must hold \{token\}"):
        configuration_from_mapping(
            {"history": {"type": "redis", "url": "redis://h", "key": "k"}, "strategies": []}, builtin_catalog()
        )
