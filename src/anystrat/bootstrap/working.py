"""A run spread over worker processes of one machine: what each of them runs, and the parent that has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Final

from anystrat.adapters.part_process import ForkedPart, Forks, PartLine, lease_clock_ns
from anystrat.adapters.source_share import SharedFeed
from anystrat.bootstrap import open_source
from anystrat.bootstrap.clustering import ports_of_part
from anystrat.bootstrap.journals import journal_in, look_into_journal
from anystrat.control.places import places_of, worker_file, workers_beside
from anystrat.domain.endpoints import (
    JsonlBroker,
    KafkaSource,
    MemoryJournal,
    NatsSource,
    SqliteJournal,
    SyntheticSource,
)
from anystrat.domain.errors import AnystratError, ConfigurationError, Problem
from anystrat.domain.health import Phase
from anystrat.runner.plan import spread_over_workers
from anystrat.runner.workers import KILLED, UNKILLED, Workers

if TYPE_CHECKING:
    from pathlib import Path

    from anystrat.domain.configuration import BrokerSettings, Configuration, SourceSettings
    from anystrat.domain.intake import LiveSource
    from anystrat.runner.member import MemberLog, PartProcess
    from anystrat.runner.runner import Runner
    from anystrat.strategies.catalog import Catalog

_LOOK_SEC: Final = 0.02
#: A worker has its place as long as its parent lives, which it sees by the end of the line: no lease is ever over.
_EVER_NS: Final = 10 * 365 * 86_400 * 10**9


class SpreadRefused(AnystratError):
    """A reading of the configuration would take an instrument to another worker, or bring one; only a restart can."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Which worker has which instruments. Those that have none are not started."""

    workers: int
    of: Mapping[int, int]

    @property
    def started(self) -> tuple[int, ...]:
        """The workers that have something to do."""
        return tuple(sorted(set(self.of.values())))

    def tokens_of(self, worker: int) -> frozenset[int]:
        """The instruments of one."""
        return frozenset(token for token, place in self.of.items() if place == worker)

    def share(self, worker: int) -> Callable[[LiveSource], LiveSource]:
        """What makes of the source of all what one of them takes; the first one takes what is nobody's as well."""
        mine = self.tokens_of(worker)
        others = frozenset(self.of) - mine if worker == self.started[0] else None
        return lambda source: SharedFeed(source, mine, others=others)


@dataclass(frozen=True, slots=True)
class WorkerPart:
    """A worker that this process is: its number, the line to its parent, and what it takes of the source."""

    number: int
    line: PartLine
    share: Callable[[LiveSource], LiveSource]
    claim: None = None

    async def follow(self, runner: Runner) -> None:
        """Tell the parent once the worker runs; turn the kill switch where another worker's was turned, and say when it is here."""
        loop, turned = asyncio.get_running_loop(), asyncio.Event()
        line, from_elsewhere = self.line, False

        def pressed(on: bool) -> None:  # noqa: FBT001  it is the runner that calls
            if not from_elsewhere:
                line.say(KILLED if on else UNKILLED)

        runner.on_switch = pressed
        line.on_switch = lambda _on: loop.call_soon_threadsafe(turned.set)
        while runner.phase in {Phase.STARTING, Phase.RECOVERING}:  # noqa: ASYNC110  nobody says when that is over
            await asyncio.sleep(_LOOK_SEC)
        line.say(Phase.RUNNING.value)
        while True:
            if line.killed != runner.killed:
                turning = runner.kill(on=line.killed)
                from_elsewhere = True
                task = loop.create_task(turning)
                await asyncio.sleep(0)  # it has told `pressed` by then
                from_elsewhere = False
                await task
            await turned.wait()
            turned.clear()


def spread(configuration: Configuration, workers: int, catalog: Catalog) -> Spread:
    """How the run is spread. Raises `ConfigurationError` for one that cannot be, and what opening its source raises."""
    problems = list(_problems(configuration, workers))
    if not problems and configuration.source is not None and not _resumable(configuration, catalog):
        message = (
            f"each worker reads the source by itself, and {configuration.source.type} cannot be read twice: "
            "leave --workers out, or put a stream that is kept between"
        )
        problems.append(_problem(configuration, "source", message, "file, synthetic, nats, kafka"))
    found = Spread(workers, spread_over_workers(configuration.strategies, workers))
    groups = _groups(configuration)
    if not problems and groups < workers:
        few = "one group of instruments" if groups == 1 else f"{groups} groups of instruments"
        message = (
            f"{workers} workers are asked for, and there is work for {groups}: what one executor watches cannot be "
            f"split, and the strategies watch {few}"
        )
        problems.append(
            _problem(configuration, "strategies", message, f"--workers {groups}, or `per_instrument: true`")
        )
    if problems:
        raise ConfigurationError(problems)
    return found


def _groups(configuration: Configuration) -> int:
    """How many groups of instruments could be apart."""
    many = 1 << 62
    return len(set(spread_over_workers(configuration.strategies, many).values()))


def _problems(configuration: Configuration, workers: int) -> Iterable[Problem]:
    if configuration.cluster is not None:
        message = "a cluster's parts are processes already: leave --workers out"
        yield _problem(configuration, "cluster", message)
    if configuration.account is not None:
        message = "limits over the whole account need all strategies in one process: leave --workers out"
        yield _problem(configuration, "account", message)
    options = MemoryJournal() if configuration.journal is None else configuration.journal.options
    if not isinstance(options, SqliteJournal | MemoryJournal):
        message = "every worker has a journal of its own, in a file: in a database, `cluster` spreads a run"
        yield _problem(configuration, "journal.type", message, "sqlite, memory")
    if isinstance(options, SqliteJournal):
        yield from _other_layouts(configuration, options.path, workers)


def _other_layouts(configuration: Configuration, path: Path, workers: int) -> Iterable[Problem]:
    """Journals of the same run, spread in another way: it would begin anew beside them."""
    found = workers_beside(path)
    others = sorted({of for _, of in found} - {workers})
    if others or path.exists():
        was = f"with {others[0]} workers" if others else "in one process"
        name = next((each.name for (_, of), each in sorted(found.items()) if of in others), path.name)
        message = f"the journal {name} was begun {was}, and goes on {was} only: what it knows would be left behind"
        yield _problem(
            configuration, "journal.path", message, f"the same --workers as then, or another file; was {was}"
        )


def refuse_single(configuration: Configuration) -> None:
    """Raises `ConfigurationError` where workers have begun what one process is asked to go on with."""
    options = None if configuration.journal is None else configuration.journal.options
    if not isinstance(options, SqliteJournal) or configuration.cluster is not None:
        return
    for (_, of), path in sorted(workers_beside(options.path).items()):
        message = f"the journal {path.name} was begun with {of} workers: what it knows would be left behind"
        allowed = f"anystrat run --workers {of}, or another file"
        raise ConfigurationError([_problem(configuration, "journal.path", message, allowed)])


def _problem(configuration: Configuration, path: str, message: str, allowed: str = "") -> Problem:
    file = str(configuration.files[0]) if configuration.files else ""
    return Problem(message, file=file, path=path, allowed=allowed)


def _resumable(configuration: Configuration, catalog: Catalog) -> bool:
    assert configuration.source is not None
    source = open_source(configuration.source, (1,), catalog=catalog, specs=configuration.instruments)
    return source.resumable


def worker_configuration(configuration: Configuration, worker: int, spread: Spread) -> Configuration:
    """What one worker runs: the strategies on its instruments, and files, ports and a share of every rate of its own.

    Raises `SpreadRefused` for a later reading of the configuration whose instruments are not spread as they were.
    """
    now = spread_over_workers(configuration.strategies, spread.workers)
    for token, place in now.items():
        if spread.of.get(token) != place:
            what = f"go from worker {spread.of[token]} to {place}" if token in spread.of else "be new"
            raise SpreadRefused(f"instrument {token} would {what}, and only a restart can do that")
    mine = spread.tokens_of(worker)
    rows = []
    for row in configuration.strategies:
        tokens = tuple(token for token in row.instrument_tokens if token in mine)
        if tokens or not row.enabled:
            rows.append(replace(row, instrument_tokens=tokens or row.instrument_tokens))
    metrics, control = ports_of_part(configuration, worker)
    journal = configuration.journal
    part: int | None = worker
    if control is not None:
        control = replace(
            control, tokens=control.tokens or places_of(configuration).tokens
        )  # all workers have the same
    if journal is not None and isinstance(journal.options, SqliteJournal):
        # What is beside a journal is told apart by the journal's name, elsewhere by the part's number.
        path = worker_file(journal.options.path, worker, spread.workers)
        journal, part = replace(journal, options=replace(journal.options, path=path)), None
        if control is not None and control.audit is not None:
            control = replace(control, audit=worker_file(control.audit, worker, spread.workers))
    return replace(
        configuration,
        part=part,
        run=replace(configuration.run, name=f"{configuration.run.name}-{worker}"),
        source=None if configuration.source is None else _source_of(configuration.source, worker, spread),
        brokers={name: _broker_of(each, worker, spread) for name, each in configuration.brokers.items()},
        journal=journal,
        strategies=tuple(rows),
        metrics=metrics,
        control=control,
    )


def _source_of(source: SourceSettings, worker: int, spread: Spread) -> SourceSettings:
    options = source.options
    if isinstance(options, NatsSource):
        options = replace(options, durable=f"{options.durable}-worker-{worker}")
    elif isinstance(options, KafkaSource):
        options = replace(options, group_id=f"{options.group_id}-worker-{worker}")
    elif isinstance(options, SyntheticSource) and not options.instruments:
        options = replace(options, instruments=tuple(sorted(spread.of)))
    return replace(source, options=options)


def _broker_of(broker: BrokerSettings, worker: int, spread: Spread) -> BrokerSettings:
    options, delivery = broker.options, broker.delivery
    if isinstance(options, JsonlBroker):
        options = replace(options, path=worker_file(options.path, worker, spread.workers))
    if delivery.rate_per_sec is not None:
        delivery = replace(delivery, rate_per_sec=delivery.rate_per_sec / len(spread.started))
    return replace(broker, options=options, delivery=delivery)


def was_killed(configuration: Configuration, spread: Spread) -> bool:
    """Whether the kill switch was on in any of the workers' journals. Raises `JournalRefused`."""
    options = None if configuration.journal is None else configuration.journal.options
    if not isinstance(options, SqliteJournal):
        return False
    for worker in spread.started:
        path = worker_file(options.path, worker, spread.workers)
        if path.exists():
            with look_into_journal(journal_in(path)) as found:
                if found.meta.get("killed", False):
                    return True
    return False


def import_what_workers_need(configuration: Configuration) -> None:
    """Once, before anything is forked: a worker begins in a moment then, and its pages are all workers' together."""
    assert configuration.source is not None
    kinds = {configuration.source.type, *(each.type for each in configuration.brokers.values())}
    names = ["bootstrap.models", "bootstrap.running", "bootstrap.reloading", "adapters.sqlite_journal"]
    names += [f"adapters.{end}_{kind}" for kind in sorted(kinds) for end in ("source", "sink")]
    for name in names:
        with suppress(ImportError):  # whoever uses it says what is missing
            import_module(f"anystrat.{name}")


def open_workers(
    configuration: Configuration,
    spread: Spread,
    work: Callable[[WorkerPart], int],
    *,
    log: MemberLog,
    wakeup: int,
    inherited: tuple[int, ...] = (),
    first_wait_sec: float = 1.0,
) -> Workers:
    """What runs `work` for each worker in a process of its own. `inherited`: see `forked`. Raises `JournalRefused`."""
    forks = Forks()

    def tell(process: PartProcess, killed: bool) -> None:  # noqa: FBT001  as `Workers` calls it
        process.tell(lease_clock_ns() + _EVER_NS, killed=killed)

    def start(worker: int, killed: bool) -> ForkedPart:  # noqa: FBT001  as above
        def run(line: PartLine) -> int:
            return work(WorkerPart(worker, line, spread.share(worker)))

        then = "the next run goes on from its journal"
        process = forks.start(run, [*inherited, wakeup], f"worker {worker}", then=then)
        tell(process, killed)
        return process

    options = None if configuration.journal is None else configuration.journal.options

    return Workers(
        spread.started,
        start,
        now=time.monotonic,
        log=log,
        tell=tell,
        killed=was_killed(configuration, spread),
        durable=isinstance(options, SqliteJournal),
        wakeup=wakeup,
        first_wait_sec=first_wait_sec,
    )
