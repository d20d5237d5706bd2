"""Power cuts and histories by seed; kills and restarts, round after round, each with its own ticks; then the tables: `python -m tests.torture --help`.

Ends with 1 where anything was lost, invented, repeated or changed; the folder of that round is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine

from tests.torture import cluster_kills, file_kills, nats_kills, seeds
from tests.torture.tally import Tally, table

FILE, NATS, CLUSTER = "file to JSONL", "NATS to NATS", "three members"
ROUNDS = 20
FILE_KILLS, NATS_KILLS, RESTARTS = 25, 5, 2
CLUSTER_ROUNDS = 2
SHARDS = (1, 2, 3)
CUTS, HISTORIES = 5_000, 1_000
#: How much of the time that is given goes into what is lived through by seed.
_BY_SEED = 0.3


def rounds(count: int, first_seed: int, minutes: float | None, report: Callable[[str], object]) -> dict[str, Tally]:
    """So many rounds, or as many as the time allows, one at least; the tally of each path. One that is not clean is the last."""
    began = time.monotonic()
    tallies: dict[str, Tally] = {}
    for number in range(count):
        elapsed = time.monotonic() - began
        if minutes is not None and number and elapsed + elapsed / number > 60 * minutes:
            break
        for path, tally in one_round(first_seed + number).items():
            tallies[path] = tallies[path] + tally if path in tallies else tally
        report(f"round {number + 1} of at most {count}, seed {first_seed + number}: {time.monotonic() - began:,.0f} s")
        if not all(tally.clean for tally in tallies.values()):
            break
    return tallies


def one_round(seed: int) -> dict[str, Tally]:
    shards = SHARDS[seed % len(SHARDS)]
    return {
        FILE: kept_unless_clean(lambda at: file_kills.torture(at, kills=FILE_KILLS, seed=seed, shards=shards)),
        NATS: kept_unless_clean(
            lambda at: nats_kills.torture(at, kills=NATS_KILLS, restarts=RESTARTS, seed=seed, shards=shards)
        ),
        CLUSTER: kept_unless_clean(lambda at: members_killed(at, seed)),
    }


def members_killed(folder: Path, seed: int) -> Tally:
    tally, take_overs = cluster_kills.torture(folder, rounds=CLUSTER_ROUNDS, seed=seed)
    print(f"seed {seed}: the longest take-over took {take_overs.longest:.1f} leases", file=sys.stderr)
    return tally


def kept_unless_clean(torture: Callable[[Path], Tally]) -> Tally:
    folder = Path(tempfile.mkdtemp(prefix="anystrat-torture-"))
    try:
        tally = torture(folder)
    except BaseException:
        print(f"it broke in {folder}", file=sys.stderr)
        raise
    if tally.clean:
        shutil.rmtree(folder)
    else:
        print(f"not clean: {folder}", file=sys.stderr)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, help="as many rounds as fit, one at least; without it all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many at most ({ROUNDS}: 500 kills and 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round (1)")
    parser.add_argument("--out", type=Path, default=Path("out/torture.json"), help="the JSON of all counts")
    asked = parser.parse_args()
    load = {"before": machine.load()["load"]}
    minutes = asked.minutes
    found = seeds.counts(
        asked.seed, cuts=CUTS, histories=HISTORIES, seconds=None if minutes is None else 60 * minutes * _BY_SEED
    )
    left = None if minutes is None else minutes * (1 - _BY_SEED)
    tallies = rounds(asked.rounds, asked.seed, left, lambda line: print(line, file=sys.stderr))
    load["after"] = machine.load()["load"]
    print(table(tallies), seeds.table(found), sep="\n\n")
    for each in found.values():
        print(*each.wrong, sep="\n", end="\n" if each.wrong else "", file=sys.stderr)
    results: dict[str, Any] = {
        "seed": asked.seed,
        "machine": machine.description(),
        "load": load,
        "by_seed": {name: asdict(each) for name, each in found.items()},
        "paths": {path: asdict(tally) for path, tally in tallies.items()},
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    clean = all(tally.clean for tally in tallies.values()) and not any(each.wrong for each in found.values())
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
