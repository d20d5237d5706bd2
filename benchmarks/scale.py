"""How time and memory of a backtest grow: `python -m benchmarks.scale --instruments 25 --bars 98280 --strategies 20`.

A year of minute bars is 98,280 (252 days of 390 minutes). Blocks of ticks come as from a file, one after another, and none is
kept; the time is that of the whole run with its accounts, the making of the blocks left out. `--report` writes the report, too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anystrat.backtest.recorder import Recorder
from anystrat.backtest.replay import Speed, replay
from anystrat.backtest.report import replay_report
from anystrat.backtest.result import BacktestResult
from anystrat.bootstrap import kernel_compiler
from anystrat.domain.columns import TickColumns
from benchmarks.own import engine_of
from benchmarks.timing import Clock, emit, peak_mib, resident_mib
from benchmarks.workloads import FAST, MINUTE_NS, SIGMA, SLOW, T0_NS, crossover_row

ROWS = 131_072


def blocks(instruments: int, bars: int) -> Iterator[TickColumns]:
    """Every instrument's bar of a minute, then the next minute's: random walks."""
    rng = np.random.default_rng(12)
    level = np.full(instruments, np.log(100.0))  # the logarithm of each one's price
    minutes = max(1, ROWS // instruments)
    for start in range(0, bars, minutes):
        count = min(minutes, bars - start)
        walk = level + np.cumsum(SIGMA * rng.standard_normal((count, instruments)), axis=0)
        level = walk[-1]
        ts = T0_NS + MINUTE_NS * np.repeat(np.arange(start, start + count), instruments)
        token = np.tile(np.arange(instruments), count)
        yield TickColumns(ts, token, np.round(np.exp(walk), 4).reshape(-1))


class Timed:
    """The blocks, and how long it took to make them."""

    def __init__(self, instruments: int, bars: int) -> None:
        self.made, self.cpu, self.wall = blocks(instruments, bars), 0.0, 0.0

    def __iter__(self) -> Iterator[TickColumns]:
        while True:
            with Clock() as clock:
                block = next(self.made, None)
            self.cpu += clock.cpu
            self.wall += clock.wall
            if block is None:
                return
            yield block


def rows_of(instruments: int, strategies: int) -> list[dict[str, Any]]:
    tokens = list(range(instruments))
    return [crossover_row(f"sma{n}", tokens, FAST + 2 * n, SLOW + 5 * n) for n in range(strategies)]


def run(instruments: int, bars: int, strategies: int) -> tuple[float, float, BacktestResult]:
    """Processor and wall seconds of the run, and its result."""
    engine = engine_of(rows_of(instruments, strategies))
    recorder, ticks = Recorder(engine), Timed(instruments, bars)
    with Clock() as clock:
        done = replay(engine, ticks, speed=Speed.COLUMNS, compiler=kernel_compiler, recorder=recorder)
        result = BacktestResult(recorder, replay_report(engine, done))
        assert result.stats.marks > 0
    return clock.cpu - ticks.cpu, clock.wall - ticks.wall, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("instruments", "bars", "strategies"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    run(2, 200, 2)  # compiles, or loads what is compiled
    before = resident_mib()
    cpu, wall, result = run(asked.instruments, asked.bars, asked.strategies)
    found = {"cpu": cpu, "wall": wall, "mib": peak_mib() - before, "fills": result.stats.fills}
    if asked.report:
        with tempfile.TemporaryDirectory() as folder, Clock() as clock:
            size = result.report(Path(folder) / "report.html").stat().st_size
        found |= {"report_cpu": clock.cpu, "report_wall": clock.wall, "report_mb": size / 1e6}
    emit(instruments=asked.instruments, bars=asked.bars, strategies=asked.strategies, **found)


if __name__ == "__main__":
    main()
