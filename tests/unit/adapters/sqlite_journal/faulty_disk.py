"""A disk that fails at a given write or sync, as a SQLite VFS in front of the real one."""

from __future__ import annotations

import errno
from collections.abc import Callable

import apsw

# ruff: noqa: N802  the names are those of SQLite


class FaultyDisk(apsw.VFS):
    """Counts writes, truncations and syncs; from operation number `fails_at` on, `fail` is called in their place.

    `only` counts those of files whose names end so; `once` fails once.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.operations = 0
        self.fails_at: int | None = None
        self.fail: Callable[[str], None] = io_error
        self.failed: list[str] = []
        self.once = False
        self.only = ""

    def xOpen(self, name, flags):
        return _File(self, name, flags)

    def operation(self, file: str, what: str) -> None:
        if not file.endswith(self.only):
            return
        self.operations += 1
        if self.fails_at is None or self.operations < self.fails_at or (self.once and self.failed):
            return
        self.failed.append(what)
        self.fail(what)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name, flags) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data, offset):
        self._disk.operation(self._name, "write")
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self._disk.operation(self._name, "truncate")
        super().xTruncate(size)

    def xSync(self, flags):
        self._disk.operation(self._name, "sync")  # and no more: no test cuts the power


def io_error(what: str) -> None:
    """EIO; of a sync as SQLite's own VFS says it."""
    error = apsw.IOError(f"{errno.EIO} at {what}")
    error.extendedresult = apsw.SQLITE_IOERR_FSYNC if what == "sync" else apsw.SQLITE_IOERR_WRITE
    raise error


def disk_full(what: str) -> None:
    """ENOSPC at a write; syncs succeed."""
    if what == "write":
        raise apsw.FullError("no space")
