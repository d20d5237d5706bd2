"""`anystrat signals`: what a running service emitted lately, and, with `--follow`, what it emits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from anystrat.cli.failures import printable, say_warning
from anystrat.cli.options import as_json, configuration, verbosity


@click.command("signals", short_help="The latest signals of a running service; --follow for those to come.")
@configuration
@click.option("--follow", is_flag=True, help="Go on with those to come, until interrupted.")
@click.option("--drops", is_flag=True, help="What checks refused as well, with the reason.")
@click.option("--strategy", metavar="ID", help="Only of this strategy.")
@click.option(
    "--last", type=click.IntRange(0, 1000), default=20, show_default=True, metavar="N", help="Begin with the last N."
)
@as_json
@verbosity
def command(config: Path, last: int, strategy: str | None, *, follow: bool, drops: bool, as_json: bool) -> None:
    """Print the latest signals that a running service emitted, oldest first; a line each.

    With --json one JSON object a line.

    \b
    anystrat signals live.yaml --follow
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.running_service import running_service

    kinds = ["signal", "drop"] if drops else ["signal"]
    with running_service(config) as service:
        answer = service.get("/v1/signals", limit=max(last, 1), strategy=strategy)
        rows: list[dict[str, Any]] = answer["signals"]
        if drops:
            rows += service.get("/v1/drops", limit=max(last, 1), strategy=strategy)["drops"]
        rows.sort(key=lambda row: row["id"])
        show = _print_json if as_json else _print_line
        for row in rows[-last:] if last else []:
            show(row)
        for event in service.follow(answer["last_event_id"], kind=kinds) if follow else ():
            if event["kind"] in {"gap", "cut"}:
                say_warning("too much at once: some are left out here; the journal has all signals")
            elif strategy in {None, event["strategy_id"]}:
                show(event)


def _print_json(row: dict[str, Any]) -> None:
    click.echo(json.dumps(row, ensure_ascii=False))


def _print_line(row: dict[str, Any]) -> None:
    from anystrat.analysis.explaining.numbers import moment

    head = f"{moment(row['ts_ns'])}  {row['strategy_id']} on {row['broker']}  {row['instrument_token']}"
    what = f"{row['signal_type']} {row['quantity']} at {row['price']}"
    tail = f"  dropped: {row['reason']}" if row["kind"] == "drop" else f"  {row['signal_id']}"
    click.echo(printable(f"{head}  {what}{tail}"))
