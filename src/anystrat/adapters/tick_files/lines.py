"""Lines of a text file, plain or gzip, in bounded memory whatever the file holds."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from anystrat.domain.errors import TickFileError

#: A longer line is malformed and is skipped without being held.
MAX_LINE: Final = 1_000_000
_CHUNK = 1 << 20
_BATCH_BYTES = 16 << 20


class LineSplitter:
    """Whole lines out of a stream of bytes, however it is cut; None stands for a line that is too long to be held."""

    def __init__(self) -> None:
        self._tail = b""
        self._too_long = False
        self._first = True

    def lines(self, chunk: bytes) -> list[bytes | None]:
        """The lines that end in this chunk, without their line ends."""
        if self._first:
            chunk, self._first = chunk.removeprefix(b"\xef\xbb\xbf"), False
        parts = chunk.split(b"\n")
        parts[0] = self._tail + parts[0]
        self._tail = parts.pop()
        lines: list[bytes | None] = [line if len(line) <= MAX_LINE else None for line in parts]
        if self._too_long and lines:
            lines[0], self._too_long = None, False
        if self._too_long or len(self._tail) > MAX_LINE:
            self._tail, self._too_long = b"", True
        return lines

    def rest(self) -> list[bytes | None]:
        """What is left at the end of the stream: a last line without a line end, or nothing."""
        if self._too_long:
            return [None]
        return [self._tail] if self._tail else []


class Lines:
    """The lines of one file; `bytes_read` follows the reading, in bytes of the file as it lies on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0

    def batches(self, rows: int) -> Iterator[tuple[int, list[bytes | None]]]:
        """Up to `rows` lines at a time with the number of the first; None stands for a line that is too long."""
        pending: list[bytes | None] = []
        size, number = 0, 1
        for lines, length in self._chunks():
            pending += lines
            size += length
            start = 0
            while len(pending) - start >= rows or size > _BATCH_BYTES:
                batch = pending[start : start + rows]
                yield number, batch
                number += len(batch)
                start += len(batch)
                size = 0
            del pending[:start]
        if pending:
            yield number, pending

    def _chunks(self) -> Iterator[tuple[list[bytes | None], int]]:
        """The whole lines of every chunk, without their line ends, and how many bytes they are."""
        self.bytes_read = 0
        splitter = LineSplitter()
        with self._opened() as (raw, stream):
            while chunk := stream.read(_CHUNK):
                self.bytes_read = raw.tell()
                if lines := splitter.lines(chunk):
                    yield lines, len(chunk)
            if rest := splitter.rest():
                yield rest, sum(len(line or b"") for line in rest)

    @contextmanager
    def _opened(self) -> Generator[tuple[IO[bytes], IO[bytes]]]:
        try:
            with self.path.open("rb", buffering=0) as raw:
                if self.path.name.lower().endswith(".gz"):
                    with gzip.GzipFile(fileobj=raw) as stream:
                        yield raw, stream  # type: ignore[misc]  # GzipFile reads like IO[bytes] without being one
                else:
                    yield raw, raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TickFileError(f"{self.path}: the gzip data is truncated or damaged: {error}") from error
        except OSError as error:
            raise TickFileError(f"{self.path}: cannot be read: {error}") from error
