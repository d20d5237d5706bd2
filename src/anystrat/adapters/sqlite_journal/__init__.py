"""The journal in a SQLite file: `SqliteFileJournal` writes it, `JournalFile` only looks."""

from anystrat.adapters.sqlite_journal.journal import SqliteFileJournal
from anystrat.adapters.sqlite_journal.looking import JournalFile

__all__ = ["JournalFile", "SqliteFileJournal"]
