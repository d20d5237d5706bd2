"""`anystrat token`: who may ask a running service, and who may operate it."""

from __future__ import annotations

import time
from pathlib import Path

import click

from anystrat.cli.options import as_json, configuration, verbosity


@click.group("token", short_help="Make, list and revoke tokens of the control API.")
def command() -> None:
    """Tokens of the control API. Their hashes are kept beside the journal, or where control.tokens says; they are never shown again.

    Commands on the service's own machine need none: they find the one that it makes for itself.
    """


@command.command("new", short_help="Make one, and show it once.")
@click.argument("name")
@configuration
@click.option(
    "--scope", type=click.Choice(["read", "operate"]), default="read", show_default=True, help="What it is good for."
)
@as_json
@verbosity
def new(name: str, config: Path, scope: str, *, as_json: bool) -> None:
    """Make a token. NAME is who is to have it: it stands in the audit log.

    \b
    anystrat token new alice live.yaml --scope operate
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.cli.failures import say
    from anystrat.cli.running_service import configured_places
    from anystrat.cli.screen import line, print_json
    from anystrat.control.tokens import Scope, TokenBook

    book = TokenBook(configured_places(config).tokens)
    token = book.make(name, Scope(scope), time.time_ns())
    if as_json:
        print_json({"schema_version": 1, "name": name, "scope": scope, "token": token, "file": str(book.path)})
        return
    line(token)
    say(f"Keep it: only its hash is in {book.path}. It is good at once, for: {scope}.")


@command.command("list", short_help="Their names and scopes.")
@configuration
@as_json
@verbosity
def list_(config: Path, *, as_json: bool) -> None:
    """List the tokens: who has one, and what it is good for."""
    from anystrat.cli.running_service import configured_places
    from anystrat.cli.screen import Column, line, print_json, table
    from anystrat.control.tokens import TokenBook
    from anystrat.domain.tick import datetime_of

    tokens = TokenBook(configured_places(config).tokens).tokens()
    if as_json:
        rows = [{"name": each.name, "scope": each.scope.value, "created_ns": each.created_ns} for each in tokens]
        print_json({"schema_version": 1, "tokens": rows})
    elif not tokens:
        line("No tokens.")
    else:
        columns = [Column("name", style="bold"), Column("scope"), Column("made")]
        table(
            columns,
            [[each.name, each.scope.value, f"{datetime_of(each.created_ns):%Y-%m-%d %H:%M}Z"] for each in tokens],
        )


@command.command("revoke", short_help="From now on it is good for nothing.")
@click.argument("name")
@configuration
@verbosity
def revoke(name: str, config: Path) -> None:
    """Revoke a token, also in a running service."""
    from anystrat.cli.running_service import configured_places
    from anystrat.cli.screen import line
    from anystrat.control.tokens import TokenBook

    TokenBook(configured_places(config).tokens).revoke(name)
    line(f"The token {name} is good for nothing from now on.")
