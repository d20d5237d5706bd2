"""kill -9 of members of a cluster in bursts of ticks, and of another one while it takes their parts over.

In every other round of the long form the first of the two is not killed but stopped, parts and all, for longer than its lease, and let go on.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4

import msgspec
import nats
from benchmarks.cluster import tell
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from anystrat.adapters.postgres_journal import PostgresSchemaJournal
from anystrat.adapters.postgres_leases import LeasesUnavailable, PostgresLeases
from anystrat.adapters.tick_files.merge import sliced
from anystrat.domain.cluster import ClusterView, PartState, nats_partition
from anystrat.domain.columns import TickColumns, joined
from anystrat.runner.tally import Tally as RunnerTally
from anystrat.runner.tally import accounts_of
from anystrat.testing.messages import json_message
from anystrat.testing.servers import NatsServer
from tests.integration.cli_project import clean
from tests.servers import postgres_url
from tests.streams import connected, make_stream, stored
from tests.torture import project
from tests.torture.nats_kills import listening
from tests.torture.tally import Tally, counted

MEMBERS = 3
_TICKS_PER_SEC = 500
_BURST = 1_500
_CALM_SEC = 0.004
_MOST_TICKS = 1_000_000
_WINDOW_SEC = 7 * 86_400
_PATIENCE_SEC = 90
_LOOK_SEC = 0.02


@dataclass
class TakeOvers:
    """How long parts of a killed member stood still, in leases, each time until all of them ran elsewhere."""

    leases: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        return max(self.leases, default=0.0)


class Producer:
    """Sends each tick on the subject of its part: a trickle, and a burst when it is asked for one."""

    def __init__(self, seed: int, parts: int) -> None:
        self._blocks = project.ticks(seed, _MOST_TICKS, _TICKS_PER_SEC)
        self._parts = parts
        self._ending = False
        self._wanted = 0
        self.sent: list[TickColumns] = []

    def burst(self) -> None:
        self._wanted = _BURST

    def end(self) -> None:
        self._ending = True

    async def run(self, url: str) -> None:
        client = await nats.connect(url, allow_reconnect=False)
        context = client.jetstream(timeout=10, publish_async_max_pending=100_000)
        try:
            for tick in self._ticks():
                await self._send(context, tick)
                self.sent.append(tick)
                if self._wanted:
                    self._wanted -= 1
                elif self._ending:
                    break
                else:
                    await asyncio.sleep(_CALM_SEC)
            await context.publish_async_completed()
        finally:
            await client.close()

    async def _send(self, context: JetStreamContext, tick: TickColumns) -> None:
        token = str(int(tick.instrument_token[0]))
        await context.publish_async(f"ticks.{place(int(token), self._parts)}.{token}", json_message(tick))

    def _ticks(self) -> Iterator[TickColumns]:
        for block in self._blocks:
            for at in range(len(block)):
                yield sliced(block, at, at + 1)


class Cluster:
    """The members' processes, and what the table of leases says of them."""

    def __init__(self, folder: Path, schema: str, parts: int, lease_sec: float) -> None:
        self._folder = folder
        self._leases = PostgresLeases(postgres_url(), schema, parts)
        self._number = 0
        self._lease_sec = lease_sec
        self.members: dict[str, subprocess.Popen[bytes]] = {}
        self.take_overs = TakeOvers()

    def start(self) -> str:
        """One more member; its name."""
        self._number += 1
        name = f"m{self._number}"
        with (self._folder / f"{name}.log").open("ab") as log:
            self.members[name] = subprocess.Popen(
                [sys.executable, "-m", "anystrat", "run", "--speed", "scalar"],
                cwd=self._folder,
                env=clean(NO_COLOR="1", ANYSTRAT__CLUSTER__MEMBER=name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return name

    def kill(self, name: str) -> None:
        process = self.members.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def freeze(self, name: str) -> None:
        """It stands still, with its parts: connections stay open, and nothing answers."""
        tell([self.members[name].pid], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        tell([self.members[name].pid], signal.SIGCONT)

    async def until(self, what: str, there: Callable[[ClusterView], object]) -> ClusterView:
        """Wait until the table says so."""
        deadline = time.monotonic() + _PATIENCE_SEC
        while True:
            view = await asyncio.to_thread(self._view)
            if view is not None and there(view):
                return view
            if time.monotonic() > deadline or any(each.poll() is not None for each in self.members.values()):
                raise RuntimeError(f"no {what}: {view}\n{self.logs()}")
            await asyncio.sleep(_LOOK_SEC)

    async def shared_out(self) -> None:
        """Until every member has its share, and all of it runs."""
        names = set(self.members)
        await self.until(
            f"sharing among {names}",
            lambda view: (
                all_run(view, names)
                and all(len(owned(view, name)) == view.share(owner) for name, owner in owners(view).items())
                and set(owners(view)) == names
            ),
        )

    async def taken_over(self, lost: Collection[int], since: float, names: Collection[str]) -> None:
        """Until these parts run at members of these names; how long that took is kept."""
        await self.until(
            f"take-over by {names}",
            lambda view: all(
                each.state is PartState.RUNNING and each.taken and member_of(each.owner) in names
                for each in view.leases
                if each.part in lost
            ),
        )
        self.take_overs.leases.append((time.monotonic() - since) / self._lease_sec)

    async def stop(self) -> None:
        for each in self.members.values():
            each.send_signal(signal.SIGTERM)
        for name, each in self.members.items():
            code = await asyncio.to_thread(each.wait, _PATIENCE_SEC)
            if code:
                raise RuntimeError(f"{name} ended with {code}\n{self.logs()}")

    def close(self) -> None:
        for each in self.members.values():
            each.kill()
            each.wait()
        self._leases.close()

    def logs(self) -> str:
        return "\n".join(f"== {each.name}\n{each.read_text()[-3_000:]}" for each in sorted(self._folder.glob("m*.log")))

    def _view(self) -> ClusterView | None:
        try:
            return self._leases.view()
        except LeasesUnavailable:
            return None  # no member has made the tables yet


def member_of(owner: str) -> str:
    return owner.partition("/")[0]


def owners(view: ClusterView) -> dict[str, str]:
    return {member_of(each.owner): each.owner for each in view.leases if each.taken}


def owned(view: ClusterView, name: str) -> list[int]:
    return [each.part for each in view.leases if each.taken and member_of(each.owner) == name]


def all_run(view: ClusterView, names: Collection[str]) -> bool:
    return all(
        each.taken and each.state is PartState.RUNNING and member_of(each.owner) in names for each in view.leases
    )


def torture(folder: Path, *, rounds: int, seed: int, parts: int = 6, lease_sec: float = 3.0) -> tuple[Tally, TakeOvers]:
    """Two of three members are killed in each round (in every other one, the first is stopped and goes on); then count.

    And how long take-overs took.
    """
    with NatsServer(folder / "nats") as server:
        return asyncio.run(_tortured(folder, server.url, rounds, seed, parts, lease_sec))


async def _tortured(
    folder: Path, url: str, rounds: int, seed: int, parts: int, lease_sec: float
) -> tuple[Tally, TakeOvers]:
    began, rng, schema = time.monotonic(), Random(seed), f"torture_{uuid4().hex[:12]}"
    await make_stream(url, "TICKS", ["ticks.>"])
    await make_stream(url, "SIGNALS", ["signals.>"], duplicate_window=_WINDOW_SEC)
    (folder / "anystrat.yaml").write_text(config(url, schema, parts, lease_sec))
    producer, cluster = Producer(seed, parts), Cluster(folder, schema, parts, lease_sec)
    producing = asyncio.create_task(producer.run(url))
    try:
        async with listening(url, "signals.>") as heard:
            for _ in range(MEMBERS):
                cluster.start()
            for number in range(rounds):
                await cluster.shared_out()
                producer.burst()
                stop = number % 2 == 1
                await _kill_two(cluster, rng, stop_first=stop)
                for _ in range((1 if stop else 2) if number + 1 < rounds else 0):
                    cluster.start()
            producer.end()
            await producing
            await _all_handled(url, parts)
            await cluster.stop()
            seen = [json.loads(data) for data in heard]
    finally:
        producing.cancel()
        cluster.close()
        await asyncio.gather(producing, return_exceptions=True)
    rows = [json.loads(message.data) for message in await stored(url, "SIGNALS")]
    sent = joined(producer.sent)
    project.write_ticks(folder, [sent])
    expected = await asyncio.to_thread(project.replayed, folder)
    tally = counted(
        expected,
        rows,
        seen,
        kills=2 * rounds - rounds // 2,
        restarts=0,
        ticks=len(sent),
        accounted=await _accounted(schema, parts),
        seconds=time.monotonic() - began,
    )
    return tally, cluster.take_overs


async def _kill_two(cluster: Cluster, rng: Random, *, stop_first: bool) -> None:
    """One in a burst; one of the others as soon as it has taken a part of it. With `stop_first`, that one goes on afterwards."""
    view = await cluster.until("parts", lambda _view: True)
    first = rng.choice(sorted(cluster.members))
    others = set(cluster.members) - {first}
    lost = set(owned(view, first))
    await asyncio.sleep(rng.uniform(0.0, 0.3))
    if stop_first:
        cluster.freeze(first)
    else:
        cluster.kill(first)
    view = await cluster.until(
        "taking", lambda view: any(member_of(each.owner) in others for each in view.leases if each.part in lost)
    )
    second = next(name for each in view.leases if each.part in lost and (name := member_of(each.owner)) in others)
    lost |= set(owned(view, second))
    cluster.kill(second)
    await cluster.taken_over(lost, time.monotonic(), others - {second})
    if stop_first:
        cluster.thaw(first)


async def _all_handled(url: str, parts: int) -> None:
    """Until the run has committed every tick; whatever is missing after so long is counted as lost."""
    deadline = time.monotonic() + _PATIENCE_SEC
    async with connected(url) as client:
        for part in range(parts):
            while time.monotonic() < deadline:
                with suppress(NotFoundError):  # its owner is just making it anew
                    info = await client.jetstream().consumer_info("TICKS", f"anystrat-{part}")
                    if not info.num_pending and not info.num_ack_pending:
                        break
                await asyncio.sleep(0.1)


async def _accounted(schema: str, parts: int) -> int:
    """The ticks that all parts have processed or dropped, in all their lives."""
    count = 0
    for part in range(parts):
        journal = PostgresSchemaJournal(postgres_url(), f"{schema}_{part}")
        await journal.open(None)
        record = await journal.shard(0)
        await journal.close()
        if record is not None and record.tally:
            accounts = accounts_of(msgspec.msgpack.decode(record.tally, type=RunnerTally))
            count += accounts.processed + sum(accounts.dropped.values())
    return count


def config(url: str, schema: str, parts: int, lease_sec: float) -> str:
    return (
        "version: 1\nrun: {name: torture}\n"
        f"cluster: {{parts: {parts}, lease_sec: {lease_sec}, assign: [{{part: 0, instruments: [1, 2, 3]}}]}}\n"
        f'source: {{type: nats, url: "{url}", stream: TICKS}}\n'
        f'brokers:\n  out: {{type: nats, url: "{url}", stream: SIGNALS}}\n'
        f'journal: {{type: postgres, url: "{postgres_url()}", schema: {schema}}}\n'
        f"{project.STRATEGIES}"
    )


def place(token: int, parts: int) -> int:
    return 0 if token in {1, 2, 3} else nats_partition(str(token), parts)
