"""Ticks from standard input, JSON Lines or CSV, as they are written."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from anystrat.adapters.offload import in_a_thread
from anystrat.adapters.tick_files.csv_file import CsvLines
from anystrat.adapters.tick_files.decode import Tally, columns_of_rows
from anystrat.adapters.tick_files.json_ticks import JsonLines
from anystrat.adapters.tick_files.lines import LineSplitter
from anystrat.domain.endpoints import TickFormat
from anystrat.domain.errors import TickFileError
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, TickBatch

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns

PARTITION: Final = "stdin"
_CHUNK: Final = 1 << 16
_MOST: Final = 1 << 20
#: Malformed lines that are told of one by one.
_SHOWN: Final = 5

#: Waits until there is something, answers with all that is there; nothing at the end.
ReadBytes = Callable[[], Awaitable[bytes]]


class StdinFeed:
    """Lines of text as a `LiveSource`: each batch is what had come by then, so that few wait little and many cost little.

    An offset counts lines, from 1 or from after the last one of the run before; what was written while nobody read is
    gone. The first malformed lines are told of, all are counted.
    """

    resumable = False

    def __init__(self, lines: TickFormat = TickFormat.JSONL, *, read: ReadBytes | None = None) -> None:
        self._format = lines
        self._read = read or reader_of(0)

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        decoder = _Decoder(self._format)
        splitter = LineSplitter()
        offset, shown = after.get(PARTITION, 0), 0
        ended = False
        while not ended:
            chunk = await self._read()
            ended = not chunk
            lines = splitter.lines(chunk) if chunk else splitter.rest()
            if not lines:
                continue
            tally = Tally()
            try:
                ticks = decoder.ticks(lines, tally)
            except TickFileError as error:
                raise SourceFailed(str(error)) from error
            start, offset = offset, offset + len(lines)
            for place in tally.first[: max(0, _SHOWN - shown)]:
                shown += 1
                yield SourceNotice(NoticeKind.QUARANTINED, PARTITION, {"what": place})
            offsets = np.arange(start + 1, start + len(ticks) + 1, dtype=np.int64)
            yield TickBatch(PARTITION, ticks, offsets, offset, tally.malformed)

    async def acknowledge(self, partition: str, offset: int) -> None:
        pass  # what was read is gone from the pipe

    async def close(self) -> None:
        pass  # standard input is not ours to close


class _LinesDecoder(Protocol):
    def block(self, number: int, lines: list[bytes | None], tally: Tally) -> TickColumns: ...


class _Decoder:
    """Knows how many lines there were, and finds the header of CSV."""

    def __init__(self, lines: TickFormat) -> None:
        self._lines: _LinesDecoder | None = JsonLines("standard input") if lines is TickFormat.JSONL else None
        self._number = 1

    def ticks(self, lines: list[bytes | None], tally: Tally) -> TickColumns:
        """The ticks of the next lines. Raises `TickFileError` for a first line that is no header of CSV."""
        number, self._number = self._number, self._number + len(lines)
        if self._lines is None:
            blank = next((at for at, line in enumerate(lines) if line is None or line.strip()), len(lines))
            if blank == len(lines):
                return columns_of_rows((), (), ())
            self._lines = CsvLines("standard input", lines[blank] or b"", number + blank)
            number, lines = number + blank + 1, lines[blank + 1 :]
        return self._lines.block(number, lines, tally)


def reader_of(descriptor: int) -> ReadBytes:
    """Reads a pipe, a terminal or a socket without ever waiting in the kernel; a regular file beside the loop."""

    async def read() -> bytes:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def there() -> None:
            if not readable.done():
                readable.set_result(None)

        try:
            loop.add_reader(descriptor, there)
        except (PermissionError, NotImplementedError):  # a regular file, which is always ready; a loop that cannot
            return await in_a_thread(lambda: os.read(descriptor, _MOST))
        try:
            await readable
        finally:
            loop.remove_reader(descriptor)
        return _available(descriptor)

    return read


def _available(descriptor: int) -> bytes:
    """All that can be read now, up to a bound; nothing at the end of the stream."""
    parts = [os.read(descriptor, _CHUNK)]
    size = len(parts[0])
    while parts[-1] and size < _MOST and select.select([descriptor], [], [], 0)[0]:
        parts.append(os.read(descriptor, _CHUNK))
        size += len(parts[-1])
    return b"".join(parts)
