"""The project that is tortured, its processes, and the moments at which they are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anystrat.domain.columns import TickColumns
from anystrat.testing.ticks import SESSION_SECONDS, synthetic_ticks
from tests.integration.cli_project import clean

INSTRUMENTS = range(1, 9)
TICKS = "ticks.parquet"
#: Until a process has opened its journal.
_LONGEST_START_SEC = 60.0
#: Without a signal.
_LONGEST_SILENCE_SEC = 1.0
_LOOK_SEC = 0.0005
#: Only 1, 2 and 3 are bound to one shard: all shards have work.
STRATEGIES = """\
strategies:
  - id: momentum
    strategy_type: momentum
    parameters: {lookback_periods: 12, threshold: 0.0006, risk: {cooldown_sec: 1}}
    instruments: [1, 2, 3, 4, 5, 6, 7, 8]
    brokers: [out]
    per_instrument: true
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


def ticks(seed: int, count: int, per_sec: int) -> Iterable[TickColumns]:
    """Times, instruments and prices, so many a second of event time; whatever else there is is left out."""
    for block in synthetic_ticks(seed, INSTRUMENTS, count, ticks_per_day=SESSION_SECONDS * per_sec):
        yield TickColumns(block.ts_ns, block.instrument_token, block.price)


def write_ticks(folder: Path, blocks: Iterable[TickColumns]) -> None:
    names = {"ts_ns": pa.int64(), "instrument_token": pa.int64(), "price": pa.float64()}
    with pq.ParquetWriter(folder / TICKS, pa.schema(list(names.items()))) as writer:
        for block in blocks:
            writer.write_table(pa.table({name: getattr(block, name) for name in names}))


def write_config(folder: Path, source: str, broker: str, *, shards: int) -> None:
    (folder / "anystrat.yaml").write_text(
        "version: 1\n"
        f"run: {{name: torture, shards: {shards}}}\n"
        f"source: {source}\n"
        f"brokers:\n  out: {broker}\n"
        "journal: {type: sqlite, path: state/journal.db}\n"
        f"{STRATEGIES}"
    )
    (folder / "state").mkdir(exist_ok=True)


def anystrat(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A process of its own, whose standard output is in `out.json` and the rest in `run.log`."""
    with (folder / "run.log").open("ab") as log, (folder / "out.json").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "anystrat", *arguments],
            cwd=folder,
            env=clean(NO_COLOR="1"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
        )


def run(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return anystrat(folder, "run", "--speed", "scalar", *arguments)


def live_and_die(
    process: subprocess.Popen[bytes], folder: Path, rng: Random, life_sec: float, sink: Callable[[], int]
) -> bool:
    """Kill it while it starts, or in its life of `life_sec` on average, or when `sink()` grows. False: it ended before.

    What has just come to the sink is not settled in the journal yet: the one moment that has to be met on purpose.
    """
    before = _written(folder)
    kind = rng.choice(("start", "life", "life", "send", "send"))
    if kind == "start":
        time.sleep(rng.uniform(0.0, 1.0))
    else:
        _wait(process, lambda: _written(folder) != before, _LONGEST_START_SEC)
        time.sleep(rng.uniform(0.0, 2 * life_sec))
        if kind == "send":
            size = sink()
            _wait(process, lambda: sink() != size, _LONGEST_SILENCE_SEC)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def _wait(process: subprocess.Popen[bytes], there: Callable[[], bool], longest_sec: float) -> None:
    deadline = time.monotonic() + longest_sec
    while not there() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(_LOOK_SEC)


def finished(process: subprocess.Popen[bytes], folder: Path) -> Any:
    """What a command with `--json` said in the end. Raises `RuntimeError` where it failed."""
    if process.wait() != 0:
        said = (folder / "run.log").read_text(errors="replace")[-3_000:]
        raise RuntimeError(f"a process ended with {process.returncode}:\n{said}")
    return json.loads((folder / "out.json").read_text())


def accounted(report: Any) -> int:
    """The ticks that a run has processed or dropped, in all its lives."""
    return int(report["ticks"]["processed"]) + sum(report["ticks"]["dropped"].values())


def replayed(folder: Path) -> list[dict[str, Any]]:
    """The signals of an undisturbed replay."""
    name = "expected.jsonl"
    finished(anystrat(folder, "replay", "--ticks", TICKS, "--signals", name, "--reasons", "--json", "-q"), folder)
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def _written(folder: Path) -> list[tuple[int, int]]:
    """What changes with everything that the journal writes."""
    found = []
    for name in ("journal.db", "journal.db-wal"):
        try:
            stat = (folder / "state" / name).stat()
        except FileNotFoundError:
            continue
        found.append((stat.st_size, stat.st_mtime_ns))
    return found
