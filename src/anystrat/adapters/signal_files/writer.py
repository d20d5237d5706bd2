"""The life of a signal file: rows go to a partial file, which takes its name at a clean end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from anystrat.adapters.signal_files.behind import Behind
from anystrat.adapters.signal_files.columns import places_of
from anystrat.adapters.signal_files.errors import SignalFileError
from anystrat.domain.outcomes import Dropped, Emitted
from anystrat.domain.signal import EmittedSignal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anystrat.domain.columns import SignalColumns

_BATCH = 8_192


class Rows(Protocol):
    """A format: rows in, a file that is well-formed after `finish`."""

    def add(self, items: Sequence[Any]) -> None:
        """Append emitted signals or, in a file of drops, `Dropped`."""
        ...

    def add_columns(self, columns: SignalColumns, places: NDArray[np.int64]) -> None:
        """Append those at `places`."""
        ...

    def finish(self) -> None:
        """Write what is left, and what ends the file, through to the disk; the second call does nothing."""
        ...


class SignalWriter:
    """Writes signals or drops, in the order in which they come; made by `open_signals`.

    As a context manager it closes at the end of the block; after an error it keeps what was written as
    `partial_path` and leaves `path` as it was.
    """

    def __init__(self, path: Path, partial: Path, rows: Rows, *, reasons: bool, drops: bool) -> None:
        self.path = path
        self.partial_path = partial
        #: How many rows were written so far.
        self.rows = 0
        self._format = rows
        self._reasons = reasons
        self._drops = drops
        self._open = True
        self._behind = Behind()

    def write(self, items: Iterable[object]) -> int:
        """Write what belongs into this file, and say how many rows that was; other outcomes are passed over.

        Into a file of signals go `Emitted` and `EmittedSignal`, into a file of drops `Dropped`: both writers may be
        handed the whole stream of outcomes. Nothing that was handed in is kept, so metadata may change afterwards.
        """
        if not self._open:
            raise SignalFileError(f"{self.path}: the writer is closed")
        before = self.rows
        batch: list[object] = []
        try:
            for item in items:
                kind = type(item)
                if self._drops:
                    if kind is not Dropped:
                        continue
                elif kind is Emitted:
                    item = item.signal  # type: ignore[attr-defined]  # noqa: PLW2901  the type was just looked at
                elif not isinstance(item, EmittedSignal):
                    continue
                batch.append(item)
                if len(batch) == _BATCH:
                    full, batch = batch, []
                    self._add(full)
        finally:  # an engine that raises half-way has still emitted what came before
            self._add(batch)
        return self.rows - before

    def write_columns(self, columns: SignalColumns) -> int:
        """As `write`, for signals and drops that were never made objects; the file comes out the same.

        Columns do not say why, so a file with reasons takes objects only. They are written behind, on a thread, and must
        not change any more; what goes wrong there is raised by the next call.
        """
        if not self._open:
            raise SignalFileError(f"{self.path}: the writer is closed")
        if self._reasons:
            raise ValueError("columns do not say why; a file with reasons takes objects")
        places = places_of(columns, drops=self._drops)
        try:
            self._behind.run(lambda: self._format.add_columns(columns, places))
        except OSError as error:
            raise self._unwritable(error) from error
        self.rows += len(places)
        return len(places)

    def close(self) -> None:
        """End the file and give it its name; the second call does nothing."""
        if not self._open:
            return
        self._finish()
        try:
            self.partial_path.replace(self.path)
        except OSError as error:
            raise SignalFileError(
                f"{self.path}: cannot be named; the rows are in {self.partial_path}: {error}"
            ) from error

    def abandon(self) -> None:
        """End the file where it is and leave it at `partial_path`: whole rows, but not all that were meant."""
        if self._open:
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self.abandon()
        except SignalFileError as second:  # the first error is the one to show
            if error is not None:
                error.add_note(str(second))

    def _add(self, batch: list[object]) -> None:
        if not batch:
            return
        try:
            self._behind.wait()
            self._format.add(batch)
        except OSError as error:
            raise self._unwritable(error) from error
        self.rows += len(batch)

    def _finish(self) -> None:
        self._open = False
        try:
            try:
                self._behind.close()
            finally:
                self._format.finish()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> SignalFileError:
        return SignalFileError(f"{self.path}: cannot be written: {error}; see {self.partial_path}")
