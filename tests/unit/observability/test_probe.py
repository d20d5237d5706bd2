"""A probe looks at the share of ticks that it was told to, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat import StrategyRunnerService
from anystrat.domain.measuring import Stage, StepProbe
from anystrat.engine.engine import Engine
from anystrat.observability.measurements import Measurements
from anystrat.observability.probe import BlockLookedAt, LookedAt, Probe, Sampler, StageTimes
from anystrat.testing import ticks


class Seen:
    def __init__(self) -> None:
        self.ticks: list[LookedAt] = []
        self.blocks: list[BlockLookedAt] = []

    def tick(self, seen: LookedAt) -> None:
        self.ticks.append(seen)

    def block(self, seen: BlockLookedAt) -> None:
        self.blocks.append(seen)


def engine(strategies: int = 1) -> Engine:
    service = StrategyRunnerService(observers=[])
    for n in range(strategies):
        parameters = {"lookback_periods": 2, "threshold": 0.001, "risk": {"dedupe_window_sec": 0.5}}
        service.register_from_config(
            {"id": f"s{n}", "strategy_type": "momentum", "parameters": parameters, "instruments": [1]}
        )
    return service.engine


def counting() -> Callable[[], int]:
    counter = count(0, 1000)
    return lambda: next(counter)


def chosen(share: float, seed: int, many: int) -> list[int]:
    """Which of so many ticks a probe looks at."""
    seen = Seen()
    probe = Probe(engine(), [(Sampler(share, Random(seed)), seen)])
    for n in range(many):
        probe.step(ticks.row(1, 100, n))
    return [(one.row.ts_ns - ticks.row().ts_ns) // 10**9 for one in seen.ticks]


def test_the_same_seed_looks_at_the_same_ticks() -> None:
    assert chosen(0.1, 7, 300) == chosen(0.1, 7, 300)
    assert chosen(0.1, 7, 300) != chosen(0.1, 8, 300)
    assert chosen(1.0, 7, 30) == list(range(30))
    assert chosen(0.0, 7, 30) == []


@given(st.sampled_from([0.001, 0.01, 0.2, 0.5, 0.9]), st.integers(0, 2**32))
def test_the_share_is_kept(share: float, seed: int) -> None:
    sampler = Sampler(share, Random(seed))
    gaps = [sampler.gap() for _ in range(2000)]
    assert min(gaps) >= 1
    assert sum(gaps) / len(gaps) == pytest.approx(1 / share, rel=0.2)


def test_each_onlooker_has_its_own_share() -> None:
    every, none, some = Seen(), Seen(), Seen()
    samplers = [(Sampler(1.0, Random(1)), every), (Sampler(0.0, Random(1)), none), (Sampler(0.2, Random(3)), some)]
    probe = Probe(engine(), samplers)
    for n in range(200):
        probe.step(ticks.row(1, 100, n))
    alone = Seen()
    again = Probe(engine(), [(Sampler(0.2, Random(3)), alone)])
    for n in range(200):
        again.step(ticks.row(1, 100, n))
    assert (len(every.ticks), len(none.ticks)) == (200, 0)
    assert [one.row.ts_ns for one in some.ticks] == [one.row.ts_ns for one in alone.ticks] != []


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_comes_out_is_what_the_engine_says(share: float) -> None:
    plain = engine(2)
    probe: StepProbe = Probe(engine(2), [(Sampler(share, Random(5)), Seen())])
    rows = [ticks.row(1, 100 + n % 7, n) for n in range(100)]
    found = [str(outcome) for row in rows for outcome in probe.step(row, age_ns=5)]
    assert found == [str(outcome) for row in rows for outcome in plain.step(row, age_ns=5)]
    assert len(found) > 100


def test_a_block_stands_for_the_ticks_of_it_that_were_chosen() -> None:
    seen = Seen()
    watched = engine()
    probe = Probe(watched, [(Sampler(0.5, Random(2)), seen)], clock=counting())

    def run(first: int, many: int) -> str:
        for n in range(many):
            watched.step(ticks.row(1, 100, first + n))
        return "result"

    assert probe.block(1000, lambda: run(0, 1000)) == "result"
    (block,) = seen.blocks
    assert (block.ticks, block.began, block.ended, block.evaluations) == (1000, 0, 1000, 999)
    assert 400 < block.chosen < 600
    rare = Seen()
    probe = Probe(watched, [(Sampler(1e-9, Random(2)), rare)])
    assert probe.block(1000, lambda: run(1000, 1000)) == "result"
    assert rare.blocks == []


def test_stages_are_timed_for_each_strategy_and_checks_only_where_there_was_a_signal() -> None:
    measurements = Measurements()
    probe = Probe(engine(2), [(Sampler(1.0, Random(0)), StageTimes(measurements))], clock=counting())
    for n, price in enumerate([100, 100, 110, 100]):
        probe.step(ticks.row(1, price, n))
    asked, checked = measurements.stages[Stage.PROCESS_TICK], measurements.stages[Stage.VALIDATE]
    assert (sum(asked.counts), sum(checked.counts)) == (6, 4)
    assert asked.total == pytest.approx(6e-6)
    assert checked.total == pytest.approx(4e-6)


def test_a_block_s_time_is_shared_among_its_evaluations() -> None:
    measurements = Measurements()
    StageTimes(measurements).block(BlockLookedAt(ticks=100, chosen=10, began=0, ended=4_000_000, evaluations=400))
    StageTimes(measurements).block(BlockLookedAt(ticks=100, chosen=10, began=0, ended=4_000_000, evaluations=0))
    buckets: Any = measurements.stages[Stage.PROCESS_TICK]
    assert sum(buckets.counts) == 40
    assert buckets.total == pytest.approx(40 * 1e-5)
