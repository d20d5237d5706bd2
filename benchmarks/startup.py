"""How long it takes until something happens: `--help`, `import anystrat`, the first signals of a rule on 10,000 ticks.

"Cold" is without byte code of Python's and without compiled kernels, as after an installation; files may be in memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.own import command, write_ticks
from benchmarks.timing import emit
from benchmarks.workloads import momentum_row, w1


def imported(environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import anystrat"], check=True, env={**os.environ, **environment})
    return time.perf_counter() - start


def bare() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return time.perf_counter() - start


def cold(folder: Path, number: int) -> dict[str, str]:
    """An environment without anything compiled."""
    place = folder / f"cold-{number}"
    place.mkdir(mode=0o700)
    return {"PYTHONPYCACHEPREFIX": str(place / "bytecode"), "XDG_CACHE_HOME": str(place)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    many = range(asked.repetitions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.json").write_bytes(
            msgspec.json.encode({"version": 1, "strategies": [momentum_row("m20", 20, [0])]})
        )
        write_ticks(folder / "ticks.parquet", w1(10_000))
        line = ["replay", "run.json", "--ticks", "ticks.parquet", "--signals", "out.jsonl", "--quiet", "--speed"]
        trials = {
            "python -c ''": lambda _: bare(),
            "import anystrat": lambda _: imported({}),
            "import anystrat, cold": lambda n: imported(cold(folder, n)),
            "anystrat --help": lambda _: command(["--help"], folder)[0],
            "anystrat --help, cold": lambda n: command(["--help"], folder, cold(folder, 100 + n))[0],
            "first signals, auto": lambda _: command([*line, "auto"], folder)[0],
            "first signals, auto, cold": lambda n: command([*line, "auto"], folder, cold(folder, 200 + n))[0],
            "first signals, columns": lambda _: command([*line, "columns"], folder)[0],
            "first signals, columns, cold": lambda n: command([*line, "columns"], folder, cold(folder, 300 + n))[0],
        }
        seconds: dict[str, list[float]] = {label: [] for label in trials}
        for n in many:
            for label, trial in trials.items():
                if n == 0 or "columns, cold" not in label:  # it compiles for half a minute
                    seconds[label].append(trial(n))
    emit(seconds={label: [statistics.median(found), min(found), max(found)] for label, found in seconds.items()})


main()
