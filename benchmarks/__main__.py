"""Runs the benchmarks, prints their tables, and keeps the numbers: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import contest, machine, tables
from benchmarks.contest import Failed, own, say

PARTS = ("W1", "W2", "W3", "W4", "latency", "ml", "curves", "scale", "memory", "startup", "durable")
CURVES = {
    "strategies": ((10, 100, 1_000), (10, 100, 1_000, 10_000)),
    "instruments": ((1, 100, 10_000), (1, 10, 100, 1_000, 10_000)),
    "momentum window": ((10, 1_000), (10, 30, 100, 300, 1_000)),
    "reversion window": ((10, 1_000), (10, 30, 100, 300, 1_000)),
}


#: Instruments, bars of each, strategies: each of the three doubled and doubled again; the first with a report.
SCALE = (
    (10, 100_000, 2),
    (25, 24_570, 20),
    (25, 49_140, 20),
    (25, 98_280, 20),
    (50, 24_570, 20),
    (100, 24_570, 20),
    (25, 24_570, 10),
    (25, 24_570, 40),
)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas between: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer ticks, points and repetitions: some minutes")
    parser.add_argument("--no-peers", action="store_true", help="anystrat and the hand-written loops alone")
    parser.add_argument("--reps", type=int, help="repetitions (5; with --quick 2)")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu", help="what ratios are taken of (cpu)")
    parser.add_argument("--out", type=Path, default=Path("out/bench/results.json"), help="the JSON of all numbers")
    asked = parser.parse_args()
    asked.only = [part for part in asked.only.split(",") if part]
    unknown = sorted(set(asked.only) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    asked.reps = asked.reps or (2 if asked.quick else 5)
    return asked


def repeated(times: int, what: str, *command: str) -> list[dict[str, Any]]:
    """The answers of so many processes; fewer where one fails, which is said."""
    answers: list[dict[str, Any]] = []
    for _ in range(times):
        try:
            answers.append(own(*command))
        except Failed as error:
            say(f"{what}: {error}")
            break
    return answers


def latencies(asked: argparse.Namespace, pythons: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"anystrat": [], "csp": []}
    ticks = "50000" if asked.quick else "200000"
    for _ in range(asked.reps):
        found["anystrat"] += repeated(1, "latency", "benchmarks.latency", "--workload", "W1", "--ticks", ticks)
        if "csp" in pythons:
            arguments = ("latency", "--workload", "W1", "--ticks", ticks)
            try:
                found["csp"].append(contest.measured(pythons["csp"], "benchmarks.peers.on_csp", *arguments))
            except Failed as error:
                say(f"csp's latency: {error}")
    say("latency: done")
    return found


def curves(asked: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Point by point, then all of them again."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in CURVES}
    for repetition in range(1 if asked.quick else min(3, asked.reps)):
        for name, points in CURVES.items():
            for point in points[0 if asked.quick else 1]:
                answers = repeated(1, f"{name} {point}", "benchmarks.curves", name, str(point))
                found[name].setdefault(str(point), []).extend(answers)
            say(f"[{repetition + 1}] {name}: done")
    return found


def scale(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Point by point; the short form leaves the middle ones out."""
    found: list[dict[str, Any]] = []
    for instruments, bars, strategies in SCALE[:4:3] if asked.quick else SCALE:
        command = ["--instruments", str(instruments), "--bars", str(bars), "--strategies", str(strategies)]
        report = [] if found else ["--report"]
        found += repeated(1, "scale", "benchmarks.scale", *command, *report)
    say("scale: done")
    return found


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    pythons, missing = contest.interpreters(asked.only, peers=not asked.no_peers)
    results: dict[str, Any] = {
        "machine": machine.description(),
        "options": {"quick": asked.quick, "repetitions": asked.reps, "clock": asked.clock},
        "load": {"before": machine.load()["load"]},
        "missing": missing,
    }
    workloads = [part for part in ("W1", "W2", "W3", "W4") if part in asked.only]
    parts: dict[str, Callable[[], Any]] = {
        "latency": lambda: latencies(asked, pythons),
        "ml": lambda: repeated(asked.reps, "ml", "benchmarks.models", "--ticks", "50000" if asked.quick else "200000"),
        "curves": lambda: curves(asked),
        "scale": lambda: scale(asked),
        "memory": lambda: {
            of: repeated(1 if asked.quick else 3, "memory", "benchmarks.memory", of, "2000")
            for of in ("strategy", "instrument")
        },
        "durable": lambda: repeated(
            1 if asked.quick else 3, "durable", "benchmarks.durable", "--ticks", "500000" if asked.quick else "2000000"
        ),
        "startup": lambda: repeated(1, "startup", "benchmarks.startup", "--repetitions", str(asked.reps)),
    }
    if workloads:
        results["contest"] = contest.run(workloads, asked.reps, 0.25 if asked.quick else 1.0, pythons)
    for name, part in parts.items():
        if name in asked.only:
            results[name] = part()
    results["load"]["after"] = machine.load()["load"]
    return results


def main() -> int:
    # Without byte code every start would compile the libraries anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asked = parsed()
    results = measure(asked)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(tables.all_of(results))
    print(f"\nAll numbers: {asked.out}")
    wrong = tables.disagreements(results)
    for line in wrong:
        say(f"not the same signals: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
