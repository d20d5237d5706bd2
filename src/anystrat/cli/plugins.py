"""`anystrat plugins`: what installed packages add to this one."""

from __future__ import annotations

from dataclasses import asdict

import click

from anystrat.cli.options import as_json, verbosity


@click.group("plugins", short_help="List what installed packages add.")
def command() -> None:
    """Strategies, policies, validators and features of installed packages, found through their entry points."""


@command.command("list", short_help="Every entry point of anystrat's groups.")
@as_json
@verbosity
@click.pass_context
def listed(context: click.Context, *, as_json: bool) -> None:
    """List every plug-in with its package; those that do not load with their error. Exits with 1 where there is one."""
    from anystrat.cli.failures import say
    from anystrat.cli.screen import Column, line, print_json, table
    from anystrat.plugins import FEATURE_GROUP, GROUPS, installed

    found = installed()
    broken = [each for each in found if each.error]
    if as_json:
        print_json(
            {"schema_version": 1, "groups": [*GROUPS, FEATURE_GROUP], "plugins": [asdict(each) for each in found]}
        )
    elif not found:
        line("No installed package adds anything.")
        line(f"A package does so through the entry-point groups {', '.join((*GROUPS, FEATURE_GROUP))}.")
    else:
        columns = (
            Column("name", style="bold"),
            Column("group"),
            Column("package"),
            Column("version"),
            Column("state", wrap=True),
        )
        table(columns, [[each.name, each.group, each.package, each.version, each.error or "ok"] for each in found])
    if broken:
        say(f"{len(broken)} of {len(found)} do not load: every command that reads a configuration will refuse to start")
        context.exit(1)
