"""A PostgreSQL connection with the face that the journal's tables ask for, and their statements in its dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.journal_tables.rows import TABLES
from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import QueryNoTemplate

    from anystrat.adapters.journal_tables.room import Room

#: Steps that are fetched at a time where a reader may end before the last.
_AT_ONCE: Final = 32
_CONNECT_SEC: Final = 10
_ESCAPED: Final = re.compile(r"\\(.)")
#: Who holds the lock of a journal: what follows a SELECT of `a.…`.
HOLDERS: Final = (
    "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(%s, 0)"
)
_INSERT: Final = re.compile(r"INSERT (OR REPLACE )?INTO (\w+) VALUES \([?,]+\)")
_KEY: Final = re.compile(r"PRIMARY KEY \(([\w, ]+)\)|\((\w+) (?:INTEGER|TEXT) PRIMARY KEY")


def library() -> Any:
    """psycopg; raises `MissingExtra`."""
    try:
        import psycopg
    except ImportError:
        raise MissingExtra("a journal in PostgreSQL", "postgres") from None
    return psycopg


def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection whose commits are on the server's disk when they return. A silent peer is given up within a minute."""
    connection: psycopg.Connection[tuple[Any, ...]] = library().connect(
        url,
        autocommit=True,
        connect_timeout=_CONNECT_SEC,
        application_name="anystrat journal",
        keepalives_idle=15,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=30_000,
    )
    # Of the server's settings, the one that a database or a role may have weakened.
    connection.execute("SET synchronous_commit = on")
    return connection


def weak_settings(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
    """Settings of the server with which a power cut, or a disk that failed once, may cost what was committed."""
    found = connection.execute(
        "SELECT name, setting FROM pg_settings WHERE (name IN ('fsync', 'full_page_writes') AND setting = 'off') "
        "OR (name = 'data_sync_retry' AND setting = 'on') ORDER BY name"
    )
    return [f"{name} = {setting}" for name, setting in found]


def lock_key(schema: str) -> str:
    """What the advisory lock of a journal is of."""
    return f"anystrat journal {schema}"


def holder_of(connection: psycopg.Connection[tuple[Any, ...]], schema: str) -> str | None:
    """Who writes the journal, in words; None: nobody."""
    found = connection.execute(
        f"SELECT a.pid, coalesce(host(a.client_addr), 'the server''s own machine') {HOLDERS}",
        (lock_key(schema),),
    ).fetchone()
    return None if found is None else f"a runner on {found[1]} (backend {found[0]})"


def without_address(words: str, url: str) -> str:
    """What a driver says of a connection that it could not make, without what may be secret in it.

    The address is told of as the driver parsed it; where it holds a password, that is not told.
    """
    words = words.replace(url, "***")
    for secret in _passwords(url):
        words = words.replace(secret, "***")
    return words


def _passwords(url: str) -> list[str]:
    psycopg = library()
    try:
        password = psycopg.conninfo.conninfo_to_dict(url).get("password")
    except psycopg.Error:
        return [part for part in url.replace("@", " ").replace(":", " ").replace("=", " ").split() if len(part) > 3]
    return [str(password)] if password else []


@cache
def create_statements() -> tuple[str, ...]:
    """The journal's tables, as in SQLite but for the names of types."""
    made = []
    for statement in TABLES.values():
        plain = re.sub(r"\) STRICT(, WITHOUT ROWID)?$", ")", statement)
        made.append(plain.replace("INTEGER", "BIGINT").replace("BLOB", "BYTEA"))
    return tuple(made)


@cache
def translated(statement: str) -> str:
    """A statement of the journal's tables in PostgreSQL's words."""
    inserted = _INSERT.fullmatch(statement)
    if inserted is not None and inserted[1]:
        table = TABLES[inserted[2]]
        columns = re.findall(r"(\w+) (?:INTEGER|TEXT|BLOB)", table)
        found = _KEY.search(table)
        assert found is not None, table
        keys = (found[1] or found[2]).split(", ")
        changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns if name not in keys)
        statement = statement.replace("OR REPLACE ", "") + f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
    elif re.fullmatch(r"SELECT \* FROM \w+", statement):
        statement += " ORDER BY 1, 2"  # as SQLite's keys have them
    return statement.replace("?", "%s")


class TablesConnection:
    """Executes the statements of `journal_tables.tables` and its neighbours. `changed`: whether anything was written.

    A writer gives a `room`: where the server's disk is full, which ends the transaction, it is begun anew once there is room,
    and what was written in it is written again. `check` is called within each transaction but the one that opens the
    journal, and raises where this writer may not write any more.
    """

    def __init__(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        room: Room | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._room = room
        self._check = check
        self._cursors = 0
        self._written: list[tuple[Any, list[Sequence[Any]]]] = []
        self.changed = False

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All of it or nothing; durable where it ends well."""
        self.changed, self._written = False, []
        self._connection.execute("BEGIN")
        yield
        try:
            self._connection.execute("COMMIT")
        except library().errors.DiskFull as error:
            self._again(error, commit=True)
        self._written = []

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Iterable[Any]:
        """The rows that it gives."""
        query: Any = translated(statement)
        if not query.startswith("SELECT"):
            self._write(query, [values])
            return ()
        # What has no end of its own is fetched as it is read.
        return self._page(query, values) if query.endswith("ORDER BY first") else self._plain(query, values)

    def executemany(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Once for each of `values`, in few round trips."""
        rows = list(values)
        if not rows:
            return
        self._write(translated(statement), rows)

    def _write(self, query: Any, rows: list[Sequence[Any]]) -> None:
        self.changed = True
        self._written.append((query, rows))
        try:
            self._run(query, rows)
        except library().errors.DiskFull as error:
            self._again(error, commit=False)

    def _again(self, error: Exception, *, commit: bool) -> None:
        """Everything that was written in this transaction, until it finds room; then, with `commit`, for good."""
        connection, full = self._connection, library().errors.DiskFull
        while True:
            connection.execute("ROLLBACK")  # at once: whoever takes the journal over must not find it locked
            if self._room is None or not self._room.wait():
                raise error
            try:
                connection.execute("BEGIN")
                self._check()
                for query, rows in self._written:
                    self._run(query, rows)
                if commit:
                    connection.execute("COMMIT")
            except full:
                continue
            self._room.found()
            return

    def _run(self, query: Any, rows: list[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            if len(rows) == 1:
                # The pipeline of `executemany` costs several times what it saves here, and most commits are of single rows.
                cursor.execute(query, _written(rows[0]))
            else:
                cursor.executemany(query, map(_written, rows))

    def _plain(self, query: QueryNoTemplate, values: Sequence[Any]) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, _written(values))
            return list(map(_read, cursor.fetchall())) if cursor.description is not None else []

    def _page(self, query: QueryNoTemplate, values: Sequence[Any]) -> Generator[Any]:
        self._cursors += 1
        with self._connection.cursor(name=f"page_{self._cursors}") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(query, _written(values))
            yield from map(_read, cursor)


def _written(values: Sequence[Any]) -> Sequence[Any]:
    """Text is kept whatever is in it: PostgreSQL's has no NUL."""
    return [value.replace("\\", "\\\\").replace("\0", "\\0") if isinstance(value, str) else value for value in values]


def _read(row: Sequence[Any]) -> tuple[Any, ...]:
    """What `_written` was given."""
    return tuple(
        _ESCAPED.sub(lambda found: "\0" if found[1] == "0" else "\\", value) if isinstance(value, str) else value
        for value in row
    )
