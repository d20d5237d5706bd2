"""How a command finds the journal that it is about: its file, or the configuration that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from anystrat.cli.options import found_config

if TYPE_CHECKING:
    from anystrat.bootstrap.journals import JournalPlace
    from anystrat.domain.configuration import Configuration

F = TypeVar("F", bound=Callable[..., Any])

_PART: Final = "anystrat.part"
_MAGIC: Final = b"SQLite format 3\0"
_SUFFIXES: Final = {".db", ".sqlite", ".sqlite3"}


def journal(function: F) -> F:
    """JOURNAL_OR_CONFIG, as the argument `journal`: the place of a journal. `--part` names one of a run that is shared out."""

    def take(context: click.Context, _parameter: click.Parameter, value: Path | None) -> JournalPlace:
        from anystrat.bootstrap.journals import journal_in

        if value is not None and is_journal(value):
            return journal_in(value)
        return configured_journal(found_config(value), context.meta.get(_PART))

    return _argument(function, take)


def journals(function: F) -> F:
    """JOURNAL_OR_CONFIG, as the argument `journals`: the places of journals by worker (None: of one process), or a configuration with `cluster`."""

    def take(
        context: click.Context, _parameter: click.Parameter, value: Path | None
    ) -> dict[int | None, JournalPlace] | Configuration:
        from anystrat import bootstrap
        from anystrat.bootstrap.journals import journal_in
        from anystrat.config import load_configuration

        if value is not None and is_journal(value):
            return {None: journal_in(value)}
        config, part = found_config(value), context.meta.get(_PART)
        if part is None:
            found = load_configuration(config, bootstrap.default_catalog(), strategies_required=False)
            if found.cluster is not None:
                return found
            if workers := _workers_of(found):
                return {worker: journal_in(path) for worker, path in workers.items()}
        return {part: configured_journal(config, part)}

    return _argument(function, take, "journals")


def _argument(function: F, take: Callable[..., object], name: str = "journal") -> F:
    def keep(context: click.Context, _parameter: click.Parameter, value: int | None) -> None:
        context.meta[_PART] = value

    function = click.argument(
        name,
        required=False,
        type=click.Path(path_type=Path),
        metavar="[JOURNAL_OR_CONFIG]",
        callback=take,
    )(function)
    return click.option(
        "--part",
        type=click.IntRange(0),
        is_eager=True,
        expose_value=False,
        callback=keep,
        metavar="N",
        help="The journal of this part (or worker), where a run is shared out.",
    )(function)


def is_journal(path: Path) -> bool:
    """Whether this is, or by its name is meant to be, a journal and no configuration."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _workers_of(configuration: Configuration) -> dict[int, Path]:
    """The journals of a run's workers, by number; none where it runs in one process, or not in files."""
    from anystrat.control.places import workers_beside
    from anystrat.domain.endpoints import SqliteJournal

    options = None if configuration.journal is None else configuration.journal.options
    if not isinstance(options, SqliteJournal) or options.path.exists():
        return {}
    return {worker: path for (worker, _), path in sorted(workers_beside(options.path).items())}


def configured_journal(config: Path, part: int | None = None) -> JournalPlace:
    """The journal that a configuration names, or that of a part of it. Raises `ConfigurationError`, `click.UsageError`."""
    from anystrat import bootstrap
    from anystrat.bootstrap.clustering import part_configuration
    from anystrat.bootstrap.journals import journal_in, journal_of
    from anystrat.config import load_configuration

    found = load_configuration(config, bootstrap.default_wiring().catalog, strategies_required=False)
    if found.cluster is None and (workers := _workers_of(found)):
        if part not in workers:
            asked = "every worker has a journal: name one" if part is None else f"there is no worker {part}"
            raise click.UsageError(f"{config} runs in workers, and {asked}, --part {' or '.join(map(str, workers))}")
        return journal_in(workers[part])
    parts = 0 if found.cluster is None else found.cluster.parts
    if parts and part is None:
        raise click.UsageError(
            f"{config} shares its run out, and every part has a journal: name one, --part 0 to {parts - 1}"
        )
    if part is not None and part >= parts:
        what = f"has the parts 0 to {parts - 1}" if parts else "has no `cluster`"
        raise click.UsageError(f"{config} {what}: there is no part {part}")
    place = journal_of(found if part is None else part_configuration(found, part))
    if place is not None:
        return place
    kind = "no journal" if found.journal is None else f"a journal of type {found.journal.type}"
    raise click.UsageError(
        f"{config} has {kind}: there is nothing to look into. Name a file, or configure journal: {{type: sqlite, path: …}}"
    )
