"""Blocks of ticks through the compiled lanes; what a lane leaves to the engine is done in between, tick by tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.errors import OutsideCalendar
from anystrat.domain.outcomes import TickDropped
from anystrat.domain.window import NUMBERS_ALONE
from anystrat.engine.block_logs import BlockLog, no_entries
from anystrat.engine.columns.grouping import AUCTION_BIT, DROP_OF_PLACE, HALTED_BIT
from anystrat.engine.decision import SESSION_CODE
from anystrat.engine.lane_tables import (
    FILLS,
    LISTED,
    SIGNALS,
    Block,
    SignalLog,
    counters_in,
)
from anystrat.engine.lanes import take_block
from anystrat.engine.live import SESSION_FLAG, token_table
from anystrat.engine.raw_signals import FillLog
from anystrat.engine.taken import TakenBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.compiling import Binder, BoundKernel
    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.tick import TickRow
    from anystrat.engine.engine import Engine
    from anystrat.engine.live import Live

#: Ticks that the kernel is given at a time: what it reads and writes of them stays in the processor's nearer memory.
_ROOM: Final = 2_048
_INTEGER: Final = np.dtype(np.int64)
_DOUBLE: Final = np.dtype(np.float64)
_NO_PLACES: Final = np.zeros(0, np.int64)
#: Entries of a log, at least.
_LOG_ROOM: Final = 1_024
_PLACE_OF_DROP: Final = {reason: place for place, reason in DROP_OF_PLACE.items()}


class Blocks:
    """Takes blocks of ticks through an engine: through its lanes where it has them, else one by one."""

    def __init__(self, engine: Engine, live: Live | None, compiler: Binder | None) -> None:
        self._engine = engine
        self._live = live
        self._compiler = compiler
        self._kernel: BoundKernel | None = None
        #: The kernel's, for whether fills are left untold.
        self._cells = [0, 0]
        self._call: Any = None
        #: What the kernel is bound to, and the largest block that the logs were made for.
        self._bound_to: tuple[Any, ...] = (None,) * 3
        self._fits = 0
        self._known: list[int] = []
        self._signals = BlockLog(SignalLog)
        self._fills = BlockLog(FillLog)
        self._flags, self._place = np.zeros(_ROOM, np.int64), np.zeros(_ROOM, np.int64)
        #: What all of `_flags` are, if they are the same.
        self._all_flags: int | None = 0
        columns: Any = (self._flags, self._place, np.zeros(0, np.int64))
        self._room = Block._make(columns)

    def take(self, block: TickColumns, *, fills: bool = True) -> TakenBlock:
        """Push a block through; see `Engine.step_block`."""
        live = self._live
        if live is None or not self._engine.executors or self._engine.feed_stale:
            return self._one_by_one(block)
        live.find()
        rows = None if _numbers_alone(block) else list(block.rows())
        flags = self._flags_of(block, rows)
        if flags is None:
            return self._one_by_one(block)
        return self._through(live, block, rows, flags, fills=fills)

    def suffice(self, block: TickColumns) -> bool:
        """Whether the lanes take the whole block, and take it quickest: nothing is left to the engine but rare steps."""
        live = self._live
        if live is None or not self._engine.executors or self._engine.feed_stale or not _numbers_alone(block):
            return False
        live.find()
        return live.complete

    def _through(
        self,
        live: Live,
        block: TickColumns,
        rows: list[TickRow] | None,
        flags: NDArray[np.int64] | int,
        *,
        fills: bool,
    ) -> TakenBlock:
        engine, size = self._engine, len(block.ts_ns)
        ts, token, price = (
            _plain(block.ts_ns, _INTEGER),
            _plain(block.instrument_token, _INTEGER),
            _plain(block.price, _DOUBLE),
        )
        if len(token) != size or len(price) != size:
            raise ValueError(f"a block of {size} times has {len(token)} instruments and {len(price)} prices")
        raw: list[NDArray[np.int64]] = []
        filled: list[NDArray[np.int64]] = []
        own: list[tuple[int, int, Outcome]] = []
        placed = _NO_PLACES
        at = first = known = refused = 0
        stop = min(_ROOM, size)
        self._write(flags, 0, stop)
        while at < size:
            call = self._bound(live, size)
            before, at = at, call(self._cells[not fills], first, at, stop, ts, token, price)
            signals, told, listed, _, _, refused, dropped, _ = counters_in(engine.control_array)
            for j in range(before, at) if rows is not None else ():
                if self._place[j - first] >= 0:
                    engine.windows[self._place[j - first]].keep(rows[j])  # type: ignore[index]  # there are rows
            if listed:
                own += self._own_steps(live, first, at - 1, rows)
            if at == size or (at < stop and not listed):
                # It is over, or the logs are full.
                raw.append(self._signals.take(signals))
                filled.append(self._fills.take(told))
                engine.control[SIGNALS] = engine.control[FILLS] = 0
            if at == stop:
                if dropped > known:
                    if not known:
                        placed = np.zeros(size, np.int64)
                    placed[first:stop] = self._place[: stop - first]
                    known = dropped
                first, stop = stop, min(stop + _ROOM, size)
                self._write(flags, first, stop)
        if known:
            self._count_drops(placed)
        told_fills = _joined(filled, FillLog) if fills else None
        return TakenBlock(block, engine.executors, placed, _joined(raw, SignalLog), told_fills, refused, own)

    def _count_drops(self, placed: NDArray[np.int64]) -> None:
        for code, reason in DROP_OF_PLACE.items():
            dropped = int(np.count_nonzero(placed == code))
            if dropped:
                self._engine.tick_drops[reason.value] += dropped

    def _own_steps(self, live: Live, first: int, j: int, rows: list[TickRow] | None) -> list[tuple[int, int, Outcome]]:
        """What the lanes left to the engine on tick `j` of the piece from `first` on, the current one of its window."""
        engine = self._engine
        i = int(self._place[j - first])
        row = rows[j] if rows is not None else engine.windows[i].row(0)
        watchers = [live.watchers[k] for k in live.listed[: engine.control[LISTED]].tolist()]
        flags = int(self._flags[j - first])
        steps = engine.tick_steps.own_steps(watchers, i, row, flags, 0, engine.decisions)
        return [(j, *each) for each in steps]

    def _one_by_one(self, block: TickColumns) -> TakenBlock:
        engine = self._engine
        place = np.zeros(len(block), np.int64)
        own: list[tuple[int, int, Outcome]] = []
        for j, row in enumerate(block.rows()):
            for outcome in engine.step(row):
                if isinstance(outcome, TickDropped):
                    place[j] = _PLACE_OF_DROP[outcome.reason]
                else:
                    # They are in their order already.
                    own.append((j, -1, outcome))
        return TakenBlock(block, engine.executors, place, no_entries(SignalLog), no_entries(FillLog), 0, own)

    # -- tables ---------------------------------------------------------------------------------------------------

    def _bound(self, live: Live, size: int) -> Any:
        """The kernel, bound to where everything is now; the logs have room for what most blocks of `size` ticks come to."""
        live.find()
        bound_to = self._bound_to
        if (
            size <= self._fits
            and live.tables is bound_to[0]
            and self._signals.columns is bound_to[1]
            and self._fills.columns is bound_to[2]
        ):
            return self._call
        room = max(_LOG_ROOM, size + size // 4) + live.most_watchers
        self._fits = size
        self._signals.make_room(room)
        self._fills.make_room(room + live.most_watchers * self._engine.state.pending_room)
        if len(self._known) != len(self._engine.tokens):
            self._known = list(self._engine.tokens)
            tokens: Any = token_table({token: i for i, token in enumerate(self._known)})
            self._room = self._room._replace(tokens=tokens)
        limits, book, lanes = live.tables
        tables = (limits, book, lanes._replace(signals=self._signals.columns, fills=self._fills.columns), self._room)
        if self._kernel is None:
            assert self._compiler is not None
            self._kernel = self._compiler.bound(take_block, tables, "iiiiIIF", others_run=True)
            self._cells, self._call = self._kernel.cells(2), self._kernel.call
        else:
            self._kernel.rebind(tables)
        self._bound_to = live.tables, self._signals.columns, self._fills.columns
        return self._call

    def _write(self, flags: NDArray[np.int64] | int, first: int, stop: int) -> None:
        """Write the flags of a piece down for the kernel, where they are others than those that are there."""
        if not isinstance(flags, int):
            self._flags[: stop - first] = flags[first:stop]
            self._all_flags = None
        elif flags != self._all_flags:
            self._flags[:] = flags
            self._all_flags = flags

    def _flags_of(self, block: TickColumns, rows: Sequence[TickRow] | None) -> NDArray[np.int64] | int | None:
        """The ticks' flags, or those that all of them have; None where the block has to go tick by tick."""
        timed = self._engine.tick_steps.timed_rows
        if rows is None and not timed and block.halted is None and block.auction is None:
            return NUMBERS_ALONE
        if rows is not None:
            flags = np.array([row.flags for row in rows], np.int64)
        else:
            flags = np.full(len(block), NUMBERS_ALONE, np.int64)
            if block.halted is not None:
                flags |= block.halted * HALTED_BIT
            if block.auction is not None:
                flags |= block.auction * AUCTION_BIT
        if not timed:
            return flags
        assert self._engine.sessions is not None
        for j in np.flatnonzero(np.isin(block.instrument_token, [self._engine.tokens[i] for i in timed])).tolist():
            token, ts = int(block.instrument_token[j]), int(block.ts_ns[j])
            try:
                flags[j] |= SESSION_FLAG[SESSION_CODE[self._engine.sessions.session(token, ts)]]
            except OutsideCalendar:
                return None  # that is noted, on a tick that is accepted
        return flags


def _numbers_alone(block: TickColumns) -> bool:
    """Whether there is nothing in a block that a window would have to keep beside numbers and flags."""
    return block.exact is None and block.volume is None and block.bid is None and block.ask is None


def _plain(column: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """The column as compiled code reads it. Raises `ValueError` for more dimensions than one."""
    if column.ndim != 1:
        raise ValueError(f"a column of ticks has one dimension, not {column.ndim}")
    return column if column.dtype is kind and column.flags.aligned else np.require(column, kind, "A")


def _joined(logs: list[NDArray[np.int64]], kind: type[tuple[Any, ...]]) -> NDArray[np.int64]:
    if len(logs) == 1:
        return logs[0]
    return np.concatenate(logs, axis=1) if logs else no_entries(kind)
