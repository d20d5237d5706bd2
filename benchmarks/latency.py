"""From a tick to its signals, W1, a call of `on_market_tick` at a time."""

from __future__ import annotations

import gc
import time

import numpy as np

from benchmarks.own import market_ticks, service_of
from benchmarks.timing import arguments, emit, percentiles
from benchmarks.workloads import rows_of, ticks_of


def main() -> None:
    asked = arguments("latency")
    service = service_of(rows_of(asked.workload))
    prepared = market_ticks(ticks_of(asked.workload, asked.ticks))
    gc.collect()
    now, push = time.perf_counter_ns, service.on_market_tick
    begun, took, with_signal = [], [], []
    for tick in prepared:
        start = now()
        found = push(tick)
        end = now()
        begun.append(start)
        took.append(end - start)
        if found:
            with_signal.append(end - start)
    emit(
        call=percentiles(took),
        call_with_signal=percentiles(with_signal) if with_signal else None,
        between=percentiles(np.diff(begun)),
    )


main()
