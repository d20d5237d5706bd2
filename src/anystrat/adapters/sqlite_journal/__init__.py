"""The journal in a SQLite file: `SqliteFileJournal` writes it, `JournalFile` only looks."""

from anystrat.adapters.sqlite_journal.journal import SqliteFileJournal

__all__ = ["SqliteFileJournal"]
