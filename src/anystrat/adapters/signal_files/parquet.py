"""Signals as Parquet.

A Parquet file has one schema, known before its last price is. So prices start as decimal128(38, 18), which any database
and data frame reads: 18 decimals below the point, 20 digits above. The first price that needs more turns the file into
decimal256(76, 38): the row groups written so far are copied once, one at a time. Every price is exact either way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from anystrat.adapters.signal_files.errors import SignalFileError
from anystrat.adapters.signal_files.values import clean_text, confidence_of, encoded, price_decimal, signal_ids
from anystrat.domain.errors import MissingExtra

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
        self._pending: list[tuple[Any, ...]] = []
        self._wide = False
        self._writer: Any = None
        partial.open("wb").close()  # an unwritable place is found now, not after the replay
        self._writer = self._new_writer()

    def add(self, items: Sequence[Any]) -> None:
        self._pending += self._drop_rows(items) if self._drops else self._signal_rows(items)
        while len(self._pending) >= _ROW_GROUP:
            group, self._pending = self._pending[:_ROW_GROUP], self._pending[_ROW_GROUP:]
            self._write(group)

    def finish(self) -> None:
        if self._writer is None:
            return
        try:
            if self._pending:
                group, self._pending = self._pending, []
                self._write(group)
        finally:
            self._writer.close()
            self._writer = None
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())

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
        repeated = ["strategy_id", "broker", "signal_type", *(["reason"] if self._drops else [])]
        if self._reasons:
            repeated += ["reasoning", "metadata"]
        return self._pq.ParquetWriter(self._partial, self._schema(), compression="zstd", use_dictionary=repeated)

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
