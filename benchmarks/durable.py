"""The durable runner: throughput, durable signals, the way from a tick to its send, what a commit costs.

    python -m benchmarks --only durable          # as a table
    python -m benchmarks.durable --only latency  # one part, its numbers alone

In one process: W2's strategies over a Parquet file, a SQLite journal with `synchronous=FULL`, a JSONL sink.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anystrat.bootstrap import default_wiring, kernel_compiler
from anystrat.bootstrap.running import RunOptions, build_runner, system_clock
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.delivery import TAKEN, Idempotent
from anystrat.domain.intake import TickBatch
from anystrat.runner.runner import Runner
from benchmarks.own import write_ticks
from benchmarks.timing import emit
from benchmarks.workloads import Ticks, rows_of, ticks_of

#: Thresholds at which W2's strategies give about one signal in 100 ticks, all ten together.
RARE = {"threshold": 0.021, "z_entry": 3.35}
PARTS = ("file", "signals", "latency")


def configured(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": 1,
        "source": {"type": "file", "path": str(folder / "ticks.parquet")},
        "brokers": {"out": {"type": "jsonl", "path": str(folder / "signals.jsonl")}},
        "journal": {"type": "sqlite", "path": str(folder / "journal.db")},
        "strategies": [{**row, "brokers": ["out"]} for row in rows],
    }


def rare_rows() -> list[dict[str, Any]]:
    return [
        {**row, "parameters": {**row["parameters"], **{k: v for k, v in RARE.items() if k in row["parameters"]}}}
        for row in rows_of("W2")
    ]


def made(folder: Path, rows: list[dict[str, Any]], commits: list[tuple[float, int, int]]) -> Runner:
    wiring = default_wiring()
    configuration = configuration_from_mapping(configured(folder, rows), wiring.catalog)
    runner = build_runner(configuration, wiring, RunOptions(system_clock(), kernel_compiler()))
    runner._committer._on_commit = lambda *commit: commits.append(commit)  # noqa: SLF001  what is measured here
    return runner


def drained(rows: list[dict[str, Any]], ticks: Ticks) -> dict[str, Any]:
    """A file, from opening the journal to the last acknowledgement."""
    commits: list[tuple[float, int, int]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_ticks(folder / "ticks.parquet", ticks)
        runner = made(folder, rows, commits)
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(runner.run())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        signals = sum(1 for _ in (folder / "signals.jsonl").open("rb"))
        journal = (folder / "journal.db").stat().st_size
    return {
        "ticks": len(ticks.price),
        "signals": signals,
        "wall": wall,
        "cpu": cpu,
        "ticks_per_sec": len(ticks.price) / wall,
        "signals_per_sec": signals / wall,
        "journal_bytes_per_tick": journal / len(ticks.price),
        "commits": len(commits),
        "commit_ms": [float(np.percentile([1e3 * each[0] for each in commits], q)) for q in (50, 99)],
        "signals_a_commit": signals / max(1, len(commits)),
    }


class PacedSource:
    """Ticks at an even rate, in batches of what is due; remembers when each arrived."""

    resumable = False

    def __init__(self, ticks: Ticks, per_sec: float) -> None:
        self.ticks, self.per_sec = ticks, per_sec
        self.arrived = np.zeros(len(ticks.price))

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch, None]:
        del after
        loop, at, total = asyncio.get_running_loop(), 0, len(self.ticks.price)
        began = loop.time()
        while at < total:
            due = min(total, int((loop.time() - began) * self.per_sec) + 1)
            if due <= at:
                await asyncio.sleep(0.0005)
                continue
            self.arrived[at:due] = time.perf_counter()
            ts, token, price = (column[at:due] for column in self.ticks)
            yield TickBatch("paced", TickColumns(ts, token, price), np.arange(at, due), due - 1)
            at = due
            await asyncio.sleep(0)

    async def acknowledge(self, partition: str, offset: int) -> None:
        pass

    async def close(self) -> None:
        pass


class TimingSink:
    """Takes everything, and notes when the send of each signal began."""

    guarantee = Idempotent()
    largest_group = 1_024

    def __init__(self) -> None:
        self.began: dict[int, float] = {}

    async def open(self) -> None:
        pass

    async def send(self, signals: Any) -> Any:
        now = time.perf_counter()
        for signal in signals:
            self.began.setdefault(signal.ts_ns, now)
        return [TAKEN] * len(signals)

    async def has(self, signals: Any) -> Any:
        return [None] * len(signals)

    async def close(self) -> None:
        pass


def tick_to_send(per_sec: float, seconds: float) -> dict[str, Any]:
    """From a tick's arrival to the beginning of its signal's send, the commit in between, at an even load."""
    ticks = ticks_of("W2", int(per_sec * seconds))
    commits: list[tuple[float, int, int]] = []
    source, sink = PacedSource(ticks, per_sec), TimingSink()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_ticks(folder / "ticks.parquet", Ticks(*(column[:1] for column in ticks)))
        runner = made(folder, rare_rows(), commits)
        runner._parts.source = source  # type: ignore[assignment]  # noqa: SLF001
        runner.deliveries["out"]._calls._sink = sink  # type: ignore[attr-defined]  # noqa: SLF001
        asyncio.run(runner.run())
    place = {int(ts): k for k, ts in enumerate(ticks.ts_ns.tolist())}
    warm = len(ticks.price) // 5
    waits = [1e3 * (at - source.arrived[place[ts]]) for ts, at in sink.began.items() if place[ts] >= warm]
    return {
        "ticks_per_sec": per_sec,
        "signals": len(waits),
        "ms": [float(np.percentile(waits, q)) for q in (50, 99, 99.9)],
        "commit_ms": [float(np.percentile([1e3 * each[0] for each in commits], q)) for q in (50, 99)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durable", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas between: {', '.join(PARTS)}")
    parser.add_argument("--ticks", type=int, default=2_000_000)
    parser.add_argument("--load", type=float, help="ticks a second for the latency; half of the throughput by default")
    asked = parser.parse_args()
    parts = asked.only.split(",")
    found: dict[str, Any] = {}
    drained(rare_rows(), ticks_of("W2", 200_000))  # compiles what is not compiled yet
    if "file" in parts or ("latency" in parts and asked.load is None):
        found["file"] = drained(rare_rows(), ticks_of("W2", asked.ticks))
    if "signals" in parts:
        found["signals"] = drained(rows_of("W2"), ticks_of("W2", asked.ticks // 4))
    if "latency" in parts:
        load = asked.load or found["file"]["ticks_per_sec"] / 2
        found["latency"] = tick_to_send(load, 5.0)
    emit(**found)


if __name__ == "__main__":
    main()
