"""One transaction after the other, each of which outlasts a full disk: what finds no room is put aside and done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anystrat.adapters.sqlite_journal.files import library

if TYPE_CHECKING:
    import apsw

    from anystrat.adapters.journal_tables.room import Room


class Transactions:
    """The connection of a writer. Reads and writes go through it; it remembers the writes until they are committed.

    SQLite takes a statement that finds no room back, and perhaps the transaction with it. So the transaction is given up as
    a whole, and once there is room its statements are executed again, in order, with the same values. Callers notice
    nothing but the time. Raises `apsw.Error`; `apsw.FullError` only when nobody wants to wait.
    """

    def __init__(self, connection: apsw.Connection, room: Room, check: Callable[[], None]) -> None:
        """`check` is called within each transaction, and raises where this writer may not write any more."""
        self._connection = connection
        self._room = room
        self._check = check
        self._written: list[tuple[str, list[Sequence[Any]]]] = []

    def begin(self, *, writes: bool) -> None:
        """Begin; one that writes keeps other writers away from its first moment on."""
        self._written = []
        self._connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        self._check()

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Iterable[Any]:
        """What a query finds; or as `executemany`, once."""
        if statement.startswith("SELECT"):
            return self._connection.execute(statement, values)
        self.executemany(statement, [values])
        return ()

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> None:
        """Execute a statement that writes, once for each of these."""
        rows = list(values)
        if not rows:
            return
        self._written.append((statement, rows))
        try:
            self._connection.executemany(statement, rows)
        except library().FullError as error:
            self._again(error, commit=False)

    def commit(self) -> None:
        """Durable on return."""
        try:
            self._connection.execute("COMMIT")
        except library().FullError as error:
            self._again(error, commit=True)
        self._written = []

    def _again(self, error: Exception, *, commit: bool) -> None:
        """Everything that was written, until it finds room; then, with `commit`, for good."""
        connection, full = self._connection, library().FullError
        while True:
            if connection.in_transaction:
                connection.execute("ROLLBACK")  # at once: whoever makes room must not find the file locked
            if not self._room.wait():
                raise error
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._check()
                for statement, values in self._written:
                    connection.executemany(statement, values)
                if commit:
                    connection.execute("COMMIT")
            except full:
                continue
            self._room.found()
            return
