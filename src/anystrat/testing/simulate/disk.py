"""A disk under SQLite that can be full, lose its power, or end its process in the middle of a write."""

from __future__ import annotations

import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw

# ruff: noqa: N802  the names are those of SQLite

if TYPE_CHECKING:
    from anystrat.testing.simulate.dice import Dice
    from anystrat.testing.simulate.process import Process

_SECTOR: Final = 512
_numbers = count(1)


class SimulatedDisk(apsw.VFS):
    """A SQLite VFS over a directory of its own. Nothing is ever synced to the real disk; what would be is known.

    A process that was killed writes nothing any more, whatever still runs in it.
    """

    def __init__(self) -> None:
        self.name = f"anystrat simulated disk {next(_numbers)}"
        super().__init__(self.name, "")
        self.directory = Path(tempfile.mkdtemp(prefix="anystrat-simulate-"))
        #: Whose calls those are that come now.
        self.process: Process | None = None
        self.full_after = self.dies_after = -1  # so many more writes or syncs of this process
        self._unsynced: dict[str, list[tuple[int, bytes, bytes]]] = {}  # (offset, what was there, what is there now)

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.directory / "journal.db"

    def arm(self, *, full_after: int = -1, dies_after: int = -1) -> None:
        """After so many more writes or syncs, the disk is full, or the process dies; below 0: never."""
        self.full_after, self.dies_after = full_after, dies_after

    def lose_power(self, dice: Dice) -> None:
        """What was not synced is gone, or torn: any of it may have reached the disk by halves. Nobody has a file open."""
        for name, writes in self._unsynced.items():
            path = Path(name)
            if not path.exists():
                continue
            with path.open("r+b") as file:
                for offset, old, new in reversed(writes):
                    file.seek(offset)
                    file.write(old)
                    if len(old) < len(new) and file.seek(0, 2) == offset + len(new):
                        file.truncate(offset + len(old))
                for offset, _, new in writes:
                    for at in range(0, len(new), _SECTOR):
                        if dice.chance(0.5):
                            file.seek(offset + at)
                            file.write(new[at : at + _SECTOR])
        self._unsynced.clear()

    def remove(self) -> None:
        """Leave nothing behind."""
        self.unregister()
        shutil.rmtree(self.directory, ignore_errors=True)

    def excepthook(self, etype: Any = None, evalue: Any = None, etraceback: Any = None) -> bool:  # noqa: ARG002  apsw's signature
        """What a call raises is told by SQLite; here it would be told once more."""
        return True

    def xOpen(self, name: Any, flags: Any) -> _File:
        return _File(self, self.process, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001  SQLite's signature
        if self.process is None or self.process.alive:
            self._unsynced.pop(filename, None)
            super().xDelete(filename, syncdir)

    def reached(self, process: Process | None) -> None:
        """A write or a sync of this process; it may be the one at which it dies, or the disk is full. Raises `apsw.Error`."""
        if process is None:
            return
        if process.alive and process is self.process:
            self.dies_after -= 1
            self.full_after -= 1
            if self.dies_after == -1:
                process.kill("within a write to the disk")
            elif self.full_after == -1:
                raise apsw.FullError("no space is left on the simulated disk")
        if not process.alive:
            raise apsw.IOError("the process is gone")

    def wrote(self, name: str, offset: int, old: bytes, new: bytes) -> None:
        """Something is in the machine's memory, and not on the disk."""
        self._unsynced.setdefault(name, []).append((offset, old, new))

    def synced(self, name: str) -> None:
        """Everything of this file is on the disk."""
        self._unsynced.pop(name, None)


class _File(apsw.VFSFile):
    def __init__(self, disk: SimulatedDisk, process: Process | None, name: Any, flags: Any) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._process = process
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def excepthook(self, etype: Any = None, evalue: Any = None, etraceback: Any = None) -> bool:  # noqa: ARG002  apsw's signature
        return True

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.reached(self._process)
        size = super().xFileSize()
        old = super().xRead(max(0, min(len(data), size - offset)), offset) if offset < size else b""
        self._disk.wrote(self._name, offset, old, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.reached(self._process)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002  SQLite's signature
        self._disk.reached(self._process)
        self._disk.synced(self._name)
