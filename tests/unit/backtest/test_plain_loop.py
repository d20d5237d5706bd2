"""A moving-average crossover, long or flat, with costs, against the twenty lines that anybody would write for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.backtest.backtest_case import one_block, recorded

from anystrat.backtest.replay import Speed
from anystrat.backtest.report import replay_report
from anystrat.backtest.result import BacktestResult

FAST, SLOW, SIZE, CASH, FEE = 10, 30, 100, 1_000_000.0, 2e-4
CONFIG: dict[str, Any] = {
    "version": 1,
    "brokers": {"paper": {"type": "paper", "fee_bps": 2, "fill": "same_tick"}},
    "strategies": [
        {
            "id": "sma",
            "strategy_type": "sma_crossover",
            "parameters": {
                "fast_periods": FAST,
                "slow_periods": SLOW,
                "position_size": SIZE,
                "max_position_size": SIZE,
                "risk": {"long_only": True},
            },
            "instruments": [1],
        }
    ],
}


def closes(bars: int) -> list[float]:
    steps = 5e-4 * np.random.default_rng(9).standard_normal(bars)
    rounded: list[float] = np.round(100.0 * np.exp(np.cumsum(steps)), 6).tolist()
    return rounded


def by_hand(prices: list[float]) -> tuple[float, int, float]:
    """(equity at the end, orders, deepest drawdown): buy where the fast mean crosses above the slow one, sell where below."""
    whole = [round(price * 1e6) for price in prices]
    cash, held, orders, before, peak, deepest = CASH, 0, 0, 0, CASH, 0.0
    for at, price in enumerate(prices):
        if at >= SLOW - 1:
            fast, slow = sum(whole[at + 1 - FAST : at + 1]), sum(whole[at + 1 - SLOW : at + 1])
            now = SLOW * fast - FAST * slow
            if at >= SLOW:
                if before <= 0 < now and not held:
                    cash -= SIZE * price + SIZE * price * FEE
                    held, orders = SIZE, orders + 1
                elif before >= 0 > now and held:
                    cash += SIZE * price - SIZE * price * FEE
                    held, orders = 0, orders + 1
            before = now
        worth = cash + held * price
        peak = max(peak, worth)
        deepest = max(deepest, 1 - worth / peak)
    return cash + held * prices[-1], orders, deepest


@pytest.mark.parametrize("compiled", [False, True])
def test_equity_orders_and_drawdown_are_those_of_a_plain_loop(compiled: bool):
    prices = closes(20_000)
    block = one_block(60_000_000_000 * np.arange(1, 20_001), [1] * 20_000, prices)
    engine, recorder, done = recorded([block], CONFIG, speed=Speed.COLUMNS, compiled=compiled, cash=CASH)
    result = BacktestResult(recorder, replay_report(engine, done))
    equity, orders, deepest = by_hand(prices)
    assert orders > 500
    assert result.stats.fills == orders
    assert result.stats.end == pytest.approx(equity, abs=1e-6, rel=1e-15)
    assert result.stats.profit == pytest.approx(equity - CASH, rel=1e-9)
    assert result.stats.max_drawdown == pytest.approx(deepest, rel=1e-9)
