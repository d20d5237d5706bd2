"""`anystrat reduce-only on|off`: a mode of a running service's account."""

from __future__ import annotations

from pathlib import Path

import click

from anystrat.cli.options import as_json, configuration, verbosity


@click.command("reduce-only", short_help="Let only what reduces a position pass, of all strategies.")
@click.argument("switch", type=click.Choice(["on", "off", "show"]))
@configuration
@click.option("--reason", default="", metavar="TEXT", help="Why: for the audit log.")
@as_json
@verbosity
def command(switch: str, config: Path, reason: str, *, as_json: bool) -> None:
    """Let only those signals pass that bring a position nearer to zero, or all of them again, or show how it is.

    It needs `account` in the configuration. It takes its place behind the ticks that wait, as every command does, is kept over
    restarts, and a replay of the recording drops the same signals (`account_reduce_only`).

    \b
    anystrat reduce-only on live.yaml --reason "news at two"
    anystrat reduce-only off live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.failures import say
    from anystrat.cli.running_service import running_services
    from anystrat.cli.screen import line, print_json

    with running_services(config) as services:
        if switch == "show":
            answers = services.each(lambda service: service.get("/v1/reduce-only"))
        else:
            order = {"on": switch == "on", "reason": reason}
            answers = services.each(lambda service: service.put("/v1/reduce-only", order))
    # Limits over the whole account are refused in parts: there is one service.
    (answer,) = answers.values()
    if as_json:
        print_json({"schema_version": 1, **answer})
        return
    state = "on: only what reduces a position may pass" if answer["on"] else "off"
    line(f"Reduce-only is {state}{', as the configuration says' if answer['configured'] else ''}.")
    if not answer["done"]:
        say("It waits behind ticks; look again with: anystrat reduce-only show")
