"""`anystrat kill on|off`: the kill switch of a running service."""

from __future__ import annotations

from pathlib import Path

import click

from anystrat.cli.options import as_json, configuration, verbosity


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

    \b
    anystrat kill on live.yaml --reason "wrong prices"
    anystrat kill off live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.running_service import running_service
    from anystrat.cli.screen import line, print_json

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
