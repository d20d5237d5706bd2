"""A shard's inputs as bytes, and back: what the journal keeps, in the order in which the engine took them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from anystrat.domain.columns import TickColumns
from anystrat.domain.events import RecordedEvent

_NUMBERS: Final = (("ts_ns", "<i8"), ("instrument_token", "<i8"), ("price", "<f8"))
_OPTIONAL: Final = (("volume", "<f8"), ("bid", "<f8"), ("ask", "<f8"), ("halted", "?"), ("auction", "?"))


class _Ticks(msgspec.Struct, array_like=True, tag="t"):
    count: int
    numbers: list[bytes]
    optional: list[bytes | None]
    exact: list[str | None] | None


class _Events(msgspec.Struct, array_like=True, tag="e"):
    events: list[RecordedEvent]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[_Ticks | _Events])

Input = TickColumns | RecordedEvent


def encoded_inputs(inputs: Sequence[Input]) -> bytes:
    """Blocks of ticks and events, in order."""
    parts: list[_Ticks | _Events] = []
    for each in inputs:
        if isinstance(each, TickColumns):
            parts.append(_ticks(each))
        elif parts and isinstance(parts[-1], _Events):
            parts[-1].events.append(each)
        else:
            parts.append(_Events([each]))
    return _encoder.encode(parts)


def decoded_inputs(data: bytes) -> Iterator[Input]:
    """What `encoded_inputs` was given. Raises `msgspec.DecodeError` for other bytes."""
    for part in _decoder.decode(data):
        if isinstance(part, _Events):
            yield from part.events
        else:
            yield _columns(part)


def joined_inputs(parts: Sequence[bytes]) -> bytes:
    """What `encoded_inputs` would have made of all of them at once, nearly: the same inputs, ticks beside ticks in one block.

    Raises `msgspec.DecodeError` for other bytes.
    """
    joined: list[_Ticks | _Events] = []
    run: list[_Ticks] = []
    for part in (each for data in parts for each in _decoder.decode(data)):
        if isinstance(part, _Ticks) and part.exact is None and (not run or _alike(run[0], part)):
            run.append(part)
            continue
        joined += _one_block(run)
        run = []
        if isinstance(part, _Ticks) and part.exact is None:
            run.append(part)
        elif isinstance(part, _Events) and joined and isinstance(joined[-1], _Events):
            joined[-1] = _Events(joined[-1].events + part.events)
        else:
            joined.append(part)
    return _encoder.encode(joined + _one_block(run))


def _alike(one: _Ticks, other: _Ticks) -> bool:
    return [each is None for each in one.optional] == [each is None for each in other.optional]


def _one_block(run: list[_Ticks]) -> list[_Ticks]:
    if len(run) < 2:
        return run
    numbers = [b"".join(columns) for columns in zip(*(each.numbers for each in run), strict=True)]
    optional = [
        None if columns[0] is None else b"".join(column or b"" for column in columns)
        for columns in zip(*(each.optional for each in run), strict=True)
    ]
    return [_Ticks(sum(each.count for each in run), numbers, optional, None)]


def count_of(inputs: Sequence[Input]) -> int:
    """How many inputs these are: a block counts its ticks, an event one."""
    return sum(len(each) if isinstance(each, TickColumns) else 1 for each in inputs)


def _ticks(block: TickColumns) -> _Ticks:
    def packed(name: str, kind: str) -> bytes | None:
        column = getattr(block, name)
        return None if column is None else np.ascontiguousarray(column, kind).tobytes()

    exact = None if block.exact is None else [None if each is None else str(each) for each in block.exact]
    numbers = [packed(name, kind) or b"" for name, kind in _NUMBERS]
    return _Ticks(len(block), numbers, [packed(name, kind) for name, kind in _OPTIONAL], exact)


def _columns(part: _Ticks) -> TickColumns:
    def unpacked(data: bytes | None, kind: str) -> Any:
        return None if data is None else np.frombuffer(data, kind)

    ts_ns, token, price = (unpacked(data, kind) for data, (_, kind) in zip(part.numbers, _NUMBERS, strict=True))
    columns = zip(part.optional, _OPTIONAL, strict=True)
    volume, bid, ask, halted, auction = (unpacked(data, kind) for data, (_, kind) in columns)
    exact = None if part.exact is None else [None if each is None else Decimal(each) for each in part.exact]
    return TickColumns(ts_ns, token, price, exact, volume, bid, ask, halted, auction)
