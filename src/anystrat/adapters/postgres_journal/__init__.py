"""A journal in a PostgreSQL schema."""

from anystrat.adapters.postgres_journal.journal import PostgresSchemaJournal

__all__ = ["PostgresSchemaJournal"]
