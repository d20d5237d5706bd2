"""Is this file a journal, one that we can read, and every page and row of it as it was written?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anystrat.adapters.journal_tables import rows
from anystrat.adapters.journal_tables.inspection import NotOurs, read_contents
from anystrat.adapters.journal_tables.selection import Contents
from anystrat.adapters.sqlite_journal.lock import Mark, lock_path

if TYPE_CHECKING:
    import apsw

_WITH_LOG: Final = 2
_PRAGMAS: Final = {"encoding": "UTF-8", "auto_vacuum": 0}


def contents_of(connection: apsw.Connection) -> Contents:
    """Everything in the journal, read and checked. Raises `NotOurs`, `rows.Damaged`, `apsw.Error`.

    Takes a time in proportion to the journal's size.
    """
    check_version(connection)
    _check_structure(connection)
    return read_contents(connection)


def check_version(connection: apsw.Connection) -> None:
    """Raise `NotOurs` unless it is a journal of our version."""
    if _pragma(connection, "application_id") != rows.APPLICATION_ID:
        raise NotOurs("this is a SQLite database, but no journal of anystrat; name another file")
    version = _pragma(connection, "user_version")
    if version > rows.SCHEMA_VERSION:
        raise NotOurs(
            f"a newer anystrat made this journal (schema {version}, this one knows up to {rows.SCHEMA_VERSION}); "
            "update anystrat"
        )
    if version < rows.SCHEMA_VERSION:
        raise NotOurs(f"expected schema {rows.SCHEMA_VERSION}, found {version}")


def check_mark(path: Path, mark: Mark | None, contents: Contents | None) -> None:
    """Raise `rows.Damaged` where less is in the journal than was acknowledged."""
    kept = 0 if contents is None else contents.meta.get("sequence", 0)
    if mark is not None and mark.sequence > kept:
        raise rows.Damaged(
            f"{lock_path(path).name} says that commit {mark.sequence} was acknowledged, and the journal ends with commit "
            f"{kept}: its write-ahead log ({path.name}-wal) is damaged or missing, or an older copy lies in its place. "
            f"To go on with that one nevertheless, delete {lock_path(path)}"
        )


def check_header(path: Path) -> None:
    """Raise `rows.Damaged` unless the database's header says that there is a write-ahead log."""
    with path.open("rb") as file:
        versions = file.read(20)[18:]
    if versions != bytes([_WITH_LOG, _WITH_LOG]):
        raise rows.Damaged(f"the database's header: expected file format {_WITH_LOG}, found {list(versions)}")


def is_empty(connection: apsw.Connection) -> bool:
    """Whether nothing was ever made in this database."""
    return not list(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1"))


def _check_structure(connection: apsw.Connection) -> None:
    for name, expected in _PRAGMAS.items():
        found = _pragma(connection, name)
        if found != expected:
            raise rows.Damaged(f"the database's header: expected {name} {expected}, found {found}")
    try:
        schema = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    except UnicodeDecodeError as error:
        raise rows.Damaged("the schema is not text any more") from error
    for name in sorted(schema.keys() | rows.TABLES.keys()):
        if schema.get(name) != rows.TABLES.get(name):
            raise rows.Damaged(f"the schema of table {name} is not what was made")
    found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise rows.Damaged("; ".join(str(each).replace("\n", " ") for each in found))


def _pragma(connection: apsw.Connection, name: str) -> Any:
    return next(iter(connection.execute(f"PRAGMA {name}")))[0]
