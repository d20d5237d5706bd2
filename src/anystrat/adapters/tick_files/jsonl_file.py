"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anystrat.adapters.tick_files.decode import MalformedRow, Tally
from anystrat.adapters.tick_files.json_ticks import JsonLines, parsed
from anystrat.adapters.tick_files.lines import Lines
from anystrat.adapters.tick_files.source import INSTRUMENT, PRICE, TIMESTAMP, TS_NS, missing
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import TickFileError

_PROBED_LINES = 100


class JsonlSource:
    """A JSONL file, found to hold objects with the needed keys among its first lines."""

    total_rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total_bytes = path.stat().st_size
        self._lines = Lines(path)
        self._probe()

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read."""
        return self._lines.bytes_read

    @bytes_read.setter
    def bytes_read(self, value: int) -> None:
        self._lines.bytes_read = value

    def blocks(self, block_rows: int, tally: Tally) -> Iterator[TickColumns]:
        """The good rows, in blocks."""
        decoder = JsonLines(str(self.path))
        for number, lines in self._lines.batches(block_rows):
            block = decoder.block(number, lines, tally)
            if len(block):
                yield block

    def _probe(self) -> None:
        """Refuse what is no JSONL at all, and a file in which nothing has a needed key: that is a wrong name."""
        keys: dict[str, None] = {}
        objects = lines = 0
        first = b""
        for _, batch in self._lines.batches(_PROBED_LINES):
            for line in batch:
                if line is not None and not line.strip():
                    continue
                lines += 1
                found = _object(line)
                if found is not None:
                    objects += 1
                    keys.update(dict.fromkeys(found))
            first = batch[0] or b""
            break
        if lines and not objects:
            array = "; a JSON array is not read" if first.lstrip()[:1] == b"[" else ""
            raise TickFileError(
                f"{self.path}: not one of the first {lines} lines is a JSON object; expected one object a line{array}"
            )
        for names in ((TS_NS, TIMESTAMP), (INSTRUMENT,), (PRICE,)):
            if objects and not any(name in keys for name in names):
                raise TickFileError(f"{self.path}: in the first {lines} lines {missing(names, list(keys))}")


def _object(line: bytes | None) -> dict[str, Any] | None:
    try:
        found = None if line is None else parsed(line)
    except MalformedRow:
        return None
    return found if isinstance(found, dict) else None
