"""`anystrat reload`: let a running service read its configuration again."""

from __future__ import annotations

from pathlib import Path

import click

from anystrat.cli.options import as_json, configuration, verbosity
from anystrat.cli.options import part as part_option


@click.command("reload", short_help="Let a running service read its configuration again.")
@configuration
@part_option
@as_json
@verbosity
@click.pass_context
def command(context: click.Context, config: Path, part: int | None, *, as_json: bool) -> None:
    """Let the running service read its configuration again, and say what changed.

    All of it is taken over or nothing: where the new one is not valid, or holds what only a restart can change, the old one
    stays in force, and the exit code is 3. Parts and workers of a run take it over each by itself, or refuse it; it says which.

    \b
    anystrat reload live.yaml
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.failures import say_error
    from anystrat.cli.running_service import running_services
    from anystrat.cli.screen import line, pairs, print_json
    from anystrat.control.client import RequestRefused

    try:
        with running_services(config, part) as services:
            answers = services.each(lambda service: service.post("/v1/reload"))
            complete = services.complete
    except RequestRefused as refused:
        say_error(str(refused))
        context.exit(3)
    # What one row's instruments are spread over takes it over in several processes: that is one change.
    changes = list({tuple(each.items()): each for answer in answers.values() for each in answer["changes"]}.values())
    answer = {**next(iter(answers.values())), "changes": changes}
    if as_json:
        print_json({"schema_version": 1, **answer})
    elif not answer["changes"]:
        line("Nothing has changed.")
    else:
        pairs([(f"{each['what']} {each['name']}".strip(), each["how"]) for each in answer["changes"]])
    if not complete:
        context.exit(3)
