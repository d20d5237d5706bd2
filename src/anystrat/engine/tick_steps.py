"""The contract's steps of one tick, for each executor that watches its instrument: the way of every tick that is not compiled.

Accepted or dropped; then, for one executor after the other, fills, warm-up, timers, evaluation, sizing, checks, emission.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.errors import OutsideCalendar
from anystrat.domain.lifecycle import State, Trigger
from anystrat.domain.outcomes import Noted, Outcome, TickDrop, TickDropped
from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.engine.checks import CLOSED, MINUTE_NS, REGULAR
from anystrat.engine.columns.grouping import DROP_OF_PLACE
from anystrat.engine.decision import SESSION_CODE, TOO_OLD, Decisions, Moment, session_of
from anystrat.engine.lane_tables import STEPS, TICKS
from anystrat.engine.state import EARLIEST, LATEST

if TYPE_CHECKING:
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.supervision import Supervision

_WARMUP: Final = int(State.WARMUP)
_ACTIVE: Final = int(State.ACTIVE)


class TickSteps:
    """Takes ticks through an engine's executors; `timed_rows` are the instruments whose session depends on the time."""

    def __init__(self, engine: Engine, supervision: Supervision) -> None:
        self._engine = engine
        self._supervision = supervision
        self._timed: list[bool] = []
        self.timed_rows: list[int] = []

    def add_instrument(self, i: int, *, timed: bool) -> None:
        """Row `i` is a new instrument's, the next one."""
        self._timed.append(timed)
        if timed:
            self.timed_rows.append(i)

    def take(self, row: TickRow, decisions: Decisions, out: list[Outcome], age_ns: int) -> None:
        """Take a tick, and say what it led to; `age_ns` is how old a live one was on arrival."""
        engine = self._engine
        if not EARLIEST < row.ts_ns < LATEST:
            self.drop(TickDrop.MALFORMED, row, out)
            return
        i = engine.rows.get(row.instrument_token)
        if i is None:
            self.drop(TickDrop.UNROUTED, row, out)
            return
        price, ts = row.price, row.ts_ns
        if not 0.0 < price < math.inf:
            self.drop(TickDrop.BAD_PRICE, row, out)
            return
        book = engine.state.book
        if ts < book.instrument.last_ts[i]:
            self.drop(TickDrop.OUT_OF_ORDER, row, out)
            return
        session = self.session_code(i, ts, out)
        if engine.arrived_ns is not None:
            age_ns = engine.arrived_ns - ts
        moment = Moment(i, engine.windows[i], row, session, TOO_OLD if engine.feed_stale else age_ns, engine.killed)
        if engine.account is not None:
            engine.account.at(ts)
        engine.control[TICKS] += 1
        book.instrument.last_ts[i] = ts
        book.instrument.last_price[i] = price
        book.instrument.ticks[i] += 1
        if moment.fillable and book.instrument.minute[i] != (minute := ts // MINUTE_NS):
            book.instrument.minute[i] = minute
            book.instrument.minute_open[i] = price
        moment.window.push(row)
        self._watch(engine.watchers[i], moment, decisions, out)

    def _watch(
        self,
        watchers: Sequence[tuple[StrategyExecutor, int]],
        moment: Moment,
        decisions: Decisions,
        out: list[Outcome],
    ) -> None:
        """Take these watchers of the instrument through the tick that is in its window now."""
        engine = self._engine
        book, row, blocked, count = engine.state.book, moment.row, not moment.fillable, moment.window.count
        ts = row.ts_ns
        for executor, s in watchers:
            e = executor.row
            bars = executor.bars is not None
            before, after = engine.bars.closing(executor, moment) if bars else (None, None)
            if before is not None:
                engine.bars.take(executor, s, before, moment, decisions, out)
                book = engine.state.book
            if not blocked and book.slot.pending_count[s]:
                decisions.fill_waiting(executor, s, row, out)
            state = book.executor.state[e]
            if bars:
                if ts >= book.executor.due[e]:
                    self._supervision.run_timer(executor, ts, out, row.instrument_token)
                if after is not None:
                    engine.bars.take(executor, s, after, moment, decisions, out)
                    book = engine.state.book
                continue
            if state == _WARMUP and count >= executor.need:
                self._supervision.move(executor, Trigger.WINDOW_FULL, ts, out, row.instrument_token)
                state = book.executor.state[e]
            if ts >= book.executor.due[e]:
                self._supervision.run_timer(executor, ts, out, row.instrument_token)
                state = book.executor.state[e]
            if state == _ACTIVE and count >= executor.need:
                decisions.evaluate(executor, s, moment, out)
                book = engine.state.book

    def own_steps(
        self,
        watchers: Sequence[tuple[StrategyExecutor, int]],
        i: int,
        tick: MarketTick | TickRow,
        flags: int,
        age: int,
        decisions: Decisions,
    ) -> Iterator[tuple[int, Outcome]]:
        """Take these watchers through the accepted tick; what each of them said, after its row."""
        engine = self._engine
        engine.control[STEPS] += 1
        window = engine.windows[i]
        if window.memo:
            window.memo.clear()
        row = tick if isinstance(tick, TickRow) else row_of(tick)
        if engine.arrived_ns is not None:
            age = engine.arrived_ns - row.ts_ns
        moment = Moment(i, window, row, session_of(flags), age, engine.killed)
        for watcher in watchers:
            out: list[Outcome] = []
            self._watch((watcher,), moment, decisions, out)
            for outcome in out:
                yield watcher[0].row, outcome

    def dropped(self, place: int, tick: MarketTick | TickRow) -> list[Outcome]:
        """Count a tick that was not accepted, by its place (see `columns.grouping`)."""
        out: list[Outcome] = []
        self.drop(DROP_OF_PLACE[place], tick if isinstance(tick, TickRow) else row_of(tick), out)
        return out

    def acceptable(self, i: int, row: TickRow) -> bool:
        """Whether the tick will be accepted."""
        ts = row.ts_ns
        return (
            EARLIEST < ts < LATEST
            and 0.0 < row.price < math.inf
            and ts >= self._engine.state.book.instrument.last_ts[i]
        )

    def drop(self, reason: TickDrop, row: TickRow, out: list[Outcome]) -> None:
        """Count a tick that was not accepted, and say so."""
        self._engine.tick_drops[reason.value] += 1
        out.append(TickDropped(reason, row))

    def session_code(self, i: int, ts: int, out: list[Outcome]) -> int:
        """The session of instrument row `i` at `ts`. Where its calendar does not know, it is closed, and noted once."""
        engine = self._engine
        if not self._timed[i] or engine.sessions is None:
            return REGULAR
        token = engine.tokens[i]
        try:
            return SESSION_CODE[engine.sessions.session(token, ts)]
        except OutsideCalendar as error:
            if token not in engine.outside_calendar:
                engine.outside_calendar.add(token)
                details = {"instrument": token, "taken_as": "closed", "reason": str(error)}
                out.append(Noted("outside_calendar", ts, None, details))
            return CLOSED
