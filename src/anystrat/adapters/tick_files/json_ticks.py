"""JSON objects to ticks. Most take a typed path; one that doesn't fit it is looked at closely."""

from __future__ import annotations

import json
from operator import attrgetter
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
from anystrat.adapters.tick_files.source import FLAGS, INSTRUMENT, KNOWN, NUMBERS, PRICE, TIMESTAMP, TS_NS, missing
from anystrat.domain.columns import TickColumns


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
_decode_array = msgspec.json.Decoder(list[_Line]).decode
_NOT_QUICK = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
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

    def quick(self, objects: list[bytes | None]) -> TickColumns | None:
        """One tick of each object; None where one of them is none, or needs a close look."""
        return _fast(objects, self._stamps)

    def quick_array(self, text: bytes) -> TickColumns | None:
        """One tick of each object in an array; None as above."""
        try:
            return _columns(_decode_array(text), self._stamps)
        except _NOT_QUICK:
            return None

    def array(self, text: bytes, tally: Tally) -> TickColumns:
        """The good ones of the objects in an array. Raises `MalformedRow` for what is no array."""
        found = parsed(text)
        if not isinstance(found, list):
            raise MalformedRow(f"expected a JSON array, found {shown(text)}")
        rows = []
        for at, each in enumerate(found, start=1):
            try:
                rows.append(_row_of(each, self._stamps))
            except MalformedRow as error:
                tally.add(f"{self._place}[{at}]", str(error))
        return columns_of_rows(rows, NUMBERS, FLAGS)


def _fast(lines: list[bytes | None], stamps: StampReader) -> TickColumns | None:
    """All lines at once; None when any of them needs a close look."""
    try:
        return _columns(list(map(_decode, lines)), stamps)  # type: ignore[arg-type]  # None is no bytes: a TypeError, as for any odd line
    except _NOT_QUICK:
        return None


def _columns(rows: list[_Line], stamps: StampReader) -> TickColumns:
    """Typed rows as a block. Raises one of `_NOT_QUICK` where one of them needs a close look."""
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
            raise
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


def parsed(text: bytes) -> Any:
    """What JSON text says, numbers as their text, Python's literals for NaN and infinity included. Raises `MalformedRow`."""
    try:
        return _decode_closely(text.decode("utf-8", "replace").strip())
    except RecursionError as error:
        raise MalformedRow("nested too deeply") from error
    except ValueError as error:
        raise MalformedRow(f"no JSON: {error}; found {shown(text)}") from error


def _row(line: bytes, stamps: StampReader) -> RowValues:
    """One line, closely: Python's own literals for NaN and infinity, numbers in strings, and what is wrong with it."""
    return _row_of(parsed(line), stamps)


def _row_of(found: Any, stamps: StampReader) -> RowValues:
    if not isinstance(found, dict):
        raise MalformedRow(f"expected a JSON object, found {shown(found)}")
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
