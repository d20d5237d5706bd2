"""A sweep's trials in a SQLite file, so that a sweep that was interrupted goes on where it was."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from anystrat.domain.errors import AnystratError

__all__ = ["StudyError", "StudyFile", "StudyRow"]

#: SQLite's own mark for whose file it is: "anys".
_APPLICATION: Final = 0x616E7973
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (
    key TEXT PRIMARY KEY, settings TEXT NOT NULL, figures TEXT NOT NULL, start REAL NOT NULL, marks BLOB NOT NULL,
    refused TEXT NOT NULL
) WITHOUT ROWID;
"""


class StudyError(AnystratError):
    """A study cannot be used: the text says why, and what to do. The file is as it was."""

    exit_code = 2


class StudyRow(NamedTuple):
    """A trial as it is kept: `settings` and `figures` are JSON, `marks` the bytes of little-endian doubles."""

    key: str
    settings: str
    figures: str
    start: float
    marks: bytes
    refused: str


class StudyFile:
    """The trials of one sweep, by their settings. `facts` are what they depend on, and say what a file is of.

    Whoever opens the file with other facts is refused. A trial that was kept is there after a crash.
    """

    def __init__(self, path: str | os.PathLike[str], facts: Mapping[str, str]) -> None:
        """Raises `StudyError`."""
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise StudyError(f"{path}: its directory does not exist; make it first: mkdir -p {self.path.parent}")
        if self.path.is_dir():
            raise StudyError(f"{path}: is a directory; name a file in it, such as {path}/sweep.db")
        try:
            self._database = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
            self._open(facts)
        except sqlite3.Error as error:
            raise StudyError(f"{path}: is no study, or cannot be written: {error}; name another file") from error

    def rows(self) -> list[StudyRow]:
        """Every trial that was kept."""
        found = self._database.execute("SELECT key, settings, figures, start, marks, refused FROM trials")
        return [StudyRow(*row) for row in found]

    def keep(self, rows: Iterable[StudyRow]) -> None:
        """Keep trials; one that is there already stays. Raises `StudyError`."""
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany("INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise StudyError(f"{self.path}: cannot be written: {error}") from error

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    def _open(self, facts: Mapping[str, str]) -> None:
        database = self._database
        database.execute("PRAGMA journal_mode=WAL")
        with database:
            database.execute("BEGIN IMMEDIATE")
            (mark,), (version,) = (
                database.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
            )
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables and mark != _APPLICATION:
                raise StudyError(f"{self.path}: is a database of something else; name another file")
            if version > _VERSION:
                raise StudyError(
                    f"{self.path}: was written by a newer anystrat (version {version}, known is {_VERSION})"
                )
            if not tables:
                for statement in filter(None, map(str.strip, _TABLES.split(";"))):
                    database.execute(statement)
                database.execute(f"PRAGMA application_id={_APPLICATION}")
                database.execute(f"PRAGMA user_version={_VERSION}")
                database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
                return
            known = dict(database.execute("SELECT name, value FROM facts").fetchall())
        different = [name for name in {**known, **facts} if known.get(name) != facts.get(name)]
        if different:
            said = "; ".join(
                f"{name} was {known.get(name, 'not there')}, is {facts.get(name, 'not there')}" for name in different
            )
            raise StudyError(
                f"{self.path}: is a study of something else ({said}); name another file, or delete this one"
            )
