"""Tables of a backtest as files: Parquet, CSV or JSONL by the suffix. A file under its own name is always whole."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.errors import AnystratError, MissingExtra, nearest_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TableFileError", "check_table_path", "write_table"]

_CHUNK: Final = 65_536


class TableFileError(AnystratError):
    """A table cannot be written: an unknown format, or a place that does not take it."""

    exit_code = 2


def check_table_path(path: str | os.PathLike[str]) -> None:
    """Refuse a place that no table can be written to, before there is one. Raises `TableFileError`, `MissingExtra`."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _FORMATS:
        nearest = nearest_name(suffix, _FORMATS)
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        raise TableFileError(
            f"{path}: the suffix {target.suffix!r} names no table format{hint} (expected one of {', '.join(_FORMATS)})"
        )
    if target.is_dir():
        raise TableFileError(f"{path}: is a directory; expected a file, such as {path}/table{suffix}")
    if not target.parent.is_dir():
        raise TableFileError(f"{path}: its directory does not exist; make it first: mkdir -p {target.parent}")
    if suffix == ".parquet":
        _pyarrow(target)


def write_table(path: str | os.PathLike[str], columns: Mapping[str, NDArray[Any]]) -> int:
    """Write columns of one length; how many rows they had. Numbers are written in full, NaN as null (JSONL, Parquet) or nothing.

    Raises `TableFileError`, `MissingExtra` for Parquet without pyarrow.
    """
    check_table_path(path)
    target = Path(os.path.realpath(path))
    partial = target.with_name(target.name + ".partial")
    try:
        _FORMATS[target.suffix.lower()](partial, columns)
        # Its bytes first, or a power cut could leave the name without them.
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise TableFileError(f"{path}: cannot be written: {error}") from error
    return len(next(iter(columns.values()))) if columns else 0


def _rows(columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[Any, ...]]:
    size = len(next(iter(columns.values()))) if columns else 0
    for start in range(0, size, _CHUNK):
        yield from zip(*(column[start : start + _CHUNK].tolist() for column in columns.values()), strict=True)


def _csv(target: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in _rows(columns):
            writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if isinstance(value, float) and math.isnan(value) else value


def _jsonl(target: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    with target.open("w", encoding="utf-8") as file:
        for row in _rows(columns):
            finite = [None if isinstance(value, float) and not math.isfinite(value) else value for value in row]
            file.write(json.dumps(dict(zip(columns, finite, strict=True)), ensure_ascii=False, separators=(",", ":")))
            file.write("\n")


def _parquet(target: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    pa, pq = _pyarrow(target)
    arrays = {
        name: pa.array(column, mask=np.isnan(column) if column.dtype.kind == "f" else None)
        for name, column in columns.items()
    }
    pq.write_table(pa.table(arrays), target, compression="zstd")


def _pyarrow(target: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(f"writing {target.name.removesuffix('.partial')}", "parquet") from error
    return pa, pq


_FORMATS: Final[dict[str, Callable[[Path, Mapping[str, Any]], None]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
