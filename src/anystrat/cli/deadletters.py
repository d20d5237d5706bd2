"""`anystrat deadletters`: signals that could not be delivered, or of which nobody knows, and how to send them again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from anystrat.cli.journal_argument import journal as journal_argument
from anystrat.cli.options import as_json, verbosity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anystrat.bootstrap.journals import JournalPlace
    from anystrat.domain.journal import OutboxEntry


@click.group("deadletters", short_help="Signals that were not delivered: list, show, send again.")
def command() -> None:
    """Signals that could not be delivered (dead), or of which nobody knows whether they were (unknown).

    JOURNAL_OR_CONFIG is a journal's file or the configuration that names it; else $ANYSTRAT_CONFIG, else ./anystrat.yaml.
    """


@command.command("list", short_help="All of them, with the reason of each.")
@journal_argument
@click.option("--broker", help="This broker's alone.")
@as_json
@verbosity
def list_(journal: JournalPlace, *, broker: str | None, as_json: bool) -> None:
    """List the dead letters, with the reason of each. Exits with 0, whether there are any or not."""
    from anystrat.cli.journal_lines import outbox_row
    from anystrat.cli.screen import Column, line, print_json, table

    letters = _letters(journal, broker)
    if as_json:
        print_json({"schema_version": 1, "dead_letters": [outbox_row(each) for each in letters]})
        return
    if not letters:
        line("No dead letters.")
        return
    columns = [Column("signal id", style="bold"), Column("broker"), Column("number", number=True), Column("fate")]
    columns += [Column("strategy"), Column("instrument", number=True), Column("time"), Column("tries", number=True)]
    columns.append(Column("reason", wrap=True))
    table(columns, [_row(each) for each in letters])


def _row(letter: OutboxEntry) -> list[str]:
    sent = letter.signal
    return [
        sent.signal_id,
        sent.broker,
        str(sent.number),
        letter.fate.name.lower(),
        sent.strategy_id,
        str(sent.instrument_token),
        _time(sent.ts_ns),
        str(letter.attempts),
        letter.reason,
    ]


@command.command("show", short_help="One of them, with the signal as the broker would get it.")
@click.argument("signal")
@journal_argument
@as_json
@verbosity
def show(signal: str, journal: JournalPlace, *, as_json: bool) -> None:
    """Show one dead letter whole. SIGNAL is its id, or the beginning of it."""
    import json

    from anystrat.cli.journal_lines import outbox_row
    from anystrat.cli.screen import heading, line, pairs, print_json

    (letter,) = _chosen(_letters(journal, None), [signal])
    row = outbox_row(letter)
    if as_json:
        print_json({"schema_version": 1, **row})
        return
    heading(letter.signal.signal_id)
    pairs(
        [
            ("broker", f"{letter.signal.broker}, number {letter.signal.number}"),
            ("strategy", letter.signal.strategy_id),
            ("instrument", str(letter.signal.instrument_token)),
            ("time", _time(letter.signal.ts_ns)),
            ("expires", _time(letter.signal.expires_ns) if letter.signal.expires_ns else "never"),
            ("fate", row["fate"]),
            ("tries", str(letter.attempts)),
            ("reason", letter.reason or "none was given"),
        ]
    )
    line()
    line(json.dumps(row["signal"], indent=2, ensure_ascii=False))


@command.command("replay", short_help="Have them sent again by the next run.")
@journal_argument
@click.option(
    "--id", "ids", multiple=True, metavar="ID", help="This one, by its id or the beginning of it; may be repeated."
)
@click.option("--broker", help="All of this broker.")
@click.option("--all", "everything", is_flag=True, help="All there are.")
@click.option(
    "--expires-in",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SEC",
    help="Not sent later than that from now. [default: whenever the next run can]",
)
@as_json
@verbosity
def replay(
    journal: JournalPlace,
    *,
    ids: tuple[str, ...],
    broker: str | None,
    everything: bool,
    expires_in: float | None,
    as_json: bool,
) -> None:
    """Make dead letters pending again: the next run sends them, under the ids that they have.

    Refused while a runner holds the journal. A signal that is `unknown` may have arrived: look before you send it twice
    to a broker that does not honour ids.
    """
    from anystrat.bootstrap.journals import revive_dead_letters
    from anystrat.cli.screen import line, print_json

    if bool(ids) + (broker is not None) + everything != 1:
        raise click.UsageError("Name the signals by one of --id, --broker and --all.")
    letters = _letters(journal, broker)
    numbers: dict[str, list[int]] = {}
    for each in _chosen(letters, ids) if ids else letters:
        numbers.setdefault(each.signal.broker, []).append(each.signal.number)
    expires_ns = 0 if expires_in is None else time.time_ns() + round(expires_in * 1e9)
    revived = revive_dead_letters(journal, numbers, expires_ns) if numbers else 0
    if as_json:
        print_json({"schema_version": 1, "path": str(journal), "revived": revived, "expires_ns": expires_ns})
        return
    signals = "1 signal is" if revived == 1 else f"{revived:,} signals are"
    line(f"{signals} pending again; the next run sends them." if revived else "No dead letters.")


def _letters(journal: JournalPlace, broker: str | None) -> list[OutboxEntry]:
    from anystrat.bootstrap.journals import look_into_journal
    from anystrat.domain.errors import UnknownName

    with look_into_journal(journal) as found:
        if broker is not None and broker not in (known := found.fates()):
            raise click.UsageError(str(UnknownName("broker", broker, known)))
        return list(found.outbox(broker, dead=True))


def _chosen(letters: Sequence[OutboxEntry], ids: Sequence[str]) -> list[OutboxEntry]:
    chosen: dict[str, OutboxEntry] = {}
    for wanted in ids:
        found = [each for each in letters if each.signal.signal_id.startswith(wanted.lower())] if wanted else []
        if len(found) != 1:
            many = ", ".join(each.signal.signal_id for each in found[:3])
            raise click.UsageError(
                f"{wanted!r} begins the ids of {len(found)} dead letters ({many}, …): give more of it."
                if found
                else f"No dead letter's id begins with {wanted!r}. List them with: anystrat deadletters list"
            )
        chosen[found[0].signal.signal_id] = found[0]
    return list(chosen.values())


def _time(ts_ns: int) -> str:
    from anystrat.domain.tick import datetime_of

    return datetime_of(ts_ns).strftime("%Y-%m-%d %H:%M:%S.%fZ")
