"""`anystrat reload`: let a running service read its configuration again."""

from __future__ import annotations

from pathlib import Path

import click

from anystrat.cli.options import as_json, configuration, verbosity


@click.command("reload", short_help="Let a running service read its configuration again.")
@configuration
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, config: Path, *, as_json: bool) -> None:
    """Let the running service read its configuration again, and say what changed.

    All of it is taken over or nothing: where the new one is not valid, or holds what only a restart can change, the old one
    stays in force, and the exit code is 3.

    \b
    anystrat reload live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.failures import say_error
    from anystrat.cli.running_service import running_service
    from anystrat.cli.screen import line, pairs, print_json
    from anystrat.control.client import RequestRefused

    try:
        with running_service(config) as service:
            answer = service.post("/v1/reload")
    except RequestRefused as refused:
        say_error(str(refused))
        context.exit(3)
    if as_json:
        print_json({"schema_version": 1, **answer})
    elif not answer["changes"]:
        line("Nothing has changed.")
    else:
        pairs([(f"{each['what']} {each['name']}".strip(), each["how"]) for each in answer["changes"]])
