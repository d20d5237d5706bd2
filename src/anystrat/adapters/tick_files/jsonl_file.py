"""JSON Lines: one object a line. Most lines take a typed path; one that doesn't fit it is looked at closely."""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
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
from anystrat.adapters.tick_files.lines import Lines
from anystrat.adapters.tick_files.source import FLAGS, INSTRUMENT, KNOWN, NUMBERS, PRICE, TIMESTAMP, TS_NS, missing
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import TickFileError

_PROBED_LINES = 100


class _Line(msgspec.Struct, gc=False):
    """A line as it mostly is. The price stays raw, because its text is what counts."""

    instrument_token: int
    price: msgspec.Raw
    ts_ns: int | UnsetType = UNSET
    timestamp: str | UnsetType = UNSET
    size: float | None = None
    bid: float | None = None
    ask: float | None = None
    halted: bool | None = None
    auction: bool | None = None


class _NumberText(str):
    """The text of a JSON number, told apart from the text of a JSON string."""

    __slots__ = ()


_get_ts_ns, _get_instrument, _get_price = attrgetter("ts_ns"), attrgetter("instrument_token"), attrgetter("price")
_decode = msgspec.json.Decoder(_Line).decode
_decode_closely = json.JSONDecoder(parse_float=_NumberText, parse_int=_NumberText, parse_constant=_NumberText).decode


class JsonLines:
    """Lines of JSON objects to ticks; `place` is what the tally calls the text that they are from."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._stamps = StampReader()

    def block(self, number: int, lines: list[bytes | None], tally: Tally) -> TickColumns:
        """The good ones of these lines, the first of which is line `number`; None is a line that is too long."""
        block = _fast(lines, self._stamps)
        if block is not None:
            return block
        rows = decoded_closely(self._place, number, lines, lambda line: _row(line, self._stamps), tally)
        return columns_of_rows(rows, NUMBERS, FLAGS)


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
    if line is None:
        return None
    try:
        found = _decode_closely(line.decode("utf-8", "replace").strip())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _fast(lines: list[bytes | None], stamps: StampReader) -> TickColumns | None:
    """All lines at once; None when any of them needs a close look."""
    try:
        rows = list(map(_decode, lines))  # type: ignore[arg-type]  # None is no bytes: a TypeError, as for any odd line
        times = list(map(_get_ts_ns, rows))
        if UNSET in times:
            times = [_time(row, stamps) for row in rows]
        raw = list(map(_get_price, rows))
        try:
            prices = list(map(float, raw))  # Raw is a buffer, which float() reads
            texts: list[Any] = raw
        except ValueError:
            texts = [_unquoted(bytes(price)) for price in raw]
            if b"_" in b"".join(texts):
                return None
            prices = list(map(float, texts))
        price = np.array(prices, np.float64)
        optional = {
            **{name: _floats(list(map(attrgetter(name), rows))) for name in NUMBERS},
            **{name: _flags(list(map(attrgetter(name), rows))) for name in FLAGS},
        }
        return columns_of(
            np.array(times, np.int64),
            np.array(list(map(_get_instrument, rows)), np.int64),
            price,
            exact_of_texts(texts, price),
            {name: column for name, column in optional.items() if column is not None},
        )
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def _time(row: _Line, stamps: StampReader) -> int:
    if row.ts_ns is not UNSET:
        return row.ts_ns
    if row.timestamp is UNSET:
        raise MalformedRow(f"neither {TS_NS} nor {TIMESTAMP} is there")
    return stamps.ns(TIMESTAMP, row.timestamp)


def _unquoted(raw: bytes) -> bytes:
    return raw[1:-1] if raw[:1] == b'"' else raw


def _floats(values: list[float | None]) -> NDArray[np.float64] | None:
    if values.count(None) == len(values):
        return None
    return np.array(values, np.float64)  # None becomes NaN


def _flags(values: list[bool | None]) -> NDArray[np.bool_] | None:
    return np.array(values, np.bool_) if any(values) else None  # None becomes false


def _row(line: bytes, stamps: StampReader) -> RowValues:
    """One line, closely: Python's own literals for NaN and infinity, numbers in strings, and what is wrong with it."""
    try:
        found = _decode_closely(line.decode("utf-8", "replace").strip())
    except RecursionError as error:
        raise MalformedRow("nested too deeply") from error
    except ValueError as error:
        raise MalformedRow(f"no JSON: {error}; found {shown(line)}") from error
    if not isinstance(found, dict):
        raise MalformedRow(f"expected a JSON object, found {shown(line)}")
    if TS_NS in found:
        ts_ns = _integer(TS_NS, found)
    elif TIMESTAMP in found:
        ts_ns = stamps.ns(TIMESTAMP, _text(TIMESTAMP, found))
    else:
        raise MalformedRow(missing((TS_NS, TIMESTAMP), list(found)))
    token = _integer(INSTRUMENT, found)
    price, exact = price_of_text(_number(PRICE, found))
    numbers = tuple(
        np.nan if found.get(name) is None else number_of_text(name, _number(name, found)) for name in NUMBERS
    )
    return RowValues(ts_ns, token, price, exact, numbers, tuple(_flag(name, found.get(name)) for name in FLAGS))


def _present(name: str, found: dict[str, Any]) -> Any:
    if name not in found:
        raise MalformedRow(missing((name,), list(found)))
    return found[name]


def _integer(name: str, found: dict[str, Any]) -> int:
    value = _present(name, found)
    if not isinstance(value, _NumberText):
        raise MalformedRow(f"{name} is {shown(value)}, expected a whole number")
    return integer_of_text(name, value)


def _text(name: str, found: dict[str, Any]) -> str:
    value = _present(name, found)
    if not isinstance(value, str) or isinstance(value, _NumberText):
        raise MalformedRow(f"{name} is {shown(value)}, expected ISO 8601 text")
    return value


def _number(name: str, found: dict[str, Any]) -> str:
    value = _present(name, found)
    if not isinstance(value, str):
        raise MalformedRow(f"{name} is {shown(value)}, expected a number")
    return value


def _flag(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, _NumberText):
        return flag_of_text(name, value)
    raise MalformedRow(f"{name} is {shown(value)}, expected true or false")


assert set(_Line.__struct_fields__) == set(KNOWN)
