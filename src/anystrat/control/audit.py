"""The audit log: who did what, in lines that hang together by their hashes, so that a change of any of them shows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from anystrat.control.places import OWNER_ONLY, sync_directory
from anystrat.domain.errors import AnystratError

#: What the first line follows on.
GENESIS: Final = "0" * 64
_LONGEST: Final = 1024 * 1024
_HASHED: Final = msgspec.json.Encoder(order="deterministic")


class AuditRefused(AnystratError):
    """The audit log is not what was written, or cannot be written; the text says where."""


class Entry(msgspec.Struct, frozen=True):
    """One line. `hash` is SHA-256 over all else of it, `previous` the hash of the line before."""

    number: int
    at_ns: int
    actor: str
    client: str
    action: str
    details: dict[str, Any]
    previous: str
    hash: str


class AuditLog:
    """Appends to one file, each line durable on return. Whoever holds the journal writes it: there is one writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: tuple[int, str] | None = None

    def append(self, at_ns: int, actor: str, client: str, action: str, details: dict[str, Any]) -> Entry:
        """Write a line. Raises `AuditRefused` where the file is damaged, `OSError` where it cannot be written."""
        number, previous = self._end()
        made = Entry(number + 1, at_ns, actor, client, action, details, previous, "")
        entry = msgspec.structs.replace(made, hash=_hash(made))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        opened = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, OWNER_ONLY)
        try:
            os.write(opened, msgspec.json.encode(entry) + b"\n")
            os.fsync(opened)
        finally:
            os.close(opened)
        if new:
            sync_directory(self.path.parent)
        self._last = (entry.number, entry.hash)
        return entry

    def open(self) -> None:
        """Check all that is there, before anything is added. Raises `AuditRefused`."""
        self._last = None
        self._end()

    def _end(self) -> tuple[int, str]:
        if self._last is None:
            last = None
            _cut_torn_line(self.path)
            for entry in verified(self.path):
                last = entry
            self._last = (0, GENESIS) if last is None else (last.number, last.hash)
        return self._last


def verified(path: Path) -> Iterator[Entry]:
    """The lines, in order, each checked against all before it. Raises `AuditRefused` at the first that is not as written."""
    previous, number = GENESIS, 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            number += 1
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise AuditRefused(f"{path}:{number}: no line of an audit log: {error}") from None
            if entry.number != number:
                raise AuditRefused(f"{path}:{number}: this is line {entry.number}: lines were taken out or moved")
            if entry.previous != previous:
                raise AuditRefused(f"{path}:{number}: it does not follow on the line before, which was changed")
            if entry.hash != _hash(entry):
                raise AuditRefused(f"{path}:{number}: it was changed after it was written")
            previous = entry.hash
            yield entry


def _cut_torn_line(path: Path) -> None:
    """A line that a power cut left half written was never acted upon: it would swallow the next one, or be called a change.

    It has no end, or zeros where a sector of it did not reach the disk.
    """
    try:
        opened = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    with os.fdopen(opened, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _LONGEST)
        file.seek(start)
        tail = file.read()
        last = tail.rfind(b"\n", 0, len(tail) - 1) + 1
        if tail and (not tail.endswith(b"\n") or b"\0" in tail[last:]):
            file.truncate(start + last)


def _hash(entry: Entry) -> str:
    return hashlib.sha256(_HASHED.encode(msgspec.structs.replace(entry, hash=""))).hexdigest()
