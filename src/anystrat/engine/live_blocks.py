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
    AGE,
    DROPPED,
    FILLS,
    FILLS_UNTOLD,
    FIRST,
    LISTED,
    REFUSED,
    SIGNALS,
    Block,
    FillLog,
    SignalLog,
)
from anystrat.engine.lanes import take_block
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

#: Ticks that the kernel is given at a time: what it reads and writes of them stays in the processor's nearer memory.
_ROOM: Final = 2_048
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
        self._bound_to: tuple[Any, ...] = (None,) * 3
        self._fits = 0
        self._known: list[int] = []
        self._signals = BlockLog(SignalLog)
        self._fills = BlockLog(FillLog)
        token, ts, self._flags, self._place = (np.zeros(_ROOM, np.int64) for _ in range(4))
        columns: Any = (token, ts, np.zeros(_ROOM), self._flags, self._place, np.zeros(0, np.int64))
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
        engine, size = self._engine, len(block)
        control = engine.control
        control[SIGNALS] = control[FILLS] = control[REFUSED] = control[DROPPED] = 0
        control[FILLS_UNTOLD] = not fills
        raw: list[NDArray[np.int64]] = []
        filled: list[NDArray[np.int64]] = []
        placed = _NO_PLACES
        own: list[tuple[int, int, Outcome]] = []
        for first in range(0, size, _ROOM):
            many = min(_ROOM, size - first)
            self._write(block, flags, first, many)
            at, known = 0, control[DROPPED]
            while at < many:
                at = self._onwards(live, rows, first, at, many, own)
                if at < many or first + many == size:
                    raw.append(self._signals.take(control[SIGNALS]))
                    filled.append(self._fills.take(control[FILLS] if fills else 0))
                    control[SIGNALS] = control[FILLS] = 0
            if control[DROPPED] > known:
                if not len(placed):
                    placed = np.zeros(size, np.int64)
                placed[first : first + many] = self._place[:many]
        control[AGE] = control[FILLS_UNTOLD] = 0
        for code, reason in DROP_OF_PLACE.items() if len(placed) else ():
            dropped = int(np.count_nonzero(placed == code))
            if dropped:
                engine.tick_drops[reason.value] += dropped
        told = _joined(filled, FillLog) if fills else None
        return TakenBlock(block, engine.executors, placed, _joined(raw, SignalLog), told, control[REFUSED], own)

    def _onwards(
        self,
        live: Live,
        rows: list[TickRow] | None,
        first: int,
        at: int,
        many: int,
        own: list[tuple[int, int, Outcome]],
    ) -> int:
        """Take the ticks from `at` on, until there are no more or a log is full; the first that was not taken."""
        engine, control = self._engine, self._engine.control
        while at < many:
            call = self._bound(live, many)
            before, at = at, call(self._cell, at, many)
            for j in range(before, at) if rows is not None else ():
                if self._place[j] >= 0:
                    engine.windows[self._place[j]].keep(rows[first + j])  # type: ignore[index]  # there are rows
            if not control[LISTED]:
                break
            own += self._own_steps(live, first, at - 1, rows)
        return at

    def _own_steps(self, live: Live, first: int, j: int, rows: list[TickRow] | None) -> list[tuple[int, int, Outcome]]:
        """What the lanes left to the engine on tick `first + j`, which is the current one of its window."""
        i = int(self._place[j])
        row = rows[first + j] if rows is not None else self._engine.windows[i].row(0)
        watchers = [live.watchers[k] for k in live.listed[: self._engine.control[LISTED]].tolist()]
        flags = int(self._flags[j])
        return [(first + j, *each) for each in self._engine.own_steps(watchers, i, row, flags, 0)]

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
            self._kernel = self._compiler.bound(take_block, tables, "iii", others_run=True)
            self._cell, self._call = self._kernel.cells(1)[0], self._kernel.call
        else:
            self._kernel.rebind(tables)
        self._bound_to = live.tables, self._signals.columns, self._fills.columns
        return self._call

    def _write(self, block: TickColumns, flags: NDArray[np.int64] | int, first: int, many: int) -> None:
        """Write the numbers of so many ticks down for the kernel."""
        room: Any = self._room
        part = slice(first, first + many)
        room.token[:many] = block.instrument_token[part]
        room.ts[:many] = block.ts_ns[part]
        room.price[:many] = block.price[part]
        self._flags[:many] = flags if isinstance(flags, int) else flags[part]
        self._engine.control[FIRST] = first

    def _flags_of(self, block: TickColumns, rows: Sequence[TickRow] | None) -> NDArray[np.int64] | int | None:
        """The ticks' flags, or those that all of them have; None where the block has to go tick by tick."""
        timed = self._engine.timed_rows()
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


def _joined(logs: list[NDArray[np.int64]], kind: type[tuple[Any, ...]]) -> NDArray[np.int64]:
    if len(logs) == 1:
        return logs[0]
    return np.concatenate(logs, axis=1) if logs else no_entries(kind)
