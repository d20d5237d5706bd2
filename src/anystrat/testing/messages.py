"""Ticks as messages, as a producer sends them: for tests, demos and measurements."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from anystrat.domain.columns import TickColumns

_NUMBERS = (("size", "volume"), ("bid", "bid"), ("ask", "ask"))
_FLAGS = ("halted", "auction")


def json_message(ticks: TickColumns) -> bytes:
    """A JSON array of ticks; one tick alone is one object."""
    rows = tick_objects(ticks)
    return msgspec.json.encode(rows[0] if len(rows) == 1 else rows)


def json_lines_message(ticks: TickColumns) -> bytes:
    """One JSON object a line."""
    return b"\n".join(msgspec.json.encode(row) for row in tick_objects(ticks))


def packed_message(ticks: TickColumns) -> bytes:
    """A MessagePack list of ticks; one tick alone is one map."""
    rows = tick_objects(ticks)
    return msgspec.msgpack.encode(rows[0] if len(rows) == 1 else rows)


def columns_message(ticks: TickColumns) -> bytes:
    """The columns of the ticks in one MessagePack map, numbers packed little-endian; prices as text where they need it."""
    packed: dict[str, Any] = {
        "ts_ns": np.ascontiguousarray(ticks.ts_ns, "<i8").tobytes(),
        "instrument_token": np.ascontiguousarray(ticks.instrument_token, "<i8").tobytes(),
        "price": np.ascontiguousarray(ticks.price, "<f8").tobytes(),
    }
    if ticks.exact is not None:
        packed["price"] = [row["price"] for row in tick_objects(ticks)]
    for name, attribute in _NUMBERS:
        column = getattr(ticks, attribute)
        if column is not None:
            packed[name] = np.ascontiguousarray(column, "<f8").tobytes()
    for name in _FLAGS:
        column = getattr(ticks, name)
        if column is not None:
            packed[name] = np.ascontiguousarray(column, "u1").tobytes()
    return msgspec.msgpack.encode(packed)


def tick_objects(ticks: TickColumns) -> list[dict[str, Any]]:
    """Each tick as plain values; its price is text."""
    rows = []
    for row in ticks.rows():
        price = repr(row.price) if row.exact is None else str(row.exact)
        found: dict[str, Any] = {"ts_ns": row.ts_ns, "instrument_token": row.instrument_token, "price": price}
        found |= {name: value for name, attr in _NUMBERS if (value := getattr(row, attr)) is not None}
        found |= {name: True for name in _FLAGS if getattr(row, name)}
        rows.append(found)
    return rows
