"""What a tick costs where several members share a stream, beside one process alone; the costs that the large-case model is fed.

    python -m benchmarks.cluster --out out/cluster.json

W2's strategies (ten on each of 100 instruments, about one signal in 100 ticks), NATS to NATS, a journal in PostgreSQL. Real
servers of the tests' packages, on this machine, whose own time is not counted. Processor time of all processes of the run, between two moments
at which nothing waits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

import nats
import numpy as np
import psycopg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from tests.servers import postgres_url

from anystrat.adapters.postgres_leases import LeasesUnavailable, PostgresLeases
from anystrat.domain.cluster import PartState, nats_partition
from anystrat.domain.columns import TickColumns
from anystrat.testing.messages import columns_message, json_message
from anystrat.testing.servers import NatsServer
from benchmarks import machine
from benchmarks.durable import rare_rows
from benchmarks.workloads import INSTRUMENTS, ticks_of

PARTS: Final = 6
#: One process alone, and then so many members.
RUNS: Final = (0, 1, 2, 3)
_WARM: Final = 30_000
_A_MESSAGE: Final = 64
_TRICKLE: Final = 1_500
_TRICKLE_PER_SEC: Final = 150
_IDLE_SEC: Final = 5
_PATIENCE_SEC: Final = 180
_TICK_HZ: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """Microseconds of processor time for a tick, of a backlog and of a trickle of lone ticks, less what idling costs
    (milliseconds a second): of the run's processes, and of the servers'. `cores`: how many all of these had of the machine, on average,
    while they drained the backlog at `ticks_per_sec`.
    """

    backlog_us: float
    trickle_us: float
    idle_ms: float
    postgres_backlog_us: float
    postgres_trickle_us: float
    nats_backlog_us: float
    ticks_per_sec: float
    cores: float


def config(folder: Path, url: str, members: int, name: str) -> None:
    cluster = f"cluster: {{parts: {PARTS}, lease_sec: 600, subject: '{name}.ticks.{{part}}.>'}}\n" if members else ""
    rows = [{**row, "brokers": ["out"], "per_instrument": True} for row in rare_rows()]
    source = {"type": "nats", "url": url, "stream": f"{name}_TICKS", "subject": f"{name}.ticks.>", "batch": 1024}
    broker = {"type": "nats", "url": url, "subject": f"{name}.signals.{{strategy_id}}"}
    journal = {"type": "postgres", "url": postgres_url(), "schema": name.lower()}
    (folder / "anystrat.yaml").write_text(
        f"version: 1\n{cluster}source: {json.dumps(source)}\nbrokers: {json.dumps({'out': broker})}\n"
        f"journal: {json.dumps(journal)}\nlog: {{level: error}}\nstrategies: {json.dumps(rows)}\n"
    )


def family(roots: Sequence[int]) -> dict[int, int]:
    """Processor time so far, in ticks of the kernel, of these processes and all below them that live."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        used[int(entry.name)] = int(fields[11]) + int(fields[12])

    def ours(pid: int) -> bool:
        while pid not in roots:
            if pid not in parents:
                return False
            pid = parents[pid]
        return True

    return {pid: ticks for pid, ticks in used.items() if ours(pid)}


def processor_sec(roots: Sequence[int]) -> float:
    return sum(family(roots).values()) / _TICK_HZ


@dataclass(frozen=True)
class Used:
    """Seconds: by the clock, and of processor time of each group of processes."""

    wall: float
    busy: tuple[float, ...]

    @classmethod
    def now(cls, groups: Sequence[Sequence[int]]) -> Used:
        return cls(time.monotonic(), tuple(map(processor_sec, groups)))

    def __sub__(self, other: Used) -> Used:
        return Used(self.wall - other.wall, tuple(a - b for a, b in zip(self.busy, other.busy, strict=True)))


def postmaster() -> int:
    with psycopg.connect(postgres_url()) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(")")[2].split()[1])


def tell(roots: Sequence[int], number: signal.Signals) -> None:
    for pid in family(roots):
        os.kill(pid, number)


class Stream:
    """The ticks as messages, each on the subject of its part, and what of it was handled."""

    def __init__(self, context: JetStreamContext, name: str, members: int) -> None:
        self._context, self._name = context, name
        self._consumers = [f"anystrat-{part}" for part in range(PARTS)] if members else ["anystrat"]
        columns = ticks_of("W2", 2_000_000)
        self._columns = TickColumns(columns.ts_ns, columns.token, columns.price)
        places = np.array([nats_partition(str(token), PARTS) for token in range(INSTRUMENTS)])
        self._parts = places[columns.token]
        self._at = 0

    async def send(self, ticks: int, a_message: int, per_sec: float | None = None) -> None:
        rows = np.arange(self._at, self._at + ticks)
        self._at += ticks
        chunks: list[tuple[int, np.ndarray[Any, Any], int]] = []
        for part in range(PARTS):
            mine = rows[self._parts[rows] == part]
            chunks += [(int(mine[at]), mine[at : at + a_message], part) for at in range(0, len(mine), a_message)]
        encode = columns_message if a_message > 1 else json_message
        for _, chosen, part in sorted(chunks, key=lambda each: each[0]):
            subject = f"{self._name}.ticks.{part}.x"
            await self._context.publish_async(subject, encode(self._columns.taken(chosen)))
            if per_sec is not None:
                await asyncio.sleep(1 / per_sec)
        await self._context.publish_async_completed()

    async def handled(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SEC
        for consumer in self._consumers:
            while True:
                try:
                    info = await self._context.consumer_info(f"{self._name}_TICKS", consumer)
                    if not info.num_pending and not info.num_ack_pending:
                        break
                except NotFoundError:
                    pass
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{consumer} has not handled everything")
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(folder: Path, members: int, name: str) -> AsyncGenerator[list[int]]:
    """The processes, once every part runs where it is to stay."""
    processes = [
        subprocess.Popen(  # noqa: ASYNC220  nothing else waits meanwhile
            [sys.executable, "-m", "anystrat", "run", "-q", "--speed", "columns"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(max(1, members))
    ]
    leases = PostgresLeases(postgres_url(), name.lower(), PARTS)
    try:
        deadline = time.monotonic() + _PATIENCE_SEC
        while members and time.monotonic() < deadline:
            try:
                view = leases.view()
            except LeasesUnavailable:
                await asyncio.sleep(0.1)
                continue
            each_has = [len(view.held_by(member)) for member in view.members]
            if each_has == [PARTS // members] * members and all(
                each.state is PartState.RUNNING for each in view.leases
            ):
                break
            await asyncio.sleep(0.1)
        yield [each.pid for each in processes]
        for each in processes:
            each.send_signal(signal.SIGTERM)
        for each in processes:
            if await asyncio.to_thread(each.wait, _PATIENCE_SEC):
                raise RuntimeError("a run failed")
    finally:
        leases.close()
        for each in processes:
            each.kill()
            each.wait()


async def measured(server: NatsServer, members: int, ticks: int) -> Measured:
    url, servers = server.url, ([postmaster()], [server.process_id])
    name = f"C{uuid4().hex[:8]}"
    client = await nats.connect(url)
    context = client.jetstream(timeout=30, publish_async_max_pending=1_000_000)
    await context.add_stream(name=f"{name}_TICKS", subjects=[f"{name}.ticks.>"])
    await context.add_stream(name=f"{name}_SIGNALS", subjects=[f"{name}.signals.>"])
    stream = Stream(context, name, members)
    try:
        with tempfile.TemporaryDirectory() as directory:
            config(Path(directory), url, members, name)
            async with running(Path(directory), members, name) as processes:
                await stream.send(_WARM, _A_MESSAGE)
                await stream.handled()
                # All of it waits before the first of it is read: what is measured is the run, and not the publisher.
                tell(processes, signal.SIGSTOP)
                await stream.send(ticks, _A_MESSAGE)
                groups = (processes, *servers)
                before = Used.now(groups)
                tell(processes, signal.SIGCONT)
                await stream.handled()
                backlog = Used.now(groups) - before
                before = Used.now(groups)
                await asyncio.sleep(_IDLE_SEC)
                idle = Used.now(groups) - before
                before = Used.now(groups)
                await stream.send(_TRICKLE, 1, _TRICKLE_PER_SEC)
                await stream.handled()
                trickle = Used.now(groups) - before
    finally:
        await context.delete_stream(f"{name}_TICKS")
        await context.delete_stream(f"{name}_SIGNALS")
        await client.close()
    rest = [busy - still * trickle.wall / idle.wall for busy, still in zip(trickle.busy, idle.busy, strict=True)]
    return Measured(
        backlog_us=1e6 * backlog.busy[0] / ticks,
        trickle_us=1e6 * rest[0] / _TRICKLE,
        idle_ms=1e3 * idle.busy[0] / idle.wall,
        postgres_backlog_us=1e6 * backlog.busy[1] / ticks,
        postgres_trickle_us=1e6 * rest[1] / _TRICKLE,
        nats_backlog_us=1e6 * backlog.busy[2] / ticks,
        ticks_per_sec=ticks / backlog.wall,
        cores=sum(backlog.busy) / backlog.wall,
    )


def measure(ticks: int, repetitions: int) -> dict[str, Any]:
    """The medians; runs of different sizes take turns, so that what disturbs the machine disturbs all."""
    found: dict[int, list[Measured]] = {members: [] for members in RUNS}
    with tempfile.TemporaryDirectory() as folder, NatsServer(folder) as server:
        for _ in range(repetitions):
            for members in RUNS:
                found[members].append(asyncio.run(measured(server, members, ticks)))
                print(members, found[members][-1], file=sys.stderr)
    return {
        "ticks": ticks,
        "repetitions": repetitions,
        "parts": PARTS,
        "runs": {
            str(members): {
                each.name: round(median(getattr(run, each.name) for run in runs), 2) for each in fields(Measured)
            }
            for members, runs in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--ticks", type=int, default=400_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    load = {"before": machine.load()["load"]}
    results = measure(asked.ticks, asked.repetitions)
    results |= {"machine": machine.description(), "load": {**load, "after": machine.load()["load"]}}
    text = json.dumps(results, indent=1)
    print(text)
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
