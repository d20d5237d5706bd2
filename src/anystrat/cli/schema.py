"""`anystrat schema`: the JSON Schema of the configuration, for editors, and of ticks, for their producers."""

from __future__ import annotations

import click

from anystrat.cli.options import verbosity


@click.command("schema", short_help="Print the JSON Schema of the configuration, or of ticks.")
@click.option("--rows", is_flag=True, help="The schema of an included file, which holds a row or a list of them.")
@click.option("--ticks", is_flag=True, help="The schema of a message of ticks, for producers in other languages.")
@verbosity
def command(*, rows: bool, ticks: bool) -> None:
    """Print the JSON Schema of the configuration: everything registered here, plug-ins included.

    \b
    anystrat schema > anystrat.schema.json
    and as the first line of the configuration:
    # yaml-language-server: $schema=./anystrat.schema.json
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat import bootstrap
    from anystrat.cli.screen import print_json
    from anystrat.config.schema import json_schema
    from anystrat.config.tick_schema import tick_schema

    if rows and ticks:
        raise click.UsageError("--rows and --ticks are two schemas: ask for one")
    if ticks:
        print_json(tick_schema())
        return
    print_json(json_schema(bootstrap.default_catalog(), rows_only=rows))
