"""The writing side of a journal in PostgreSQL.

Nothing is tried again, but for a server's disk that is full, once the journal is open and as long as anybody wants to wait. Where the connection is lost in the middle of a commit, what was kept is read anew by whoever opens
the journal next.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.journal_tables.inspection import NotOurs, read_contents
from anystrat.adapters.journal_tables.lanes import Call
from anystrat.adapters.journal_tables.room import Room
from anystrat.adapters.journal_tables.rows import SCHEMA_VERSION, Damaged, meta_row, meta_value
from anystrat.adapters.journal_tables.selection import Contents
from anystrat.adapters.journal_tables.tables import Tables
from anystrat.adapters.journal_tables.writer import TablesWriter
from anystrat.adapters.postgres_journal.connection import (
    HOLDERS,
    TablesConnection,
    connect,
    create_statements,
    holder_of,
    library,
    lock_key,
    weak_settings,
    without_address,
)
from anystrat.domain.journal import JournalRefused

if TYPE_CHECKING:
    import psycopg

    from anystrat.adapters.postgres_leases import Claim

#: Where in `meta` the version of the tables is.
_VERSION: Final = "schema"
#: How long the lock of the journal is waited for, and the end of another writer's transaction.
_LOCK_MS: Final = "1000"
_ROW_LOCK_MS: Final = "10000"
_SET_LOCK_TIMEOUT: Final = "SELECT set_config('lock_timeout', %s, false)"


class PostgresWriter(TablesWriter):
    """A journal in a schema that this process writes. `url` may hold a password, and is in no message.

    With a `claim`, whoever else holds the journal is put out while the claim holds: it has lost its lease, and may be a
    process that stands still, or a machine that is cut off, whose connection the server keeps.
    """

    def __init__(self, url: str, schema: str, claim: Claim | None = None) -> None:
        super().__init__(f"PostgreSQL, schema {schema}", Room(f"the schema {schema}", "the PostgreSQL server's data"))
        #: Of the server: with what a power cut may cost what was committed.
        self.weak: Sequence[str] = ()
        self._url = url
        self._schema = schema
        self._claim = claim
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._shim: TablesConnection | None = None

    def open(self, fingerprint: str | None) -> None:
        errors = (library().Error, Damaged, OSError)
        try:
            self._connection = connect(self._url)
            self._take_lock()
            self.weak = weak_settings(self._connection)
            self._shim = TablesConnection(
                self._connection, self.room, lambda: self._check_epoch(self._kept("epoch", "FOR UPDATE"))
            )
            with self._shim.transaction():
                self._begin(self._shim, fingerprint)
        except NotOurs as error:
            self.close()
            raise JournalRefused(f"{self.place}: {error}") from error
        except errors as error:
            self.close()
            # What psycopg was raised from may show the address.
            raise JournalRefused(f"{self.place}: {self._in_words(error)}") from None

    def rest(self) -> None:
        pass

    def close(self) -> None:
        self._tables = self._shim = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(library().Error):
                connection.close()

    def _take_lock(self) -> None:
        """Hold the journal as long as the connection lasts."""
        connection = self._connection
        assert connection is not None
        key = lock_key(self._schema)
        if self._claim is not None:
            self._must_be_ours()
            connection.execute(f"SELECT pg_terminate_backend(a.pid) {HOLDERS}", (key,))
        # The server may take a moment to see that a process which was killed is gone.
        connection.execute(_SET_LOCK_TIMEOUT, (_LOCK_MS,))
        try:
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        except library().errors.LockNotAvailable:
            raise NotOurs(
                f"in use by {holder_of(connection, self._schema) or 'another runner'}; one runner at a time writes a journal: stop that one first"
            ) from None
        connection.execute(_SET_LOCK_TIMEOUT, (_ROW_LOCK_MS,))

    def _must_be_ours(self) -> None:
        assert self._connection is not None
        assert self._claim is not None
        if not self._claim.holds(self._connection):
            raise NotOurs("the lease of this part is over: another member has it, or will have")

    def _begin(self, shim: TablesConnection, fingerprint: str | None) -> None:
        contents = self._contents(shim)
        if self._claim is not None:
            # It may have stood still since it took the lock.
            self._must_be_ours()
        self._tables = tables = Tables(shim, contents)
        self._take_over(tables, contents, fingerprint, "or name another schema")
        tables.set_meta("sequence", contents.meta["sequence"] + 1)
        tables.flush()

    def _contents(self, shim: TablesConnection) -> Contents:
        connection = self._connection
        assert connection is not None
        psycopg = library()
        name = psycopg.sql.Identifier(self._schema)
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name = 'meta'",
            (self._schema,),
        ).fetchall()
        if not tables:
            connection.execute(psycopg.sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        connection.execute(psycopg.sql.SQL("SET search_path TO {}").format(name))
        if not tables:
            for statement in create_statements():
                shim.execute(statement)
            first = [meta_row("epoch", 0), meta_row("sequence", 0), meta_row(_VERSION, SCHEMA_VERSION)]
            shim.executemany("INSERT INTO meta VALUES (?,?,?)", first)
        try:
            version = self._kept(_VERSION, "FOR UPDATE")
        except (psycopg.Error, StopIteration, ValueError):
            raise NotOurs("it has a table `meta` that is no journal's; name another schema") from None
        if version != SCHEMA_VERSION:
            raise NotOurs(f"expected tables of version {SCHEMA_VERSION}, found {version}; update anystrat")
        self._kept("epoch", "FOR UPDATE")  # until the end of this transaction no other writer commits
        return read_contents(shim)

    def _execute(self, calls: Sequence[Call]) -> None:
        tables, shim = self.tables, self._shim
        assert shim is not None
        with shim.transaction():
            writes = any(call.writes for call in calls)
            self._check_epoch(self._kept("epoch", "FOR UPDATE" if writes else ""))
            self._answer(calls)
            if shim.changed:
                tables.set_meta("sequence", tables.meta["sequence"] + 1)
                tables.flush()

    def _kept(self, name: str, lock: str) -> int:
        assert self._shim is not None
        row = next(iter(self._shim.execute(f"SELECT * FROM meta WHERE name = ? {lock}", (name,))))  # noqa: S608  words of ours
        value: int = meta_value(row)
        return value

    def _in_words(self, error: Exception) -> str:
        words = " ".join(str(error).split()) or type(error).__name__
        if self._connection is None:
            # The address is told of as the driver parsed it; where it holds a password, it is not.
            words = "no connection: " + without_address(words, self._url)
        return words

    def _give_up(self) -> None:
        self.close()
