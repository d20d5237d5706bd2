"""Journals by configuration: the one that a run writes, and those that are looked into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anystrat.control.places import access_beside, places_of
from anystrat.domain.configuration import JournalSettings
from anystrat.domain.endpoints import MemoryJournal, PostgresJournal, SqliteJournal
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.journal import Journal

if TYPE_CHECKING:
    from anystrat.adapters.journal_tables.journal import TableJournal
    from anystrat.adapters.journal_tables.looking import JournalLook as JournalLook  # noqa: PLC0414  callers annotate with it
    from anystrat.adapters.postgres_leases import Claim
    from anystrat.domain.configuration import Configuration
    from anystrat.runner.quarantine import MarkStore

T = TypeVar("T")

_HERE: Final = "sqlite, postgres, memory"


def open_journal(
    settings: JournalSettings | None,
    claim: Claim | None = None,
    *,
    on_weak: Callable[[str], object] = lambda _words: None,
) -> Journal:
    """The journal that these settings ask for, still to be opened; in memory without any. `claim`, `on_weak`: see `PostgresSchemaJournal`.

    Raises `ConfigurationError` for a type that this version has no journal for, `MissingExtra` on `open`.
    """
    options = MemoryJournal() if settings is None else settings.options
    if isinstance(options, MemoryJournal):
        from anystrat.adapters.journal_memory import InMemoryJournal

        return InMemoryJournal(keep_inputs=options.keep_inputs, keep_settled=options.keep_settled)
    if isinstance(options, SqliteJournal):
        from anystrat.adapters.sqlite_journal import SqliteFileJournal

        return SqliteFileJournal(options.path, busy_timeout_sec=options.busy_timeout_sec)
    if isinstance(options, PostgresJournal):
        from anystrat.adapters.postgres_journal import PostgresSchemaJournal

        return PostgresSchemaJournal(options.url.reveal(), options.schema, claim, on_weak=on_weak)
    kind = "" if settings is None else settings.type
    raise ConfigurationError(
        [Problem("this version has no such journal", path="journal.type", found=repr(kind), allowed=_HERE)]
    )


def open_marks(configuration: Configuration) -> MarkStore | None:
    """Where a run marks what it evaluates: beside its journal; None where its state ends with its process anyway.

    With a journal in PostgreSQL it is in `state` beside the configuration: another machine does not see it.
    """
    from anystrat.adapters.mark_file import MarkFile

    place = journal_of(configuration)
    return None if place is None else MarkFile(place.marks)


def kept(settings: JournalSettings | None) -> tuple[int, int]:
    """How many inputs of each shard, and settled signals of each broker, `Journal.compact` is to leave."""
    options = None if settings is None else settings.options
    if not isinstance(options, SqliteJournal | PostgresJournal | MemoryJournal):
        options = MemoryJournal()
    return options.keep_inputs, options.keep_settled


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where a journal is that outlives its run. `access` is where its service says how to reach it."""

    options: SqliteJournal | PostgresJournal
    access: Path

    @property
    def marks(self) -> Path:
        """Where its run marks what it evaluates."""
        options = self.options
        if isinstance(options, SqliteJournal):
            return options.path.with_name(options.path.name + ".mark")
        return self.access.parent / "state" / f"{options.schema}.mark"

    def __str__(self) -> str:
        options = self.options
        return str(options.path) if isinstance(options, SqliteJournal) else f"PostgreSQL, schema {options.schema}"


def journal_in(path: Path) -> JournalPlace:
    """The journal in a file."""
    return JournalPlace(SqliteJournal(path), access_beside(path))


def journal_of(configuration: Configuration) -> JournalPlace | None:
    """The journal that a configuration names; None where it names none, or one that ends with its process."""
    options = None if configuration.journal is None else configuration.journal.options
    if isinstance(options, SqliteJournal):
        return journal_in(options.path)
    if isinstance(options, PostgresJournal):
        return JournalPlace(options, places_of(configuration).access)
    return None


def look_into_journal(place: Path | JournalPlace) -> JournalLook:
    """A journal, to read and not to touch, also while a runner writes it. Raises `JournalRefused`, `MissingExtra`."""
    options = _options(place)
    if isinstance(options, PostgresJournal):
        from anystrat.adapters.postgres_journal import JournalSchema

        return JournalSchema(options.url.reveal(), options.schema)
    from anystrat.adapters.sqlite_journal import JournalFile

    return JournalFile(options.path)


def revive_dead_letters(place: Path | JournalPlace, chosen: Mapping[str, Sequence[int]], expires_ns: int) -> int:
    """Make dead letters PENDING, by broker and number, for the next run to send; how many.

    Raises `JournalRefused`, while a runner holds the journal among others, and `MissingExtra`.
    """

    async def revived(journal: TableJournal) -> int:
        return sum([await journal.revive(broker, numbers, expires_ns) for broker, numbers in chosen.items()])

    return asyncio.run(_with_open(place, revived))


def reset_journal(place: JournalPlace) -> None:
    """Forget the state of all shards, their inputs, and which ticks are suspected; the outbox and the kill switch stay.

    Raises as `revive_dead_letters`.
    """

    async def forgotten(journal: TableJournal) -> None:
        await journal.reset()
        place.marks.unlink(missing_ok=True)  # while the journal is held: no run is about to mark anything

    asyncio.run(_with_open(place, forgotten))


def _options(place: Path | JournalPlace) -> SqliteJournal | PostgresJournal:
    return SqliteJournal(place) if isinstance(place, Path) else place.options


async def _with_open(place: Path | JournalPlace, work: Callable[[TableJournal], Coroutine[Any, Any, T]]) -> T:
    options = _options(place)
    journal: TableJournal
    if isinstance(options, PostgresJournal):
        from anystrat.adapters.postgres_journal import PostgresSchemaJournal

        journal = PostgresSchemaJournal(options.url.reveal(), options.schema)
    else:
        from anystrat.adapters.sqlite_journal import SqliteFileJournal

        journal = SqliteFileJournal(options.path, inline=True)
    await journal.open(None)
    try:
        return await work(journal)
    finally:
        await journal.close()
