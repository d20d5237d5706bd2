"""`anystrat audit`: who did what over the control API, and whether those lines are as they were written."""

from __future__ import annotations

from pathlib import Path

import click

from anystrat.cli.options import as_json, configuration, verbosity
from anystrat.cli.options import part as part_option


@click.group("audit", short_help="Who did what over the control API; and whether that was changed since.")
def command() -> None:
    """The audit log: a line for each thing that somebody had done, each with the hash of the one before."""


@command.command("show", short_help="Print it.")
@configuration
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="The last N lines.")
@part_option
@as_json
@verbosity
def show(config: Path, last: int, part: int | None, *, as_json: bool) -> None:
    """Print the last lines of the audit log, after checking all of it."""
    import json
    from collections import deque

    import msgspec

    from anystrat.cli.running_service import configured_audit
    from anystrat.cli.screen import Column, line, print_json, table
    from anystrat.control.audit import verified
    from anystrat.domain.tick import datetime_of

    entries = deque(verified(configured_audit(config, part)), maxlen=last)
    if as_json:
        print_json({"schema_version": 1, "entries": [msgspec.to_builtins(each) for each in entries]})
    elif not entries:
        line("Nothing was done over the control API yet.")
    else:
        columns = [
            Column("time"),
            Column("actor", style="bold"),
            Column("from"),
            Column("action"),
            Column("details", wrap=True),
        ]
        rows = [
            [
                f"{datetime_of(each.at_ns):%Y-%m-%d %H:%M:%S}Z",
                each.actor,
                each.client,
                each.action,
                json.dumps(each.details),
            ]
            for each in entries
        ]
        table(columns, rows)


@command.command("verify", short_help="Check that no line was changed, moved or taken out.")
@configuration
@click.option("--head", metavar="HASH", help="A hash that was noted elsewhere: it must still be there.")
@part_option
@as_json
@verbosity
@click.pass_context
def verify(context: click.Context, config: Path, head: str | None, part: int | None, *, as_json: bool) -> None:
    """Check the audit log from its first line on. Exits with 1 where it is not as it was written.

    Whoever can write the file can make all of it anew: note the last hash elsewhere now and then, and give it as --head.
    """
    from anystrat.cli.running_service import configured_audit
    from anystrat.cli.screen import line, print_json
    from anystrat.control.audit import GENESIS, AuditRefused, verified

    path = configured_audit(config, part)
    count, last, met, problem = 0, GENESIS, head is None, ""
    try:
        for entry in verified(path):
            count, last = entry.number, entry.hash
            met = met or last == head
    except AuditRefused as error:
        problem = str(error)
    if not problem and not met:
        problem = f"{path}: no line has the hash {head}: it was made anew, or cut off"
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "ok": not problem,
                "path": str(path),
                "lines": count,
                "head": last,
                "problem": problem,
            }
        )
    else:
        line(problem or f"{path}: {count:,} lines, as they were written. Last hash: {last}")
    if problem:
        context.exit(1)
