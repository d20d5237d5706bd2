"""A journal in a SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from anystrat.adapters.journal_tables.journal import TableJournal
from anystrat.adapters.sqlite_journal.writer import Writer

BUSY_TIMEOUT_SEC: Final = 5.0


class SqliteFileJournal(TableJournal):
    """The journal of a run, in one file in WAL mode; see `domain.journal.Journal`.

    A thread of its own executes what waits as one transaction (group commit), so callers' event loops never wait for
    the disk; with `inline`, each call is a transaction of its own, in the caller, as simulators need it. `vfs` names a
    SQLite VFS that is registered with apsw. Of other programs that lock the file (a backup), `busy_timeout_sec` are
    waited for. The file must not be on a network filesystem: locks and syncs promise nothing there.

    `open` raises `MissingExtra` without the extra `live`.
    """

    def __init__(
        self, path: Path, *, vfs: str | None = None, inline: bool = False, busy_timeout_sec: float = BUSY_TIMEOUT_SEC
    ) -> None:
        super().__init__(Writer(path, vfs=vfs, busy_timeout_sec=busy_timeout_sec), inline=inline)
