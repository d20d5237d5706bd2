"""A few bytes that survive the process: a small file, mapped into memory, and never synced.

The operating system keeps what was written to its pages when the process dies, whatever it dies of.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from anystrat.adapters.durable_names import make_directory

if TYPE_CHECKING:
    from anystrat.domain.events import TickQuarantined

_MODE: Final = 0o600
_SIZE: Final = 65_536
_HEAD: Final = struct.Struct(">II")
_NOTHING: Final = _HEAD.pack(0, 0)


class MarkFile:
    """The file at `path`, and beside it a tick file of what was kept. Both are their owner's alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = path.with_name(path.name.removesuffix(".mark") + ".quarantined.jsonl")
        self._map: mmap.mmap | None = None

    @property
    def kept_in(self) -> str:
        return str(self._kept)

    def open(self) -> bytes:
        make_directory(self._path.parent)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), _MODE)
        try:
            missing = _SIZE - os.fstat(file).st_size
            if missing > 0:
                # Written, and not only made long: a page without room on the disk would be an end of its own.
                os.lseek(file, 0, os.SEEK_END)
                os.write(file, bytes(missing))
            self._map = mmap.mmap(file, _SIZE)
        finally:
            os.close(file)
        size, check = _HEAD.unpack_from(self._map)
        data = self._map[_HEAD.size : _HEAD.size + size]
        return data if crc32(data) == check else b""

    def write(self, data: bytes) -> None:
        """See the port. More than there is room for is no mark."""
        if self._map is None:
            return
        record = _HEAD.pack(len(data), crc32(data)) + data
        if len(record) > _SIZE:
            record = _NOTHING
        self._map[: len(record)] = record

    def keep(self, tick: TickQuarantined) -> None:
        line = {
            "ts_ns": tick.ts_ns,
            "instrument_token": tick.instrument_token,
            "price": tick.price,
            **{
                name: value
                for name, value in (
                    ("size", tick.volume),
                    ("bid", tick.bid),
                    ("ask", tick.ask),
                    ("halted", tick.halted),
                    ("auction", tick.auction),
                )
                if value
            },
            "deaths": tick.deaths,
            "partition": tick.partition,
        }
        file = os.open(self._kept, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
        try:
            os.write(file, msgspec.json.encode(line) + b"\n")
        finally:
            os.close(file)

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
