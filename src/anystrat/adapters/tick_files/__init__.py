"""Tick files: Parquet, JSONL and CSV, read as blocks of columns in bounded memory, several merged by time.

    reader = open_ticks(["monday.parquet", "tuesday.csv"])
    for block in reader:
        ...
    reader.malformed, reader.first_malformed

| column | Parquet | JSONL | CSV |
|---|---|---|---|
| `ts_ns` | any integer, a timestamp | integer | integer |
| or `timestamp` | a timestamp of any unit and zone, text | ISO 8601 text | ISO 8601 text |
| `instrument_token` | any integer | integer | integer |
| `price` | float, decimal, integer, text | number or text | number |
| `size`, `bid`, `ask` (optional) | as price | as price | as price |
| `halted`, `auction` (optional) | bool, 0 and 1 | bool, 0 and 1 | true, false, 1, 0 |

A CSV or Parquet file, or a data frame, without `price` but with `close` holds bars: ticks at their close, with `open`, `high`,
`low` and `volume` (whatever their case) in their metadata, where they are there.

A naive time is in UTC. With both `ts_ns` and `timestamp`, the first counts. Other columns are ignored. A row that cannot
be decoded is counted as malformed and the rest goes on; a price of NaN, infinity, zero or below is decoded: the engine
judges it. A text file whose last line ends early has one malformed row; one that is missing, empty, truncated (Parquet,
gzip) or without its columns raises `TickFileError`, where possible before the first tick.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anystrat.adapters.tick_files.csv_file import CsvSource
from anystrat.adapters.tick_files.decode import Tally
from anystrat.adapters.tick_files.jsonl_file import JsonlSource
from anystrat.adapters.tick_files.merge import Stream, merged
from anystrat.adapters.tick_files.parquet_file import ParquetSource
from anystrat.domain.errors import TickFileError, nearest_name

if TYPE_CHECKING:
    from anystrat.adapters.tick_files.source import TickSourceFile
    from anystrat.domain.columns import TickColumns

__all__ = ["DEFAULT_BLOCK_ROWS", "TickReader", "open_ticks"]

DEFAULT_BLOCK_ROWS = 65_536

_FORMATS: dict[str, Callable[[Path], TickSourceFile]] = {
    ".parquet": ParquetSource,
    ".pq": ParquetSource,
    ".jsonl": JsonlSource,
    ".ndjson": JsonlSource,
    ".jsonl.gz": JsonlSource,
    ".ndjson.gz": JsonlSource,
    ".csv": CsvSource,
    ".csv.gz": CsvSource,
}


class TickReader:
    """The ticks of one or several files, in blocks; made by `open_ticks`.

    Every iteration starts at the beginning and counts anew. Files are open only while an iteration is under way.
    """

    def __init__(self, sources: list[TickSourceFile], block_rows: int) -> None:
        self._sources = sources
        self._block_rows = block_rows
        self._tally = Tally()

    @property
    def paths(self) -> list[Path]:
        """The files, in the order in which ties are broken."""
        return [source.path for source in self._sources]

    @property
    def sources(self) -> Sequence[TickSourceFile]:
        """The files one by one, for who reads them in another order."""
        return self._sources

    @property
    def malformed(self) -> int:
        """How many rows could not be decoded so far."""
        return self._tally.malformed

    @property
    def first_malformed(self) -> list[str]:
        """Where the first few malformed rows are, and what was found there: `file:line: what`."""
        return list(self._tally.first)

    @property
    def total_rows(self) -> int | None:
        """How many rows the files hold, malformed ones included; None unless every file says so (Parquet does)."""
        total = 0
        for source in self._sources:
            if source.total_rows is None:
                return None
            total += source.total_rows
        return total

    @property
    def total_bytes(self) -> int:
        """How large the files are together."""
        return sum(source.total_bytes for source in self._sources)

    @property
    def bytes_read(self) -> int:
        """How far into `total_bytes` the reading is; for a progress bar, not for arithmetic."""
        return sum(source.bytes_read for source in self._sources)

    def __iter__(self) -> Iterator[TickColumns]:
        self._tally = tally = Tally()
        for source in self._sources:
            source.bytes_read = 0
        if len(self._sources) == 1:
            return self._sources[0].blocks(self._block_rows, tally)
        return merged([_stream(source, tally) for source in self._sources], self._block_rows)


def open_ticks(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, block_rows: int = DEFAULT_BLOCK_ROWS
) -> TickReader:
    """A reader over one or several tick files, or directories of recordings, each checked before this returns.

    Several files are merged by time, ties in the order of `paths`. No file is refused for its order: a row that is
    older than the one before it comes right after it. Blocks hold about `block_rows` rows, never many more.

    Raises `TickFileError` for a file that cannot be used, `MissingExtra` for Parquet without pyarrow.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if block_rows < 1:
        raise ValueError(f"block_rows must be at least 1, found {block_rows}")
    sources = [source for path in paths for source in _sources(Path(path))]
    if not sources:
        raise TickFileError("no tick file was named; expected at least one of " + ", ".join(_FORMATS))
    return TickReader(sources, block_rows)


def _sources(path: Path) -> list[TickSourceFile]:
    try:
        recorded = (path / "manifest.json").is_file()
    except OSError:  # as a name that is too long
        recorded = False
    if not recorded:
        return [_source(path)]
    from anystrat.adapters.recording import RecordingReader

    recording = RecordingReader(path)
    return [recording.tick_source(shard) for shard in recording.shards]


def _source(path: Path) -> TickSourceFile:
    name = path.name.lower()
    for suffix in sorted(_FORMATS, key=len, reverse=True):
        if name.endswith(suffix):
            break
    else:
        found = "".join(path.suffixes[-2:]) if name.endswith(".gz") else path.suffix
        nearest = nearest_name(found.lower(), _FORMATS)
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        raise TickFileError(
            f"{path}: the suffix {found!r} names no tick format{hint} (expected one of {', '.join(_FORMATS)})"
        )
    _must_hold_something(path)
    return _FORMATS[suffix](path)


def _must_hold_something(path: Path) -> None:
    try:
        if path.is_dir():
            raise TickFileError(f"{path}: is a directory; expected a file, such as {path}/ticks.parquet")
        if not path.exists():
            there = nearest_name(path.name, _siblings(path))
            hint = f"; did you mean {path.parent / there}?" if there else ""
            raise TickFileError(f"{path}: there is no such file{hint}")
        if not path.is_file():
            raise TickFileError(f"{path}: is not a regular file; expected one that can be read twice")
        if path.stat().st_size == 0:
            raise TickFileError(f"{path}: the file is empty; expected ticks")
    except (OSError, ValueError) as error:  # a name that the system cannot hold, a directory that it will not enter
        raise TickFileError(f"{path!r}: cannot be opened: {error}") from error


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def _stream(source: TickSourceFile, tally: Tally) -> Stream:
    def first_key() -> int | None:
        looked = Tally()
        for block in source.blocks(64, looked):
            return int(block.ts_ns[0])
        tally.include(looked)  # a file without a good row is never opened again
        return None

    return Stream(first_key, lambda block_rows: source.blocks(block_rows, tally))
