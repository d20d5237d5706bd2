"""Ticks in MessagePack: one, a list of them, or their columns. See docs/reference/wire.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from anystrat.adapters.tick_files.decode import (
    INT64_MAX,
    INT64_MIN,
    MalformedRow,
    RowValues,
    StampReader,
    Tally,
    columns_of,
    exact_of_decimal,
    number_of_text,
    price_of_text,
    shown,
)
from anystrat.adapters.tick_files.source import FLAGS, INSTRUMENT, NUMBERS, PRICE, TIMESTAMP, TS_NS, missing
from anystrat.domain.columns import TickColumns

_Number = float | int | str


class _Columns(msgspec.Struct):
    """Packed little-endian numbers, or lists; one number for all of `instrument_token` where there is but one."""

    ts_ns: bytes | list[int]
    instrument_token: bytes | list[int] | int
    price: bytes | list[_Number]
    size: bytes | list[float | None] | None = None
    bid: bytes | list[float | None] | None = None
    ask: bytes | list[float | None] | None = None
    halted: bytes | list[bool] | None = None
    auction: bytes | list[bool] | None = None


class _Row(msgspec.Struct, gc=False):
    """A tick as it mostly is; what fits this needs no close look."""

    instrument_token: int
    price: _Number
    ts_ns: int | UnsetType = UNSET
    timestamp: str | UnsetType = UNSET
    size: _Number | None = None
    bid: _Number | None = None
    ask: _Number | None = None
    halted: bool | None = None
    auction: bool | None = None


_columns_of: Final = msgspec.msgpack.Decoder(_Columns).decode
_any_of: Final = msgspec.msgpack.Decoder().decode


def packed_ticks(payload: bytes, stamps: StampReader, tally: Tally, place: str) -> TickColumns | list[RowValues]:
    """The good ticks of a message, as columns or as rows. Raises `MalformedRow` where the whole of it is none."""
    try:
        return _of_columns(_columns_of(payload))
    except msgspec.ValidationError:
        pass  # a tick, a list of ticks, or columns that need a word about them
    except MalformedRow:
        raise
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:  # text that is not UTF-8 is a ValueError
        raise MalformedRow(_why(error)) from error
    try:
        found = _any_of(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError) as error:
        raise MalformedRow(_why(error)) from error
    if isinstance(found, dict) and isinstance(found.get(TS_NS), bytes | list):
        raise MalformedRow(_columns_fault(found))
    rows: list[RowValues] = []
    for at, each in enumerate(found if isinstance(found, list) else [found], start=1):
        try:
            rows.append(_row_of(each, stamps))
        except MalformedRow as error:
            tally.add(f"{place}[{at}]", str(error))
    return rows


def _why(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else f"no MessagePack: {error}"


def _columns_fault(found: Mapping[Any, Any]) -> str:
    for name in (TS_NS, INSTRUMENT, PRICE):
        if name not in found:
            return missing((name,), [str(key) for key in found])
    try:
        msgspec.convert(found, _Columns)
    except msgspec.ValidationError as error:
        return f"columns: {error}"
    return "columns that cannot be read"


# ---- columns


def _of_columns(found: _Columns) -> TickColumns:
    ts_ns = _integers(TS_NS, found.ts_ns)
    count = len(ts_ns)
    token = found.instrument_token
    if isinstance(token, int):
        tokens = np.full(count, _within(INSTRUMENT, token), np.int64)
    else:
        tokens = _integers(INSTRUMENT, token)
    price, exact = _prices(found.price)
    more: dict[str, NDArray[Any]] = {}
    for name in NUMBERS:
        column = getattr(found, name)
        if column is not None:
            more[name] = _floats(name, column)
    for name in FLAGS:
        column = getattr(found, name)
        if column is not None:
            more[name] = _flags(name, column)
    for name, column in {INSTRUMENT: tokens, PRICE: price, **more}.items():
        if len(column) != count:
            raise MalformedRow(f"the column {name} has {len(column)} entries; {TS_NS} has {count}")
    return columns_of(ts_ns, tokens, price, exact, more)


def _packed(name: str, data: bytes, kind: str) -> NDArray[Any]:
    size = np.dtype(kind).itemsize
    if len(data) % size:
        raise MalformedRow(f"the column {name} has {len(data)} bytes, not a multiple of {size}")
    return np.frombuffer(data, kind)


def _integers(name: str, column: bytes | list[int]) -> NDArray[np.int64]:
    if isinstance(column, bytes):
        return _packed(name, column, "<i8").astype(np.int64, copy=False)
    try:
        return np.array(column, np.int64)
    except OverflowError:
        raise MalformedRow(f"the column {name} has a number beyond 64 bits") from None


def _floats(name: str, column: bytes | list[float | None]) -> NDArray[np.float64]:
    if isinstance(column, bytes):
        return _packed(name, column, "<f8").astype(np.float64, copy=False)
    return np.array(column, np.float64)  # None becomes NaN


def _flags(name: str, column: bytes | list[bool]) -> NDArray[np.bool_]:
    if isinstance(column, bytes):
        flags: NDArray[np.bool_] = _packed(name, column, "u1") != 0
        return flags
    return np.array(column, np.bool_)


def _prices(column: bytes | list[_Number]) -> tuple[NDArray[np.float64], list[Decimal | None] | None]:
    if isinstance(column, bytes):
        return _packed(PRICE, column, "<f8").astype(np.float64, copy=False), None
    prices = [_price(each) for each in column]
    return np.array([price for price, _ in prices], np.float64), [exact for _, exact in prices]


# ---- rows


def _row_of(found: Any, stamps: StampReader) -> RowValues:
    try:
        row = msgspec.convert(found, _Row)
    except msgspec.ValidationError as error:
        if isinstance(found, dict):
            for names in ((INSTRUMENT,), (PRICE,)):
                if names[0] not in found:
                    raise MalformedRow(missing(names, [str(key) for key in found])) from error
        raise MalformedRow(f"{error}; found {shown(found)}") from error
    if row.ts_ns is not UNSET:
        ts_ns = _within(TS_NS, row.ts_ns)
    elif row.timestamp is not UNSET:
        ts_ns = stamps.ns(TIMESTAMP, row.timestamp)
    else:
        raise MalformedRow(missing((TS_NS, TIMESTAMP), [str(key) for key in found]))
    price, exact = _price(row.price)
    numbers = tuple(_number(name, getattr(row, name)) for name in NUMBERS)
    return RowValues(
        ts_ns, _within(INSTRUMENT, row.instrument_token), price, exact, numbers, (bool(row.halted), bool(row.auction))
    )


def _within(name: str, value: int) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise MalformedRow(f"{name} is {value}, beyond 64 bits")
    return value


def _price(value: _Number) -> tuple[float, Decimal | None]:
    if isinstance(value, str):
        return price_of_text(value)
    price = float(value)
    return price, exact_of_decimal(Decimal(value), price) if isinstance(value, int) else None


def _number(name: str, value: _Number | None) -> float:
    if value is None:
        return math.nan
    return number_of_text(name, value) if isinstance(value, str) else float(value)
