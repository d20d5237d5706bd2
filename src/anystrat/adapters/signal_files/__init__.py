"""Signal files: what a replay or a backtest emitted (or dropped), as JSONL or Parquet, byte for byte reproducible.

    with open_signals("signals.jsonl", reasons=True) as writer:
        writer.write(outcomes)

Columns: `ts_ns`, `strategy_id`, `broker`, `instrument_token`, `signal_type`, `confidence`, `quantity`, `price`, `signal_id`;
a file of drops has `reason` in place of `signal_id`; with `reasons=True`, `reasoning` and `metadata` follow.

Rows are written to `<name>.partial` beside the file, which takes its name only on a clean end, so that a file under its
own name is always whole. After an error, `<name>.partial` is closed properly and kept: it holds everything up to then.

What JSON or Parquet cannot say: a confidence of NaN or infinity is null in JSONL; in Parquet, a price that is no finite
number is null. `metadata` is JSON: decimals and dates are strings, keys are sorted, NaN is null, an object that JSON does
not know is its `repr` without memory addresses. In Parquet it is that JSON as text.
"""

from __future__ import annotations

import os
from pathlib import Path

from anystrat.adapters.signal_files.errors import SignalFileError
from anystrat.adapters.signal_files.jsonl import JsonlRows
from anystrat.adapters.signal_files.parquet import ParquetRows
from anystrat.adapters.signal_files.writer import Rows, SignalWriter
from anystrat.domain.errors import nearest_name

__all__ = ["SignalFileError", "SignalWriter", "open_signals"]

_FORMATS: dict[str, type[JsonlRows | ParquetRows]] = {
    ".jsonl": JsonlRows,
    ".ndjson": JsonlRows,
    ".parquet": ParquetRows,
    ".pq": ParquetRows,
}


def open_signals(path: str | os.PathLike[str], *, reasons: bool = False, drops: bool = False) -> SignalWriter:
    """A writer of emitted signals or, with `drops`, of refused ones; the format follows the suffix.

    Raises `SignalFileError` where nothing can be written, `MissingExtra` for Parquet without pyarrow.
    """
    target = Path(os.path.realpath(path))  # through a symbolic link, which the final rename would otherwise replace
    form = _FORMATS.get(target.suffix.lower())
    if form is None:
        nearest = nearest_name(target.suffix.lower(), _FORMATS)
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        raise SignalFileError(
            f"{path}: the suffix {target.suffix!r} names no signal format{hint} (expected one of {', '.join(_FORMATS)})"
        )
    if target.is_dir():
        raise SignalFileError(f"{path}: is a directory; expected a file, such as {path}/signals{target.suffix}")
    if not target.parent.is_dir():
        raise SignalFileError(f"{path}: its directory does not exist; make it first: mkdir -p {target.parent}")
    partial = target.with_name(target.name + ".partial")
    try:
        rows: Rows = form(partial, reasons=reasons, drops=drops)
    except OSError as error:
        raise SignalFileError(f"{path}: cannot be written: {error}") from error
    return SignalWriter(target, partial, rows, reasons=reasons, drops=drops)
