"""Fills `docs/reference/large-case.md` from what was measured and what the model makes of it: `python -m benchmarks.large_case_page [RESULTS]`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.large_case import Case, Costs, least_machines, simulated

ROOT: Final = Path(__file__).resolve().parents[1]
KEPT: Final = ROOT / "benchmarks" / "cluster.json"
PAGE: Final = ROOT / "docs" / "reference" / "large-case.md"
CASE: Final = Case(
    instruments=100_000, ticks_per_sec=1_000_000, machines=50, cores=8, parts=400, database_cores=32, seconds=4.0
)
_LATE: Final = 0.25
_LATE_IN_A_BURST: Final = 1.0
_BURST: Final = (0.5, 1.5, 5.0)
_ALONE: Final = "one process, no cluster"

_INTRODUCTION: Final = """\
# The large case

<!-- Filled by benchmarks/large_case_page.py from benchmarks/cluster.json. -->

100,000 instruments, a million ticks a second, 1,000 strategies: how many machines is that, and what happens to them in a burst, and when one
is lost? Nobody measured that here. What follows is measured on one small machine, and carried on by a discrete-event model
(`benchmarks/large_case.py`) that knows these costs and nothing else.

## What a tick costs

Ten strategies on each of 100 instruments, about one signal in 100 ticks, from NATS to NATS, with a journal in PostgreSQL: `python -m benchmarks.cluster`.
Microseconds of processor time, of all processes of the run together and of the servers. *Backlog*: ticks that all wait before the first is read, 64
to a message. *Lone*: one tick a message, 150 a second, each committed by itself; what idling costs is taken off.
"""
_MODEL: Final = """\
## The model

A part takes what waits, handles it, commits it, and takes what came meanwhile. A step of *n* ticks costs its machine and the database a fixed time and
a time for each tick, as above; where more parts are active than there are cores, all are slower. A commit also waits {sync:g} ms for a disk. Parts
have the instruments that NATS's own hash gives them; rates of instruments fall with the root of their rank, so that the busiest part
has {most:.1f} times the mean. Each strategy is on 1,000 instruments: ten evaluations a tick, as measured.

Because groups grow with the load, nothing is ever "full" at once: lag grows, the cost of a tick falls, until a tick's own cost is all there is.

## How many machines

The fewest with which 99 % of the ticks are committed within {late:g} ms of their arrival; and with which no tick waits longer than {burst:g} s in a burst of five times the load for a
second. One more, so that any one may be lost. A database of {cores} cores, {parts} parts.
"""
_FIFTY: Final = """\
## Fifty machines

Of {cores} cores each, {parts} parts, a lease of {lease:g} s. Lag is from a tick's arrival to its commit; *back* is how long after the event any tick still waited
longer than a second.
"""
_DATABASE: Final = """\
## What gives way first

Not the machines. Every commit is a transaction of a few statements: the database's cores decide how many steps there are a second, and with that the
lag. Fewer parts, more cores, or `journal` in several databases (a run each) help; more machines do not.
"""
_HELD: Final = """\
## Held against what was measured

What the model's cost of a tick says of the backlog's rate, on the cores that the processes had of the machine meanwhile:
"""
_END: Final = """\
## What this does not say

- The figures above were taken beside other work on the same two cores ({load}); they are medians of {repetitions} runs that took turns.
- A network's time is not in it, nor NATS's own: {nats:.2f} µs a tick of one server, half a core or so for a million ticks a second.
- What is held against the measurements is the cost of a tick. Lags were not measured on several machines, and the losses and bursts of fifty neither.
- Models (ONNX), other strategies and more signals cost what they cost: put your own figures in, `simulated(Case(…), Costs(…))`.
- The write-ahead log of a million ticks a second is some 24 MB/s of inputs alone. Disks are not modelled beyond their delay.
"""


def costs_of(results: dict[str, Any]) -> Costs:
    """Those of the largest cluster that was measured."""
    runs = results["runs"]
    run = runs[max(runs, key=int)]
    return Costs(
        step_us=run["trickle_us"] - run["backlog_us"],
        tick_us=run["backlog_us"],
        commit_us=run["postgres_trickle_us"] - run["postgres_backlog_us"],
        commit_tick_us=run["postgres_backlog_us"],
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *(["--:"] * (len(head) - 1))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows]) + "\n"


def measured(results: dict[str, Any]) -> str:
    """What was measured, a row a run."""
    head = ["", "backlog", "PostgreSQL", "NATS", "lone", "PostgreSQL", "idle, ms/s", "to one process"]
    alone = results["runs"]["0"]["backlog_us"]
    rows = [
        [
            _ALONE if members == "0" else f"{members} member{'s' * (members != '1')}, {results['parts']} parts",
            f"{run['backlog_us']:.2f}",
            f"{run['postgres_backlog_us']:.2f}",
            f"{run['nats_backlog_us']:.2f}",
            f"{run['trickle_us']:,.0f}",
            f"{run['postgres_trickle_us']:,.0f}",
            f"{run['idle_ms']:.0f}",
            f"{100 * alone / run['backlog_us']:.0f} %",
        ]
        for members, run in results["runs"].items()
    ]
    return table(head, rows)


def checked(results: dict[str, Any]) -> str:
    """The model held against the runs that it was made from: the same backlog, on the cores that these runs were given."""
    rows = []
    costs = costs_of(results)
    for members, run in results["runs"].items():
        if members == "0":
            continue
        servers = run["postgres_backlog_us"] + run["nats_backlog_us"]
        share = run["backlog_us"] / (run["backlog_us"] + servers)
        predicted = run["cores"] * share / (1e-6 * costs.tick_us)
        rows.append(
            [
                members,
                f"{run['cores']:.2f}",
                f"{run['ticks_per_sec']:,.0f}",
                f"{predicted:,.0f}",
                f"{predicted / run['ticks_per_sec'] - 1:+.0%}",
            ]
        )
    return table(["members", "cores they had", "ticks/s measured", "ticks/s by the model's cost", "apart"], rows)


def machines(costs: Costs) -> str:
    """How many, by their cores and by what a tick costs."""
    rows = []
    for factor, words in ((1, "as measured"), (10, "ten times as much")):
        dearer = replace(costs, tick_us=factor * costs.tick_us)
        for cores in (4, 8, 16):
            case = replace(CASE, cores=cores)
            least = least_machines(case, partial(_carries_it, costs=dearer), 64)
            bursting = least_machines(case, partial(_carries_a_burst, costs=dearer), 64)
            spare = None if bursting is None else bursting + 1
            rows.append([words, str(cores), *(str(each) if each else "over 64" for each in (least, bursting, spare))])
    return table(["a tick costs", "cores each", "steady", "and a burst", "and one lost"], rows)


def _carries_it(case: Case, costs: Costs) -> bool:
    return simulated(replace(case, seconds=2.0), costs).lag(0.99, 1.0) <= _LATE


def _carries_a_burst(case: Case, costs: Costs) -> bool:
    if not _carries_it(case, costs):
        return False
    return simulated(replace(case, seconds=2.5, burst=_BURST), costs).lag(1.0, 0.5) <= _LATE_IN_A_BURST


def fifty(costs: Costs) -> str:
    """What happens to fifty machines."""
    rows = []
    for words, case, moment in (
        ("steady", CASE, 1.0),
        ("a burst of 3 × for a second", replace(CASE, burst=(1.0, 2.0, 3.0)), 1.0),
        ("a burst of 10 × for a second", replace(CASE, burst=(1.0, 2.0, 10.0)), 1.0),
        ("a machine is lost", replace(CASE, loss_at=1.0, seconds=16.0), 1.0),
        ("a machine is lost in a burst of 5 ×", replace(CASE, loss_at=1.0, burst=(0.5, 3.0, 5.0), seconds=16.0), 1.0),
    ):
        outcome = simulated(case, costs)
        lags = [outcome.lag(share, moment) for share in (0.5, 0.99, 1.0)]
        rows.append([words, *(f"{1e3 * lag:,.0f}" for lag in lags), f"{outcome.back_after(moment, 1.0):.1f}"])
    return table(["", "lag p50, ms", "p99", "most", "back, s"], rows)


def database(costs: Costs) -> str:
    """Parts and the database's cores."""
    rows = []
    for parts in (100, 400, 1_600):
        for cores in (8, 32):
            outcome = simulated(replace(CASE, parts=parts, database_cores=cores, seconds=3.0), costs)
            lags = [outcome.lag(share, 1.0) for share in (0.5, 0.99)]
            rows.append([f"{parts:,}", str(cores), *(f"{1e3 * lag:,.0f}" for lag in lags)])
    return table(["parts", "database cores", "lag p50, ms", "p99"], rows)


def _where(results: dict[str, Any]) -> str:
    there = results["machine"]
    return f"{results['ticks']:,} ticks. {there['processor']}, {there['cores']} cores; {there['python']}; {there['date']}.\n"


def page(results: dict[str, Any]) -> str:
    costs, rates = costs_of(results), CASE.rates()
    load = results["load"]
    runs = results["runs"]
    return "\n".join(
        [
            _INTRODUCTION,
            measured(results),
            _where(results),
            _MODEL.format(
                sync=1e3 * costs.sync_sec,
                most=rates.max() / rates.mean(),
                late=1e3 * _LATE,
                burst=_LATE_IN_A_BURST,
                cores=CASE.database_cores,
                parts=CASE.parts,
            ),
            machines(costs),
            _FIFTY.format(cores=CASE.cores, parts=CASE.parts, lease=CASE.lease_sec),
            fifty(costs),
            _DATABASE,
            database(costs),
            _HELD,
            checked(results),
            _END.format(
                load=f"load average {load['before']} before, {load['after']} after",
                repetitions=results["repetitions"],
                nats=runs[max(runs, key=int)]["nats_backlog_us"],
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_case_page", description=__doc__)
    parser.add_argument(
        "results", nargs="?", type=Path, default=KEPT, help="the JSON of benchmarks.cluster; it is kept"
    )
    text = parser.parse_args().results.read_text(encoding="utf-8")
    KEPT.write_text(text, encoding="utf-8")
    PAGE.write_text(page(json.loads(text)), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
