"""A table of columns, as light as a dict of arrays, that becomes a data frame of whichever library is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Columns of this ending are times, in nanoseconds since 1970 UTC; those of durations end in `duration_ns`.
_TIME: Final = "ts_ns"
_SHOWN: Final = 10


class Frame(Mapping[str, "NDArray[Any]"]):
    """Columns by name, each an array of shape (n,): `frame["price"]`, `len(frame.rows)`, `frame.to_pandas()`.

    Columns that end in `ts_ns` hold times as whole nanoseconds since 1970 UTC; a data frame gets them as timestamps.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self._columns.values()))) if self._columns else 0

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`. Raises `MissingExtra` without pyarrow."""
        pa = _library("pyarrow")
        stamp = pa.timestamp("ns", tz="UTC")
        return pa.table(
            {
                name: pa.array(column, stamp) if name.endswith(_TIME) else pa.array(column)
                for name, column in self._columns.items()
            }
        )

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`. Raises `ImportError` without pandas."""
        pd = _library("pandas")
        return pd.DataFrame(
            {
                name: pd.to_datetime(column, unit="ns", utc=True) if name.endswith(_TIME) else column
                for name, column in self._columns.items()
            }
        )

    def to_polars(self) -> Any:
        """A `polars.DataFrame`. Raises `ImportError` without polars."""
        pl = _library("polars")
        times = [
            pl.col(name).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
            for name in self._columns
            if name.endswith(_TIME)
        ]
        return pl.DataFrame(self._columns).with_columns(times)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """What any library that takes Arrow data asks for. Raises `MissingExtra` without pyarrow."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<Frame of {self.rows:,} rows: {', '.join(self._columns)}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self._columns)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{escape(shown(name, column[at]))}</td>" for name, column in self._columns.items())
            + "</tr>"
            for at in range(min(_SHOWN, self.rows))
        )
        rest = f"<p>{self.rows:,} rows</p>" if self.rows > _SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def shown(name: str, value: Any) -> str:
    """A cell as a person reads it."""
    if name.endswith(_TIME):
        return str(np.datetime64(int(value), "ns"))
    if isinstance(value, float | np.floating):
        return f"{value:,.6g}"
    return str(value)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        if name == "pyarrow":
            raise MissingExtra("an Arrow table", "parquet") from error
        raise ImportError(f"a table for {name} needs it installed: pip install {name}") from error
