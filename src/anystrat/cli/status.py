"""`anystrat status`: what a run's journal says of it, while it runs and after: where every tick went, how each executor is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.journal_argument import journals as journals_argument
from anystrat.cli.options import as_json, verbosity

if TYPE_CHECKING:
    from anystrat.bootstrap.journals import JournalLook, JournalPlace
    from anystrat.domain.configuration import Configuration

SCHEMA_VERSION: Final = 1


@click.command("status", short_help="Say what a run did and how its strategies are, from its journal.")
@journals_argument
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, journals: dict[int | None, JournalPlace] | Configuration, *, as_json: bool) -> None:
    """Say what a run did and how its strategies are, from its journal: while it runs, and after.

    JOURNAL_OR_CONFIG is a journal's file or the configuration that names it; else $ANYSTRAT_CONFIG, else ./anystrat.yaml.
    A service with a control API is asked as well: strategies are as they are now then, else as they were a second ago at
    most. Exits with 1 where the ticks do not add up.

    Of a run in workers: all of them together, and exits with 1 where one runs and another does not. Of a run that is shared
    out among machines: who has which part, from the leases in its database. Exits with 1 where a part
    does not run.

    \b
    anystrat status live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli import worker_status
    from anystrat.cli.screen import print_json
    from anystrat.domain.configuration import Configuration

    if isinstance(journals, Configuration):
        from anystrat.cli import cluster_status

        shared = cluster_status.report_of(journals)
        print_json(shared) if as_json else cluster_status.show(shared)
        if not shared["whole"]:
            context.exit(1)
        return
    reports = {worker: _of_journal(place) for worker, place in journals.items()}
    report = worker_status.together(reports) if len(reports) > 1 else next(iter(reports.values()))
    if as_json:
        print_json(report)
    else:
        show(report)
    if not report.get("whole", True):
        context.exit(1)
    if not report["balanced"]:
        context.exit(1)


def _of_journal(place: JournalPlace) -> dict[str, Any]:
    from anystrat.bootstrap.journals import look_into_journal

    with look_into_journal(place) as found:
        report = report_of(found)
    return report | (_from_the_service(place.access) if report["running_as"] else {})


def _from_the_service(at: Path) -> dict[str, Any]:
    """What the service that says in this file how to reach it says of itself; nothing where it takes no questions."""
    from anystrat.control.client import ControlClient, NotAnswering, Unauthorised
    from anystrat.control.places import FileRefused, read_access
    from anystrat.domain.errors import MissingExtra

    try:
        access = read_access(at)
        if access is None:
            return {}
        with ControlClient(access) as service:
            said = service.get("/v1/status")
    except (FileRefused, MissingExtra, NotAnswering, Unauthorised):
        return {}
    taken = {key: said[key] for key in ("phase", "ready", "troubles", "killed", "ticks", "strategies", "reduce_only")}
    return {**taken, "control": access.url}


def report_of(found: JournalLook) -> dict[str, Any]:
    """One JSON-able object. `ticks` always adds up: received = processed + duplicates + dropped + shed."""
    import msgspec

    from anystrat.runner.tally import Tally, accounts_of, total

    tallies = {
        shard: msgspec.msgpack.decode(book.tally, type=Tally) for shard, book in found.shards.items() if book.tally
    }
    accounts = total([accounts_of(tally) for tally in tallies.values()])
    return {
        "schema_version": SCHEMA_VERSION,
        "journal": found.place,
        "running_as": found.holder,
        "killed": bool(found.meta.get("killed", False)),
        "balanced": accounts.balanced,
        "ticks": {
            "received": accounts.received,
            "processed": accounts.processed,
            "duplicates": accounts.duplicates,
            "dropped": dict(accounts.dropped),
            "shed": accounts.shed,
        },
        "strategies": [
            {
                "strategy_id": one.strategy_id,
                "broker": one.broker,
                "shard": shard,
                "kind": one.kind,
                "state": one.state.name,
                "ticks": one.ticks,
                "evaluations": one.evaluations,
                "signals": one.signals,
                "drops": dict(one.drops),
                "errors": one.errors,
            }
            for shard, tally in tallies.items()
            for one in tally.executors
        ],
        "brokers": {
            broker: {fate.name.lower(): count for fate, count in sorted(fates.items())}
            for broker, fates in sorted(found.fates().items())
        },
    }


def show(report: dict[str, Any]) -> None:
    """Print it for people."""
    from anystrat.cli import worker_status
    from anystrat.cli.run_summary import in_words, strategies_table
    from anystrat.cli.screen import count, line, pairs

    strategies_table(report["strategies"])
    items = [
        ("running", _running(report["running_as"]) if "workers" not in report else worker_status.running(report)),
        *([("control", report["control"])] if "control" in report else []),
        *[(f"control {one['worker']}", one["control"]) for one in report.get("workers", ()) if one["control"]],
        *(
            [("troubles", "; ".join(f"{part}: {why}" for part, why in report["troubles"].items()))]
            if report.get("troubles")
            else []
        ),
        ("kill switch", "on: nothing is sent" if report["killed"] else "off"),
        *([("reduce-only", "on: only what reduces a position may pass")] if report.get("reduce_only") else []),
        ("ticks", in_words(report["ticks"])),
    ]
    items += [
        (f"to {broker}", ", ".join(f"{count(number)} {fate}" for fate, number in fates.items()) or "nothing yet")
        for broker, fates in report["brokers"].items()
    ]
    processes = {one["strategy_id"]: one["process"] for one in report["strategies"] if one.get("process")}
    items += [(f"process of {name}", _process_in_words(one)) for name, one in processes.items()]
    if not report["balanced"]:
        items.append(("warning", "the ticks do not add up; this is a fault in anystrat: please report it"))
    pairs(items)
    if not report["strategies"]:
        line("No strategy has been reported on yet: the run has only begun.")


def _running(process: object) -> str:
    return f"yes, {process if isinstance(process, str) else f'as process {process}'}" if process else "no"


def _process_in_words(one: dict[str, Any]) -> str:
    """`ready, 61 MB, restarted 2 times: its process did not answer within 300 ms, and was killed`."""
    words = [one["state"]]
    if one["resident_bytes"]:
        words.append(f"{one['resident_bytes'] / 1e6:.0f} MB")
    if one["restarts"]:
        words.append(f"restarted {one['restarts']} time{'s' if one['restarts'] > 1 else ''}: {one['problem']}")
    return ", ".join(words)
