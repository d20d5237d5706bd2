"""Signals as JSON Lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from anystrat.adapters.signal_files.columns import (
    REASON_TEXTS,
    SIDES,
    doubles_say_all,
    hex_ids,
    objects_of,
    prices_of,
    printed,
    without_point,
)
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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import SignalColumns

#: Rows that are made text at once; more would leave the processor's caches.
_AT_ONCE: Final = 16_384
_QUOTE: Final = ord('"')


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
        self._drops = drops
        self._rows: Callable[[Any], Sequence[_Row]] = _drop_rows if drops else _signal_rows
        if reasons:
            self._rows = _drop_rows_with_reasons if drops else _signal_rows_with_reasons

    def add(self, items: Sequence[Any]) -> None:
        rows = self._rows(items)
        try:
            text = _lines(rows)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
            text = _lines([_plain(row) for row in rows])
        self._file.write(text)

    def add_columns(self, columns: SignalColumns, places: NDArray[np.int64]) -> None:
        lines = _lines_of(columns, drops=self._drops) if len(places) else None
        for at in range(0, len(places), _AT_ONCE):
            part = columns.taken(places[at : at + _AT_ONCE])
            if lines is None:  # no Arrow here
                self.add(list(objects_of(part, drops=self._drops)))
            else:
                self._file.write(lines(part))

    def finish(self) -> None:
        if self._file.closed:
            return
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def signal_bodies(signals: Sequence[EmittedSignal]) -> list[tuple[str, bytes]]:
    """(id, one JSON object) of each signal, reasoning and metadata included: the lines of a file with reasons."""
    rows = _signal_rows_with_reasons(signals)
    try:
        lines = _lines(rows)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        lines = _lines([_plain(row) for row in rows])
    # JSON escapes line ends within texts, so that every one here ends a row.
    return [(row.signal_id, line) for row, line in zip(rows, lines.split(b"\n"), strict=False)]


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


def _signal_rows_with_reasons(signals: Sequence[EmittedSignal]) -> list[_SignalWithReasons]:
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


def _lines_of(columns: SignalColumns, *, drops: bool) -> _Lines | None:
    try:
        import pyarrow as pa
        from pyarrow import compute
    except ImportError:
        return None
    return _Lines(pa, compute, columns.executors, drops=drops)


class _Lines:
    """The lines of columns, joined of a few columns of text."""

    def __init__(self, pa: Any, compute: Any, executors: tuple[tuple[str, str], ...], *, drops: bool) -> None:
        self._pa = pa
        self._compute = compute
        self._executors = pa.array(
            [
                f',"strategy_id":{_text(strategy_id)},"broker":{_text(broker)},"instrument_token":'
                for strategy_id, broker in executors
            ],
            pa.string(),
        )
        self._sides = pa.array([f',"signal_type":{_text(side)},"confidence":' for side in SIDES])
        self._reasons = pa.array([f',"reason":{_text(reason)}}}\n' for reason in REASON_TEXTS]) if drops else None

    def __call__(self, columns: SignalColumns) -> Any:
        pa, n = self._pa, len(columns)
        confidence = self._strings(*printed(columns.confidence))
        if self._reasons is not None:
            last = [self._reasons.take(pa.array(columns.code))]
        else:
            ids = self._strings(hex_ids(columns), np.arange(1, n + 1) * 32)
            last = [',"signal_id":"', ids, '"}\n']
        texts = self._compute.binary_join_element_wise(
            '{"ts_ns":',
            pa.array(columns.ts_ns).cast(pa.string()),
            self._executors.take(pa.array(columns.executor)),
            pa.array(columns.instrument_token).cast(pa.string()),
            self._sides.take(pa.array(columns.side)),
            confidence,
            '"quantity":',
            pa.array(columns.quantity).cast(pa.string()),
            ',"price":"',
            self._prices(columns),
            *last,
            "",
        )
        _, ends, text = texts.buffers()
        return text[: int(np.frombuffer(ends, np.int32)[n])]

    def _prices(self, columns: SignalColumns) -> Any:
        """The prices and the quotation marks behind them."""
        price = columns.price
        plain = (price >= 1e-3) & (price < 1e15) & doubles_say_all(columns)
        known = price if plain.all() else np.where(plain, price, 1.5)
        texts = self._strings(*without_point(*printed(known, _QUOTE), known == np.floor(known)))
        if known is price:
            return texts
        others = [f'{price_text(value)}"' for value in prices_of(columns.taken(np.flatnonzero(~plain)))]
        return self._compute.replace_with_mask(texts, self._pa.array(~plain), self._pa.array(others, self._pa.string()))

    def _strings(self, text: Any, ends: Any) -> Any:
        offsets = np.zeros(len(ends) + 1, np.int32)
        offsets[1:] = ends
        pa = self._pa
        return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))


def _text(text: str) -> str:
    try:
        return msgspec.json.encode(text).decode()
    except (UnicodeError, ValueError):
        return msgspec.json.encode(clean_text(text)).decode()
