"""How the cost of a tick grows: with strategies, with instruments, with the window.

`python -m benchmarks.curves strategies 1000` prints one point of a curve.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystrat.bootstrap import kernel_compiler
from anystrat.domain.columns import TickColumns
from anystrat.domain.tick import TickRow
from anystrat.engine.columns.runner import BlockRunner
from benchmarks.own import BLOCK, engine_of
from benchmarks.timing import Clock, emit
from benchmarks.workloads import T0_NS, momentum_row, reversion_row

#: Strategies that watch each instrument of the first curve.
WATCHING = 10
SINGLE_TICKS = 20_000
#: Rare signals, so that a curve shows what a tick costs, and not what a signal does.
QUIET = 0.05


def rows_for(curve: str, point: int) -> tuple[list[dict[str, Any]], int]:
    """The rows of a point of a curve, and how many instruments they watch."""
    if curve == "strategies":
        rows = [momentum_row(f"m{n}", 20, [n // WATCHING], QUIET) for n in range(point)]
        return rows, -(-point // WATCHING)
    if curve == "instruments":
        return [momentum_row("m20", 20, list(range(point)), QUIET)], point
    if curve == "momentum window":
        return [momentum_row("m", point, [0], QUIET)], 1
    return [reversion_row("z", point, [0], 6.0)], 1


def prices(count: int, instruments: int) -> NDArray[np.float64]:
    rounds = -(-count // instruments)
    steps = 5e-4 * np.random.default_rng(3).standard_normal((rounds, instruments))
    walk: NDArray[np.float64] = np.round(100.0 * np.exp(np.cumsum(steps, axis=0)), 4).reshape(-1)[:count]
    return walk


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("curve", choices=["strategies", "instruments", "momentum window", "reversion window"])
    parser.add_argument("point", type=int)
    asked = parser.parse_args()
    rows, instruments = rows_for(asked.curve, asked.point)
    warm = max(rows[0]["parameters"]["lookback_periods"] * instruments, 1_000)
    total = warm + max(SINGLE_TICKS, 4 * BLOCK)
    price = prices(total, instruments)
    token = np.arange(total, dtype=np.int64) % instruments
    ts = T0_NS + np.arange(total, dtype=np.int64) * 10_000_000

    engine_of(rows[:1])
    with Clock() as made:
        engine = engine_of(rows)
    tick_rows = [TickRow(*each) for each in zip(token.tolist(), ts.tolist(), price.tolist(), strict=True)]
    for row in tick_rows[:warm]:
        engine.step(row)
    measured = tick_rows[warm : warm + SINGLE_TICKS]
    with Clock() as single:
        step = engine.step
        for row in measured:
            step(row)
    del tick_rows, measured

    engine = engine_of(rows)
    with_columns = BlockRunner(engine, kernel_compiler())
    spent = []
    for i in range(0, total, BLOCK):
        part = TickColumns(ts[i : i + BLOCK], token[i : i + BLOCK], price[i : i + BLOCK])
        with Clock() as clock:
            with_columns.run(part)
        spent.append(clock.cpu / len(part))
    emit(
        curve=asked.curve,
        point=asked.point,
        instruments=instruments,
        registration_us=1e6 * made.cpu / len(rows),
        tick_us=1e6 * single.cpu / SINGLE_TICKS,
        tick_wall_us=1e6 * single.wall / SINGLE_TICKS,
        column_tick_us=1e6 * float(np.median(spent[1:])),
    )


if __name__ == "__main__":
    main()
