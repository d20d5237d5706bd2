"""Signals into a JSONL file, a line each; safe on disk before they are called taken, and none twice."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from anystrat.adapters.durable_names import make_directory, sync_directory
from anystrat.adapters.offload import Offload, in_a_thread
from anystrat.domain.delivery import TAKEN, Reconcilable, SendResult, SinkUnavailable

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from anystrat.domain.journal import OutboxSignal

T = TypeVar("T")

#: Signals in a group. What a process before this one left in doubt is within so many lines of the file's end: smaller
#: in a later version, this number would have to stay as it is for reading.
_LARGEST_GROUP: Final = 4_096
_CHUNK: Final = 1 << 20


class _Line(msgspec.Struct):
    signal_id: str = ""


class JsonlSink:
    """Appends to one file, of which it is the only writer.

    `Reconcilable`: a group is written and synced as one, and what could not be answered for is taken out again before
    anything else is written. So whatever an earlier process left in doubt stands within the last lines of the file, which
    are read when it is opened; that is where `has` looks. What a power cut has torn of the last group is cut off then, from
    the first line on that is not whole: those signals are not there.
    """

    def __init__(self, path: Path, *, offload: Offload = in_a_thread) -> None:
        self._path = path
        self._offload = offload
        self._file = -1
        self._safe = -1  # the length up to which everything was answered for; -1: not known yet
        self._in_doubt = False  # whether something may stand behind that
        self._found: set[str] = set()
        self._work: asyncio.Future[Any] | None = None

    @property
    def guarantee(self) -> Reconcilable:
        return Reconcilable()

    @property
    def largest_group(self) -> int:
        return _LARGEST_GROUP

    async def open(self) -> None:
        await self._wait()
        await self._done(self._opened)

    async def send(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        lines = b"".join([signal.body + b"\n" for signal in signals])
        self._in_doubt = True
        self._safe = await self._done(lambda: self._appended(lines))
        self._in_doubt = False
        return [TAKEN] * len(signals)

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        return [signal.signal_id in self._found for signal in signals]

    async def close(self) -> None:
        # A write that nobody waits for any more goes to its end first, and is then taken back.
        await self._wait()
        await self._done(self._closed)

    async def _done(self, work: Callable[[], T]) -> T:
        """The result of the work. Where the wait is cancelled it goes on, and the next piece of work waits for it."""
        task = asyncio.ensure_future(self._offload(work))
        self._work = task
        return await asyncio.shield(task)

    async def _wait(self) -> None:
        if self._work is not None and not self._work.done():
            await asyncio.wait({self._work})

    def _opened(self) -> None:
        if self._file >= 0:
            return
        make_directory(self._path.parent)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _lock(file, self._path)
            self._take_back(file)
            end, tail = _cut(file)
            if self._safe < 0:
                # What is found is called taken, so it has to be safe.
                os.fsync(file)
                sync_directory(self._path.parent)
                self._found = _ids(tail)
        except BaseException:
            os.close(file)
            raise
        self._file, self._safe = file, end

    def _appended(self, lines: bytes) -> int:
        self._check_place()
        before = os.fstat(self._file).st_size
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            # Nothing of the group may stay, or its lines would be there twice.
            os.ftruncate(self._file, before)
            raise SinkUnavailable(f"{self._path}: {error.strerror}; nothing of the group was kept") from error
        return before + len(lines)

    def _check_place(self) -> None:
        """Raise `SinkUnavailable` where the path leads to this file no more: who opens it anew makes another."""
        try:
            there = os.path.samestat(os.fstat(self._file), self._path.stat())
        except OSError:
            there = False
        if not there:
            raise SinkUnavailable(f"{self._path} was moved, replaced or deleted; what comes now goes into a new file")

    def _closed(self) -> None:
        if self._file < 0:
            return
        file, self._file = self._file, -1
        try:
            self._take_back(file)
        finally:
            os.close(file)

    def _take_back(self, file: int) -> None:
        if self._in_doubt and os.fstat(file).st_size > self._safe:
            os.ftruncate(file, self._safe)
            os.fsync(file)
        self._in_doubt = False


def _lock(file: int, path: Path) -> None:
    if sys.platform == "win32":
        return  # no such locks there: whoever runs two on one file has the lines of both in it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SinkUnavailable(
            f"{path} is written to by somebody else; give each broker and each run a file of its own"
        ) from error


def _cut(file: int) -> tuple[int, bytes]:
    """Cut off what was never written out; the length of what is left, and its last lines.

    That is a last line without an end, and everything from the first zero on: no line of JSON has one, and sectors of the
    last group that did not reach the disk read as zeros, where later ones may have reached it.
    """
    size = begin = os.fstat(file).st_size
    tail = b""
    while begin > 0 and tail.count(b"\n") <= _LARGEST_GROUP:
        end, begin = begin, max(0, begin - _CHUNK)
        tail = os.pread(file, end - begin, begin) + tail
    zero = tail.find(b"\0")
    tail = tail[: tail.rfind(b"\n", 0, len(tail) if zero < 0 else zero) + 1]
    if begin + len(tail) < size:
        os.ftruncate(file, begin + len(tail))
        os.fsync(file)
    return begin + len(tail), tail


def _ids(tail: bytes) -> set[str]:
    """The signal ids in the last lines."""
    found = set()
    decoder = msgspec.json.Decoder(_Line)
    for line in tail.split(b"\n")[-_LARGEST_GROUP - 1 :]:
        try:
            found.add(decoder.decode(line).signal_id)
        except msgspec.MsgspecError:  # not a line of ours
            continue
    return found
