"""Signals as Parquet.

A Parquet file has one schema, known before its last price is. So prices start as decimal128(38, 18), which any database
and data frame reads: 18 decimals below the point, 20 digits above. The first price that needs more turns the file into
decimal256(76, 38): the row groups written so far are copied once, one at a time. Every price is exact either way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anystrat.adapters.signal_files.columns import (
    REASON_TEXTS,
    SIDES,
    decimal_limbs,
    doubles_say_all,
    hex_ids,
    objects_of,
    prices_of,
)
from anystrat.adapters.signal_files.errors import SignalFileError
from anystrat.adapters.signal_files.values import clean_text, confidence_of, encoded, price_decimal, signal_ids
from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import SignalColumns

_ROW_GROUP = 65_536
_DIGITS = 76


class ParquetRows:
    """Row groups of a fixed number of rows, however the rows came, so that the bytes depend on the signals alone."""

    def __init__(self, partial: Path, *, reasons: bool, drops: bool) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtra(f"writing {partial.name.removesuffix('.partial')}", "parquet") from error
        self._pa: Any = pa
        self._pq: Any = pq
        self._partial = partial
        self._drops = drops
        self._reasons = reasons
        self._last = "reason" if drops else "signal_id"
        self._pending: list[list[tuple[Any, ...]] | SignalColumns] = []
        self._waiting = 0
        self._wide = False
        self._writer: Any = None
        partial.open("wb").close()  # an unwritable place is found now, not after the replay
        self._writer = self._new_writer()

    def add(self, items: Sequence[Any]) -> None:
        rows = self._rows(items)
        for at in self._parts(len(rows)):
            if not self._pending or not isinstance(self._pending[-1], list):
                self._pending.append([])
            piece = self._pending[-1]
            assert isinstance(piece, list)
            piece += rows[at]
            self._waited(len(rows[at]))

    def add_columns(self, columns: SignalColumns, places: NDArray[np.int64]) -> None:
        for at in self._parts(len(places)):
            self._pending.append(columns.taken(places[at]))
            self._waited(len(places[at]))

    def finish(self) -> None:
        if self._writer is None:
            return
        try:
            self._write_group()
        finally:
            self._writer.close()
            self._writer = None
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())

    def _parts(self, rows: int) -> Iterator[slice]:
        """So many new rows, cut where row groups end."""
        at = 0
        while at < rows:
            end = min(rows, at + _ROW_GROUP - self._waiting)
            yield slice(at, end)
            at = end

    def _waited(self, rows: int) -> None:
        self._waiting += rows
        if self._waiting >= _ROW_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        pieces, self._pending, self._waiting = self._pending, [], 0
        tables: list[Any] = [None if isinstance(piece, list) else self._table(piece) for piece in pieces]
        if any(table is None for table in tables):  # a price of more digits, or rows that came as objects
            rows: list[tuple[Any, ...]] = []
            for piece in pieces:
                rows += piece if isinstance(piece, list) else self._rows(list(objects_of(piece, drops=self._drops)))
            self._write(rows)
        elif tables:
            table = tables[0] if len(tables) == 1 else self._pa.concat_tables(tables).combine_chunks()
            self._writer.write_table(table, row_group_size=len(table))

    def _table(self, columns: SignalColumns) -> Any:
        """The columns as Arrow holds them; None where a price has more digits than that."""
        pa = self._pa
        price = self._decimals(columns)
        if price is None:
            return None
        strategies, brokers = zip(*columns.executors, strict=True)
        executor = pa.array(columns.executor)
        if self._drops:
            last = pa.array(REASON_TEXTS).take(pa.array(columns.code))
        else:
            ends = pa.py_buffer(np.arange(len(columns) + 1, dtype=np.int32) * 32)
            last = pa.StringArray.from_buffers(len(columns), ends, pa.py_buffer(hex_ids(columns)))
        return pa.Table.from_arrays(
            [
                pa.array(columns.ts_ns),
                self._texts(strategies).take(executor),
                self._texts(brokers).take(executor),
                pa.array(columns.instrument_token),
                pa.array(SIDES).take(pa.array(columns.side)),
                pa.array(columns.confidence),
                pa.array(columns.quantity),
                price,
                last,
            ],
            schema=self._schema(),
        )

    def _texts(self, texts: Sequence[str]) -> Any:
        return self._array(self._pa.field("", self._pa.string()), texts)

    def _decimals(self, columns: SignalColumns) -> Any:
        pa = self._pa
        kind = pa.decimal128(38, 18)
        limbs, sure = decimal_limbs(columns.price)
        unsure = np.flatnonzero(~(sure & doubles_say_all(columns)))
        if len(unsure):
            values = list(prices_of(columns.taken(unsure)))
            if not all(value.is_finite() and _sane(value) for value in values):
                return None
            try:
                others = pa.array(values, kind)
            except (pa.ArrowInvalid, OverflowError):
                return None
            limbs[unsure] = np.frombuffer(others.buffers()[1], np.uint64).reshape(-1, 2)[: len(unsure)]
        array = pa.Decimal128Array.from_buffers(kind, len(columns), [None, pa.py_buffer(limbs)])
        return array.cast(pa.decimal256(76, 38)) if self._wide else array

    def _rows(self, items: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._drop_rows(items) if self._drops else self._signal_rows(items)

    def _signal_rows(self, signals: Sequence[Any]) -> list[tuple[Any, ...]]:
        ids = signal_ids(signals)
        return [
            (
                s.ts_ns, s.strategy_id, s.broker, s.instrument_token, s.signal_type, confidence_of(s.confidence),
                s.quantity, price_decimal(s.price), signal_id, *self._why(s),
            )
            for s, signal_id in zip(signals, ids, strict=True)
        ]  # fmt: skip

    def _drop_rows(self, drops: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [
            (
                d.ts_ns, d.strategy_id, d.broker, d.instrument_token, d.signal.signal_type,
                confidence_of(d.signal.confidence), d.signal.quantity, price_decimal(d.signal.price), str(d.reason),
                *self._why(d.signal),
            )
            for d in drops
        ]  # fmt: skip

    def _why(self, signal: Any) -> tuple[str, str | None] | tuple[()]:
        if not self._reasons:
            return ()
        return signal.reasoning, None if signal.metadata is None else encoded(signal.metadata).decode()

    def _schema(self) -> Any:
        pa = self._pa
        fields = [
            ("ts_ns", pa.int64()),
            ("strategy_id", pa.string()),
            ("broker", pa.string()),
            ("instrument_token", pa.int64()),
            ("signal_type", pa.string()),
            ("confidence", pa.float64()),
            ("quantity", pa.int64()),
            ("price", pa.decimal256(76, 38) if self._wide else pa.decimal128(38, 18)),
            (self._last, pa.string()),
        ]
        if self._reasons:
            fields += [("reasoning", pa.string()), ("metadata", pa.string())]
        return pa.schema(fields)

    def _new_writer(self) -> Any:
        repeated = ["strategy_id", "broker", "instrument_token", "signal_type", "quantity"]
        repeated += ["reason"] if self._drops else []
        if self._reasons:
            repeated += ["reasoning", "metadata"]
        # The smallest and largest of what nobody looks up by range cost more than to write it. Ids, all of a length, lie
        # behind each other this way, which leaves less to compress.
        encodings = {} if self._drops else {"signal_id": "DELTA_LENGTH_BYTE_ARRAY"}
        return self._pq.ParquetWriter(
            self._partial,
            self._schema(),
            compression="zstd",
            use_dictionary=repeated,
            column_encoding=encodings,
            write_statistics=["ts_ns", *repeated],
        )

    def _write(self, rows: list[tuple[Any, ...]]) -> None:
        columns = list(zip(*rows, strict=True))
        price = self._prices(columns[7])
        if price is None and not self._wide:
            self._widen()
            price = self._prices(columns[7])
        if price is None and self._drops:  # a single row
            price = self._pa.nulls(len(rows), self._schema().field("price").type)
        if price is None:
            culprit = next(i for i, value in enumerate(columns[7]) if self._prices([value]) is None)
            if culprit:  # what came before it is good
                self._write(rows[:culprit])
            raise SignalFileError(
                f"{self._partial.name.removesuffix('.partial')}: the price {columns[7][culprit]} has more digits than "
                "Parquet decimals hold (38 before and 38 after the point); write JSONL instead"
            )
        arrays = [
            price if field.name == "price" else self._array(field, column)
            for field, column in zip(self._schema(), columns, strict=True)
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema()), row_group_size=len(rows))

    def _prices(self, values: Sequence[Any]) -> Any:
        """The prices as a column, None where one of them does not fit; one that is no finite number is null."""
        kind = self._schema().field("price").type
        finite = [value if value is not None and value.is_finite() else None for value in values]
        if all(value is None or _sane(value) for value in finite):
            try:
                return self._pa.array(finite, kind)
            except (self._pa.ArrowInvalid, OverflowError):
                pass
        if self._drops and self._wide and len(values) > 1:
            single = (self._prices([value]) for value in finite)
            return self._pa.array([None if column is None else column[0].as_py() for column in single], kind)
        return None

    def _array(self, field: Any, values: Sequence[Any]) -> Any:
        pa = self._pa
        try:
            return pa.array(values, field.type)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            if field.type == pa.string():
                return pa.array([None if value is None else clean_text(value) for value in values], field.type)
            return pa.array([_int64(value) for value in values], field.type)

    def _widen(self) -> None:
        self._writer.close()
        narrow = self._partial.with_name(self._partial.name + ".narrow")
        self._partial.replace(narrow)
        self._wide = True
        self._writer = self._new_writer()
        with self._pq.ParquetFile(narrow) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number).cast(self._schema())
                self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        narrow.unlink()


def _sane(price: Decimal) -> bool:
    """Whether pyarrow may be given a decimal: exponents of many millions end the process, endless zeros become 0."""
    return abs(price.adjusted()) <= _DIGITS and len(str(price)) <= 2 * _DIGITS


def _int64(value: object) -> int | None:
    """A whole number that 64 bits hold; null for what a refused signal may have had instead."""
    try:
        number = int(value)  # type: ignore[call-overload]  # somebody's strategy may have answered anything
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -(1 << 63) <= number < 1 << 63 else None
