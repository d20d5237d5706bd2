"""`anystrat kill on|off`: the kill switch of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anystrat.cli.options import as_json, configuration, verbosity
from anystrat.cli.options import part as part_option

if TYPE_CHECKING:
    from anystrat.domain.configuration import Configuration


@click.command("kill", short_help="Turn the kill switch of a running service on or off.")
@click.argument("switch", type=click.Choice(["on", "off", "show"]))
@configuration
@click.option("--reason", default="", metavar="TEXT", help="Why: for the audit log.")
@part_option
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, switch: str, config: Path, reason: str, part: int | None, *, as_json: bool) -> None:
    """Turn the kill switch on or off, or show how it is.

    On: from now on no send begins and no signal is accepted, also after a restart. Off: what was accepted before, and has
    not expired, is sent. It works while the configuration is being changed and is not valid.

    Of a run that is shared out among machines, all parts are meant, those that nobody has just now too: the switch is in the
    database of the leases. `--part` turns that of one part alone, over its control API. Workers of one machine have one
    switch, whichever of them is told.

    \b
    anystrat kill on live.yaml --reason "wrong prices"
    anystrat kill off live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.running_service import running_services
    from anystrat.cli.screen import line, print_json

    shared = _shared_out(config) if part is None else None
    if shared is not None:
        from anystrat.cli import cluster_status

        answer = cluster_status.kill(shared, switch)
        state = "on for all parts: nothing is sent" if answer["on"] else "off"
        print_json({"schema_version": 1, **answer}) if as_json else line(f"The kill switch is {state}.")
        return
    with running_services(config, part) as services:
        if switch == "show":
            answers = services.each(lambda service: service.get("/v1/kill"))
        else:
            answers = services.each(lambda service: service.put("/v1/kill", {"on": switch == "on", "reason": reason}))
        complete = services.complete
    answer = {
        "on": any(each["on"] for each in answers.values()),
        "queued": sum(each["queued"] for each in answers.values()),
    }
    waiting = f"{answer['queued']:,} {'signal waits' if answer['queued'] == 1 else 'signals wait'}"
    state = "on: nothing is sent" if answer["on"] else "off"
    print_json({"schema_version": 1, **answer}) if as_json else line(f"The kill switch is {state}; {waiting}.")
    if not complete:
        context.exit(1)


def _shared_out(config: Path) -> Configuration | None:
    """The configuration of a run that is shared out; None for any other, and for one that is not valid."""
    from anystrat.cli.cluster_status import shared_out
    from anystrat.domain.errors import ConfigurationError

    try:
        return shared_out(config)
    except ConfigurationError:
        return None
