"""The last ticks of each instrument from tick files, so that a new run's windows are full at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.adapters.recording.reader import RecordedTicks
from anystrat.adapters.tick_files import open_ticks
from anystrat.adapters.tick_files.decode import Tally
from anystrat.adapters.tick_files.parquet_file import ParquetSource
from anystrat.domain.columns import TickColumns, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.adapters.tick_files.source import TickSourceFile
    from anystrat.domain.tick import MarketTick

_BLOCK_ROWS: Final = 65_536


class FileHistory:
    """A `HistoryProvider` over tick files and recordings: `wanted` says how many ticks of which instruments.

    Only ticks from before `before_ns` are in it (None: all), and none that the engine would drop for its price; times never
    descend. Nothing is read before the first question, and then all files once: Parquet from its end backwards, as far
    as anybody needs it. Raises `TickFileError` then, `MissingExtra`.
    """

    def __init__(
        self, paths: Sequence[Path], wanted: Mapping[int, int], before_ns: Callable[[], int | None] = lambda: None
    ) -> None:
        self._paths = paths
        self._wanted = {token: count for token, count in wanted.items() if count > 0}
        self._before_ns = before_ns
        self._found: dict[int, TickColumns] | None = None

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        if self._found is None:
            self._found = self._read()
        ticks = self._found.get(instrument_token)
        if ticks is None or count <= 0:
            return ()
        return [row.market_tick() for row in last_of(ticks, count).rows()]

    def _read(self) -> dict[int, TickColumns]:
        before = self._before_ns()
        found: dict[int, list[TickColumns]] = {}
        for path in self._paths:
            for file in open_ticks(path).sources:
                for token, ticks in _tail(file, self._wanted, before).items():
                    found.setdefault(token, []).append(ticks)
        return {token: last_of(_by_time(joined(parts)), self._wanted[token]) for token, parts in found.items()}


def _groups(file: TickSourceFile, worth: Callable[[int, int], bool]) -> Iterator[Iterator[TickColumns]]:
    """The file's ticks in groups, the last ones first; text is one group, since its end cannot be read alone."""
    if isinstance(file, ParquetSource | RecordedTicks):
        return file.groups_backwards(_BLOCK_ROWS, worth)
    return iter([file.blocks(_BLOCK_ROWS, Tally())])


def _tail(file: TickSourceFile, wanted: Mapping[int, int], before: int | None) -> dict[int, TickColumns]:
    """The last ticks of each wanted instrument in one file, in the file's order."""
    missing = dict(wanted)
    groups = _groups(file, lambda least, largest: any(least <= token <= largest for token in missing))
    return _tails_backwards(groups, missing, before)


def tails_backwards(
    groups: Iterator[Iterator[TickColumns]], wanted: Mapping[int, int], before: int | None
) -> dict[int, TickColumns]:
    """The last so many usable ticks of each wanted instrument, by time; of groups of blocks that come last one first.

    No more groups are read than are needed.
    """
    found = _tails_backwards(groups, dict(wanted), before)
    return {token: _by_time(ticks) for token, ticks in found.items()}


def _tails_backwards(
    groups: Iterator[Iterator[TickColumns]], missing: dict[int, int], before: int | None
) -> dict[int, TickColumns]:
    found: dict[int, TickColumns] = {}
    for group in groups:
        for token, ticks in _tails(group, missing, before).items():
            found[token] = joined([ticks, found[token]]) if token in found else ticks
            missing[token] -= len(ticks)
            if not missing[token]:
                del missing[token]
        if not missing:
            break
    return found


def _tails(blocks: Iterator[TickColumns], wanted: Mapping[int, int], before: int | None) -> dict[int, TickColumns]:
    """The last so many ticks of each wanted instrument among blocks in order."""
    tails: dict[int, TickColumns] = {}
    for block in blocks:
        for token in np.unique(block.instrument_token).tolist():
            if token not in wanted:
                continue
            ticks = _usable(block, block.instrument_token == token, before)
            if len(ticks):
                tails[token] = last_of(joined([tails[token], ticks]) if token in tails else ticks, wanted[token])
    return tails


def _usable(block: TickColumns, mine: NDArray[np.bool_], before: int | None) -> TickColumns:
    with np.errstate(invalid="ignore"):
        mine &= (block.price > 0.0) & (block.price < inf)
    if before is not None:
        mine &= block.ts_ns < before
    return block.taken(np.flatnonzero(mine))


def _by_time(ticks: TickColumns) -> TickColumns:
    return ticks.taken(np.argsort(ticks.ts_ns, kind="stable"))


def last_of(ticks: TickColumns, count: int) -> TickColumns:
    """The last `count` of them."""
    start = max(0, len(ticks) - count)
    return ticks if not start else ticks.taken(np.arange(start, len(ticks)))
