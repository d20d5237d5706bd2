"""The memory of a strategy, and of an instrument with a full window of 20 ticks: what the process grows by, for each."""

from __future__ import annotations

import argparse
import gc

from anystrat.domain.tick import TickRow
from benchmarks.own import engine_of
from benchmarks.timing import emit, resident_mib
from benchmarks.workloads import T0_NS, momentum_row

WINDOW = 20


def grown(rows: int, instruments: int) -> float:
    """MiB that `rows` strategies on `instruments` instruments take, their windows full."""
    gc.collect()
    before = resident_mib()
    tokens = list(range(instruments))
    engine = engine_of([momentum_row(f"m{n}", WINDOW, tokens, 0.05) for n in range(rows)])
    for n in range(WINDOW):
        for token in tokens:
            engine.step(TickRow(token, T0_NS + n * 1_000_000, 100.0))
    gc.collect()
    return resident_mib() - before


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("of", choices=["strategy", "instrument"])
    parser.add_argument("count", type=int)
    asked = parser.parse_args()
    grown(1, 1)
    many = grown(asked.count, 1) if asked.of == "strategy" else grown(1, asked.count)
    emit(of=asked.of, count=asked.count, kib=1024.0 * many / asked.count)


main()
