"""A journal's file for those who only look: also while a runner writes it, and never touching it."""

from __future__ import annotations

from pathlib import Path

from anystrat.adapters.journal_tables import rows
from anystrat.adapters.journal_tables.inspection import NotOurs
from anystrat.adapters.journal_tables.looking import JournalLook
from anystrat.adapters.journal_tables.selection import Contents
from anystrat.adapters.sqlite_journal.files import check_kind, connect_to_look, in_words, library
from anystrat.adapters.sqlite_journal.inspection import check_mark, contents_of, is_empty
from anystrat.adapters.sqlite_journal.lock import Mark, look

_BUSY_SEC = 5.0


class JournalFile(JournalLook):
    """The journal in a file: its pages and sums are checked as well. `holder` is a process."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        super().__init__(str(self.path), (library().Error,))
        # Before the journal: what is marked then is in it, whatever is committed meanwhile.
        mark, held = look(self.path)
        self.holder = mark.process if mark is not None and held else None
        with self._refusing():
            try:
                self._open(mark, alone=not held)
            except rows.Damaged:
                mark, now_held = look(self.path)
                if held or not now_held:
                    raise
                self._open(mark, alone=False)  # a runner began while we looked

    def _open(self, mark: Mark | None, *, alone: bool) -> None:
        check_kind(self.path)
        if not self.path.exists():
            raise NotOurs("there is no such file")
        self._connection = connection = connect_to_look(self.path, vfs=None, busy_timeout_sec=_BUSY_SEC, alone=alone)
        try:
            connection.execute("BEGIN")
            contents = Contents() if is_empty(connection) else contents_of(connection)
            check_mark(self.path, mark, contents)
        except BaseException:
            connection.close()
            raise
        self._looks_at(connection, contents)

    def close(self) -> None:
        self._connection.close()

    @property
    def size(self) -> int:
        parts = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(each.stat().st_size for each in parts if each.exists())

    def _in_words(self, error: Exception) -> str:
        return in_words(error, _BUSY_SEC)
