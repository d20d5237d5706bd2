"""csp in simulation mode: one Python node a strategy, fed from arrays by csp's own adapter; signals are counted.

`tick` is the plain run; `latency` writes down the time at which each tick reaches the node.
"""

# ruff: noqa: ANN201, RET503  csp reads the source of its nodes: an output that does not tick returns nothing

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import csp
import numpy as np
from csp import ts

from benchmarks.timing import Clock, arguments, emit, percentiles
from benchmarks.workloads import INSTRUMENTS, python_rules, ticks_of

signals = [0]
arrivals: list[int] = []


@csp.node
def strategy(price: ts[float], rule: object) -> ts[int]:
    with csp.state():
        s_update = rule.update
    if csp.ticked(price):
        side = s_update(price)
        if side:
            return side


@csp.node
def watched_strategy(price: ts[float], rule: object, seen: object) -> ts[int]:
    with csp.state():
        s_update = rule.update
        s_now = time.perf_counter_ns
        s_see = seen.append
    if csp.ticked(price):
        s_see(s_now())
        side = s_update(price)
        if side:
            return side


@csp.node
def counted(signal: ts[int]):
    if csp.ticked(signal):
        signals[0] += 1


def built(workload: str, count: int, *, watched: bool) -> tuple[Any, datetime, datetime]:
    ticks = ticks_of(workload, count)
    stamps = ticks.ts_ns.astype("datetime64[ns]")
    instruments = 1 if workload == "W1" else INSTRUMENTS

    @csp.graph
    def graph() -> None:
        for token in range(instruments):
            mine = ticks.token == token
            price = csp.curve(float, (stamps[mine], ticks.price[mine]))
            for rule in python_rules(workload):
                counted(watched_strategy(price, rule, arrivals) if watched else strategy(price, rule))

    start = datetime(2024, 1, 2)  # noqa: DTZ001  csp takes naive times as UTC
    end = start + timedelta(seconds=int(ticks.ts_ns[-1] - ticks.ts_ns[0]) // 10**9 + 60)
    return csp.build_graph(graph, starttime=start, endtime=end), start, end


def run(workload: str, count: int, *, watched: bool = False) -> Clock:
    graph, start, end = built(workload, count, watched=watched)
    signals[0] = 0
    with Clock() as clock:
        csp.run(graph, starttime=start, endtime=end)
    return clock


def main() -> None:
    asked = arguments("csp", ["tick", "latency"])
    run(asked.workload, 2_000)
    if asked.variant == "latency":
        run(asked.workload, asked.ticks, watched=True)
        emit(version=csp.__version__, between=percentiles(np.diff(arrivals)))
        return
    clock = run(asked.workload, asked.ticks)
    emit(version=csp.__version__, ticks=asked.ticks, wall=clock.wall, cpu=clock.cpu, raw=signals[0])


main()
