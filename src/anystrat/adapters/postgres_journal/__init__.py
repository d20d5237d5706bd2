"""A journal in a PostgreSQL schema: `PostgresSchemaJournal` writes it, `JournalSchema` only looks."""

from anystrat.adapters.postgres_journal.journal import PostgresSchemaJournal
from anystrat.adapters.postgres_journal.looking import JournalSchema

__all__ = ["JournalSchema", "PostgresSchemaJournal"]
