"""A clock for wall and processor time, percentiles, and the one line of JSON that every measured process prints."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

MARK = "result: "


class Clock:
    """`with Clock() as clock: …` and then `clock.wall` and `clock.cpu`, in seconds; cpu is that of all threads."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Self:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.process_time() - self._cpu


def repeated(run: Callable[[], Any], seconds: float = 1.0, most: int = 25) -> tuple[float, float, Any]:
    """Median wall and cpu seconds of as many runs as fit into `seconds` of processor time (at least one); the last answer."""
    walls: list[float] = []
    cpus: list[float] = []
    answer = None
    while not walls or (sum(cpus) < seconds and len(walls) < most):
        with Clock() as clock:
            answer = run()
        walls.append(clock.wall)
        cpus.append(clock.cpu)
    return statistics.median(walls), statistics.median(cpus), answer


def percentiles(nanoseconds: Sequence[int] | np.ndarray[Any, Any]) -> dict[str, float]:
    """Microseconds."""
    values = np.asarray(nanoseconds, np.float64) / 1e3
    p50, p99, p999 = np.percentile(values, [50, 99, 99.9])
    return {"p50_us": round(p50, 3), "p99_us": round(p99, 3), "p99.9_us": round(p999, 3), "n": int(values.size)}


def peak_mib() -> float:
    """The most memory that this process ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1024 if sys.platform != "darwin" else 1024**2), 1)


def resident_mib() -> float:
    """The memory that this process holds now; the peak where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  a file of one line
            pages = int(file.read().split()[1])
    except OSError:
        return peak_mib()
    return pages * resource.getpagesize() / 1024**2


def emit(**values: Any) -> None:
    """Print the measured process's answer."""
    print(MARK + json.dumps({**values, "peak_mib": peak_mib()}), flush=True)


def arguments(description: str, names: Sequence[str] = ()) -> argparse.Namespace:
    """What every measured process is asked: the engine's variant, the workload, the number of ticks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("variant", choices=names or None, nargs=None if names else "?")
    parser.add_argument("--workload", choices=["W1", "W2", "W3", "W4"], required=True)
    parser.add_argument("--ticks", type=int, required=True)
    return parser.parse_args()
