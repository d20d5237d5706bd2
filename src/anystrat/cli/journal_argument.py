"""How a command finds the journal that it is about: its file, or the configuration that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from anystrat.cli.options import found_config

if TYPE_CHECKING:
    from anystrat.domain.configuration import Configuration

F = TypeVar("F", bound=Callable[..., Any])

_MAGIC: Final = b"SQLite format 3\0"
_SUFFIXES: Final = {".db", ".sqlite", ".sqlite3"}


def journal(function: F) -> F:
    """JOURNAL_OR_CONFIG, as the argument `journal`: the path of a journal's file."""

    def take(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path:
        return value if value is not None and is_journal(value) else configured_journal(found_config(value))

    return _argument(function, take)


def journal_or_cluster(function: F) -> F:
    """JOURNAL_OR_CONFIG, as the argument `journal`: the path of a journal's file, or a configuration with `cluster`."""

    def take(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | Configuration:
        from anystrat.cli.cluster_status import shared_out

        if value is not None and is_journal(value):
            return value
        config = found_config(value)
        return shared_out(config) or configured_journal(config)

    return _argument(function, take)


def _argument(function: F, take: Callable[..., object]) -> F:
    return click.argument(
        "journal",
        required=False,
        type=click.Path(path_type=Path),
        metavar="[JOURNAL_OR_CONFIG]",
        callback=take,
    )(function)


def is_journal(path: Path) -> bool:
    """Whether this is, or by its name is meant to be, a journal and no configuration."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def configured_journal(config: Path) -> Path:
    """The journal's file that a configuration names. Raises `ConfigurationError`, `click.UsageError`."""
    from anystrat import bootstrap
    from anystrat.config import load_configuration
    from anystrat.domain.endpoints import SqliteJournal

    found = load_configuration(config, bootstrap.default_wiring().catalog, strategies_required=False).journal
    if found is not None and isinstance(found.options, SqliteJournal):
        return found.options.path
    kind = "no journal" if found is None else f"a journal of type {found.type}"
    raise click.UsageError(
        f"{config} has {kind}: there is no file to look into. Name one, or configure journal: {{type: sqlite, path: …}}"
    )
