"""The writing side of a journal in SQLite.

Nothing is tried again: but for a disk that is full, once the journal is open and as long as anybody wants to wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anystrat.adapters.durable_names import make_directory
from anystrat.adapters.journal_tables.inspection import NotOurs
from anystrat.adapters.journal_tables.lanes import Call
from anystrat.adapters.journal_tables.room import Room
from anystrat.adapters.journal_tables.rows import Damaged, meta_value
from anystrat.adapters.journal_tables.selection import Contents
from anystrat.adapters.journal_tables.tables import Tables
from anystrat.adapters.journal_tables.writer import TablesWriter
from anystrat.adapters.sqlite_journal.files import (
    check_kind,
    connect,
    connect_to_look,
    in_words,
    library,
    make_file,
    make_tables,
    put_back_unfinished,
)
from anystrat.adapters.sqlite_journal.inspection import check_header, check_mark, contents_of, is_empty
from anystrat.adapters.sqlite_journal.lock import Held, LockFile, Mark
from anystrat.adapters.sqlite_journal.transaction import Transactions
from anystrat.domain.journal import JournalRefused

if TYPE_CHECKING:
    import apsw

#: Pages of 4 KiB in the write-ahead log, after which it is copied into the database.
_CHECKPOINT_PAGES: Final = 2_000


class Writer(TablesWriter):
    """A journal in a SQLite file that this process writes."""

    def __init__(self, path: Path, *, vfs: str | None, busy_timeout_sec: float) -> None:
        self.path = path.resolve()  # two names of one journal share its lock
        super().__init__(str(self.path), Room(self.path.name, str(self.path.parent)))
        self._vfs = vfs
        self._busy_timeout_sec = busy_timeout_sec
        self._lock = LockFile(self.path)
        self._connection: apsw.Connection | None = None
        self._transactions: Transactions | None = None
        self._wal_pages = 0

    def open(self, fingerprint: str | None) -> None:
        errors = (library().Error, OSError, Damaged, NotOurs, Held)
        try:
            check_kind(self.path)
            make_directory(self.path.parent)
            mark = self._lock.take()
            if not self.path.exists():
                make_file(self.path)
            put_back_unfinished(self.path, vfs=self._vfs, busy_timeout_sec=self._busy_timeout_sec)
            self._begin(fingerprint, mark)
        except Held as held:
            raise JournalRefused(
                f"{self.path}: in use by {held}; one runner at a time writes a journal: stop that one first"
            ) from None
        except NotOurs as error:
            raise JournalRefused(f"{self.path}: {error}") from error
        except errors as error:
            raise JournalRefused(f"{self.path}: {self._in_words(error)}") from error
        finally:
            if self._tables is None:
                self._give_back(clean=False)

    def rest(self) -> None:
        """Between two groups: keep the write-ahead log short."""
        if self._wal_pages < _CHECKPOINT_PAGES or self._connection is None or self._failed:
            return
        self._wal_pages = 0
        try:
            self._connection.wal_checkpoint(mode=library().SQLITE_CHECKPOINT_PASSIVE)
        except library().FullError:
            pass  # the log is whole, and copied once there is room
        except Exception as error:  # noqa: BLE001  whatever it is, the next call is told
            self._fail(error)

    def close(self) -> None:
        """Give everything back; after an error nothing is written any more."""
        self._give_back(clean=not self._failed)

    def _begin(self, fingerprint: str | None, mark: Mark | None) -> None:
        contents = self._inspected()
        check_mark(self.path, mark, contents)
        self._connection = connection = connect(self.path, vfs=self._vfs, busy_timeout_sec=self._busy_timeout_sec)
        if contents is None:
            make_tables(connection)
            contents = contents_of(connection)
        connection.set_wal_hook(self._count_pages)
        self._transactions = transactions = Transactions(
            connection, self.room, lambda: self._check_epoch(self._kept("epoch"))
        )
        connection.execute("BEGIN IMMEDIATE")
        if self._kept("epoch") != contents.meta["epoch"] or self._kept("sequence") != contents.meta["sequence"]:
            raise NotOurs("in use by a process that does not hold its lock; stop that one first")
        tables = Tables(transactions, contents)
        reset = f"drop the state and keep the signals with: anystrat journal reset {self.path}"
        self._take_over(tables, contents, fingerprint, f"name another journal, or {reset}")
        self._commit(tables)
        # What an earlier process left in the log may never have reached the disk: its sync may have failed.
        connection.wal_checkpoint(mode=library().SQLITE_CHECKPOINT_TRUNCATE)
        self._tables = tables

    def _inspected(self) -> Contents | None:
        """What is in the journal, looked at without touching it; None where it is still empty."""
        connection = connect_to_look(self.path, vfs=self._vfs, busy_timeout_sec=self._busy_timeout_sec, alone=True)
        try:
            if is_empty(connection):
                return None
            contents = contents_of(connection)
            check_header(self.path)
            return contents
        finally:
            connection.close()

    def _execute(self, calls: Sequence[Call]) -> None:
        tables = self.tables
        connection, transactions = self._connection, self._transactions
        assert connection is not None
        assert transactions is not None
        changes = connection.total_changes()
        transactions.begin(writes=any(call.writes for call in calls))
        self._answer(calls)
        if connection.total_changes() != changes:
            self._commit(tables)
        else:
            transactions.commit()  # nothing to sync

    def _commit(self, tables: Tables) -> None:
        assert self._transactions is not None
        sequence = tables.meta["sequence"] + 1
        tables.set_meta("sequence", sequence)
        tables.flush()
        self._transactions.commit()
        self._lock.mark(sequence)

    def _kept(self, name: str) -> int:
        assert self._connection is not None
        row = next(iter(self._connection.execute("SELECT * FROM meta WHERE name = ?", (name,)).fetchall()))
        value: int = meta_value(row)
        return value

    def _count_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        return 0

    def _in_words(self, error: Exception) -> str:
        return in_words(error, self._busy_timeout_sec)

    def _give_up(self) -> None:
        self._give_back_connection(clean=False)

    def _give_back_connection(self, *, clean: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(library().Error):  # everything that was acknowledged is in the log already
            if not clean:
                # Closing copies the log into the database, and must not try once more what has failed.
                connection.config(library().SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(True)

    def _give_back(self, *, clean: bool) -> None:
        self._tables = None
        self._give_back_connection(clean=clean)
        self._lock.release()
