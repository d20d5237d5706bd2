"""A journal in PostgreSQL, with the async face that the port asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from anystrat.adapters.journal_tables.journal import TableJournal
from anystrat.adapters.postgres_journal.writer import PostgresWriter

if TYPE_CHECKING:
    from anystrat.adapters.postgres_leases import Claim


class PostgresSchemaJournal(TableJournal):
    """The journal of a run, in a schema of a PostgreSQL database; see `domain.journal.Journal`.

    The tables, their seals and their rules are those of the journal in SQLite. A thread of its own executes what waits as one
    transaction. The first connection that opens it holds an advisory lock; whoever comes to hold it after that connection
    is gone raises the epoch, and a writer of an older epoch commits nothing.

    With a `claim`, which is a lease on a part of a cluster, the holder of that lock is put out, as long as the claim holds.

    `on_weak` is told on `open`, in words, of settings of the server with which a power cut may cost what was committed.

    `open` raises `MissingExtra` without the extra `postgres`.
    """

    def __init__(
        self,
        url: str,
        schema: str = "public",
        claim: Claim | None = None,
        *,
        on_weak: Callable[[str], object] = lambda _words: None,
    ) -> None:
        self._postgres = PostgresWriter(url, schema, claim)
        self._on_weak = on_weak
        super().__init__(self._postgres)

    async def open(self, fingerprint: str | None) -> None:
        await super().open(fingerprint)
        if self._postgres.weak:
            self._on_weak(", ".join(self._postgres.weak))
