"""A journal in PostgreSQL for those who only look: also while a runner writes it, which is not held up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anystrat.adapters.journal_tables.inspection import NotOurs, read_contents
from anystrat.adapters.journal_tables.looking import JournalLook
from anystrat.adapters.journal_tables.rows import SCHEMA_VERSION
from anystrat.adapters.postgres_journal.connection import (
    TablesConnection,
    connect,
    holder_of,
    library,
    without_address,
)

if TYPE_CHECKING:
    import psycopg


class JournalSchema(JournalLook):
    """The journal in a schema. `holder` says on which machine its runner is. `url` may hold a password, and is in no message."""

    def __init__(self, url: str, schema: str) -> None:
        super().__init__(f"PostgreSQL, schema {schema}", (library().Error,))
        self._url = url
        self._schema = schema
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        with self._refusing():
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def _open(self) -> None:
        self._connection = connection = connect(self._url)
        found = connection.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = 'meta'", (self._schema,)
        ).fetchone()
        if found is None:
            raise NotOurs("there is no journal")
        self.holder = holder_of(connection, self._schema)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        sql = library().sql
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(self._schema)))
        tables = TablesConnection(connection)
        contents = read_contents(tables)
        version = contents.meta.get("schema")
        if version != SCHEMA_VERSION:
            raise NotOurs(f"expected tables of version {SCHEMA_VERSION}, found {version}; update anystrat")
        self._looks_at(tables, contents)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(library().Error):
                connection.close()

    @property
    def size(self) -> int:
        assert self._connection is not None
        found = self._connection.execute(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'",
            (self._schema,),
        ).fetchone()
        return 0 if found is None else int(found[0])

    def _in_words(self, error: Exception) -> str:
        words = " ".join(str(error).split()) or type(error).__name__
        return words if self._connection is not None else "no connection: " + without_address(words, self._url)
