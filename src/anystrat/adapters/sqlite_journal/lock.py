"""The lock file beside a journal: who writes, and up to where it was acknowledged.

The lock is the operating system's, so it ends with its process, however that ends. The mark is written after every
commit and never synced: it survives the process, and after a power cut it may be behind but never ahead. A journal that is
behind its mark has lost what was acknowledged: its write-ahead log was damaged or left behind, or an older copy was put
in its place.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

MODE: Final = 0o600
_TRIES: Final = 5
_PAUSE_SEC: Final = 0.05
# Windows locks bytes against reading too: this one is beyond what is read.
_FAR: Final = 1 << 30
_FIELDS: Final = struct.Struct(">QQ")
_CHECK: Final = struct.Struct(">I")


class Held(Exception):
    """Another process holds the lock; the text says which, where that is known."""


class Mark(NamedTuple):
    """The process that holds the lock, or held it last, and the sequence number of its last commit."""

    process: int
    sequence: int


class LockFile:
    """The lock file of one journal. Raises `OSError` where it cannot be made."""

    def __init__(self, journal: Path) -> None:
        self.path = lock_path(journal)
        self._file = -1

    def take(self) -> Mark | None:
        """Lock it, and what was marked before. Raises `Held`. `anystrat journal info` may hold it for an instant."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), MODE)
        for left in reversed(range(_TRIES)):
            if _locked(file):
                break
            if not left:
                mark = _read(file)
                os.close(file)
                raise Held(f"process {mark.process}" if mark else "another process")
            time.sleep(_PAUSE_SEC)
        self._file = file
        return _read(file)

    def mark(self, sequence: int) -> None:
        """Write down that this commit is durable."""
        fields = _FIELDS.pack(os.getpid(), sequence)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, fields + _CHECK.pack(crc32(fields)))

    def release(self) -> None:
        """Give the lock back; the file stays, with its mark."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def lock_path(journal: Path) -> Path:
    """The lock file of a journal."""
    return journal.with_name(journal.name + ".lock")


def look(journal: Path) -> tuple[Mark | None, bool]:
    """What is marked, and whether a process holds the lock now."""
    try:
        file = os.open(lock_path(journal), os.O_RDWR)
    except OSError:
        return None, False
    try:
        return _read(file), not _locked(file)
    finally:
        os.close(file)


def _read(file: int) -> Mark | None:
    os.lseek(file, 0, os.SEEK_SET)
    content = os.read(file, _FIELDS.size + _CHECK.size)
    fields = content[: _FIELDS.size]
    if content[_FIELDS.size :] != _CHECK.pack(crc32(fields)):
        return None  # empty, or torn by a power cut
    return Mark(*_FIELDS.unpack(fields))


if sys.platform == "win32":
    import msvcrt

    def _locked(file: int) -> bool:
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
