"""Parquet, streamed: a page of each column in memory, however large the row groups are."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystrat.adapters.tick_files.decode import (
    SURE_DIGITS,
    SURE_MAGNITUDE,
    MalformedRow,
    StampReader,
    Tally,
    columns_of,
    exact_of_decimal,
    exact_of_text,
    price_of_decimal,
    price_of_text,
    shown,
)
from anystrat.adapters.tick_files.parquet_footer import UnsoundFooter, check_footer
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
from anystrat.domain.errors import MissingExtra, TickFileError

_BUFFER = 1 << 18
_NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
#: Powers of ten that are exact as doubles, so that one division by them rounds once.
_EXACT_POWERS = 22

Reason = Callable[[int], str]


class Column:
    """One column of a batch: its values, which of them are good (None: all), why the others are not."""

    __slots__ = ("exact", "good", "values", "why")

    def __init__(
        self,
        values: NDArray[Any],
        good: NDArray[np.bool_] | None = None,
        why: Reason = str,
        exact: list[Decimal | None] | None = None,
    ) -> None:
        self.values = values
        self.good = good
        self.why = why
        self.exact = exact


class ParquetSource:
    """A Parquet file whose footer, schema and row groups fit each other and the needed columns."""

    def __init__(self, path: Path) -> None:
        try:
            self._pa: Any = import_module("pyarrow")
            self._pc: Any = import_module("pyarrow.compute")
            self._pq: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise MissingExtra(f"reading {path}", "parquet") from error
        self.path = path
        self.total_bytes = path.stat().st_size
        self.bytes_read = 0
        with self._open() as file:
            self.total_rows: int | None = file.metadata.num_rows
            self._check_schema(file.schema_arrow)
        try:
            check_footer(path, self._read)
        except UnsoundFooter as error:
            raise TickFileError(f"{path}: {error}") from error

    def blocks(self, block_rows: int, tally: Tally) -> Iterator[TickColumns]:
        """The good rows, in blocks."""
        stamps = StampReader()
        done = 0
        with self._open() as file:
            ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
            batches = self._batches(file, block_rows, ends, lambda: done)
            for batch in batches:
                block = self._block(batch, done, stamps, tally)
                done += batch.num_rows
                self.bytes_read = self.total_bytes * done // max(1, file.metadata.num_rows)
                if len(block):
                    yield block
            if done != file.metadata.num_rows:
                raise TickFileError(f"{self.path}: holds {done} rows; its footer promises {file.metadata.num_rows}")

    def groups_backwards(self, block_rows: int, worth: Callable[[int, int], bool]) -> Iterator[Iterator[TickColumns]]:
        """The row groups, the last one first, each in blocks from its own beginning; malformed rows are left out.

        Of a group whose statistics say which instruments are in it, `worth(least, largest)` says whether it is read.
        """
        with self._open() as file:
            for group in reversed(range(file.num_row_groups)):
                bounds = _bounds(file.metadata.row_group(group))
                if bounds is None or worth(*bounds):
                    yield self._group(file, group, block_rows)

    def _group(self, file: Any, group: int, block_rows: int) -> Iterator[TickColumns]:
        stamps = StampReader()
        for batch in self._batches(file, block_rows, np.zeros(group), lambda: 0, [group]):
            block = self._block(batch, 0, stamps, Tally())
            if len(block):
                yield block

    @contextmanager
    def _open(self) -> Generator[Any]:
        try:
            # Without pre-buffering and with a buffer, a column chunk is read piece by piece. A memory map would count
            # every page ever touched as resident.
            file = self._pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER, memory_map=False)
        except self._failures as error:
            raise TickFileError(
                f"{self.path}: no Parquet file that can be read, perhaps truncated: {_first_line(error)}"
            ) from error
        with file:
            yield file

    @property
    def _failures(self) -> tuple[type[BaseException], ...]:
        # What pyarrow raises on damaged bytes; nearly all its errors are also one of Python's own.
        return (
            self._pa.ArrowException,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            OverflowError,
            MemoryError,
        )

    def _batches(
        self,
        file: Any,
        block_rows: int,
        ends: NDArray[Any],
        done: Callable[[], int],
        groups: list[int] | None = None,
    ) -> Iterator[Any]:
        batches = file.iter_batches(batch_size=block_rows, columns=self._read, row_groups=groups)
        while True:
            try:
                batch = next(batches, None)
            except self._failures as error:
                group = int(np.searchsorted(ends, done(), "right"))
                raise TickFileError(
                    f"{self.path}: row group {group} cannot be read after row {done()}: {_first_line(error)}"
                ) from error
            if batch is None:
                return
            yield batch

    # ---- the schema

    def _check_schema(self, schema: Any) -> None:
        names = as_ticks(schema.names)
        check_columns(self.path, names)
        self._called = dict(zip(names, schema.names, strict=True))
        types = self._pa.types
        time = TS_NS if TS_NS in names else TIMESTAMP
        stamp = types.is_timestamp
        if time == TS_NS:
            self._demand(schema, time, "a 64-bit integer", types.is_integer, stamp)
        else:
            integer = types.is_integer(_value_type(schema.field(time).type))
            hint = f" (whole nanoseconds belong in a column {TS_NS!r})" if integer else ""
            self._demand(schema, time, "a timestamp or ISO 8601 text" + hint, stamp, self._is_text)
        self._demand(schema, INSTRUMENT, "a 64-bit integer", types.is_integer)
        self._demand(schema, PRICE, "a float, a decimal or text", *self._number_types())
        columns = [time, INSTRUMENT, PRICE]
        for name in (*NUMBERS, *BARS):
            if name in names and not types.is_null(schema.field(self._called[name]).type):
                self._demand(schema, name, "a float, a decimal or text", *self._number_types())
                columns.append(name)
        for name in FLAGS:
            if name in schema.names and not types.is_null(schema.field(name).type):
                self._demand(schema, name, "true and false, or 1 and 0", types.is_boolean, types.is_integer)
                columns.append(name)
        self._time = time
        self._columns = columns
        self._read = [self._called[name] for name in columns]

    def _number_types(self) -> tuple[Callable[[Any], bool], ...]:
        types = self._pa.types
        return types.is_floating, types.is_decimal, types.is_integer, self._is_text

    def _is_text(self, kind: Any) -> bool:
        types = self._pa.types
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))

    def _demand(self, schema: Any, name: str, expected: str, *tests: Callable[[Any], bool]) -> None:
        name = self._called[name]
        kind = schema.field(name).type
        if not any(test(_value_type(kind)) for test in tests):
            raise TickFileError(f"{self.path}: the column {name!r} has the type {kind}; expected {expected}")

    # ---- a batch

    def _block(self, batch: Any, start: int, stamps: StampReader, tally: Tally) -> TickColumns:
        try:
            columns = {name: self._column(name, batch, stamps) for name in self._columns}
        except self._failures as error:
            raise TickFileError(
                f"{self.path}: after row {start} there is what cannot be decoded: {_first_line(error)}"
            ) from error
        good: NDArray[np.bool_] | None = None
        for column in columns.values():
            if column.good is not None:
                good = column.good if good is None else good & column.good
        bad = [] if good is None else np.flatnonzero(~good).tolist()
        for at, i in enumerate(bad):
            if not tally.wants_more:
                tally.malformed += len(bad) - at
                break
            why = next(c.why for c in columns.values() if c.good is not None and not c.good[i])
            tally.add(f"{self.path}:row {start + i + 1}", why(i))
        exact = columns[PRICE].exact
        found = {name: column.values if not bad else column.values[good] for name, column in columns.items()}
        if bad and good is not None and exact is not None:
            exact = [value for value, keep in zip(exact, good.tolist(), strict=True) if keep]
        return columns_of(found[self._time], found[INSTRUMENT], found[PRICE], exact, found)

    def _column(self, name: str, batch: Any, stamps: StampReader) -> Column:
        array = batch.column(batch.schema.get_field_index(self._called.get(name, name)))
        if self._pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind, types = array.type, self._pa.types
        if name == INSTRUMENT or (name == self._time and types.is_integer(kind)):
            return self._integers(name, array)
        if name == self._time:
            return self._stamps(name, array) if types.is_timestamp(kind) else self._stamp_texts(name, array, stamps)
        if name in FLAGS:
            return self._flags(name, array)
        if types.is_decimal(kind):
            column = self._decimals(name, array)
        elif self._is_text(kind):
            column = self._texts(name, array)
        elif types.is_integer(kind):
            column = self._whole(name, array)
        else:
            column = Column(*self._floats(name, array))
        if name == PRICE:
            return column
        column.exact = None
        if array.null_count:  # an optional number that is not there is no fault
            missing = ~self._valid(array)
            column.values = np.where(missing, np.nan, column.values)
            column.good = None if column.good is None else column.good | missing
        return column

    def _valid(self, array: Any) -> NDArray[np.bool_]:
        return _bits(array.is_valid())

    def _plain(self, array: Any, filler: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """The values of a column of fixed width, nulls filled, and which were there; without a copy if there are none."""
        # Array.to_numpy and fill_null would do it too, and import pandas on the way, which takes a second.
        good = self._valid(array) if array.null_count else None
        if self._pa.types.is_boolean(array.type):
            values: NDArray[Any] = _bits(array)
        else:
            dtype = np.dtype(array.type.to_pandas_dtype())
            values = np.frombuffer(array.buffers()[1] or b"", dtype, len(array), array.offset * dtype.itemsize)
        return (values if good is None else np.where(good, values, values.dtype.type(filler))), good

    def _floats(self, name: str, array: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None, Reason]:
        if not self._pa.types.is_float64(array.type):
            array = array.cast(self._pa.float64())
        return *self._plain(array, float("nan")), lambda _: f"{name} is null"

    def _integers(self, name: str, array: Any) -> Column:
        values, good = self._plain(array, 0)
        if values.dtype == np.uint64:
            within = values <= np.uint64(np.iinfo(np.int64).max)
            if not within.all():
                found = values
                good = within if good is None else good & within
                return Column(
                    np.where(within, values, 0).astype(np.int64),
                    good,
                    lambda i: f"{name} is null or beyond 64 bits ({found[i]})",
                )
        return Column(values.astype(np.int64, copy=False), good, lambda _: f"{name} is null")

    def _stamps(self, name: str, array: Any) -> Column:
        factor = _NS_PER[array.type.unit]
        values, good = self._plain(array.view(self._pa.int64()), 0)
        if factor > 1:
            bound = np.iinfo(np.int64).max // factor
            within = (values >= -bound) & (values <= bound)
            if not within.all():
                good = within if good is None else good & within
                values = np.where(within, values, 0)
            values = values * factor
        return Column(values, good, lambda _: f"{name} is null or beyond what 64 bits of nanoseconds hold")

    def _stamp_texts(self, name: str, array: Any, stamps: StampReader) -> Column:
        values = np.zeros(len(array), np.int64)
        faults: dict[int, str] = {}
        for i, text in enumerate(array.to_pylist()):
            if text is None:
                faults[i] = f"{name} is null"
                continue
            try:
                values[i] = stamps.ns(name, text)
            except MalformedRow as error:
                faults[i] = str(error)
        return Column(values, _all_but(len(values), faults), faults.__getitem__)

    def _flags(self, name: str, array: Any) -> Column:
        values, _ = self._plain(array, False if self._pa.types.is_boolean(array.type) else 0)
        if values.dtype == np.bool_:
            return Column(values)
        good = (values == 0) | (values == 1)
        return Column(values == 1, good, lambda i: f"{name} is {values[i]}, expected true, false, 1 or 0")

    def _whole(self, name: str, array: Any) -> Column:
        values, good = self._plain(array, 0)
        prices = values.astype(np.float64)
        large = np.flatnonzero(np.abs(prices) >= 10.0**SURE_DIGITS).tolist()
        known: dict[int, Decimal | None] = {
            i: exact_of_decimal(Decimal(int(values[i])), float(prices[i])) for i in large
        }
        exact = [known.get(i) for i in range(len(values))] if known else None
        return Column(prices, good, lambda _: f"{name} is null", exact)

    def _decimals(self, name: str, array: Any) -> Column:
        """Decimals of up to fifteen digits by one division of exact doubles, the others one by one."""
        scale, length = array.type.scale, len(array)
        if array.type.bit_width < 128:
            array = array.cast(self._pa.decimal128(38, scale))
        good = None if array.null_count == 0 else self._valid(array)
        if array.type.bit_width == 128 and 0 <= scale <= _EXACT_POWERS:
            halves = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + length)]
            low, high = halves[0::2], halves[1::2]
            bound = 10**SURE_DIGITS
            sure = (high == (low >> 63)) & (low > -bound) & (low < bound)
            prices = low / 10.0**scale
            unsure = np.flatnonzero(~sure if good is None else ~sure & good).tolist()
        else:
            prices = np.zeros(length)
            unsure = list(range(length))
        if not unsure:
            return Column(prices, good, lambda _: f"{name} is null")
        faults: dict[int, str] = {}
        exact: list[Decimal | None] = [None] * length
        for i in unsure:
            value = array[i].as_py()
            if value is None:
                continue
            try:
                prices[i], exact[i] = price_of_decimal(value)
            except MalformedRow as error:
                faults[i] = str(error)
        good = _both(good, _all_but(length, faults))
        return Column(prices, good, lambda i: faults.get(i, f"{name} is null"), exact)

    def _texts(self, name: str, array: Any) -> Column:
        """Short text by the column, the rest and all that is odd one by one."""
        pa, pc = self._pa, self._pc
        good = None if array.null_count == 0 else self._valid(array)
        array = array.cast(pa.large_string())
        try:
            prices, _ = self._plain(pc.cast(array, pa.float64()), 1.0)
            usual = np.isfinite(prices) & (np.abs(prices) >= SURE_MAGNITUDE)
        except pa.ArrowInvalid:
            prices = np.zeros(len(array))
            usual = np.zeros(len(array), np.bool_)
        lengths, _ = self._plain(pc.binary_length(array), 0)
        unsure = np.flatnonzero(~usual | (lengths > SURE_DIGITS)).tolist()
        faults: dict[int, str] = {}
        exact: list[Decimal | None] = [None] * len(array)
        prices = prices if prices.flags.writeable or not unsure else prices.copy()
        for i in unsure:
            if good is not None and not good[i]:
                continue
            text = array[i].as_py()
            try:
                if usual[i]:
                    exact[i] = exact_of_text(text, float(prices[i]))
                else:
                    prices[i], exact[i] = price_of_text(text)
            except MalformedRow as error:
                faults[i] = str(error).replace("price", name, 1)
        good = _both(good, _all_but(len(array), faults))
        return Column(prices, good, lambda i: faults.get(i, f"{name} is null"), exact)


def _bounds(group: Any) -> tuple[int, int] | None:
    """The least and the largest instrument of a row group, where its writer noted them."""
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema == INSTRUMENT:
            found = column.statistics
            return (int(found.min), int(found.max)) if found is not None and found.has_min_max else None
    return None


def _bits(array: Any) -> NDArray[np.bool_]:
    """A boolean column without nulls, one byte a value."""
    if not len(array):
        return np.empty(0, np.bool_)
    packed = np.frombuffer(array.buffers()[1], np.uint8)
    return np.unpackbits(packed, count=array.offset + len(array), bitorder="little")[array.offset :].view(np.bool_)


def _value_type(kind: Any) -> Any:
    """The type of the values, which a dictionary-encoded column wraps."""
    return getattr(kind, "value_type", kind) if str(kind).startswith("dictionary") else kind


def _all_but(length: int, faults: dict[int, str]) -> NDArray[np.bool_] | None:
    if not faults:
        return None
    good = np.ones(length, np.bool_)
    good[list(faults)] = False
    return good


def _both(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _first_line(error: BaseException) -> str:
    return shown(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)[1:-1]
