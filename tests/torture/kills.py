"""kill -9 at random moments of one run, started again each time until it is drained; then everything is counted.

python -m tests.torture.kills --kills 500 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from anystrat.testing.ticks import synthetic_ticks

TICKS_PER_SEC = 20_000
#: A process needs about so long before it reads its first tick.
START_SEC = 0.6
ROWS = """
  - id: momentum
    strategy_type: momentum
    parameters: {lookback_periods: 12, threshold: 0.0006, risk: {cooldown_sec: 1}}
    instruments: [1, 2, 3, 4, 5, 6, 7, 8]
    brokers: [out]
  - id: reversion
    strategy_type: mean_reversion
    parameters: {lookback_periods: 20, z_entry: 2.2, risk: {max_signals_per_min: 40, max_loss_streak: 5, resume_after_sec: 30}}
    instruments: [1, 2, 3]
    brokers: [out]
  - id: crossover
    strategy_type: sma_crossover
    parameters: {fast_periods: 5, slow_periods: 15}
    instruments: [4, 5, 6]
    brokers: [out]
    per_instrument: true
"""


@dataclass
class Tally:
    """What came of it. `lost` and `invented` against an undisturbed replay; `conflicts`: one id, two contents."""

    kills: int
    ticks: int
    expected: int
    delivered: int
    lost: int
    invented: int
    repeated: int
    conflicts: int
    out_of_order: int
    seconds: float

    @property
    def clean(self) -> bool:
        return not (self.lost or self.invented or self.repeated or self.conflicts or self.out_of_order)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def anystrat(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    log = (folder / "run.log").open("a")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "anystrat", *arguments],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            text=True,
        )


def write_project(folder: Path, seed: int, ticks: int, *, shards: int) -> None:
    per_day = 6.25 * 3600 * TICKS_PER_SEC
    blocks = synthetic_ticks(seed, range(1, 9), ticks, ticks_per_day=int(per_day), tick_size=Decimal("0.05"))
    with pq.ParquetWriter(
        folder / "ticks.parquet",
        pa.schema([("ts_ns", pa.int64()), ("instrument_token", pa.int64()), ("price", pa.float64())]),
    ) as writer:
        for block in blocks:
            writer.write_table(
                pa.table({"ts_ns": block.ts_ns, "instrument_token": block.instrument_token, "price": block.price})
            )
    (folder / "anystrat.yaml").write_text(
        "version: 1\n"
        f"run: {{name: torture, shards: {shards}}}\n"
        "source: {type: file, path: ticks.parquet, pace: 1}\n"
        "brokers:\n  out: {type: jsonl, path: signals.jsonl}\n"
        "journal: {type: sqlite, path: state/journal.db}\n"
        f"strategies:{ROWS}"
    )


def torture(folder: Path, *, kills: int, seed: int, shards: int = 1, life_sec: float = 0.3) -> Tally:
    """Run a project in `folder`, killed so often, at random moments of `life_sec` on average after its start-up."""
    began = time.monotonic()
    rng = random.Random(seed)
    ticks = max(5_000, int(kills * life_sec * TICKS_PER_SEC))
    write_project(folder, seed, ticks, shards=shards)
    (folder / "state").mkdir(exist_ok=True)
    done = 0
    while done < kills:
        process = anystrat(folder, "run", "--speed", "scalar", "--quiet")
        time.sleep(rng.uniform(0.1, START_SEC + 2 * life_sec))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        done += 1
    last = anystrat(folder, "run", "--speed", "scalar", "--quiet")
    if last.wait() != 0:
        raise RuntimeError(f"the last run ended with {last.returncode}: {(folder / 'run.log').read_text()[-2000:]}")
    replay = anystrat(
        folder, "replay", "--ticks", "ticks.parquet", "--signals", "expected.jsonl", "--reasons", "--quiet"
    )
    if replay.wait() != 0:
        raise RuntimeError(f"the replay ended with {replay.returncode}: {(folder / 'run.log').read_text()[-2000:]}")
    return counted(folder, done, ticks, time.monotonic() - began)


def counted(folder: Path, kills: int, ticks: int, seconds: float) -> Tally:
    expected = {row["signal_id"]: row for row in map(json.loads, (folder / "expected.jsonl").read_text().splitlines())}
    delivered: dict[str, dict[str, object]] = {}
    repeated = conflicts = invented = 0
    order = []
    for line in (folder / "signals.jsonl").read_text().splitlines():
        row = json.loads(line)
        key = row["signal_id"]
        order.append((row["strategy_id"], row["instrument_token"], row["ts_ns"]))
        if key in delivered:
            repeated += 1
            conflicts += delivered[key] != row
        delivered[key] = row
        invented += key not in expected
        conflicts += key in expected and expected[key] != row
    latest: dict[tuple[str, int], int] = {}
    out_of_order = 0
    for strategy, token, ts in order:
        out_of_order += ts < latest.get((strategy, token), ts)
        latest[strategy, token] = ts
    lost = len(expected.keys() - delivered.keys())
    return Tally(
        kills, ticks, len(expected), len(delivered), lost, invented, repeated, conflicts, out_of_order, seconds
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shards", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tally = torture(Path(name), kills=asked.kills, seed=asked.seed, shards=asked.shards)
    print(tally)
    sys.exit(0 if tally.clean else 1)


if __name__ == "__main__":
    main()
