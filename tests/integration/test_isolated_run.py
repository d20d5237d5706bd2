"""A run with a strategy that hangs, ends its process and leaks: it alone is the worse for it, and a replay agrees."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.runner.rig import ListSource, Rig, configured

from anystrat.adapters.offload import in_a_thread
from anystrat.bootstrap import build_engine, default_wiring
from anystrat.bootstrap.isolating import IsolatedStrategies
from anystrat.domain.columns import TickColumns
from anystrat.domain.lifecycle import State
from anystrat.domain.notices import ProcessReplaced
from anystrat.domain.outcomes import Emitted
from anystrat.runner.driver import EngineDriver
from anystrat.testing.ticks import START_NS

MODULE = """
import os
import time
from anystrat.strategies.function_rule import rule

held = []

@rule(history=2)
def misbehaving(prices):
    "Does what it should not at some prices."
    if prices[-1] == 105.0:
        time.sleep(600)
    if prices[-1] == 110.0:
        os._exit(3)
    while prices[-1] == 115.0:
        held.append(b"x" * (1 << 22))
    return "BUY" if prices[-1] > prices[0] else "SELL"
"""
POINTS = "[anystrat.strategies]\nmisbehaving = misbehaving_strategy:misbehaving\n"
RISK = {"retry_backoff_sec": 1, "max_retries": 3}
ROWS = [
    {
        "id": "bad",
        "strategy_type": "misbehaving",
        "parameters": {"risk": RISK},
        "instruments": [1],
        "isolate": {"deadline_ms": 1000, "memory_mb": 200},
    },
    {"id": "good", "strategy_type": "breakout", "parameters": {"lookback_periods": 2}, "instruments": [2]},
]


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The strategy is that of an installed package, here and in every process that begins meanwhile."""
    site = tmp_path / "site"
    information = site / "misbehaving_strategy-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "misbehaving_strategy.py").write_text(MODULE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving-strategy\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("misbehaving_strategy", None)


class Patient(ListSource):
    """Goes on once the strategy that lost its process is asked again: a second of the ticks' time after another."""

    runner: Any = None

    async def batches(self, after: Any) -> AsyncIterator[Any]:
        async for batch in super().batches(after):
            yield batch
            await self.runner._settled()
            while self.runner.shards[1].driver.engine.waiting_for_process():  # noqa: ASYNC110  the engine has no event for it
                await asyncio.sleep(0.01)


class Recorder:
    """Keeps the inputs of every shard."""

    def __init__(self) -> None:
        self.inputs: dict[int, list[Any]] = {}

    def next_input(self, shard: int) -> None:
        return None

    def begin(self, shard: int, first: int) -> None:
        self.inputs[shard] = []

    def take(self, shard: int, first: int, inputs: Sequence[Any], marks: Any = None) -> None:
        self.inputs[shard] += inputs

    def close(self) -> None:
        pass


def ticks() -> TickColumns:
    """Prices of 100, 101 … for both instruments, ten seconds apart."""
    steps = np.arange(20)
    return TickColumns(
        START_NS + np.repeat(steps, 2) * 10 * 10**9, np.tile([1, 2], 20).astype(np.int64), 100.0 + np.repeat(steps, 2)
    )


def test_what_a_bad_strategy_does_costs_it_alone_and_a_replay_of_the_run_decides_the_same() -> None:
    recorder, wiring = Recorder(), default_wiring()
    processes = IsolatedStrategies(wiring.catalog, None)
    rig = Rig(ROWS, ticks(), shards=2, processes=processes, offload=in_a_thread, recorder=recorder)
    source = Patient(rig.block, [2])
    waits: list[float] = []

    async def main() -> Any:
        async def beat() -> None:
            loop = asyncio.get_running_loop()
            while True:
                before = loop.time()
                await asyncio.sleep(0.01)
                waits.append(loop.time() - before)

        source.runner = runner = rig.start(source)
        beating = asyncio.create_task(beat())
        await runner.run()
        beating.cancel()
        return runner

    runner = asyncio.run(main())
    counted = {one.strategy_id: one for one in runner.executors()}
    assert (counted["bad"].errors, counted["bad"].state) == (3, State.ACTIVE)
    assert counted["bad"].signals >= 15
    assert counted["good"].signals == 18
    said = [notice for notice in rig.heard if isinstance(notice, ProcessReplaced)]
    assert len(said) == 3
    (health,) = processes.health()
    assert (health.restarts, health.problem.startswith("its process held")) == (3, True)
    # Far below the deadline: nobody but its own shard waited for it.
    assert sorted(waits)[-3] < 0.5

    configuration, again = configured(ROWS, run={"shards": 2})
    replayed: dict[str, list[str]] = {}
    for shard in (0, 1):
        engine = build_engine(configuration, again)
        driver = EngineDriver(engine)
        for each in recorder.inputs[shard]:
            for outcome in driver.ticks(each) if isinstance(each, TickColumns) else driver.event(each):
                if isinstance(outcome, Emitted):
                    replayed.setdefault(outcome.signal.broker, []).append(outcome.signal.signal_id)
    accepted = rig.accepted()
    assert sum(map(len, accepted.values())) > 30
    assert {broker: sorted(ids) for broker, ids in replayed.items()} == {
        broker: sorted(ids) for broker, ids in accepted.items()
    }
