"""`anystrat signals`: what a running service emitted lately, and, with `--follow`, what it emits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import click

from anystrat.cli.failures import printable, say_warning
from anystrat.cli.options import as_json, configuration, verbosity
from anystrat.cli.options import part as part_option


@click.command("signals", short_help="The latest signals of a running service; --follow for those to come.")
@configuration
@click.option("--follow", is_flag=True, help="Go on with those to come, until interrupted.")
@click.option("--drops", is_flag=True, help="What checks refused as well, with the reason.")
@click.option("--strategy", metavar="ID", help="Only of this strategy.")
@click.option(
    "--last", type=click.IntRange(0, 1000), default=20, show_default=True, metavar="N", help="Begin with the last N."
)
@part_option
@as_json
@verbosity
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    last: int,
    strategy: str | None,
    part: int | None,
    *,
    follow: bool,
    drops: bool,
    as_json: bool,
) -> None:
    """Print the latest signals that a running service emitted, oldest first; a line each.

    With --json one JSON object a line. Those of several parts or workers come as they are told of.

    \b
    anystrat signals live.yaml --follow
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.running_service import running_services

    kinds = ["signal", "drop"] if drops else ["signal"]
    show = _print_json if as_json else _print_line
    with running_services(config, part) as services:
        answers = services.each(lambda service: service.get("/v1/signals", limit=max(last, 1), strategy=strategy))
        rows: list[dict[str, Any]] = [row for each in answers.values() for row in each["signals"]]
        for number in answers if drops else ():
            rows += services.clients[number].get("/v1/drops", limit=max(last, 1), strategy=strategy)["drops"]
        # One service's events are numbered; those of several have their times alone.
        rows.sort(key=lambda row: row["id"] if len(answers) == 1 else (row["ts_ns"], row["id"]))
        for row in rows[-last:] if last else []:
            show(row)
        complete = services.complete
        feeds = [services.clients[number].follow(each["last_event_id"], kind=kinds) for number, each in answers.items()]
        for event in _together(feeds) if follow else ():
            if event["kind"] in {"gap", "cut"}:
                say_warning("too much at once: some are left out here; the journal has all signals")
            elif strategy in {None, event["strategy_id"]}:
                show(event)
    if not complete:
        context.exit(1)


def _together(feeds: Sequence[Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """What comes from any of them, as it comes; it ends, or fails, with the first that does."""
    if len(feeds) == 1:
        yield from feeds[0]
        return
    came: SimpleQueue[dict[str, Any] | BaseException] = SimpleQueue()

    def take(feed: Iterator[dict[str, Any]]) -> None:
        try:
            for event in feed:
                came.put(event)
        except Exception as error:  # noqa: BLE001  raised where it is waited for
            came.put(error)

    for feed in feeds:
        Thread(target=take, args=(feed,), daemon=True).start()
    while True:
        event = came.get()
        if isinstance(event, BaseException):
            raise event
        yield event


def _print_json(row: dict[str, Any]) -> None:
    click.echo(json.dumps(row, ensure_ascii=False))


def _print_line(row: dict[str, Any]) -> None:
    from anystrat.analysis.explaining.numbers import moment

    head = f"{moment(row['ts_ns'])}  {row['strategy_id']} on {row['broker']}  {row['instrument_token']}"
    what = f"{row['signal_type']} {row['quantity']} at {row['price']}"
    tail = f"  dropped: {row['reason']}" if row["kind"] == "drop" else f"  {row['signal_id']}"
    click.echo(printable(f"{head}  {what}{tail}"))
