"""`anystrat.backtest` and `anystrat.sweep` as a user calls them: `python -m benchmarks.own_backtests --workload W3 --ticks 500000`.

The whole call is measured, from columns in memory to the figures and the equity curve. A close is a tick, and its own tick
fills an order, which here is the next bar's open.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

import anystrat
from benchmarks.timing import arguments, emit, repeated
from benchmarks.workloads import CASH, FASTS, FEE_BPS, SLOWS, Bars, bars_of, crossover_row

Answer = dict[str, Any]


def columns(bars: Bars) -> dict[str, Any]:
    return {"ts_ns": bars.ts_ns, "instrument_token": np.ones(len(bars.close), np.int64), "price": bars.close}


def backtested(ticks: dict[str, Any]) -> Answer:
    result = anystrat.backtest(crossover_row(), ticks, cash=CASH, fee_bps=FEE_BPS, fill="same_tick")
    assert result.equity.rows > 0
    return {"equities": [result.stats.end], "orders": result.stats.fills}


def swept(ticks: dict[str, Any]) -> Answer:
    over = {"parameters.fast_periods": FASTS, "parameters.slow_periods": SLOWS}
    result = anystrat.sweep(
        crossover_row(), ticks, over=over, by="total_return", cash=CASH, fee_bps=FEE_BPS, fill="same_tick"
    )
    return {
        "equities": [trial.figure("end") for trial in result.all],
        "orders": sum(int(trial.figures["fills"]) for trial in result.all),
    }


def main() -> None:
    asked = arguments("anystrat's backtests")
    run = backtested if asked.workload == "W3" else swept
    run(columns(bars_of(2_000)))
    ticks = columns(bars_of(asked.ticks))
    wall, cpu, answer = repeated(lambda: run(ticks))
    pairs = 1 if asked.workload == "W3" else len(FASTS) * len(SLOWS)
    emit(version=version("anystrat"), ticks=asked.ticks * pairs, bars=asked.ticks, wall=wall, cpu=cpu, **answer)


if __name__ == "__main__":
    main()
