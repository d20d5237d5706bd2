"""A small run for the tests of the backtest: strategies over seeded ticks, at either speed, with a recorder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anystrat.backtest.recorder import Recorder
from anystrat.backtest.replay import Replayed, Speed, replay
from anystrat.bootstrap import build_engine, default_wiring, kernel_compiler
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.engine.engine import Engine
from anystrat.testing.ticks import synthetic_ticks

CONFIG: dict[str, Any] = {
    "version": 1,
    "instruments": [{"token": 1, "symbol": "AAA", "multiplier": "2.5"}, {"token": 2, "symbol": "BBB"}],
    "brokers": {"paper": {"type": "paper", "fee_bps": 2, "slippage_bps": 1, "fill": "next_tick"}},
    "strategies": [
        {
            "id": "trend",
            "strategy_type": "momentum",
            "parameters": {
                "lookback_periods": 5,
                "threshold": 0.00005,
                "position_size": 10,
                "max_position_size": 30,
                "risk": {"cooldown_sec": 20},
            },
            "instruments": [1, 2, 3],
        },
        {
            "id": "fade",
            "strategy_type": "mean_reversion",
            "parameters": {"lookback_periods": 8, "z_entry": 1.5, "max_position_size": 200, "position_size": 100},
            "instruments": [1, 2],
            "per_instrument": True,
        },
    ],
}


def engine_of(config: dict[str, Any] = CONFIG) -> Engine:
    wiring = default_wiring()
    return build_engine(configuration_from_mapping(config, wiring.catalog), wiring)


def ticks(seed: int = 5, count: int = 3_000, **options: Any) -> list[TickColumns]:
    return list(synthetic_ticks(seed, [1, 2, 3, 9], count, **options))


def recorded(
    blocks: Sequence[TickColumns],
    config: dict[str, Any] = CONFIG,
    *,
    speed: Speed = Speed.SCALAR,
    compiled: bool = False,
    **options: Any,
) -> tuple[Engine, Recorder, Replayed]:
    engine = engine_of(config)
    recorder = Recorder(engine, **options)
    done = replay(
        engine,
        blocks,
        speed=speed,
        compiler=kernel_compiler if compiled else None,
        recorder=recorder,
    )
    return engine, recorder, done


def one_block(ts: Sequence[int], token: Sequence[int], price: Sequence[float]) -> TickColumns:
    return TickColumns(np.array(ts, np.int64), np.array(token, np.int64), np.array(price, np.float64))
