"""The contest: every engine in a process of its own, a repetition of all, then the next one of all."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import load
from benchmarks.timing import MARK, Clock

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS: Final = 600
#: What ratios are to: another engine that calls Python on every tick, and the most that compiled loops reach.
PEER: Final = "csp"
LIMIT: Final = "loop, all of it"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine in one of its forms. `ticks` is how many each workload gives it; `does` is what it does beside the rules."""

    name: str
    module: str
    variant: str
    ticks: dict[str, int]
    does: str
    peer: str | None = None
    least: int = 50_000  # fewer would be over before every window of W2 is full
    more: tuple[str, ...] = ()  # what else it is measured in


_ALL = "checks, fills, signals kept"
_COUNTS = "signals counted; no checks, no fills"
_ACCOUNTS = "checks, orders, trades, equity curve, drawdown at every bar, statistics"
#: The workloads whose answer is what an account came to, in bars; those of the others are signals, in ticks.
ACCOUNTS: Final = ("W3", "W4")
ENGINES: Final = (
    Engine("anystrat, tick", "benchmarks.own", "tick", {"W1": 200_000, "W2": 100_000}, _ALL),
    Engine("anystrat, tick built", "benchmarks.own", "built", {"W1": 200_000, "W2": 100_000}, f"builds ticks, {_ALL}"),
    Engine("anystrat, row", "benchmarks.own", "rows", {"W1": 200_000, "W2": 100_000}, f"builds rows, {_ALL}"),
    Engine("anystrat, blocks of 64", "benchmarks.own", "blocks64", {"W1": 200_000, "W2": 50_000}, _ALL, least=30_000),
    Engine("anystrat, blocks of 256", "benchmarks.own", "blocks256", {"W1": 400_000, "W2": 100_000}, _ALL),
    Engine("anystrat, columns", "benchmarks.own", "columns", {"W1": 1_000_000, "W2": 1_000_000}, _ALL),
    Engine(
        "anystrat replay",
        "benchmarks.own",
        "replay",
        {"W1": 16_000_000, "W2": 4_000_000},
        f"reads and writes files, {_ALL}",
        least=16_000_000,  # the start takes seconds, and must vanish beside them
    ),
    Engine(
        "csp",
        "benchmarks.peers.on_csp",
        "tick",
        {"W1": 1_000_000, "W2": 100_000},
        _COUNTS,
        "csp",
        more=("latency",),
    ),
    Engine(
        "NautilusTrader",
        "benchmarks.peers.on_nautilus",
        "tick",
        {"W1": 200_000, "W2": 100_000},
        "its matching engine sees each tick; signals counted, no orders",
        "nautilus",
    ),
    Engine("vectorbt", "benchmarks.peers.on_vectorbt", "columns", {"W1": 1_000_000}, _COUNTS, "vectorbt"),
    Engine("Polars", "benchmarks.peers.on_polars", "columns", {"W1": 1_000_000, "W2": 1_000_000}, _COUNTS, "polars"),
    Engine("loop, rules alone", "benchmarks.limit", "raw", {"W1": 1_000_000, "W2": 1_000_000}, _COUNTS),
    Engine("loop, all of it", "benchmarks.limit", "full", {"W1": 1_000_000, "W2": 1_000_000}, _ALL),
    Engine("anystrat", "benchmarks.own_backtests", "call", {"W3": 500_000, "W4": 50_000}, _ACCOUNTS),
    Engine(
        "vectorbt, portfolio",
        "benchmarks.peers.on_vectorbt",
        "columns",
        {"W3": 500_000, "W4": 50_000},
        "orders; W3 the equity curve",
        "vectorbt",
    ),
    Engine(
        "backtesting.py",
        "benchmarks.peers.on_backtesting",
        "bars",
        {"W3": 500_000},
        "orders, trades, equity curve, statistics",
        "backtesting",
    ),
    Engine(
        "backtrader",
        "benchmarks.peers.on_backtrader",
        "bars",
        {"W3": 100_000},
        "orders, equity curve",
        "backtrader",
    ),
)


class Failed(Exception):
    """A measured process did not give its numbers; the message says why."""


def measured(python: Path | str, module: str, *arguments: str) -> dict[str, Any]:
    """The answer of a measured process, with the load of the machine around it. Raises `Failed`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    before = load()
    command = [str(python), "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {PATIENCE_SECONDS} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no answer"]
        raise Failed(last[0])
    answer: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return answer | before


def own(module: str, *arguments: str) -> dict[str, Any]:
    """As `measured`, in this environment."""
    return measured(sys.executable, module, *arguments)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def interpreters(asked: Iterable[str], *, peers: bool) -> tuple[dict[str, Path], dict[str, str]]:
    """The interpreters of the other engines that these parts measure, and why one is missing."""
    from benchmarks.peers.environments import python_of

    found: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for peer in sorted({one.peer for one in ENGINES if one.peer is not None and {*one.ticks, *one.more} & set(asked)}):
        if not peers:
            missing[peer] = "left out"
            continue
        try:
            found[peer] = python_of(peer)
        except (RuntimeError, OSError) as error:
            missing[peer] = str(error)
            say(f"{peer} cannot be installed: {error}")
    return found, missing


def steadiness() -> dict[str, float]:
    """The time of a loop that is always the same: what the machine's own unrest does to any number here."""
    with Clock() as clock:
        total = 0
        for n in range(400_000):
            total += n & 3
    return {"wall": clock.wall, "cpu": clock.cpu}


def run(
    workloads: list[str], repetitions: int, share: float, pythons: dict[str, Path], only: list[str] | None = None
) -> dict[str, Any]:
    """All repetitions of all engines, interleaved. `share` is the part of the ticks that is run."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {workload: {} for workload in workloads}
    failures: dict[str, str] = {}
    steady: list[dict[str, float]] = []
    chosen = [one for one in ENGINES if only is None or one.name in only]
    for repetition in range(repetitions):
        for workload in workloads:
            for one in chosen:
                python = sys.executable if one.peer is None else pythons.get(one.peer)
                place = f"{workload} {one.name}"
                if python is None or workload not in one.ticks or place in failures:
                    continue
                ticks = min(one.ticks[workload], max(one.least, int(one.ticks[workload] * share)))
                steady.append(steadiness())
                start = time.monotonic()
                try:
                    answer = measured(python, one.module, one.variant, "--workload", workload, "--ticks", str(ticks))
                except Failed as error:
                    failures[place] = str(error)
                    say(f"{place}: {error}")
                    continue
                runs[workload].setdefault(one.name, []).append(answer)
                rate = answer["ticks"] / answer["cpu"]
                took = time.monotonic() - start
                say(f"[{repetition + 1}/{repetitions}] {place}: {rate:,.0f} ticks/s of processor time ({took:.0f} s)")
    contest = {
        "runs": runs,
        "failures": failures,
        "steady": steady,
        "engines": {one.name: asdict(one) for one in chosen},
        "expected": _expected(runs),
    }
    settle(contest)
    return contest


def _expected(runs: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """What the hand-written loop finds in as many ticks as each engine was given; of accounts, what anystrat's come to."""
    found: dict[str, dict[str, Any]] = {}
    for workload, engines in runs.items():
        if workload in ACCOUNTS:
            for bars in sorted({one["bars"] for answers in engines.values() for one in answers}):
                answer = own("benchmarks.own_backtests", "call", "--workload", workload, "--ticks", str(bars))
                found[f"{workload} {bars}"] = {key: answer[key] for key in ("equities", "orders")}
            continue
        counts = {one.get("of_ticks", one["ticks"]) for answers in engines.values() for one in answers}
        for ticks in sorted(counts):
            answer = own("benchmarks.limit", "full", "--workload", workload, "--ticks", str(ticks))
            found[f"{workload} {ticks}"] = {key: answer[key] for key in ("raw", "emitted", "digest", "cash")}
    return found


def agreement(contest: dict[str, Any], workload: str, name: str) -> str:
    """Whether an engine's signals are those of the hand-written loop: "same ids", "same count", or the difference."""
    words = set()
    for one in contest["runs"][workload][name]:
        wanted = contest["expected"][f"{workload} {one.get('of_ticks', one['ticks'])}"]
        if one.get("digest") is not None:
            same = one["digest"] == wanted["digest"]
            words.add("same ids" if same else f"OTHER SIGNALS ({one['emitted']:,} for {wanted['emitted']:,})")
        else:
            same = one["raw"] == wanted["raw"]
            words.add("same count" if same else f"{one['raw'] - wanted['raw']:+,} of {wanted['raw']:,}")
    return ", ".join(sorted(words))


def settle(contest: dict[str, Any]) -> None:
    """Write down of every account its `equity`, of several the best, and how far it is `apart` from anystrat's.

    That is a share of it; of several accounts, the most. Their equities themselves are not kept.
    """
    for workload in ACCOUNTS:
        for answers in contest["runs"].get(workload, {}).values():
            for one in answers:
                found, wanted = one.pop("equities"), contest["expected"][f"{workload} {one['bars']}"]["equities"]
                one["equity"] = max(found)
                one["apart"] = max(abs(a / b - 1.0) for a, b in zip(found, wanted, strict=True))
    for place, wanted in contest["expected"].items():
        if place.startswith(ACCOUNTS):
            wanted.pop("equities", None)


def rates(contest: dict[str, Any], workload: str, name: str, clock: str) -> list[float]:
    """Ticks a second of each repetition."""
    return [one["ticks"] / max(one[clock], 1e-9) for one in contest["runs"][workload].get(name, [])]


def ratios(contest: dict[str, Any], workload: str, name: str, to: str, clock: str) -> tuple[float, float, float] | None:
    """(median, least, most) of an engine's speed over another's in the same repetition; None if either is missing."""
    mine, others = rates(contest, workload, name, clock), rates(contest, workload, to, clock)
    found = [a / b for a, b in zip(mine, others, strict=False)]
    return (statistics.median(found), min(found), max(found)) if found else None
