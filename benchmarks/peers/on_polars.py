"""Polars: the rules as window expressions over whole columns, in one lazy query, on one thread; signals are counted."""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import polars as pl

from benchmarks.timing import arguments, emit, repeated
from benchmarks.workloads import LOOKBACK, THRESHOLD, WINDOWS, Z_ENTRY, ticks_of


def momentum(window: int) -> pl.Expr:
    start = pl.col("price").shift(window - 1).over("token")
    move = (pl.col("price") - start) / start
    return ((move > THRESHOLD) | (move < -THRESHOLD)).sum().alias(f"m{window}")


def reversion(window: int) -> pl.Expr:
    mean = pl.col("price").rolling_mean(window).over("token")
    deviation = pl.col("price").rolling_std(window, ddof=0).over("token")
    z = (pl.col("price") - mean) / deviation
    return (((z >= Z_ENTRY) | (z <= -Z_ENTRY)) & (deviation > 0)).sum().alias(f"z{window}")


def single() -> pl.Expr:
    start = pl.col("price").shift(LOOKBACK - 1)
    move = (pl.col("price") - start) / start
    return ((move > THRESHOLD) | (move < -THRESHOLD)).sum()


def main() -> None:
    asked = arguments("Polars", ["columns"])
    ticks = ticks_of(asked.workload, asked.ticks)
    frame = pl.DataFrame({"ts": ticks.ts_ns, "token": ticks.token, "price": ticks.price})
    wanted = [single()] if asked.workload == "W1" else [rule(w) for w in WINDOWS for rule in (momentum, reversion)]

    def count(rows: pl.DataFrame) -> int:
        return int(sum(rows.lazy().select(wanted).collect().row(0)))

    count(frame.head(2_000))
    wall, cpu, raw = repeated(lambda: count(frame))
    emit(version=pl.__version__, ticks=asked.ticks, wall=wall, cpu=cpu, raw=raw)


main()
