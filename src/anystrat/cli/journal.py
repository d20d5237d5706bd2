"""`anystrat journal`: what a journal holds, whether it is sound, its contents as JSON Lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from anystrat.cli.journal_argument import journal as journal_argument
from anystrat.cli.options import as_json, verbosity

if TYPE_CHECKING:
    from anystrat.bootstrap.journals import JournalLook, JournalPlace

_FATES = ("pending", "sending", "acked", "rejected", "expired", "dead", "unknown")


@click.group("journal", short_help="Look into a journal, verify it, export it.")
def command() -> None:
    """Look into a journal, verify it, export it: also while a runner writes it, which is not held up.

    JOURNAL_OR_CONFIG is a journal's file or the configuration that names it; else $ANYSTRAT_CONFIG, else ./anystrat.yaml.
    """


@command.command("info", short_help="Who writes it, where its shards stand, what became of its signals.")
@journal_argument
@as_json
@verbosity
def info(journal: JournalPlace, *, as_json: bool) -> None:
    """Show who writes the journal, where its shards stand, and what became of its signals."""
    from anystrat.bootstrap.journals import look_into_journal
    from anystrat.cli.screen import print_json

    with look_into_journal(journal) as found:
        report = _report(found)
    if as_json:
        print_json(report)
    else:
        _show(report)


def _report(found: JournalLook) -> dict[str, Any]:
    kept = found.kept_inputs()
    return {
        "schema_version": 1,
        "path": found.place,
        "tables": found.schema,
        "bytes": found.size,
        "in_use_by": found.holder,
        "epoch": found.meta.get("epoch", 0),
        "commits": found.meta.get("sequence", 0),
        "fingerprint": found.meta.get("fingerprint"),
        "killed": bool(found.meta.get("killed", False)),
        "shards": [
            {
                "shard": shard,
                "inputs": book.next_input,
                "checkpoint": book.checkpoint_input,
                "kept_from": kept.get(shard, (book.next_input, book.next_input))[0],
                "watermarks": dict(sorted(book.watermarks.items())),
            }
            for shard, book in found.shards.items()
        ],
        "brokers": {
            broker: {"signals": sum(counts.values())} | {fate.name.lower(): n for fate, n in sorted(counts.items())}
            for broker, counts in sorted(found.fates().items())
        },
    }


def _holder(holder: int | str | None) -> str:
    if holder is None:
        return "no"
    return f"by {holder if isinstance(holder, str) else f'process {holder}'}"


def _show(report: dict[str, Any]) -> None:
    from anystrat.cli.screen import Column, count, heading, line, pairs, table

    heading(report["path"])
    pairs(
        [
            ("in use", _holder(report["in_use_by"])),
            ("opened", "once" if report["epoch"] == 1 else f"{count(report['epoch'])} times"),
            ("commits", count(report["commits"])),
            ("size", f"{count(report['bytes'])} bytes"),
            ("kill switch", "on" if report["killed"] else "off"),
            ("configuration", report["fingerprint"] or "none yet"),
        ]
    )
    if report["shards"]:
        line()
        titles = ("shard", "inputs", "checkpoint at", "to redo", "kept from")
        rows = [
            [str(each["shard"])]
            + [count(n) for n in (each["inputs"], each["checkpoint"], each["inputs"] - each["checkpoint"], each["kept_from"])]
            for each in report["shards"]
        ]  # fmt: skip
        table([Column(title, number=True) for title in titles], rows)
    if report["brokers"]:
        line()
        columns = [Column("broker", style="bold"), Column("signals", number=True)]
        columns += [Column(fate, number=True) for fate in _FATES]
        rows = [
            [broker, count(each["signals"]), *(count(each.get(fate, 0)) for fate in _FATES)]
            for broker, each in report["brokers"].items()
        ]
        table(columns, rows)


@command.command("verify", short_help="Read every page and every row, and compare their checksums.")
@journal_argument
@as_json
@verbosity
@click.pass_context
def verify(context: click.Context, journal: JournalPlace, *, as_json: bool) -> None:
    """Read every page and every row down to the last value, and compare their checksums. Exits with 1 where one does not fit."""
    from anystrat.bootstrap.journals import look_into_journal
    from anystrat.cli.screen import line, print_json
    from anystrat.domain.journal import JournalRefused

    try:
        with look_into_journal(journal) as found:
            counts = found.verify()
    except JournalRefused as refused:
        if not as_json:
            raise
        print_json({"schema_version": 1, "path": str(journal), "ok": False, "problem": str(refused)})
        context.exit(1)
    if as_json:
        print_json({"schema_version": 1, "path": str(journal), "ok": True, **counts})
    else:
        line(
            f"{journal}: sound. Shards: {counts['shards']:,}; inputs: {counts['inputs']:,}; "
            f"signals: {counts['signals']:,}."
        )


@command.command("export", short_help="Its signals, inputs or ticks as JSON Lines.")
@journal_argument
@click.option(
    "--what",
    type=click.Choice(("outbox", "inputs", "ticks")),
    default="outbox",
    show_default=True,
    help="Signals with their fates; ticks and events with their shard and number; ticks alone, as a tick file.",
)
@click.option("--broker", help="This broker's signals alone.")
@click.option("--shard", type=click.IntRange(0), help="This shard's inputs alone.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Else standard output.")
@verbosity
def export(journal: JournalPlace, *, what: str, broker: str | None, shard: int | None, out: Path | None) -> None:
    """Write what the journal keeps as JSON Lines.

    \b
    anystrat journal export --what ticks --out day.jsonl
    anystrat replay --ticks day.jsonl
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.bootstrap.journals import look_into_journal
    from anystrat.cli.journal_lines import input_lines, outbox_lines, tick_lines

    if broker is not None and what != "outbox":
        raise click.UsageError(f"--broker is for --what outbox; {what} belong to shards.")
    if shard is not None and what == "outbox":
        raise click.UsageError("--shard is for --what inputs and ticks; signals belong to brokers.")
    with look_into_journal(journal) as found:
        shards = list(found.shards) if shard is None else [shard]
        if what == "outbox":
            lines = outbox_lines(found.outbox(broker))
        elif what == "inputs":
            lines = (line for each in shards for line in input_lines(each, found.inputs(each)))
        else:
            lines = (line for each in shards for line in tick_lines(found.inputs(each)))
        target: Any = nullcontext(sys.stdout.buffer) if out is None else _whole(out)
        with target as file:
            for line in lines:
                file.write(line)


@command.command("reset", short_help="Forget state and inputs, so that another configuration can begin.")
@journal_argument
@click.option("--yes", is_flag=True, help="Do it; without, say what would be forgotten.")
@verbosity
@click.pass_context
def reset(context: click.Context, journal: JournalPlace, *, yes: bool) -> None:
    """Forget the state of all shards and the kept inputs, so that another configuration can begin; signals stay.

    What the new run is given depends on its source: it begins where that begins. Windows, positions and gates are empty.
    """
    from anystrat.bootstrap.journals import look_into_journal, reset_journal
    from anystrat.cli.screen import line

    with look_into_journal(journal) as found:
        shards, inputs = len(found.shards), sum(book.next_input for book in found.shards.values())
        signals = sum(sum(counts.values()) for counts in found.fates().values())
    if not yes:
        line(
            f"{journal}: would forget the state of {shards} shards after {inputs:,} inputs, and keep {signals:,} signals."
        )
        line("To do it, add --yes.")
        context.exit(2)
    reset_journal(journal)
    line(f"{journal}: forgot the state of {shards} shards after {inputs:,} inputs; {signals:,} signals are kept.")


@contextmanager
def _whole(path: Path) -> Generator[IO[bytes]]:
    """A file that takes its name when it is whole; where something goes wrong there is none."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
