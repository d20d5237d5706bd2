"""Runs from Kafka to Kafka, over a restart: what a replay of the same ticks decides, each once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kafka_cluster import KafkaCluster

from anystrat import StrategyRunnerService
from anystrat.adapters.tick_files.merge import sliced
from anystrat.bootstrap import build_engine, default_wiring
from anystrat.bootstrap.running import RunOptions, build_runner, system_clock
from anystrat.config import configuration_from_mapping
from anystrat.domain.configuration import Configuration
from anystrat.runner.runner import Runner
from anystrat.strategies.builtin import builtin_catalog
from anystrat.testing.messages import columns_message, json_message
from anystrat.testing.ticks import synthetic_ticks

pytestmark = pytest.mark.server
ROWS = [
    {
        "id": f"s{token}",
        "strategy_type": "momentum",
        "parameters": {"lookback_periods": 5, "threshold": 0.002},
        "instruments": [token],
        "brokers": ["out"],
    }
    for token in (1, 2)
]


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as found:
        yield found


def configured(cluster: KafkaCluster, place: Path) -> Configuration:
    mapping = {
        "run": {"shards": 2},
        "source": {"type": "kafka", "bootstrap_servers": cluster.servers, "topic": "ticks", "partitions": [0, 1]},
        "brokers": {"out": {"type": "kafka", "bootstrap_servers": cluster.servers, "topic": "signals"}},
        "journal": {"type": "sqlite", "path": str(place / "run.db")},
        "strategies": ROWS,
    }
    return configuration_from_mapping(mapping, builtin_catalog())


def runner_of(cluster: KafkaCluster, place: Path) -> Runner:
    configuration = configured(cluster, place)
    wiring = default_wiring()
    build_engine(configuration, wiring)
    return build_runner(configuration, wiring, RunOptions(system_clock()))


async def run_until(runner: Runner, received: int) -> None:
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(60):
        while runner.accounts.received < received:
            if running.done():
                await running
            await asyncio.sleep(0.02)
    runner.stop("enough")
    await running


def test_the_signals_are_those_of_a_replay_each_once_over_a_restart(cluster, tmp_path) -> None:
    whole = {token: next(iter(synthetic_ticks(token, [token], 1_000, block_rows=1_000))) for token in (1, 2)}
    first = {token - 1: [columns_message(sliced(block, 0, 600))] for token, block in whole.items()}
    rest = {
        token - 1: [json_message(sliced(block, at, at + 1)) for at in range(600, 1_000)]
        for token, block in whole.items()
    }
    cluster.publish("ticks", first)
    asyncio.run(run_until(runner_of(cluster, tmp_path), 1_200))
    cluster.publish("ticks", rest)
    asyncio.run(run_until(runner_of(cluster, tmp_path), 2_000))

    service = StrategyRunnerService(replace(configured(cluster, tmp_path), source=None))
    expected = Counter(
        signal.signal_id for block in whole.values() for tick in block.rows() for signal in service.on_market_tick(tick)
    )
    sent = Counter(json.loads(record.value())["signal_id"] for record in cluster.records("signals"))
    assert sent == expected
    assert sent.total() > 20
    assert cluster.committed("ticks", "anystrat") == {0: 401, 1: 401}
