"""Journals by configuration: the one that a run writes, and those that are looked into."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anystrat.domain.configuration import JournalSettings
from anystrat.domain.endpoints import MemoryJournal, PostgresJournal, SqliteJournal
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.domain.journal import Journal

if TYPE_CHECKING:
    from anystrat.adapters.postgres_leases import Claim
    from anystrat.adapters.sqlite_journal import JournalFile as JournalFile  # noqa: PLC0414  callers annotate with it
    from anystrat.domain.configuration import Configuration
    from anystrat.runner.quarantine import MarkStore

_HERE: Final = "sqlite, postgres, memory"


def open_journal(settings: JournalSettings | None, claim: Claim | None = None) -> Journal:
    """The journal that these settings ask for, still to be opened; in memory without any. `claim`: see `PostgresSchemaJournal`.

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

        return PostgresSchemaJournal(options.url.reveal(), options.schema, claim)
    kind = "" if settings is None else settings.type
    raise ConfigurationError(
        [Problem("this version has no such journal", path="journal.type", found=repr(kind), allowed=_HERE)]
    )


def open_marks(configuration: Configuration) -> MarkStore | None:
    """Where a run marks what it evaluates: beside its journal; None where its state ends with its process anyway.

    With a journal in PostgreSQL it is in `state` beside the configuration: another machine does not see it.
    """
    from anystrat.adapters.mark_file import MarkFile

    options = None if configuration.journal is None else configuration.journal.options
    if isinstance(options, SqliteJournal):
        return MarkFile(options.path.with_name(options.path.name + ".mark"))
    if isinstance(options, PostgresJournal):
        return MarkFile(configuration.directory / "state" / f"{options.schema}.mark")
    return None


def kept(settings: JournalSettings | None) -> tuple[int, int]:
    """How many inputs of each shard, and settled signals of each broker, `Journal.compact` is to leave."""
    options = None if settings is None else settings.options
    if not isinstance(options, SqliteJournal | PostgresJournal | MemoryJournal):
        options = MemoryJournal()
    return options.keep_inputs, options.keep_settled


def look_into_journal(path: Path) -> JournalFile:
    """A journal's file, to read and not to touch, also while a runner writes it. Raises `JournalRefused`, `MissingExtra`."""
    from anystrat.adapters.sqlite_journal import JournalFile

    return JournalFile(path)


def revive_dead_letters(path: Path, chosen: Mapping[str, Sequence[int]], expires_ns: int) -> int:
    """Make dead letters PENDING, by broker and number, for the next run to send; how many.

    Raises `JournalRefused`, while a runner holds the journal among others, and `MissingExtra`.
    """
    from anystrat.adapters.sqlite_journal import SqliteFileJournal

    async def revived() -> int:
        journal = SqliteFileJournal(path, inline=True)
        await journal.open(None)
        try:
            return sum([await journal.revive(broker, numbers, expires_ns) for broker, numbers in chosen.items()])
        finally:
            await journal.close()

    return asyncio.run(revived())


def reset_journal(path: Path) -> None:
    """Forget the state of all shards and their inputs; the outbox and the kill switch stay. Raises as `revive_dead_letters`."""
    from anystrat.adapters.sqlite_journal import SqliteFileJournal

    async def reset() -> None:
        journal = SqliteFileJournal(path, inline=True)
        await journal.open(None)
        try:
            await journal.reset()
        finally:
            await journal.close()

    asyncio.run(reset())
