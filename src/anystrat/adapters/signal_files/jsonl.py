"""Signals as JSON Lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from anystrat.adapters.signal_files.values import (
    clean_text,
    confidence_of,
    described,
    encoded,
    price_text,
    signal_ids,
)
from anystrat.domain.outcomes import Dropped
from anystrat.domain.signal import EmittedSignal


class _Row(msgspec.Struct, gc=False):
    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    signal_type: str
    confidence: float
    quantity: int | msgspec.Raw
    price: str


class _Signal(_Row, gc=False):
    signal_id: str


class _SignalWithReasons(_Signal):
    reasoning: str
    metadata: msgspec.Raw


class _Drop(_Row, gc=False):
    reason: str


class _DropWithReasons(_Drop):
    reasoning: str
    metadata: msgspec.Raw


_lines = msgspec.json.Encoder().encode_lines


class JsonlRows:
    """One JSON object a line, its keys in the documented order."""

    def __init__(self, partial: Path, *, reasons: bool, drops: bool) -> None:
        self._file = partial.open("wb")
        self._rows: Callable[[Any], list[_Row]] = _drop_rows if drops else _signal_rows
        if reasons:
            self._rows = _drop_rows_with_reasons if drops else _signal_rows_with_reasons

    def add(self, items: Sequence[Any]) -> None:
        rows = self._rows(items)
        try:
            text = _lines(rows)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
            text = _lines([_plain(row) for row in rows])
        self._file.write(text)

    def finish(self) -> None:
        if self._file.closed:
            return
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def _signal_rows(signals: Sequence[EmittedSignal]) -> list[_Row]:
    return [
        _Signal(
            s.ts_ns,
            s.strategy_id,
            s.broker,
            s.instrument_token,
            s.signal_type,
            confidence_of(s.confidence),
            s.quantity,
            price_text(s.price),
            signal_id,
        )
        for s, signal_id in zip(signals, signal_ids(signals), strict=True)
    ]


def _signal_rows_with_reasons(signals: Sequence[EmittedSignal]) -> list[_Row]:
    return [
        _SignalWithReasons(
            s.ts_ns,
            s.strategy_id,
            s.broker,
            s.instrument_token,
            s.signal_type,
            confidence_of(s.confidence),
            s.quantity,
            price_text(s.price),
            signal_id,
            s.reasoning,
            msgspec.Raw(encoded(s.metadata)),
        )
        for s, signal_id in zip(signals, signal_ids(signals), strict=True)
    ]


def _drop_rows(drops: Sequence[Dropped]) -> list[_Row]:
    return [
        _Drop(
            d.ts_ns,
            d.strategy_id,
            d.broker,
            d.instrument_token,
            d.signal.signal_type,
            confidence_of(d.signal.confidence),
            d.signal.quantity,
            price_text(d.signal.price),
            d.reason,
        )
        for d in drops
    ]


def _drop_rows_with_reasons(drops: Sequence[Dropped]) -> list[_Row]:
    return [
        _DropWithReasons(
            d.ts_ns,
            d.strategy_id,
            d.broker,
            d.instrument_token,
            d.signal.signal_type,
            confidence_of(d.signal.confidence),
            d.signal.quantity,
            price_text(d.signal.price),
            d.reason,
            d.signal.reasoning,
            msgspec.Raw(encoded(d.signal.metadata)),
        )
        for d in drops
    ]


def _plain(row: _Row) -> _Row:
    """A row that the encoder refused, with every value brought to its plain type."""
    for name in row.__struct_fields__:
        value: object = getattr(row, name)
        if name in {"ts_ns", "instrument_token", "quantity"}:
            try:
                setattr(row, name, msgspec.Raw(str(int(value)).encode()))  # type: ignore[call-overload]  # or not
            except (TypeError, ValueError, OverflowError):
                setattr(row, name, described(value))
        elif name not in {"confidence", "metadata"}:
            setattr(row, name, clean_text(value))
    return row
