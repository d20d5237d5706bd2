"""Blocks over columns, without a compiler, against the same ticks one by one: limits that pause, rings that grow, many fills."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from anystrat.bootstrap import build_engine, default_wiring
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.outcomes import Dropped, Outcome, Transition
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.testing.ticks import START_NS

INSTRUMENTS = [1, 2, 3, 4, 5, 6, 7]
RISKS: dict[str, dict[str, Any]] = {
    "many": {"dedupe_window_sec": 3_600},
    "few": {"cooldown_sec": 30, "max_signals_per_min": 3, "pause_on_throttle": True, "throttle_pause_sec": 20},
    "rated": {"max_signals_per_min": 2, "max_exposure": 900.0},
    "losing": {"max_loss_streak": 2, "resume_after_sec": 45},
}


def engine_of(fill: str) -> Engine:
    wiring = default_wiring()
    rows = [
        {
            "id": name,
            "strategy_type": "momentum",
            "instruments": INSTRUMENTS[:: 1 + k % 2],
            "parameters": {"lookback_periods": 2, "threshold": 0.0005 * (1 + k), "position_size": 5, "risk": risk},
        }
        for k, (name, risk) in enumerate(RISKS.items())
    ]
    mapping = {
        "version": 1,
        "brokers": {"paper": {"type": "paper", "fee_bps": 1.5, "slippage_bps": 2, "fill": fill}},
        "strategies": rows,
    }
    return build_engine(configuration_from_mapping(mapping, wiring.catalog), wiring)


def walk(seed: int, count: int = 500) -> TickColumns:
    rng = np.random.default_rng(seed)
    price = np.round(100.0 * np.exp(np.cumsum(0.004 * rng.standard_normal(count))), 2)
    times = START_NS + np.cumsum(rng.integers(0, 4_000_000_000, count))
    halted = rng.random(count) < 0.15
    return TickColumns(times, rng.choice(INSTRUMENTS, count), price, halted=halted)


def piece(block: TickColumns, start: int, stop: int) -> TickColumns:
    return block.taken(np.arange(start, min(stop, len(block))))


def state_of(engine: Engine) -> Any:
    counters = [each.counters() for each in engine.executors]
    return engine.ticks, dict(engine.tick_drops), counters, [each.portfolio for each in engine.executors]


@pytest.mark.parametrize("fill", ["next_tick", "same_tick"])
@pytest.mark.parametrize("size", [37, 500])
def test_columns_pause_fill_and_grow_as_single_ticks_do(size: int, fill: str) -> None:
    block = walk(11)
    stepped, columns = engine_of(fill), engine_of(fill)
    expected: list[Outcome] = [outcome for row in block.rows() for outcome in stepped.step(row)]
    runner = BlockRunner(columns, None)
    found: list[Outcome] = []
    for start in range(0, len(block), size):
        found += outcomes_of(columns, runner.run(piece(block, start, start + size)), reasons=True)
    assert list(map(repr, found)) == list(map(repr, expected))
    assert state_of(columns) == state_of(stepped)
    dropped = Counter(each.reason for each in expected if isinstance(each, Dropped))
    assert {"cooldown", "rate_limited", "exposure", "circuit_open"} <= dropped.keys()
    moves = {each.trigger for each in expected if isinstance(each, Transition)}
    assert {"throttled", "circuit_open", "timer"} <= moves
    many = columns.executors[0]
    assert max(columns.state.book.slot.recent_count[slot] for slot in many.slots.values()) > 8
