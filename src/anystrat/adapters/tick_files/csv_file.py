"""CSV with a header.

A row is one line: a quoted field may hold commas, not line ends, so that one stray quote costs one row and not the rest
of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anystrat.adapters.tick_files.decode import (
    MalformedRow,
    RowValues,
    StampReader,
    Tally,
    columns_of,
    columns_of_rows,
    decoded_closely,
    exact_of_texts,
    flag_of_text,
    integer_of_text,
    number_of_text,
    price_of_text,
    shown,
)
from anystrat.adapters.tick_files.lines import MAX_LINE, Lines
from anystrat.adapters.tick_files.source import (
    BARS,
    FLAGS,
    INSTRUMENT,
    NUMBERS,
    PRICE,
    TIMESTAMP,
    TS_NS,
    as_ticks,
    check_columns,
)
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import TickFileError

_COMMA, _LINE_END = b",\n"


class CsvLines:
    """Lines under a header to ticks; `place` is what messages call the text that they are from.

    Raises `TickFileError` for a header that lacks a needed column, or is none.
    """

    def __init__(self, place: str, header: bytes, at: int = 1) -> None:
        self._place = place
        names = as_ticks(_names(place, header, at))
        check_columns(place, names)
        self._stamps = StampReader()
        self._width = len(names)
        self._time = TS_NS if TS_NS in names else TIMESTAMP
        self._at = {name: names.index(name) for name in (self._time, INSTRUMENT, PRICE)}
        self._numbers = {name: names.index(name) for name in (*NUMBERS, *BARS) if name in names}
        self._flags = {name: names.index(name) for name in FLAGS if name in names}

    def block(self, number: int, lines: list[bytes | None], tally: Tally) -> TickColumns:
        """The good ones of these lines, the first of which is line `number`; None is a line that is too long."""
        block = self._fast(lines, self._stamps)
        if block is not None:
            return block
        rows = decoded_closely(self._place, number, lines, lambda line: self._row(line, self._stamps), tally)
        return columns_of_rows(rows, tuple(self._numbers), tuple(self._flags))

    def _fast(self, lines: list[bytes | None], stamps: StampReader) -> TickColumns | None:
        """All lines at once; None when any of them needs a close look."""
        if None in lines:
            return None
        fields = self._grid(b"\n".join(lines))  # type: ignore[arg-type]  # there is no None
        if fields is None:
            return None

        def column(at: int) -> list[bytes]:
            return fields[at :: self._width]

        try:
            if self._time == TS_NS:
                times = _integers(column(self._at[TS_NS]))
            else:
                times = np.array(
                    [stamps.ns(TIMESTAMP, t.decode("ascii")) for t in column(self._at[TIMESTAMP])], np.int64
                )
            texts = column(self._at[PRICE])
            price = _floats(texts)
            return columns_of(
                times,
                _integers(column(self._at[INSTRUMENT])),
                price,
                exact_of_texts(texts, price),
                {
                    **{name: _floats([text or b"nan" for text in column(at)]) for name, at in self._numbers.items()},
                    **{name: _flags(name, column(at)) for name, at in self._flags.items()},
                },
            )
        except (ValueError, OverflowError):
            return None

    def _grid(self, text: bytes) -> list[bytes] | None:
        """The fields of all lines, one after the other; None when a line doesn't have its number, or has quotes."""
        if b'"' in text:
            return None
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
        letters = np.frombuffer(text, np.uint8)
        ends = letters[(letters == _COMMA) | (letters == _LINE_END)]
        last_of_lines = ends[self._width - 1 :: self._width] == _LINE_END
        if (len(ends) + 1) % self._width or not last_of_lines.all() or len(last_of_lines) != text.count(b"\n"):
            return None
        return text.replace(b"\n", b",").split(b",")

    def _row(self, line: bytes, stamps: StampReader) -> RowValues:
        fields = _fields(line.decode("utf-8", "surrogateescape").rstrip("\r"))
        if len(fields) != self._width:
            raise MalformedRow(f"{len(fields)} fields, expected {self._width}; found {shown(line)}")
        time = fields[self._at[self._time]]
        price, exact = price_of_text(fields[self._at[PRICE]])
        return RowValues(
            integer_of_text(TS_NS, time) if self._time == TS_NS else stamps.ns(TIMESTAMP, time),
            integer_of_text(INSTRUMENT, fields[self._at[INSTRUMENT]]),
            price,
            exact,
            tuple(
                number_of_text(name, fields[at]) if fields[at].strip() else np.nan for name, at in self._numbers.items()
            ),
            tuple(flag_of_text(name, fields[at]) for name, at in self._flags.items()),
        )


class CsvSource:
    """A CSV file whose header has the needed columns."""

    total_rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total_bytes = path.stat().st_size
        self._lines = Lines(path)
        self._header, self._header_line = self._found_header()
        CsvLines(str(path), self._header, self._header_line)

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read."""
        return self._lines.bytes_read

    @bytes_read.setter
    def bytes_read(self, value: int) -> None:
        self._lines.bytes_read = value

    def blocks(self, block_rows: int, tally: Tally) -> Iterator[TickColumns]:
        """The good rows, in blocks."""
        decoder = CsvLines(str(self.path), self._header, self._header_line)
        for first, batch in self._lines.batches(block_rows):
            skipped = max(0, self._header_line - first + 1)
            block = decoder.block(first + skipped, batch[skipped:], tally)
            if len(block):
                yield block

    def _found_header(self) -> tuple[bytes, int]:
        for number, lines in self._lines.batches(100):
            for at, line in enumerate(lines, start=number):
                if line is None:
                    raise TickFileError(f"{self.path}:{at}: a line of over {MAX_LINE} bytes; expected a header")
                if line.strip():
                    return line, at
        raise TickFileError(f"{self.path}: holds blank lines only; expected a header and ticks")


def _names(place: str, line: bytes, at: int) -> list[str]:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TickFileError(f"{place}: the text is UTF-16; expected UTF-8")
    text = line.decode("utf-8", "replace").rstrip("\r")
    try:
        names = [name.strip() for name in _fields(text)]
    except MalformedRow as error:
        raise TickFileError(f"{place}:{at}: {error}; expected a header") from error
    if len(names) == 1:
        for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in text:
                raise TickFileError(f"{place}: the columns are separated by {called}; expected commas")
    if all(name.strip("+-").replace(".", "", 1).isdigit() for name in names):
        raise TickFileError(f"{place}: the first line is {shown(text)}; expected a header that names the columns")
    return names


def _fields(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise MalformedRow(f"no CSV: {error}; found {shown(text)}") from error


def _integers(texts: list[bytes]) -> NDArray[np.int64]:
    _no_underscore(texts)
    return np.array(list(map(int, texts)), np.int64)


def _floats(texts: list[bytes]) -> NDArray[np.float64]:
    _no_underscore(texts)
    return np.array(list(map(float, texts)), np.float64)


def _no_underscore(texts: list[bytes]) -> None:
    """`int` and `float` read 1_000 as a number; a tick file doesn't mean that."""
    if b"_" in b"".join(texts):
        raise MalformedRow("an underscore")


def _flags(name: str, texts: list[bytes]) -> NDArray[np.bool_]:
    known = {text: flag_of_text(name, text.decode("ascii")) for text in set(texts)}
    return np.array([known[text] for text in texts], np.bool_)
