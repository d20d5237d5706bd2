"""A journal in PostgreSQL, with the async face that the port asks for."""

from __future__ import annotations

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

    `open` raises `MissingExtra` without the extra `postgres`.
    """

    def __init__(self, url: str, schema: str = "public", claim: Claim | None = None) -> None:
        super().__init__(PostgresWriter(url, schema, claim))
