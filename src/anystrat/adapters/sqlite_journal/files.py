"""A journal's file: made for its owner alone, opened through apsw, and its errors in words."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.journal_tables import rows
from anystrat.adapters.sqlite_journal.lock import MODE
from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    import apsw

#: How much of the database is kept in memory, in KiB.
_CACHE_KIB: Final = 16_384

#: https://www.sqlite.org/fileformat2.html#the_rollback_journal: a magic number, and how many pages there were.
_ROLLBACK_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_ROLLBACK_HEAD: Final = struct.Struct(">8s8xI")

_HELP: Final = "Nothing was changed. Keep a copy of it with its -wal and .lock files, then restore a backup, or name another journal"


def library() -> Any:
    """The module `apsw`, which brings a SQLite of its own. Raises `MissingExtra`."""
    try:
        import apsw
    except ModuleNotFoundError:
        raise MissingExtra("a journal in SQLite", "live") from None
    return apsw


def make_file(path: Path) -> None:
    """Make the file, which its owner alone can read from its first moment on; SQLite gives its -wal and -shm the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, MODE))
    sync_directory(path.parent)


def check_kind(path: Path) -> None:
    """Raise `IsADirectoryError` for a directory, which SQLite would only say that it cannot open."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory; name a file in it", str(path))


def sync_directory(directory: Path) -> None:
    """Make durable that a file is there."""
    if os.name == "nt":
        return  # a directory cannot be opened there
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def connect(path: Path, *, vfs: str | None, busy_timeout_sec: float) -> apsw.Connection:
    """The connection that writes."""
    sqlite = library()
    connection: apsw.Connection = sqlite.Connection(str(path), flags=sqlite.SQLITE_OPEN_READWRITE, vfs=vfs)
    _set_up(connection, busy_timeout_sec)
    # Durable when COMMIT returns; on macOS, too, down to the medium.
    for pragma in ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_to_look(path: Path, *, vfs: str | None, busy_timeout_sec: float, alone: bool) -> apsw.Connection:
    """A connection that changes nothing, not even when it is closed.

    `alone`: nobody else has the journal open, so that where there is no log, no files are made to share one.
    """
    sqlite = library()
    log = path.with_name(path.name + "-wal")
    alone = alone and not (log.exists() and log.stat().st_size)
    name = f"{path.as_uri()}?immutable=1" if alone else str(path)
    flags = sqlite.SQLITE_OPEN_READONLY | sqlite.SQLITE_OPEN_URI
    connection: apsw.Connection = sqlite.Connection(name, flags=flags, vfs=vfs)
    _set_up(connection, busy_timeout_sec)
    connection.config(sqlite.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def _set_up(connection: apsw.Connection, busy_timeout_sec: float) -> None:
    sqlite = library()
    connection.set_busy_timeout(round(busy_timeout_sec * 1_000))
    connection.config(sqlite.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(sqlite.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA cell_size_check = ON")


def put_back_unfinished(path: Path, *, vfs: str | None, busy_timeout_sec: float) -> None:
    """Where a power cut met the making of a journal, let SQLite put the file back as it was: empty.

    Only where its rollback journal says that it was. Any other file is left as it is.
    """
    try:
        with path.with_name(path.name + "-journal").open("rb") as file:
            head = file.read(_ROLLBACK_HEAD.size)
    except FileNotFoundError:
        return
    if len(head) < _ROLLBACK_HEAD.size or _ROLLBACK_HEAD.unpack(head) != (_ROLLBACK_MAGIC, 0):
        return
    connection = connect(path, vfs=vfs, busy_timeout_sec=busy_timeout_sec)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    finally:
        connection.close()


def make_tables(connection: apsw.Connection) -> None:
    """Make a journal of an empty database."""
    # To its end: the answer comes before the write, and a disk that is full is told of after it.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    for statement in rows.TABLES.values():
        connection.execute(statement)
    first = [rows.meta_row("epoch", 0), rows.meta_row("sequence", 0)]
    connection.executemany("INSERT INTO meta VALUES (?,?,?)", first)
    connection.execute(f"PRAGMA application_id = {rows.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {rows.SCHEMA_VERSION}")
    connection.execute("COMMIT")


def in_words(error: Exception, busy_timeout_sec: float) -> str:
    """What went wrong, and what to do."""
    sqlite = library()
    extended = getattr(error, "extendedresult", 0)
    if isinstance(error, rows.Damaged | sqlite.CorruptError | sqlite.NotADBError):
        return f"it is damaged: {error}. {_HELP}"
    if isinstance(error, sqlite.FullError):
        return "no space is left on the device; free some and start again"
    if isinstance(error, sqlite.BusyError | sqlite.LockedError):
        return (
            f"another program kept the database locked for more than {busy_timeout_sec:g} s (a backup, an open shell?); "
            "end that and start again"
        )
    if extended in {sqlite.SQLITE_IOERR_FSYNC, sqlite.SQLITE_IOERR_DIR_FSYNC}:
        return f"the disk did not write out what it was given ({error}); see to the disk before you start again"
    if isinstance(error, sqlite.IOError):
        return f"the disk failed ({error}); see to the disk before you start again"
    if isinstance(error, sqlite.ReadOnlyError | sqlite.CantOpenError | sqlite.PermissionsError):
        return f"it cannot be opened for writing ({error}); check the permissions of the file and its directory"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"
