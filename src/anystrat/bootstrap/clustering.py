"""A configuration shared out: the configuration of each part, the leases on parts, the member that runs them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Final

from anystrat.adapters.part_process import ForkedPart, Forks, PartLine, lease_clock_ns
from anystrat.adapters.postgres_leases import Claim, PostgresLeases
from anystrat.domain.cluster import ClusterSettings, Partitioner, PartState
from anystrat.domain.endpoints import KafkaSource, NatsSource, PostgresJournal
from anystrat.domain.health import Phase
from anystrat.runner.member import Member

if TYPE_CHECKING:
    from anystrat.domain.configuration import (
        Configuration,
        ControlSettings,
        MetricsSettings,
        SourceSettings,
        StrategyConfig,
    )
    from anystrat.runner.member import MemberLog
    from anystrat.runner.runner import Runner

_LOOK_SEC: Final = 0.02


@dataclass(frozen=True, slots=True)
class LeasedPart:
    """A part that this process runs: its number, the line to its member, and what its journal is taken over with."""

    number: int
    line: PartLine
    claim: Claim
    share: None = None

    async def follow(self, runner: Runner) -> None:
        """Tell the member once the part runs, and do to the runner what is done to the cluster's kill switch."""
        await follow(self.line, runner)


def part_configuration(configuration: Configuration, part: int) -> Configuration:
    """What one part runs: the strategies on its instruments, its subject or partition, a journal and ports of its own."""
    cluster, source, journal = _shared(configuration)
    kafka = isinstance(source.options, KafkaSource)
    strategies = tuple(row for each in configuration.strategies if (row := _of_part(each, cluster, kafka, part)))
    schema = f"{journal.schema}_{part}"
    metrics, control = ports_of_part(configuration, part)
    assert configuration.journal is not None
    return replace(
        configuration,
        part=part,
        run=replace(configuration.run, name=f"{configuration.run.name}-{part}"),
        source=replace(source, options=_source_of(source, cluster, part)),
        journal=replace(configuration.journal, options=replace(journal, schema=schema)),
        strategies=strategies,
        metrics=metrics,
        control=control,
    )


def ports_of_part(configuration: Configuration, part: int) -> tuple[MetricsSettings | None, ControlSettings | None]:
    """Where a part is asked: parts on one machine must not be in each other's way; port 0 is any that is free already."""
    metrics, control = configuration.metrics, configuration.control
    if metrics is not None and metrics.port:
        metrics = replace(metrics, port=metrics.port + part)
    if control is not None and control.address[1]:
        host, _, port = control.listen.rpartition(":")
        control = replace(control, listen=f"{host}:{int(port) + part}")
    return metrics, control


def _shared(configuration: Configuration) -> tuple[ClusterSettings, SourceSettings, PostgresJournal]:
    """The sections without which there is no cluster; the configuration's check has seen to it."""
    cluster, source, journal = configuration.cluster, configuration.source, configuration.journal
    if cluster is None or source is None or journal is None or not isinstance(journal.options, PostgresJournal):
        raise ValueError("the configuration has no cluster")
    return cluster, source, journal.options


def _of_part(row: StrategyConfig, cluster: ClusterSettings, kafka: bool, part: int) -> StrategyConfig | None:  # noqa: FBT001
    places = cluster.places(row.instrument_tokens, Partitioner.KAFKA if kafka else Partitioner.NATS)
    tokens = tuple(token for token in row.instrument_tokens if places[token] == part)
    return replace(row, instrument_tokens=tokens) if tokens else None


def _source_of(source: SourceSettings, cluster: ClusterSettings, part: int) -> NatsSource | KafkaSource:
    options = source.options
    if isinstance(options, NatsSource):
        subject = cluster.subject.replace("{part}", str(part))
        return replace(options, subject=subject, durable=f"{options.durable}-{part}")
    assert isinstance(options, KafkaSource)
    return replace(options, partitions=(part,))


def parts_of(configuration: Configuration) -> dict[int, int]:
    """The part of every instrument that an enabled strategy watches."""
    cluster, source, _ = _shared(configuration)
    kafka = isinstance(source.options, KafkaSource)
    tokens = {token for row in configuration.strategies if row.enabled for token in row.instrument_tokens}
    return cluster.places(tokens, Partitioner.KAFKA if kafka else Partitioner.NATS)


def layout_of(configuration: Configuration) -> str:
    """What all members must agree on, in words: another one would put instruments elsewhere."""
    cluster, source, _ = _shared(configuration)
    options = source.options
    what = f"topic {options.topic}" if isinstance(options, KafkaSource) else f"{options.stream}, {cluster.subject}"
    moved = sorted((token, each.part) for each in cluster.assign for token in each.instruments)
    assigned = f", {len(moved)} assigned ({hashlib.sha256(repr(moved).encode()).hexdigest()[:8]})" if moved else ""
    return f"{cluster.parts} parts of {what}{assigned}"


def open_leases(configuration: Configuration, member: str = "") -> PostgresLeases:
    """The table of leases beside the journals; connected when it is asked. Raises `MissingExtra`."""
    cluster, _, journal = _shared(configuration)
    return PostgresLeases(
        journal.url.reveal(), journal.schema, cluster.parts, member=member, lease_sec=cluster.lease_sec
    )


def import_what_parts_need(configuration: Configuration) -> None:
    """Once, before anything is forked: a part begins in a moment then, and its pages are all parts' together."""
    _, source, _ = _shared(configuration)
    kinds = {source.type, *(each.type for each in configuration.brokers.values())}
    names = ["bootstrap.models", "bootstrap.running", "bootstrap.reloading", "adapters.postgres_journal"]
    for kind in kinds & {"nats", "kafka"}:
        names += [f"adapters.source_{kind}", f"adapters.sink_{kind}"]
    for name in [f"anystrat.{each}" for each in names] + ["nats.js"] * ("nats" in kinds):
        with suppress(ImportError):  # whoever uses it says what is missing
            import_module(name)


async def follow(line: PartLine, runner: Runner) -> None:
    """Tell the member once the part runs, and do to the runner what is done to the cluster's kill switch."""
    loop, turned = asyncio.get_running_loop(), asyncio.Event()
    line.on_switch = lambda _on: loop.call_soon_threadsafe(turned.set)
    while not runner.open:  # noqa: ASYNC110  nobody says when that is
        await asyncio.sleep(_LOOK_SEC)
    if line.killed:
        await runner.kill(on=True)
    done = line.killed
    while runner.phase is Phase.RECOVERING:  # noqa: ASYNC110  as above
        await asyncio.sleep(_LOOK_SEC)
    line.say(PartState.RUNNING)
    while True:
        if line.killed != done:
            done = line.killed
            await runner.kill(on=done)
        await turned.wait()
        turned.clear()


def open_member(
    configuration: Configuration,
    work: Callable[[LeasedPart], int],
    *,
    log: MemberLog,
    wakeup: int,
    inherited: tuple[int, ...] = (),
) -> Member:
    """What takes parts and runs `work` for each in a process of its own, which ends with the code that it returns.

    `inherited` are files that the member's process has open and a part must not. Raises `MissingExtra`.
    """
    cluster, _, journal = _shared(configuration)
    name = f"{cluster.member or socket.gethostname()}/{secrets.token_hex(3)}"
    leases = open_leases(configuration, name)
    forks = Forks()

    def start(part: int, epoch: int, until_ns: int) -> ForkedPart:
        database = leases.file_number

        def run(line: PartLine) -> int:
            return work(LeasedPart(part, line, Claim(journal.schema, part, name, epoch)))

        files = [*inherited, wakeup, *([] if database is None else [database])]
        process = forks.start(run, files, f"part {part}")
        process.tell(until_ns, killed=member.killed)
        return process

    member = Member(
        leases, layout_of(configuration), cluster.lease_sec, start, now_ns=lease_clock_ns, log=log, wakeup=wakeup
    )
    return member
