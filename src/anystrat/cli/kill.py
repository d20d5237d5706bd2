"""`anystrat kill on|off`: the kill switch of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from anystrat.cli.options import as_json, configuration, verbosity

if TYPE_CHECKING:
    from anystrat.domain.configuration import Configuration


@click.command("kill", short_help="Turn the kill switch of a running service on or off.")
@click.argument("switch", type=click.Choice(["on", "off", "show"]))
@configuration
@click.option("--reason", default="", metavar="TEXT", help="Why: for the audit log.")
@as_json
@verbosity
def command(switch: str, config: Path, reason: str, *, as_json: bool) -> None:
    """Turn the kill switch on or off, or show how it is.

    On: from now on no send begins and no signal is accepted, also after a restart. Off: what was accepted before, and has
    not expired, is sent. It works while the configuration is being changed and is not valid.

    Of a run that is shared out among machines, all parts are meant, those that nobody has just now too: the switch is in the
    database of the leases.

    \b
    anystrat kill on live.yaml --reason "wrong prices"
    anystrat kill off live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.running_service import running_service
    from anystrat.cli.screen import line, print_json

    shared = _shared_out(config)
    if shared is not None:
        from anystrat.cli import cluster_status

        answer = cluster_status.kill(shared, switch)
        state = "on for all parts: nothing is sent" if answer["on"] else "off"
        print_json({"schema_version": 1, **answer}) if as_json else line(f"The kill switch is {state}.")
        return
    with running_service(config) as service:
        if switch == "show":
            answer = service.get("/v1/kill")
        else:
            answer = service.put("/v1/kill", {"on": switch == "on", "reason": reason})
    if as_json:
        print_json({"schema_version": 1, **answer})
        return
    waiting = f"{answer['queued']:,} {'signal waits' if answer['queued'] == 1 else 'signals wait'}"
    line(
        f"The kill switch is on: nothing is sent; {waiting}." if answer["on"] else f"The kill switch is off; {waiting}."
    )


def _shared_out(config: Path) -> Configuration | None:
    """The configuration of a run that is shared out; None for any other, and for one that is not valid."""
    from anystrat.cli.cluster_status import shared_out
    from anystrat.domain.errors import ConfigurationError

    try:
        return shared_out(config)
    except ConfigurationError:
        return None
