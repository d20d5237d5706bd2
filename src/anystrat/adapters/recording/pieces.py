"""A full `.inputs` file becomes a piece: a tick file, and lines of `events.jsonl`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from anystrat.adapters.durable_names import sync_directory
from anystrat.adapters.recording import events_file
from anystrat.adapters.recording.events_file import Missing, event_line
from anystrat.adapters.recording.log_file import Head, LogReader
from anystrat.adapters.recording.manifest import open_private, publish
from anystrat.domain.columns import TickColumns, joined
from anystrat.domain.errors import MissingExtra
from anystrat.domain.inputs import Input, count_of

_ROW_GROUP: Final = 65_536
_NUMBERS: Final = (("size", "volume"), ("bid", "bid"), ("ask", "ask"))
_FLAGS: Final = ("halted", "auction")


@dataclass(slots=True)
class Content:
    """What has come: counted from a recording's beginning, and from one file's beginning also kept."""

    next_input: int
    ticks: int = 0
    event_bytes: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    blocks: list[TickColumns] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, log: LogReader) -> Content:
        """All that is whole in a file."""
        head = log.head
        content = cls(head.next_input, head.ticks, head.event_bytes, dict(head.marks))
        for frame in log.frames():
            for line in content.count(frame.first, list(frame.decoded()), frame.marks, content.blocks):
                content.lines.append(line)
        return content

    def count(
        self, first: int, inputs: Sequence[Input], marks: Mapping[str, int], blocks: list[TickColumns] | None = None
    ) -> list[bytes]:
        """Take inputs from number `first` on into account; the lines that they add to the events, blocks into `blocks`."""
        lines = []
        if first > self.next_input:
            lines.append(event_line(self.ticks, Missing(self.next_input, first - 1)))
        for each in inputs:
            if isinstance(each, TickColumns):
                self.ticks += len(each)
                if blocks is not None:
                    blocks.append(each)
            else:
                lines.append(event_line(self.ticks, each))
        self.next_input = first + count_of(inputs)
        self.event_bytes += sum(map(len, lines))
        self.marks.update(marks)
        return lines

    def head(self, piece: int) -> Head:
        """The head of the file that comes next."""
        return Head(piece, self.next_input, self.ticks, self.event_bytes, dict(self.marks))


def tick_path(directory: Path, piece: int, suffix: str) -> Path:
    """Where a piece's ticks are."""
    return directory / f"ticks-{piece:06d}.{suffix}"


def settle(log_path: Path, suffix: str) -> None:
    """Make a piece of an `.inputs` file, durably, and delete that file last: doing it again after a crash does no harm."""
    log = LogReader(log_path)
    content = Content.of(log)
    directory = log_path.parent
    if content.blocks:
        path = tick_path(directory, log.head.piece, suffix)
        partial = path.with_name(path.name + ".partial")
        (_write_parquet if suffix == "parquet" else _write_jsonl)(partial, content.blocks)
        publish(partial, path)
    if content.lines:
        with open_private(directory / events_file.FILE, "ab") as stream:
            # What a crash left there of these very lines is written again.
            stream.truncate(log.head.event_bytes)
            stream.seek(0, os.SEEK_END)
            stream.write(b"".join(content.lines))
            stream.flush()
            os.fsync(stream.fileno())
    log_path.unlink()
    sync_directory(directory)


def parquet_writer() -> Any:
    """PyArrow's Parquet module. Raises `MissingExtra`."""
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("recording to Parquet", "parquet") from error


def _write_parquet(path: Path, blocks: list[TickColumns]) -> None:
    pq, pa = parquet_writer(), import_module("pyarrow")
    whole = joined(blocks)
    columns: dict[str, Any] = {"ts_ns": whole.ts_ns, "instrument_token": whole.instrument_token}
    # Text where a double cannot say it all; a plain double otherwise.
    columns["price"] = whole.price if whole.exact is None else pa.array(_price_texts(whole), pa.string())
    columns |= {name: getattr(whole, attribute) for name, attribute in _NUMBERS}
    columns |= {name: getattr(whole, name) for name in _FLAGS}
    table = pa.table({name: column for name, column in columns.items() if column is not None})
    with open_private(path, "wb") as stream:
        pq.write_table(table, stream, row_group_size=_ROW_GROUP, compression="zstd")
        stream.flush()
        os.fsync(stream.fileno())


def _write_jsonl(path: Path, blocks: list[TickColumns]) -> None:
    with open_private(path, "wb") as stream:
        for block in blocks:
            stream.write("".join(_json_lines(block)).encode("ascii"))
        stream.flush()
        os.fsync(stream.fileno())


def _json_lines(block: TickColumns) -> list[str]:
    lines = []
    for row, price in zip(block.rows(), _price_texts(block), strict=True):
        # A number that JSON does not have, and one that a double would cut, stand as text.
        shown = price if row.exact is None and math.isfinite(row.price) else f'"{price}"'
        more = "".join(
            f',"{name}":{value!r}' if math.isfinite(value) else f',"{name}":"{value!r}"'
            for name, value in (("size", row.volume), ("bid", row.bid), ("ask", row.ask))
            if value is not None
        )
        flags = "".join(f',"{name}":true' for name in _FLAGS if getattr(row, name))
        lines.append(
            f'{{"ts_ns":{row.ts_ns},"instrument_token":{row.instrument_token},"price":{shown}{more}{flags}}}\n'
        )
    return lines


def _price_texts(block: TickColumns) -> list[str]:
    exact = block.exact or [None] * len(block)
    return [repr(price) if text is None else str(text) for price, text in zip(block.price.tolist(), exact, strict=True)]
