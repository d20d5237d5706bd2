"""Ticks through the compiled lanes, and what comes of them as outcomes; what a lane leaves to the engine goes back to it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.domain.compiling import TickShape
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Outcome
from anystrat.domain.protocols import ColumnRule
from anystrat.domain.signal import EmittedSignal
from anystrat.domain.tick import MarketTick, TickRow
from anystrat.engine.checks import CLOSED, PREOPEN, REGULAR
from anystrat.engine.columns.grouping import CLOSED_BIT, PREOPEN_BIT
from anystrat.engine.columns.runner import digits_and_scale
from anystrat.engine.decision import sized
from anystrat.engine.lane_tables import (
    AGE,
    BREAKOUT,
    DOOR_FILLS_UNTOLD,
    FILLS,
    FLAGS,
    LISTED,
    MEAN_REVERSION,
    MOMENTUM,
    OTHER,
    SIGNALS,
    SMA_CROSSOVER,
    STATUS,
    LaneColumns,
    Lanes,
    OrderColumns,
    RuleColumns,
    SignalLog,
    SumColumns,
    WatcherColumns,
    counters_in,
)
from anystrat.engine.lanes import take_tick, take_token, token_place
from anystrat.engine.raw_signals import FillLog
from anystrat.engine.saying import said, voice_of
from anystrat.engine.state import table_type, view_of
from anystrat.strategies.breakout import breakout_fired
from anystrat.strategies.mean_reversion import mean_reversion_fired, screen_of
from anystrat.strategies.momentum import momentum_fired
from anystrat.strategies.sma_crossover import sma_crossover_fired

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.compiling import Binder, BoundKernel, TickDoor
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

#: A lane as drivers hold it: its row, and who keeps the tick if it was accepted.
Lane = tuple[int, Callable[[Any], None]]

_KINDS: Final[dict[Any, int]] = {
    momentum_fired: MOMENTUM,
    mean_reversion_fired: MEAN_REVERSION,
    breakout_fired: BREAKOUT,
    sma_crossover_fired: SMA_CROSSOVER,
}
SESSION_FLAG: Final = {REGULAR: 0, PREOPEN: PREOPEN_BIT, CLOSED: CLOSED_BIT}
_NO_RULE: Final = (OTHER, 0, 0, 0.0)
_SIGNAL: Final = struct.Struct("<7q2d")
_FILL: Final = struct.Struct("<7q4d")
_unpack_signal: Final = _SIGNAL.unpack_from
_unpack_fill: Final = _FILL.unpack_from
# Values that each of them has but once.
_MARKET: Final = MarketTick(10**12, Decimal("1.5"), datetime(2001, 1, 1, tzinfo=UTC), 2.5, 3.5, 4.5, {"halted": 1}, 777)
_ROW: Final[Any] = TickRow(10**12, 10**18, 1.5, Decimal("2.5"), 3.5, 4.5, 5.5, True, False, {}, _MARKET)
_SHAPES: Final = (
    TickShape(_MARKET, ("instrument_token", "timestamp", "last_price"), {"metadata": None}, "nanosecond"),
    TickShape(_ROW, ("instrument_token", "ts_ns", "price"), {"exact": None, "halted": False, "auction": False}),
)
#: Entries of a log, at least.
_LOG_ROOM: Final = 4_096
#: Within an executor's tick: what it says between the fills before and after.
_MIDDLE: Final = 0.5


class Live:
    """The compiled side of an engine: its lanes' tables, and the way from their logs to outcomes.

    `lanes` has the instruments that ticks can be pushed into just so, by token; it is emptied whenever anything moves, and
    `refresh` fills it again. `rows` has those too whose session depends on the time.
    """

    def __init__(self, engine: Engine, compiler: Binder) -> None:
        self._engine = engine
        self._compiler = compiler
        # Whatever comes through a door needs no kernel beside it, and to compile one takes many seconds.
        self._kernel: BoundKernel | None = None
        self._call: Any = None
        self._cells: list[int] = []
        self._doors: list[TickDoor] = []
        #: Every watcher, by its row in the lanes' table.
        self.watchers: list[tuple[StrategyExecutor, int]] = []
        self.signals: NDArray[Any] = np.zeros(0, table_type(SignalLog))
        self.fills: NDArray[Any] = np.zeros(0, table_type(FillLog))
        self.tables: tuple[Any, ...] = ()
        #: How many strategies watch the instrument that most of them watch.
        self.most_watchers = 0
        self._outdated = True
        self._found = False
        #: Whether `lanes` and `rows` hold what there is.
        self.ready = False
        #: Whether compiled code can evaluate every watcher.
        self.complete = False
        self.lanes: dict[int, Lane] = {}
        self.rows: dict[int, Lane] = {}

    # -- tables ---------------------------------------------------------------------------------------------------

    def forget(self, *, watchers: bool) -> None:
        """Something moved; with `watchers`, there are others too."""
        for door in self._doors:
            door.close()
        self.lanes.clear()
        self.rows.clear()
        self._cells.clear()
        self._outdated |= watchers
        self._found = self.ready = False

    def refresh(self) -> None:
        """Find everything where it is now, and open the doors."""
        self.find()
        engine = self._engine
        timed = set(engine.tick_steps.timed_rows)
        for i in self._worth_it:
            self.rows[engine.tokens[i]] = i, engine.windows[i].keep
            if i not in timed:
                self.lanes[engine.tokens[i]] = self.rows[engine.tokens[i]]
        for door in self._doors:
            self._open(door)
        self.ready = True

    def _bind(self) -> list[int]:
        """Have the kernel for lone ticks, bound to where everything is now; its cells."""
        if self._kernel is None:
            self._kernel = self._compiler.bound(take_tick, self.tables, "iif")
        else:
            self._kernel.rebind(self.tables)
        self._call = self._kernel.call
        self._cells = self._kernel.cells(len(self._engine.windows))
        return self._cells

    def door(
        self, said: Callable[[Any], Any], otherwise: Callable[[Any], Any], *, fills: bool
    ) -> Callable[[Any], Any] | None:
        """A function of a tick, as quick as can be: an empty list where nothing came of the tick that is to be told.

        `said(tick)` says what did, by `control[STATUS]`, and `otherwise(tick)` takes ticks that are not for the lanes. Without
        `fills` nothing is told of paper fills. None without a compiler that has doors.
        """
        self.find()
        door = self._compiler.door(take_token, (*self.tables, token_table({})), _SHAPES, said, otherwise)
        if door is None:
            return None
        self._engine.control[DOOR_FILLS_UNTOLD] = not fills
        self._doors.append(door)
        if self.ready:
            self._open(door)
        return door.call

    def _open(self, door: TickDoor) -> None:
        rows = {token: i for token, (i, _) in self.lanes.items()}
        door.open((*self.tables, token_table(rows)), dict(self.lanes.values()))

    def find(self) -> None:
        """Find every table where it is now."""
        if self._found:
            return
        engine = self._engine
        if self._outdated:
            self._write_tables()
            self._outdated = False
        windows = engine.windows
        # Whatever moved, windows may hold other ticks than running sums were made of.
        self._sums["left"] = 0
        self._lane["prices"] = [window.prices_at for window in windows]
        self._lane["numbers"] = [window.numbers_at for window in windows]
        self._lane["capacity"] = [window.capacity for window in windows]
        self.most_watchers = most = int(max(self._lane["last"] - self._lane["first"], default=0))
        self.signals = with_room(self.signals, max(_LOG_ROOM, most))
        self.fills = with_room(self.fills, max(_LOG_ROOM, most * (engine.state.pending_room + 1)))
        limits, book = engine.state.for_compiled()
        # Structured arrays, which compiled code reads as it reads columns.
        rings: Any = engine.rings
        lane: Any = self._lane
        watcher: Any = self._watcher
        order: Any = self._order
        rule: Any = self._rule
        sums: Any = self._sums
        signals: Any = self.signals
        fills: Any = self.fills
        listed: Any = self.listed
        lanes = Lanes(
            lane, watcher, order, rule, sums, rings.prices, rings.numbers, signals, fills, listed, engine.control_array
        )
        self.tables = (limits, book, lanes)
        self._signal_bytes, self._fill_bytes = view_of(self.signals), view_of(self.fills)
        self._found = True

    def _write_tables(self) -> None:
        watchers = self._engine.watchers
        many = [len(each) for each in watchers]
        ends = np.cumsum(many) if many else np.zeros(0, np.int64)
        self._lane: NDArray[Any] = np.zeros(len(watchers), table_type(LaneColumns))
        self._lane["first"], self._lane["last"] = ends - np.array(many, np.int64), ends
        self.watchers = [watcher for each in watchers for watcher in each]
        # No number of steps: nothing was looked at yet.
        self._lane["steps"] = -1
        self._watcher: NDArray[Any] = np.zeros(len(self.watchers), table_type(WatcherColumns))
        self._order: NDArray[Any] = np.zeros(len(self.watchers), table_type(OrderColumns))
        self.listed = np.zeros(max(many, default=0), np.int64)
        executors = self._engine.executors
        rules = [_rule_of(executor) for executor in executors]
        self._rule: NDArray[Any] = np.zeros(len(executors), table_type(RuleColumns))
        for executor, (kind, periods, longer, level) in zip(executors, rules, strict=True):
            step = digits_and_scale(executor.risk.price_bucket) if kind != OTHER else (1, 0)
            screen = screen_of(periods, level) if kind == MEAN_REVERSION else (0.0,) * 5
            self._rule[executor.row] = (kind, executor.need, periods, longer, level, *step, *screen)
        self.complete = all(kind != OTHER for kind, *_ in rules)
        k = sums = 0
        self._worth_it = []
        for i, each in enumerate(watchers):
            for executor, slot in each:
                kind = rules[executor.row][0]
                self._watcher[k] = executor.row, sums
                self._order[k] = slot, _quantity(executor, self._engine.tokens[i], kind)
                k += 1
                sums += kind == MEAN_REVERSION
            if any(rules[executor.row][0] != OTHER for executor, _ in each):
                self._worth_it.append(i)
        self._sums: NDArray[Any] = np.zeros(sums, table_type(SumColumns))
        self._voices = [voice_of(one) for one in executors]

    # -- ticks ----------------------------------------------------------------------------------------------------

    def step(self, row: TickRow, lane: Lane, age_ns: int = 0, *, fills: bool = True) -> list[Outcome]:
        """Push a tick in the engine's own form; see `said`."""
        engine = self._engine
        i, keep = lane
        cells = self._cells or self._bind()
        out: list[Outcome] = []
        flags = row.flags
        if row.instrument_token not in self.lanes and engine.tick_steps.acceptable(i, row):
            flags |= SESSION_FLAG[engine.tick_steps.session_code(i, row.ts_ns, out)]
        if flags:
            engine.control[FLAGS] = flags
        if age_ns:
            engine.control[AGE] = age_ns
        status = self._call(cells[i], row.ts_ns, row.price)
        if status >= 0:
            keep(row)
        if status:
            return out + self.said(status, i, row, flags, age_ns, fills=fills)
        return out

    def said(
        self,
        status: int,
        i: int,
        tick: MarketTick | TickRow,
        flags: int = 0,
        age_ns: int = 0,
        *,
        fills: bool = True,
    ) -> list[Outcome]:
        """What a tick of instrument row `i` led to, whose call did not answer with `QUIET`, and which its window has kept.

        Paper `fills` are left out if nobody wants them.
        """
        engine = self._engine
        if status < 0:
            return engine.tick_steps.dropped(status, tick)
        control = engine.control
        listed, filled = control[LISTED], control[FILLS] if fills else 0
        made = self._signals(tick, control[SIGNALS])
        signals: list[Outcome] = [(each if isinstance(each, Dropped) else Emitted(each)) for each in made]
        if not filled and not listed:
            return signals
        owners = self.signals["executor"][: len(signals)].tolist()
        keyed: list[tuple[int, float, Outcome]] = [
            (owner, _MIDDLE, signal) for owner, signal in zip(owners, signals, strict=True)
        ]
        keyed += [
            (int(self.fills["executor"][k]), int(self.fills["stage"][k]), self._fill(k, tick.instrument_token))
            for k in range(filled)
        ]
        if listed:
            which = [self.watchers[k] for k in self.listed[:listed].tolist()]
            for executor, outcome in engine.tick_steps.own_steps(which, i, tick, flags, age_ns, engine.decisions):
                keyed.append((executor, _MIDDLE, outcome))
        keyed.sort(key=_order)
        return [outcome for _, _, outcome in keyed]

    def said_at_door(self, tick: MarketTick | TickRow) -> list[Outcome]:
        """As `said`, of a tick that came through a door."""
        return self.said(self._engine.control[STATUS], self.lanes[tick.instrument_token][0], tick)

    def signals_and_notes(self, tick: MarketTick | TickRow) -> tuple[list[EmittedSignal], Sequence[Outcome]]:
        """As `said_at_door`, apart: the emitted signals, and everything else but paper fills."""
        signals, _, listed, _, _, refused, _, status = counters_in(self._engine.control_array)
        if status < 0 or listed:
            outcomes = self.said_at_door(tick)
            emitted = [outcome.signal for outcome in outcomes if isinstance(outcome, Emitted)]
            return emitted, [outcome for outcome in outcomes if not isinstance(outcome, Emitted | Filled)]
        made = self._signals(tick, signals)
        if not refused:
            return made, ()  # type: ignore[return-value]  # none was dropped
        dropped: list[Outcome] = [each for each in made if isinstance(each, Dropped)]
        return [each for each in made if isinstance(each, EmittedSignal)], dropped

    def _signals(self, tick: MarketTick | TickRow, count: int) -> list[EmittedSignal | Dropped]:
        """What the log of signals has of one tick."""
        made: list[EmittedSignal | Dropped] = []
        token, exact = tick.instrument_token, tick.last_price
        voices, memory = self._voices, self._signal_bytes
        for k in range(count):
            ts, e, _, side, quantity, bucket, code, confidence, value = _unpack_signal(memory, k * _SIGNAL.size)
            made.append(said(voices[e], side, quantity, bucket, code, confidence, value, exact, ts, token))
        return made

    def _fill(self, k: int, token: int) -> Outcome:
        ts, e, _, _, quantity, position, trip, price, fee, realised, average = _unpack_fill(
            self._fill_bytes, k * _FILL.size
        )
        strategy_id, broker, *_ = self._voices[e]
        return Filled(strategy_id, broker, token, ts, quantity, price, fee, realised, position, average, trip != 0)


def token_table(rows: Mapping[int, int]) -> NDArray[np.int64]:
    """The hash table of tokens and their rows that compiled code looks into; see `lanes.Block`."""
    places = max(8, 1 << (2 * len(rows)).bit_length())
    table = np.zeros(2 * places, np.int64)
    for token, i in rows.items():
        at = token_place(token, places - 1)
        while table[places + at]:
            at = (at + 1) & (places - 1)
        table[at], table[places + at] = token, i + 1
    return table


def with_room(table: NDArray[Any], rows: int) -> NDArray[Any]:
    """The table, or another one of its type that has so many rows; what it held is not kept."""
    return table if len(table) >= rows else np.zeros(rows, table.dtype)


def _order(entry: tuple[int, float, Outcome]) -> tuple[int, float]:
    return entry[:2]


def _quantity(executor: StrategyExecutor, token: int, kind: int) -> int:
    """What the executor trades of the instrument where it can be said beforehand, as sized."""
    rule: Any = executor.processor
    return sized(executor, token, rule.quantity()) if kind != OTHER else 0


def _rule_of(executor: StrategyExecutor) -> tuple[int, int, int, float]:
    """(kind, periods, longer periods, level) of what lanes can evaluate; `_NO_RULE` for everything else."""
    processor = executor.processor
    own = executor.validator is not None or executor.costs.by_tick or executor.bars is not None
    own = own or executor.risk.sizing is not None or executor.isolation is not None
    if own or not isinstance(processor, ColumnRule):
        return _NO_RULE
    digits, scale = digits_and_scale(executor.risk.price_bucket)
    if not (digits < 10**17 and 0 <= scale <= 17):
        return _NO_RULE
    kernel, arguments = processor.fired()
    kind = _KINDS.get(kernel, OTHER)
    if kind == OTHER:
        return _NO_RULE
    if kind == SMA_CROSSOVER:
        return kind, int(arguments[0]), int(arguments[1]), 0.0
    return kind, int(arguments[0]), 0, float(arguments[1])
