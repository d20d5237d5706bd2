"""What of earlier blocks the next one needs: each instrument's last ticks as columns, and the way back to its window."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from anystrat.domain.tick import TickRow
from anystrat.engine.columns.grouping import AUCTION_BIT, HALTED_BIT, shift_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.columns.block import BlockTables
    from anystrat.engine.engine import Engine

_OPTIONAL = ("volume", "bid", "ask")


class Tails:
    """The last ticks of every instrument, as many as its window holds, in columns.

    Rows that were in a window before the first block are kept as they were; `hand_back` makes rows of the columns and
    fills the windows again, so that a tick-by-tick step or a snapshot goes on from here.
    """

    def __init__(self, engine: Engine, compiler: Compiler | None) -> None:
        windows = engine.windows
        self._engine = engine
        self._shift_in = compiler(shift_in) if compiler is not None else shift_in
        self.room = np.array([window.capacity for window in windows], np.int64)
        self.offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.room)])
        total = int(self.offset[-1])
        self.price = np.zeros(total)
        self._ts = np.zeros(total, np.int64)
        self._flags = np.zeros(total, np.int8)
        self._more: dict[str, NDArray[np.float64]] = {}
        self._exact: dict[int, list[Decimal | None]] = {}
        self.held = np.zeros(len(windows), np.int64)
        self._fresh = np.zeros(len(windows), np.int64)
        self._kept: list[list[TickRow]] = []
        for i, window in enumerate(windows):
            rows = window.rows()
            self._kept.append(rows)
            self.held[i] = len(rows)
            start = int(self.offset[i])
            self.price[start : start + len(rows)] = [row.price for row in rows]
            if any(row.exact is not None for row in rows):
                self._exact[i] = [row.exact for row in rows]

    def exact(self, i: int, back: int) -> Decimal | None:
        """The exact decimal of the price `back` places before the block (1 is the last one), if its double says less."""
        known = self._exact.get(i)
        return known[-back] if known is not None else None

    def has_exact(self, i: int) -> bool:
        """Whether any price of this instrument's tail is more than its double says."""
        return i in self._exact

    def take(self, block: TickColumns, flags: NDArray[np.int8], rows: NDArray[np.int64], tables: BlockTables) -> None:
        """Let the block's ticks push the oldest out. `rows` are the instruments that have any."""
        self._shift(rows, tables, block.price, self.price)
        self._shift(rows, tables, block.ts_ns, self._ts)
        self._shift(rows, tables, flags, self._flags)
        for name in _OPTIONAL:
            column = getattr(block, name)
            if column is None and name not in self._more:
                continue
            tail = self._more.setdefault(name, np.full(len(self.price), math.nan))
            self._shift(rows, tables, column if column is not None else np.full(len(block), math.nan), tail)
        if block.exact is not None or self._exact:
            self._take_exact(block, rows, tables)
        new = tables.instruments["last"][rows] - tables.instruments["first"][rows]
        self.held[rows] = np.minimum(self.room[rows], self.held[rows] + new)
        self._fresh[rows] = np.minimum(self.room[rows], self._fresh[rows] + new)

    def _shift(self, rows: NDArray[np.int64], tables: BlockTables, source: NDArray[Any], tail: NDArray[Any]) -> None:
        self._shift_in(
            rows,
            tables.instruments["first"],
            tables.instruments["last"],
            self.offset,
            self.room,
            self.held,
            tables.grouped["tick"],
            source,
            tail,
        )

    def _take_exact(self, block: TickColumns, rows: NDArray[np.int64], tables: BlockTables) -> None:
        for i in rows.tolist():
            room = int(self.room[i])
            first, last = int(tables.instruments["first"][i]), int(tables.instruments["last"][i])
            ticks = tables.grouped["tick"][first:last][-room:].tolist()
            new = [block.exact[tick] for tick in ticks] if block.exact is not None else [None] * len(ticks)
            old = self._exact.get(i) or [None] * int(self.held[i])
            both = [*old, *new][-room:]
            if any(value is not None for value in both):
                self._exact[i] = both
            else:
                self._exact.pop(i, None)

    def hand_back(self) -> None:
        """Fill the engine's windows with what the columns hold."""
        for i in np.flatnonzero(self._fresh).tolist():
            window = self._engine.windows[i]
            fresh, held, start = int(self._fresh[i]), int(self.held[i]), int(self.offset[i])
            kept = self._kept[i][len(self._kept[i]) - (held - fresh) :] if held > fresh else []
            rows = [*kept, *(self._row(i, start + k, held - k) for k in range(held - fresh, held))]
            window.clear()
            for row in rows:
                window.push(row)
            self._kept[i] = rows
            self._fresh[i] = 0

    def _row(self, i: int, place: int, back: int) -> TickRow:
        flags = int(self._flags[place])
        more = {name: tail[place].item() for name, tail in self._more.items() if not math.isnan(tail[place])}
        return TickRow(
            self._engine.tokens[i],
            int(self._ts[place]),
            float(self.price[place]),
            self.exact(i, back),
            more.get("volume"),
            more.get("bid"),
            more.get("ask"),
            bool(flags & HALTED_BIT),
            bool(flags & AUCTION_BIT),
        )
