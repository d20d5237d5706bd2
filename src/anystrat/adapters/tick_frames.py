"""Ticks that are in memory already: data frames, Arrow tables, mappings of arrays, as columns.

Columns are those of tick files (`ts_ns` or `timestamp`, `instrument_token`, `price`, optional `size`, `bid`, `ask`, `halted`,
`auction`), or of bar files; of pandas, an index of timestamps stands in for a missing time. Without `instrument_token`, all rows are of one
instrument, which the caller names. Rows are taken in the order of time, those of one time as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.adapters.tick_files.decode import (
    MalformedRow,
    StampReader,
    columns_of,
    exact_of_decimal,
    price_of_decimal,
    price_of_text,
)
from anystrat.adapters.tick_files.merge import sliced
from anystrat.adapters.tick_files.source import (
    BARS,
    FLAGS,
    INSTRUMENT,
    NUMBERS,
    PRICE,
    TIMESTAMP,
    TS_NS,
    as_ticks,
    missing,
)
from anystrat.domain.columns import TickColumns, joined
from anystrat.domain.errors import TickFileError
from anystrat.domain.tick import MarketTick, TickRow, row_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["blocks_of", "ticks_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_A_TIME: Final = np.iinfo(np.int64).min


def ticks_of(source: Any, *, instrument: int | None = None) -> TickColumns:
    """All ticks of a frame, a table, a mapping of columns, or a sequence of ticks, in the order of time.

    `instrument` is whose they are where no column says so. A price that is missing is NaN, a time that is missing is out of
    range: the engine counts such rows and goes on. Raises `TickFileError` for what cannot be used at all.
    """
    if isinstance(source, TickColumns):
        return source
    found = _columns(source)
    if found is None:
        return _of_rows(source)
    return _ordered(_block(found, type(source).__name__, instrument))


def blocks_of(columns: TickColumns, block_rows: int) -> list[TickColumns]:
    """The same ticks in blocks of so many rows, without a copy."""
    return [
        sliced(columns, start, min(start + block_rows, len(columns))) for start in range(0, len(columns), block_rows)
    ]


def _columns(frame: Any) -> dict[str, Any] | None:
    """The columns by name; None for what has none."""
    source: Any = frame
    library = type(source).__module__.split(".")[0]
    if library == "pandas":
        found = {str(name): source[name] for name in source.columns}
        if TS_NS not in found and TIMESTAMP not in found and source.index.dtype.kind == "M":
            found[TIMESTAMP] = source.index.to_series()
        return found
    if isinstance(source, Mapping):
        return {str(name): column for name, column in source.items()}
    fields = getattr(getattr(source, "dtype", None), "names", None)
    if fields is not None:  # a structured array
        return {name: source[name] for name in fields}
    if library == "polars":
        return {name: source[name] for name in source.columns}
    if hasattr(source, "__arrow_c_stream__"):
        import pyarrow as pa

        table = pa.table(source)
        return {name: table[name] for name in table.column_names}
    return None


def _block(found: Mapping[str, Any], what: str, instrument: int | None) -> TickColumns:
    found = dict(zip(as_ticks(list(found)), found.values(), strict=True))
    names = list(found)
    for wanted in ((TS_NS, TIMESTAMP), (PRICE,), *(((INSTRUMENT,),) if instrument is None else ())):
        if not any(name in found for name in wanted):
            raise TickFileError(f"the {what}: {missing(wanted, names)}")
    time = TS_NS if TS_NS in found else TIMESTAMP
    ts_ns = _times(time, _array(found[time]))
    size = len(ts_ns)
    price, exact = _prices(_array(found[PRICE]))
    tokens = np.full(size, instrument, np.int64) if INSTRUMENT not in found else _whole(_array(found[INSTRUMENT]))
    optional: dict[str, NDArray[Any]] = {}
    for name in (*NUMBERS, *BARS):
        if name in found:
            optional[name] = _prices(_array(found[name]))[0]
    for name in FLAGS:
        if name in found:
            optional[name] = _array(found[name]).astype(np.bool_)
    lengths = {len(column) for column in (ts_ns, price, tokens, *optional.values())}
    if len(lengths) != 1:
        raise TickFileError(f"the {what}: its columns differ in length: {', '.join(map(str, sorted(lengths)))}")
    return columns_of(ts_ns, tokens, price, exact, optional)


def _array(column: Any) -> NDArray[Any]:
    """A column as an array; times with a zone as those of UTC."""
    kind = getattr(column, "dtype", None)
    if getattr(kind, "tz", None) is not None and hasattr(column, "dt"):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if hasattr(column, "to_numpy"):
        try:
            return np.asarray(column.to_numpy())
        except (TypeError, ValueError):
            return np.asarray(column.to_numpy(zero_copy_only=False))
    return np.asarray(column)


def _times(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    kind = values.dtype.kind
    if kind == "M":
        return values.astype("datetime64[ns]").astype(np.int64)
    if kind in "iu" and name == TS_NS:
        return _as(np.int64, values)
    if kind in "OUT":
        stamps = StampReader()
        return np.array([_time(name, value, stamps) for value in values.tolist()], np.int64)
    hint = f"; whole nanoseconds belong in a column {TS_NS!r}" if kind in "iu" else ""
    raise TickFileError(f"the column {name!r} holds {values.dtype}; expected times{hint}")


def _time(name: str, value: Any, stamps: StampReader) -> int:
    if isinstance(value, datetime):
        # What pandas holds beyond the microsecond is in an attribute of its own.
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        since = aware - _EPOCH
        whole = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
        return whole + int(getattr(value, "nanosecond", 0))
    if isinstance(value, int) and name == TS_NS:
        return value
    if isinstance(value, str):
        try:
            return stamps.ns(name, value)
        except MalformedRow:
            return _NOT_A_TIME
    if value is None or value != value:  # noqa: PLR0124  NaT is not itself
        return _NOT_A_TIME
    raise TickFileError(f"the column {name!r} holds {value!r} ({type(value).__name__}); expected times")


def _as(kind: type[Any], values: NDArray[Any]) -> NDArray[Any]:
    """The values as compiled code takes them: copied only where they are of another type, scattered or read-only."""
    return np.require(values, kind, ["C_CONTIGUOUS", "WRITEABLE", "ENSUREARRAY"])


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    if values.dtype.kind in "iu":
        return _as(np.int64, values)
    try:
        whole = np.array([int(value) for value in values.tolist()], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TickFileError(f"the column {INSTRUMENT!r} holds {values.dtype}; expected whole numbers") from error
    if values.dtype.kind == "f" and not np.array_equal(whole, values):
        raise TickFileError(f"the column {INSTRUMENT!r} holds fractions; expected whole numbers")
    return whole


def _prices(values: NDArray[Any]) -> tuple[NDArray[np.float64], list[Decimal | None] | None]:
    if values.dtype.kind in "fiub":
        return _as(np.float64, values), None
    pairs = [_price(value) for value in values.tolist()]
    exact = [decimal for _, decimal in pairs]
    return np.array([price for price, _ in pairs], np.float64), exact if any(one is not None for one in exact) else None


def _price(value: Any) -> tuple[float, Decimal | None]:
    try:
        if isinstance(value, Decimal):
            return price_of_decimal(value)
        if isinstance(value, str):
            return price_of_text(value)
        return (float("nan") if value is None else float(value)), None
    except (MalformedRow, TypeError, ValueError):
        return float("nan"), None


def _ordered(block: TickColumns) -> TickColumns:
    if len(block) < 2 or bool(np.all(block.ts_ns[1:] >= block.ts_ns[:-1])):
        return block
    return block.taken(np.argsort(block.ts_ns, kind="stable"))


def _of_rows(source: Any) -> TickColumns:
    if not isinstance(source, Iterable):
        raise TickFileError(
            f"a {type(source).__name__} holds no ticks; expected a path, a data frame, an Arrow table, columns by name or ticks"
        )
    items: Sequence[Any] = list(source)
    if items and all(isinstance(item, TickColumns) for item in items):
        return joined(items)
    rows = []
    for item in items:
        if not isinstance(item, MarketTick | TickRow):
            raise TickFileError(f"expected ticks, found {type(item).__name__}")
        rows.append(item if isinstance(item, TickRow) else row_of(item))
    exact = [exact_of_decimal(row.exact, row.price) if row.exact is not None else None for row in rows]
    more = {
        "size": [row.volume for row in rows],
        "bid": [row.bid for row in rows],
        "ask": [row.ask for row in rows],
    }
    optional: dict[str, NDArray[Any]] = {
        name: np.array([np.nan if value is None else float(value) for value in values], np.float64)
        for name, values in more.items()
        if any(value is not None for value in values)
    }
    for name, flags in (("halted", [row.halted for row in rows]), ("auction", [row.auction for row in rows])):
        if any(flags):
            optional[name] = np.array(flags, np.bool_)
    return columns_of(
        np.array([row.ts_ns for row in rows], np.int64),
        np.array([row.instrument_token for row in rows], np.int64),
        np.array([row.price for row in rows], np.float64),
        exact,
        optional,
    )
