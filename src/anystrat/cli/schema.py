"""`anystrat schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import click

from anystrat.cli.options import verbosity


@click.command("schema", short_help="Print the JSON Schema of the configuration, for editors.")
@click.option("--rows", is_flag=True, help="The schema of an included file, which holds a row or a list of them.")
@verbosity
def command(*, rows: bool) -> None:
    """Print the JSON Schema of the configuration: everything registered here, plug-ins included.

    \b
    anystrat schema > anystrat.schema.json
    and as the first line of the configuration:
    # yaml-language-server: $schema=./anystrat.schema.json
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat import bootstrap
    from anystrat.cli.screen import print_json
    from anystrat.config.schema import json_schema

    print_json(json_schema(bootstrap.default_catalog(), rows_only=rows))
