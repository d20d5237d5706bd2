"""`anystrat run --workers N`: the parent of workers that share the instruments out, and what they came to together."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.failures import Terminated, failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anystrat.bootstrap.working import WorkerPart
    from anystrat.cli.run import Asked
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.protocols import Compiler
    from anystrat.strategies.catalog import Catalog

_ADDED: Final = ("received", "processed", "duplicates", "shed")


def run_workers(
    asked: Asked,
    catalog: Catalog,
    configured: Configuration,
    compiler: Compiler | None,
    workers: int,
    *,
    first_wait_sec: float = 1.0,
) -> tuple[int, dict[str, Any]]:
    """Run all workers to their end; the code that the run ends with, and what it came to."""
    from anystrat.bootstrap.running import system_clock
    from anystrat.bootstrap.working import import_what_workers_need, open_workers, spread, worker_configuration
    from anystrat.cli import run
    from anystrat.cli.run_member import stopped_by_signals
    from anystrat.observability.records import logger
    from anystrat.runner.workers import REPORT, UNDELIVERED

    if asked.record is not None:
        raise click.UsageError(
            "--record keeps what one process sees: leave it out, or --workers; "
            "`anystrat journal export --what ticks --part N` has the inputs of a worker"
        )
    shared = spread(configured, workers, catalog)
    import_what_workers_need(configured)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def work(part: WorkerPart) -> int:
        """In the worker's own process."""
        for number, handler in before.items():
            signal.signal(number, handler)

        def overlaid(found: Configuration) -> Configuration:
            return worker_configuration(asked.overlaid(found), part.number, shared)

        def show(report: dict[str, Any]) -> None:
            part.line.say(REPORT + json.dumps(report))

        try:
            own = worker_configuration(configured, part.number, shared)
            if not run.run_service(asked, catalog, own, compiler, overlaid=overlaid, part=part, show=show):
                part.line.say(UNDELIVERED)
        except Terminated:
            return 0  # it was to be drained before it ran: there is nothing that failed
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  said in words, as in `main`
            return failed(error, asked.settings)
        return 0

    log = logger(configured.log.level, json=configured.log.format == "json", clock=system_clock())
    log.info("workers", workers=workers, instruments=Counter(shared.of.values()))
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    try:
        parent = open_workers(
            configured, shared, work, log=log, wakeup=reading, inherited=(writing,), first_wait_sec=first_wait_sec
        )
        with stopped_by_signals(parent, writing):
            code = parent.run()
    finally:
        for end in (reading, writing):
            os.close(end)
    reports = [json.loads(parent.reports[number]) for number in sorted(parent.reports)]
    return code, together(configured.run.name, workers, reports)


def together(name: str, workers: int, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report of all workers' reports, in the form of one process's; `workers` says how many there were."""
    reasons = list(dict.fromkeys(each["reason"] for each in reports))
    errors = [each["error"] for each in reports if "error" in each]
    return {
        "schema_version": 1,
        "run": name,
        "workers": workers,
        "reason": "; ".join(reasons),
        **({"error": errors[0]} if errors else {}),
        "ticks": ticks_of(reports),
        "strategies": [one for each in reports for one in each["strategies"]],
        "brokers": added(
            [one for each in reports for one in each["brokers"]],
            ("broker", "type"),
        ),
    }


def ticks_of(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where all ticks went, of reports with `ticks`."""
    dropped: Counter[str] = Counter()
    for each in reports:
        dropped.update(each["ticks"]["dropped"])
    return {**{key: sum(each["ticks"][key] for each in reports) for key in _ADDED}, "dropped": dict(dropped)}


def added(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the same names as one, what is counted in them added up."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        kept = found.setdefault(tuple(row[name] for name in names), dict.fromkeys(row, 0))
        for key, value in row.items():
            kept[key] = value if key in names else kept[key] + value
    return list(found.values())
