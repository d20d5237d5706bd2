"""The tables that a block is worked on in: what it holds by instrument, what fired, what was filled, who moved."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anystrat.engine.raw_signals import FillLog
from anystrat.engine.state import Floats, Ints, table_type, view_of, views


class FiredColumns(NamedTuple):
    """Raw signals: their positions in the grouped block, what they say, and (`code`) what became of them."""

    position: Ints
    slot: Ints
    side: Ints
    confidence: Floats
    quantity: Ints
    bucket: Ints
    code: Ints


class InstrumentRange(NamedTuple):
    """Row `i` has its history at `base[i]:first[i]` of the grouped block and its new ticks at `first[i]:last[i]`.

    `before` is its last price before the block.
    """

    base: Ints
    first: Ints
    last: Ints
    before: Floats


class ExecutorRange(NamedTuple):
    """The raw signals of executor `e` are those at `start[e]:end[e]`, in tick order; `batched` says if it is driven here."""

    start: Ints
    end: Ints
    batched: Ints


class GroupedColumns(NamedTuple):
    """The block by instrument, each in tick order. `tick` is a tick's place in the block, -1 in the history."""

    tick: Ints
    ts: Ints
    market: Ints
    open: Floats


class MoveColumns(NamedTuple):
    """Transitions, in the order in which the gate made them; `trigger` is a place in `TRIGGERS`."""

    tick: Ints
    executor: Ints
    before: Ints
    after: Ints
    trigger: Ints
    stage: Ints


class QueueColumns(NamedTuple):
    """Room for the fills that are to come within the block: a heap by tick."""

    tick: Ints
    position: Ints
    slot: Ints


class Walk(NamedTuple):
    """All that one block is walked over with.

    `price` goes with `grouped`; `sizes` are the numbers of fills, of moves and of queue entries.
    """

    fired: FiredColumns
    executors: ExecutorRange
    instruments: InstrumentRange
    grouped: GroupedColumns
    price: Floats
    fills: FillLog
    moves: MoveColumns
    queue: QueueColumns
    sizes: Ints


class BlockTables(NamedTuple):
    """The tables of a block as structured arrays: `walk()` shows them to compiled or to interpreted code.

    What fired is made a column at a time, and therefore is columns: to write them into rows takes longer than the gate.
    """

    fired: FiredColumns
    executors: NDArray[Any]
    instruments: NDArray[Any]
    grouped: NDArray[Any]
    price: NDArray[np.float64]
    fills: NDArray[Any]
    moves: NDArray[Any]
    queue: NDArray[Any]
    sizes: NDArray[np.int64]

    def walk(self, *, compiled: bool) -> Walk:
        """The same memory, for the gate."""
        if compiled:
            tables: Any = self
            return Walk._make(tables)
        return Walk(
            FiredColumns._make(view_of(np.asarray(column)) for column in self.fired),
            views(ExecutorRange, self.executors),
            views(InstrumentRange, self.instruments),
            views(GroupedColumns, self.grouped),
            view_of(self.price),
            views(FillLog, self.fills),
            views(MoveColumns, self.moves),
            views(QueueColumns, self.queue),
            view_of(self.sizes),
        )


def nothing_fired() -> FiredColumns:
    """No raw signal."""
    none: Any = [np.zeros(0, table_type(FiredColumns)[name]) for name in FiredColumns._fields]
    return FiredColumns._make(none)


def fresh(columns: type[tuple[Any, ...]], rows: int) -> NDArray[Any]:
    """A table of zeros."""
    return np.zeros(rows, table_type(columns))
