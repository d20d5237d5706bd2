"""anystrat's speeds, each over the same ticks: `python -m benchmarks.own columns --workload W2 --ticks 1000000`.

All of them run with the default checks and paper fills, and keep the signals. Ids are worked out after the clock is
stopped, as in the hand-written loop, to compare signals; anystrat makes them when somebody asks.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from anystrat import MarketTick, StrategyRunnerService
from anystrat.bootstrap import build_engine, default_wiring, kernel_compiler
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import SignalColumns, TickColumns
from anystrat.domain.signal import EmittedSignal
from anystrat.domain.tick import TickRow, datetime_of
from anystrat.engine.engine import Engine
from benchmarks.timing import Clock, arguments, emit, repeated
from benchmarks.workloads import Ticks, rows_of, ticks_of

BLOCK = 65_536
Take = Callable[[Sequence[EmittedSignal]], object]
VARIANTS = ("tick", "built", "rows", "blocks64", "blocks256", "columns", "replay")


def engine_of(rows: list[dict[str, Any]]) -> Engine:
    wiring = default_wiring()
    mapping = {"version": 1, "strategies": rows}
    return build_engine(configuration_from_mapping(mapping, wiring.catalog, base_dir="."), wiring)


def service_of(rows: list[dict[str, Any]]) -> StrategyRunnerService:
    service = StrategyRunnerService(compiled=True)
    service.register_from_config({"version": 1, "strategies": rows})
    return service


def by_block(workload: str, ticks: Ticks, take: Take, *, size: int) -> tuple[Clock, Engine]:
    """`on_market_ticks` with blocks that are made of columns as they come; signals are made when looked at."""
    service = service_of(rows_of(workload))
    ts, token, price = ticks
    kept: list[Sequence[EmittedSignal]] = []
    with Clock() as clock:
        push, keep = service.on_market_ticks, kept.append
        for i in range(0, len(price), size):
            keep(push(TickColumns(ts[i : i + size], token[i : i + size], price[i : i + size])))
    for found in kept:
        take(found)
    return clock, service.engine


def market_ticks(ticks: Ticks) -> list[MarketTick]:
    """The ticks as a feed handler would make them: a price's text as a decimal, the time to the nanosecond."""
    columns = zip(ticks.token.tolist(), ticks.price.tolist(), ticks.ts_ns.tolist(), strict=True)
    return [
        MarketTick(token, Decimal(repr(price)), datetime_of(ts), nanosecond=ts % 1_000) for token, price, ts in columns
    ]


# ------------------------------------------------------------------------------------------------------ tick by tick


def by_tick(workload: str, ticks: Ticks, take: Take) -> tuple[Clock, Engine]:
    """`on_market_tick` with ticks that are there already."""
    service = service_of(rows_of(workload))
    prepared = market_ticks(ticks)
    with Clock() as clock:
        push = service.on_market_tick
        for tick in prepared:
            found = push(tick)
            if found:
                take(found)
    return clock, service.engine


def by_built_tick(workload: str, ticks: Ticks, take: Take) -> tuple[Clock, Engine]:
    """`on_market_tick` with ticks that are built as they come, from the texts of price and time that a message has."""
    service = service_of(rows_of(workload))
    texts = [repr(price) for price in ticks.price.tolist()]
    stamps = [datetime_of(ts).isoformat(timespec="microseconds") for ts in ticks.ts_ns.tolist()]
    below = (ticks.ts_ns % 1_000).tolist()
    with Clock() as clock:
        push, time_of = service.on_market_tick, datetime.fromisoformat
        for token, text, stamp, nanosecond in zip(ticks.token.tolist(), texts, stamps, below, strict=True):
            found = push(MarketTick(token, Decimal(text), time_of(stamp), nanosecond=nanosecond))
            if found:
                take(found)
    return clock, service.engine


def by_row(workload: str, ticks: Ticks, take: Take) -> tuple[Clock, Engine]:
    """`on_market_tick` with the engine's own form of a tick, built as it comes."""
    service = service_of(rows_of(workload))
    with Clock() as clock:
        push = service.on_market_tick
        for token, price, ts in zip(ticks.token.tolist(), ticks.price.tolist(), ticks.ts_ns.tolist(), strict=True):
            found = push(TickRow(token, ts, price))
            if found:
                take(found)
    return clock, service.engine


def scalar(workload: str, ticks: Ticks, run: Callable[[str, Ticks, Take], tuple[Clock, Engine]]) -> None:
    """What comes is passed on, as to a sink, and the latest 1,000 signals kept; a run without a clock keeps all ids."""
    run(workload, Ticks(*(column[:2_000] for column in ticks)), list)
    latest: deque[EmittedSignal] = deque(maxlen=1_000)
    clock, engine = run(workload, ticks, latest.extend)
    ids = hashlib.sha256()
    run(workload, ticks, lambda found: ids.update(bytes.fromhex("".join(each.signal_id for each in found))))
    report(ticks, clock.wall, clock.cpu, engine, ids.hexdigest()[:16])


# -------------------------------------------------------------------------------------------------------- in columns


def blocks(engine: Engine, ticks: Ticks, size: int) -> list[SignalColumns]:
    """The ticks in blocks of `size`, each of them made as it comes; the signals of each block."""
    engine.use_compiler(kernel_compiler())
    ts, token, price = ticks
    return [
        engine.step_block(
            TickColumns(ts[i : i + size], token[i : i + size], price[i : i + size]), fills=False
        ).columns()
        for i in range(0, len(price), size)
    ]


def columnar(workload: str, ticks: Ticks, size: int) -> None:
    rows = rows_of(workload)
    few = Ticks(*(column[: 2 * size] for column in ticks))
    blocks(engine_of(rows), few, size)
    engines: list[Engine] = []

    def run() -> list[SignalColumns]:
        return blocks(engines.pop(), ticks, size)

    # An engine is used once; making it is not what is measured.
    walls, cpus, found, engine = [], [], None, None
    while sum(cpus) < 1.0 and len(cpus) < 15:
        engine = engine_of(rows)
        engines.append(engine)
        wall, cpu, found = repeated(run, seconds=0.0)
        walls.append(wall)
        cpus.append(cpu)
    assert found is not None
    assert engine is not None
    kept = [each.taken(np.flatnonzero(each.code == 0)).ids() for each in found]
    digest = hashlib.sha256(np.concatenate(kept).astype(">u8").tobytes()).hexdigest()[:16]
    report(ticks, float(np.median(walls)), float(np.median(cpus)), engine, digest)


def report(ticks: Ticks, wall: float, cpu: float, engine: Engine, digest: str) -> None:
    counters = [one.counters() for one in engine.executors]
    emitted = sum(one["signals"] for one in counters)
    raw = emitted + sum(sum(one["drops"].values()) for one in counters)
    cash = sum(one.portfolio.cash for one in engine.executors)
    emit(
        version=version("anystrat"),
        ticks=len(ticks.price),
        wall=wall,
        cpu=cpu,
        raw=raw,
        emitted=emitted,
        digest=digest,
        cash=cash,
    )


# ------------------------------------------------------------------------------------------------- the whole command


def write_ticks(path: Path, ticks: Ticks) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"ts_ns": ticks.ts_ns, "instrument_token": ticks.token, "price": ticks.price})
    pq.write_table(table, path)


def command(arguments_: list[str], folder: Path, environment: dict[str, str] | None = None) -> tuple[float, float, str]:
    """Wall and cpu seconds of an `anystrat` command, its start included, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "anystrat", *arguments_],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout


def whole_command(workload: str, ticks: Ticks) -> None:
    """`anystrat replay` from Parquet to Parquet: what further ticks cost, (T(4n) - T(n)) / 3n, its start left out."""
    import pyarrow.parquet as pq

    few = Ticks(*(column[: len(ticks.price) // 4] for column in ticks))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.json").write_bytes(msgspec.json.encode({"version": 1, "strategies": rows_of(workload)}))
        seconds: dict[str, tuple[float, float]] = {}
        out = ""
        for label, part in (("few", few), ("all", ticks)):
            write_ticks(folder / f"{label}.parquet", part)
            output = ["--signals", f"{label}-signals.parquet", "--json", "--quiet"]
            line = ["replay", "run.json", "--ticks", f"{label}.parquet", *output]
            if label == "few":
                command(line, folder)  # compiles what is not compiled yet
            # The quickest of three: what disturbs a command only ever makes it slower.
            trials = [command(line, folder) for _ in range(3)]
            seconds[label] = min(one[0] for one in trials), min(one[1] for one in trials)
            out = trials[-1][2]
        said = msgspec.json.decode(out)
        ids = pq.read_table(folder / "all-signals.parquet", columns=["signal_id"])["signal_id"].to_pylist()
    digest = hashlib.sha256(b"".join(map(bytes.fromhex, ids))).hexdigest()[:16]
    wall, cpu = (late - early for late, early in zip(seconds["all"], seconds["few"], strict=True))
    if wall <= 0.0 or cpu <= 0.0:
        raise RuntimeError("the machine is too busy: four times the ticks took no longer")
    raw = said["signals"] + sum(said["drops"].values())
    emit(
        version=version("anystrat"),
        ticks=len(ticks.price) - len(few.price),
        wall=wall,
        cpu=cpu,
        raw=raw,
        emitted=said["signals"],
        digest=digest,
        start=seconds["few"][0] - wall / 3,
        of_ticks=len(ticks.price),
        command_peak_mib=round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1),
    )


def main() -> None:
    asked = arguments("anystrat", VARIANTS)
    ticks = ticks_of(asked.workload, asked.ticks)
    match asked.variant:
        case "tick":
            scalar(asked.workload, ticks, by_tick)
        case "built":
            scalar(asked.workload, ticks, by_built_tick)
        case "rows":
            scalar(asked.workload, ticks, by_row)
        case "blocks64" | "blocks256":
            size = int(asked.variant.removeprefix("blocks"))
            scalar(asked.workload, ticks, partial(by_block, size=size))
        case "columns":
            columnar(asked.workload, ticks, BLOCK)
        case "replay":
            whole_command(asked.workload, ticks)


if __name__ == "__main__":
    main()
