"""Blocks of ticks through the compiled lanes; what a lane leaves to the engine is done in between, tick by tick."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.errors import OutsideCalendar
from anystrat.domain.outcomes import TickDropped
from anystrat.domain.window import NUMBERS_ALONE
from anystrat.engine.block_logs import BlockLog, no_entries
from anystrat.engine.columns.grouping import AUCTION_BIT, DROP_OF_PLACE, HALTED_BIT
from anystrat.engine.decision import SESSION_CODE
from anystrat.engine.lanes import (
    AGE,
    DROPPED,
    FILLS,
    FILLS_UNTOLD,
    LISTED,
    REFUSED,
    SIGNALS,
    Block,
    FillLog,
    SignalLog,
    take_block,
)
from anystrat.engine.live import SESSION_FLAG, token_table
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

_LEAST_ROOM: Final = 64
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
        self._cell = 0
        self._call: Any = None
        #: What the kernel is bound to, and the largest block that the logs were made for.
        self._bound_to: tuple[Any, ...] = (None,) * 4
        self._fits = 0
        self._tokens: NDArray[np.int64] = np.zeros(0, np.int64)
        self._known: list[int] = []
        self._signals = BlockLog(SignalLog)
        self._fills = BlockLog(FillLog)
        self._make_room(_LEAST_ROOM)

    def take(self, block: TickColumns, *, fills: bool = True) -> TakenBlock:
        """Push a block through; see `Engine.step_block`."""
        live, size = self._live, len(block)
        if live is None or not self._engine.executors or self._engine.feed_stale:
            return self._one_by_one(block)
        if size > len(self._place):
            self._make_room(size)
        live.find()
        rows = None if _numbers_alone(block) else list(block.rows())
        if not self._write(block, rows):
            return self._one_by_one(block)
        return self._through(live, block, rows, fills=fills)

    def suffice(self, block: TickColumns) -> bool:
        """Whether the lanes take the whole block, and take it quickest: nothing is left to the engine but rare steps."""
        live = self._live
        if live is None or not self._engine.executors or self._engine.feed_stale or not _numbers_alone(block):
            return False
        live.find()
        return live.complete

    def _through(self, live: Live, block: TickColumns, rows: list[TickRow] | None, *, fills: bool) -> TakenBlock:
        engine, size = self._engine, len(block)
        control, place = engine.control, self._place
        control[SIGNALS] = control[FILLS] = control[REFUSED] = control[DROPPED] = 0
        control[FILLS_UNTOLD] = not fills
        raw: list[NDArray[np.int64]] = []
        filled: list[NDArray[np.int64]] = []
        own: list[tuple[int, int, Outcome]] = []
        at = 0
        while at < size:
            call = self._bound(live, size)
            before, at = at, call(self._cell, at, size)
            for j in range(before, at) if rows is not None else ():
                if place[j] >= 0:
                    engine.windows[place[j]].keep(rows[j])  # type: ignore[index]  # there are rows
            if control[LISTED]:
                own += self._own_steps(live, at - 1, rows)
            elif at < size:  # a log is full
                raw.append(self._signals.take(control[SIGNALS]))
                filled.append(self._fills.take(control[FILLS]))
                control[SIGNALS] = control[FILLS] = 0
        control[AGE] = control[FILLS_UNTOLD] = 0
        raw.append(self._signals.take(control[SIGNALS]))
        if fills:
            filled.append(self._fills.take(control[FILLS]))
        placed = _NO_PLACES
        if control[DROPPED]:
            placed = place[:size].copy()
            for code, reason in DROP_OF_PLACE.items():
                many = int(np.count_nonzero(placed == code))
                if many:
                    engine.tick_drops[reason.value] += many
        told = _joined(filled) if fills else None
        return TakenBlock(block, engine.executors, placed, _joined(raw), told, control[REFUSED], own)

    def _own_steps(self, live: Live, j: int, rows: list[TickRow] | None) -> list[tuple[int, int, Outcome]]:
        """What the lanes left to the engine on tick `j`, which is the current one of its window."""
        i = int(self._place[j])
        row = rows[j] if rows is not None else self._engine.windows[i].row(0)
        watchers = [live.watchers[k] for k in live.listed[: self._engine.control[LISTED]].tolist()]
        flags = int(self._flags[j])
        return [(j, *each) for each in self._engine.own_steps(watchers, i, row, flags, 0)]

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

    def _make_room(self, rows: int) -> None:
        room = 1 << (rows - 1).bit_length()
        token, ts, self._flags, self._place = (np.zeros(room, np.int64) for _ in range(4))
        columns: Any = (token, ts, np.zeros(room), self._flags, self._place, self._tokens)
        self._block = Block._make(columns)

    def _bound(self, live: Live, size: int) -> Any:
        """The kernel, bound to where everything is now; the logs have room for a block of `size` ticks as most are."""
        live.find()
        now = live.tables, self._block, self._signals.columns, self._fills.columns
        if size <= self._fits and all(map(operator.is_, now, self._bound_to)):
            return self._call
        room = max(_LOG_ROOM, size + size // 4) + live.most_watchers
        self._fits = size
        self._signals.make_room(room)
        self._fills.make_room(room + live.most_watchers * self._engine.state.pending_room)
        if len(self._known) != len(self._engine.tokens):
            self._known = list(self._engine.tokens)
            self._tokens = token_table({token: i for i, token in enumerate(self._known)})
            columns: Any = (*self._block[:-1], self._tokens)
            self._block = Block._make(columns)
        limits, book, lanes = live.tables
        tables = (limits, book, lanes._replace(signals=self._signals.columns, fills=self._fills.columns), self._block)
        if self._kernel is None:
            assert self._compiler is not None
            self._kernel = self._compiler.bound(take_block, tables, "iii", others_run=True)
            self._cell, self._call = self._kernel.cells(1)[0], self._kernel.call
        else:
            self._kernel.rebind(tables)
        self._bound_to = live.tables, self._block, self._signals.columns, self._fills.columns
        return self._call

    def _write(self, block: TickColumns, rows: Sequence[TickRow] | None) -> bool:
        """Write the block's numbers down for the kernel; False where it has to go tick by tick."""
        size, table = len(block), self._block
        columns: Any = table
        columns.token[:size], columns.ts[:size], columns.price[:size] = block.instrument_token, block.ts_ns, block.price
        flags = self._flags[:size]
        if rows is not None:
            flags[:] = [row.flags for row in rows]
        else:
            flags[:] = NUMBERS_ALONE
            if block.halted is not None:
                flags |= block.halted * HALTED_BIT
            if block.auction is not None:
                flags |= block.auction * AUCTION_BIT
        timed = self._engine.timed_rows()
        if not timed:
            return True
        assert self._engine.sessions is not None
        for j in np.flatnonzero(np.isin(block.instrument_token, [self._engine.tokens[i] for i in timed])).tolist():
            token, ts = int(block.instrument_token[j]), int(block.ts_ns[j])
            try:
                flags[j] |= SESSION_FLAG[SESSION_CODE[self._engine.sessions.session(token, ts)]]
            except OutsideCalendar:
                return False  # that is noted, on a tick that is accepted
        return True


def _numbers_alone(block: TickColumns) -> bool:
    """Whether there is nothing in a block that a window would have to keep beside numbers and flags."""
    return block.exact is None and block.volume is None and block.bid is None and block.ask is None


def _joined(logs: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return logs[0] if len(logs) == 1 else np.concatenate(logs, axis=1)
