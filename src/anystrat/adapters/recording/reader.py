"""Reading a recording, also one that is being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from anystrat.adapters.recording import events_file
from anystrat.adapters.recording.events_file import EventLine, Missing, read_events
from anystrat.adapters.recording.log_file import LogReader, log_paths
from anystrat.adapters.recording.manifest import RecordingRefused, read_manifest
from anystrat.adapters.tick_files.decode import Tally
from anystrat.adapters.tick_files.jsonl_file import JsonlSource
from anystrat.adapters.tick_files.merge import sliced
from anystrat.adapters.tick_files.parquet_file import ParquetSource
from anystrat.adapters.tick_files.source import TickSourceFile
from anystrat.domain.columns import TickColumns
from anystrat.domain.events import RecordedEvent

Recorded = TickColumns | RecordedEvent | Missing

BLOCK_ROWS: Final = 65_536
_ATTEMPTS: Final = 100


class RecordingReader:
    """A recording as it is now; what is added while it is read is not seen. Raises `RecordingRefused` for what is none."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.manifest = read_manifest(self.directory)

    @property
    def shards(self) -> range:
        """The numbers of its shards."""
        return range(self.manifest.shards)

    def inputs(self, shard: int = 0, *, block_rows: int = BLOCK_ROWS) -> Generator[Recorded, None, None]:
        """What the shard's engine took, in order: blocks of ticks, events, and marks where inputs are missing.

        Raises `RecordingRefused` where a piece is damaged, or not there.
        """
        snapshot = _Snapshot(self.directory / f"shard-{shard}")
        with closing(snapshot):
            tally = Tally()
            yield from _placed(snapshot.blocks(block_rows, tally), snapshot.events())
            if tally.malformed:
                raise RecordingRefused(f"the recording is damaged: {tally.first[0]}")
            for log in snapshot.logs:
                expected = log.head.next_input
                for frame in log.frames():
                    if frame.first > expected:
                        yield Missing(expected, frame.first - 1)
                    yield from frame.decoded()
                    expected = frame.first + frame.count

    def tick_source(self, shard: int) -> RecordedTicks:
        """The shard's ticks alone, as a tick file."""
        return RecordedTicks(self.directory / f"shard-{shard}")


def read_recording(directory: str | os.PathLike[str], shard: int = 0) -> Iterator[Recorded]:
    """What the engine of a shard took, in order; see `RecordingReader.inputs`."""
    return RecordingReader(directory).inputs(shard)


class RecordedTicks:
    """The ticks of one shard, its pieces one after the other, as `adapters.tick_files` reads files."""

    total_rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        with closing(_Snapshot(path)) as snapshot:
            self.total_bytes = snapshot.size

    def blocks(self, block_rows: int, tally: Tally) -> Iterator[TickColumns]:
        """The ticks in blocks that are never empty."""
        with closing(_Snapshot(self.path)) as snapshot:
            for block in snapshot.blocks(block_rows, tally):
                self.bytes_read = min(self.total_bytes, snapshot.bytes_read)
                yield block
            for block in self._not_yet_pieces(snapshot):
                for start in range(0, len(block), block_rows):
                    yield sliced(block, start, min(start + block_rows, len(block)))
        self.bytes_read = self.total_bytes

    def groups_backwards(self, block_rows: int, worth: Callable[[int, int], bool]) -> Iterator[Iterator[TickColumns]]:
        """The ticks in groups, the last ones first, as `ParquetSource` has them."""
        with closing(_Snapshot(self.path)) as snapshot:
            yield self._not_yet_pieces(snapshot)
            for piece in reversed(snapshot.pieces()):
                if isinstance(piece, ParquetSource):
                    yield from piece.groups_backwards(block_rows, worth)
                else:
                    yield piece.blocks(block_rows, Tally())

    @staticmethod
    def _not_yet_pieces(snapshot: _Snapshot) -> Iterator[TickColumns]:
        for log in snapshot.logs:
            for frame in log.frames():
                yield from (each for each in frame.decoded() if isinstance(each, TickColumns))


class _Snapshot:
    """A shard's files as they belong together: pieces and events from before the first `.inputs` file, then these."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logs = _opened(directory)
        self._end = self.logs[0].head if self.logs else None
        self._pieces = sorted(
            path
            for path in directory.glob("ticks-*.*")
            if path.suffix in {".parquet", ".jsonl"} and (self._end is None or _number(path) < self._end.piece)
        )
        self._done = 0
        self._current: TickSourceFile | None = None

    @property
    def size(self) -> int:
        """Bytes of the pieces and of what is none yet."""
        return sum(path.stat().st_size for path in [*self._pieces, *log_paths(self.directory)])

    @property
    def bytes_read(self) -> int:
        """How far into `size` the pieces were read."""
        return self._done + (0 if self._current is None else self._current.bytes_read)

    def blocks(self, block_rows: int, tally: Tally) -> Iterator[TickColumns]:
        """The ticks of the pieces."""
        ticks = 0
        for source in self.pieces():
            self._current = source
            for block in source.blocks(block_rows, tally):
                ticks += len(block)
                yield block
            self._done += source.total_bytes
            self._current = None
        if self._end is not None and ticks != self._end.ticks:
            raise RecordingRefused(
                f"{self.directory}: the pieces hold {ticks} ticks; {self._end.ticks} were recorded. Is a file missing?"
            )

    def pieces(self) -> list[TickSourceFile]:
        """The pieces as tick files, in order."""
        return [ParquetSource(path) if path.suffix == ".parquet" else JsonlSource(path) for path in self._pieces]

    def events(self) -> Iterator[EventLine]:
        """The events among the ticks of the pieces."""
        return read_events(self.directory / events_file.FILE, None if self._end is None else self._end.event_bytes)

    def close(self) -> None:
        """Let go of the files."""
        for log in self.logs:
            log.close()


def _opened(directory: Path) -> list[LogReader]:
    """The `.inputs` files, held open: a piece that is made of one meanwhile does not take it away."""
    for _ in range(_ATTEMPTS):
        logs: list[LogReader] = []
        try:
            for path in log_paths(directory):
                logs.append(LogReader(path))  # noqa: PERF401  those that are open must be closed where one is gone
        except FileNotFoundError:  # it has just become a piece
            for log in logs:
                log.close()
        else:
            return logs
    raise RecordingRefused(f"{directory}: its files change faster than they can be opened")


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("ticks-")
    return int(digits) if digits.isdecimal() else 0


def _placed(blocks: Iterable[TickColumns], events: Iterator[EventLine]) -> Iterator[Recorded]:
    """Ticks with the events between them."""
    position = 0
    line = next(events, None)
    for block in blocks:
        done = 0
        while line is not None and line.position < position + len(block):
            cut = line.position - position
            if cut > done:
                yield sliced(block, done, cut)
                done = cut
            yield line.event
            line = next(events, None)
        if done < len(block):
            yield sliced(block, done, len(block))
        position += len(block)
    while line is not None:
        if line.position > position:
            raise RecordingRefused(
                f"an event comes after tick {line.position}; there are {position} ticks in the pieces"
            )
        yield line.event
        line = next(events, None)
