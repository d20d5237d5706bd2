"""The engine: `step(event) -> outcomes`, in the contract's order of steps.

A tick walks through `_tick` from top to bottom: accepted or dropped, then for each executor that watches its instrument
fills, warm-up, timers, evaluation, sizing, checks, emission. Drivers (the synchronous service, replay, the live runner)
feed events in and read outcomes; nothing else reaches the engine, so that the same events give the same outcomes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from anystrat.domain.configuration import InstrumentSpec, PaperCosts, StrategyConfig
from anystrat.domain.errors import OutsideCalendar
from anystrat.domain.events import (
    Arrived,
    Command,
    Conflated,
    DeliveryFailed,
    Event,
    FeedFresh,
    FeedGap,
    FeedStale,
    HistoryLoaded,
    InferenceMissed,
    ModelEvent,
    Operation,
    TimerDue,
)
from anystrat.domain.lifecycle import State as Life
from anystrat.domain.lifecycle import Trigger
from anystrat.domain.outcomes import Emitted, Noted, Outcome, TickDrop, TickDropped
from anystrat.domain.protocols import CompilerAware
from anystrat.domain.seeds import derived_seed
from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.domain.window import Window
from anystrat.engine.attention import WORTH_A_CALL, Attention
from anystrat.engine.checks import CLOSED, MINUTE_NS, REGULAR
from anystrat.engine.deadlines import Deadlines
from anystrat.engine.decision import SESSION_CODE, Decisions, Moment
from anystrat.engine.executor import Kind, StrategyExecutor, limits_of
from anystrat.engine.models import swap_models
from anystrat.engine.state import EARLIEST, LATEST, LONG_AGO, NEVER, State
from anystrat.engine.supervision import Supervision
from anystrat.engine.watched import Evaluation, WatchedDecisions

if TYPE_CHECKING:
    from anystrat.domain.protocols import Compiler, InferencePort, SessionClock, SignalValidator, StrategyProcessor
    from anystrat.domain.signal import EmittedSignal

#: An age beyond every limit, "no limit" included.
TOO_OLD: Final = NEVER + 1
_WARMUP, _ACTIVE = int(Life.WARMUP), int(Life.ACTIVE)


class Engine:
    """Every executor, every window, every gate and paper account of one shard; nothing outside of it is touched.

    `instruments` say lots, multipliers and calendars; an instrument that is not among them has one unit a lot, a
    multiplier of one and no calendar. `sessions` is asked only for instruments with a calendar.
    """

    def __init__(
        self,
        instruments: Mapping[int, InstrumentSpec] | None = None,
        *,
        sessions: SessionClock | None = None,
        rng_seed: int = 0,
    ) -> None:
        self.instruments = dict(instruments or {})
        self.sessions = sessions
        self.rng_seed = rng_seed
        self.state = State()
        self._supervision = Supervision(self.state)
        self._decisions = Decisions(self.state, self._supervision)
        self.executors: list[StrategyExecutor] = []
        self.windows: list[Window] = []
        self.tokens: list[int] = []
        self.killed = False
        #: When the latest ticks arrived (wall time, ns); None: ticks have no age.
        self.arrived_ns: int | None = None
        #: Whether the feed is silent for too long, and signals are dropped for it.
        self.feed_stale = False
        self.outside_calendar: set[int] = set()
        self.tick_drops: Counter[str] = Counter()
        self.ticks = 0
        self._instrument: dict[int, int] = {}
        self._watchers: list[list[tuple[StrategyExecutor, int]]] = []
        self._timed: list[bool] = []
        self._lender: Callable[[], None] | None = None
        self._compiler: Compiler | None = None
        self._attention: dict[int, Attention] = {}

    # -- registration ---------------------------------------------------------------------------------------------

    def register(
        self,
        config: StrategyConfig,
        broker: str,
        processor: StrategyProcessor,
        *,
        kind: Kind = "rules",
        costs: PaperCosts | None = None,
        validator: SignalValidator | None = None,
        tokens: tuple[int, ...] | None = None,
    ) -> StrategyExecutor:
        """Add an executor for `config` on `broker`, after those that are there; it goes from INIT to WARMUP.

        `tokens` are its instruments where they are not the row's (one each, with `per_instrument`).
        """
        self.settle()
        watched = config.instrument_tokens if tokens is None else tokens
        executor = StrategyExecutor(
            self,
            config,
            broker,
            processor,
            tokens=watched,
            kind=kind,
            costs=costs or PaperCosts(),
            validator=validator,
        )
        set_seed = getattr(processor, "set_seed", None)
        if set_seed is not None:
            set_seed(derived_seed(self.rng_seed, config.strategy_id, broker, watched if config.per_instrument else ()))
        rows = [self._instrument_row(token, executor.need) for token in watched]
        specs = [self.instruments.get(token) for token in watched]
        slots = [(row, float(spec.multiplier) if spec else 1.0) for row, spec in zip(rows, specs, strict=True)]
        first = self.state.slots
        executor.row = self.state.add_executor(
            limits_of(executor.risk, executor.costs) | {"need": executor.need}, slots
        )
        for k, (token, row, spec) in enumerate(zip(watched, rows, specs, strict=True)):
            executor.slots[token] = first + k
            if spec is not None and spec.round_to_lot and spec.lot_size > 1:
                executor.lots[token] = spec.lot_size
            self._watchers[row].append((executor, first + k))
            self._attention.pop(row, None)
        self.executors.append(executor)
        self._hand_compiler(processor)
        self.deadlines.prepare(executor)
        self._supervision.move(executor, Trigger.REGISTERED, LONG_AGO, [])
        return executor

    def _instrument_row(self, token: int, need: int) -> int:
        row = self._instrument.get(token)
        if row is None:
            row = self.state.add_instrument()
            self._instrument[token] = row
            self.tokens.append(token)
            self.windows.append(Window(need))
            self._watchers.append([])
            spec = self.instruments.get(token)
            self._timed.append(spec is not None and spec.calendar is not None and self.sessions is not None)
        elif self.windows[row].capacity < need:
            wider = Window(need)
            for kept in self.windows[row].rows():
                wider.push(kept)
            self.windows[row] = wider
        return row

    def use_compiler(self, compiler: Compiler | None) -> None:
        """From the next tick on, look at many strategies of an instrument in one compiled call; what comes out is the same.

        The first tick then waits for the compiler, some seconds on a machine that has not compiled it before.
        """
        self._compiler = compiler
        self._attention.clear()
        for executor in self.executors:
            self._hand_compiler(executor.processor)

    def _hand_compiler(self, processor: StrategyProcessor) -> None:
        if self._compiler is not None and isinstance(processor, CompilerAware):
            processor.use_compiler(self._compiler)

    def use_inference(self, inference: InferencePort | None) -> None:
        """From the next tick on, models with a deadline are asked through this port, and what is late is noted.

        For live drivers alone, once what they recover from is behind them. Without a port nothing is measured: what was
        late is told by `InferenceMissed` events, before the ticks that it was late on.
        """
        self.deadlines.measure(inference, self.executors)

    @property
    def deadlines(self) -> Deadlines:
        """What is known of inferences that come too late."""
        return self._decisions.deadlines

    # -- the front door -------------------------------------------------------------------------------------------

    def step(self, event: Event, *, age_ns: int = 0) -> list[Outcome]:
        """Take one event and say everything that it led to, in order. `age_ns`: how old a live tick was on arrival."""
        if self._lender is not None:
            self._lender()
        out: list[Outcome] = []
        if isinstance(event, TickRow):
            self._tick(event, out, age_ns)
        elif isinstance(event, Command):
            self._command(event, out)
        elif isinstance(event, TimerDue):
            for executor in self.executors:
                self._supervision.run_timer(executor, event.ts_ns, out)
        elif isinstance(event, DeliveryFailed):
            self._supervision.delivery_failed(event, self.executors, out)
        elif isinstance(event, ModelEvent):
            swap_models(event, self.executors, out)
        elif isinstance(event, InferenceMissed):
            self._missed(event, out)
        elif isinstance(event, Conflated):
            details = {"instrument": event.instrument_token, "ticks": event.ticks}
            out.append(Noted("conflated", event.ts_ns, None, details))
        elif isinstance(event, HistoryLoaded):
            self._history(event, out)
        else:
            self._feed(event, out)
        return out

    def step_watched(
        self, row: TickRow, clock: Callable[[], int], *, age_ns: int = 0
    ) -> tuple[list[Outcome], list[Evaluation]]:
        """`step` for a tick, with a look at every evaluation. `clock` is read for its times, and decides nothing.

        One strategy after the other is asked, whatever compiled code there is for many: only so is each seen.
        """
        self.settle()
        plain, watched = self._decisions, WatchedDecisions(self.state, self._supervision, clock)
        out: list[Outcome] = []
        self._decisions = watched
        try:
            self._tick(row, out, age_ns)
        finally:
            self._decisions = plain
        return out, watched.evaluations

    @property
    def evaluations(self) -> int:
        """How many times any strategy was asked so far."""
        return int(self.state.tables["executor"]["evaluations"].sum())

    def on_tick(self, tick: MarketTick) -> list[EmittedSignal]:
        """Push one public tick through; the signals that it led to, in the order of rows and brokers."""
        return [outcome.signal for outcome in self.step(row_of(tick)) if isinstance(outcome, Emitted)]

    def latest_ts(self) -> int:
        """The latest time that any instrument's accepted tick had; 0 before the first."""
        return max([ts for ts in self.state.tables["instrument"]["last_ts"].tolist() if ts != LONG_AGO], default=0)

    @property
    def judges_age(self) -> bool:
        """Whether the age of ticks decides anything now; block evaluation knows no ages."""
        if self.feed_stale:
            return True
        return self.arrived_ns is not None and bool((self.state.tables["limits"]["max_age"] < NEVER).any())

    # -- for drivers of blocks ------------------------------------------------------------------------------------

    def borrow_windows(self, give_back: Callable[[], None] | None) -> None:
        """A driver keeps the windows in columns for a while; `give_back` is called before anyone else needs them."""
        self._lender = give_back

    def settle(self) -> None:
        """Have the windows back from whoever borrowed them."""
        if self._lender is not None:
            self._lender()

    def timed_rows(self) -> list[int]:
        """The rows of the instruments whose session depends on the time."""
        return [i for i, timed in enumerate(self._timed) if timed]

    def step_row(self, row: TickRow) -> list[Outcome]:
        """`step` for a tick by whoever may hold the windows."""
        out: list[Outcome] = []
        self._tick(row, out, 0)
        return out

    @contextmanager
    def watched_only_by(self, executors: Sequence[StrategyExecutor]) -> Generator[None]:
        """Let ticks reach these executors alone; windows of all instruments go on."""
        chosen = set(map(id, executors))
        everyone, compiler = self._watchers, self._compiler
        self._compiler = None
        self._watchers = [[(one, slot) for one, slot in watching if id(one) in chosen] for watching in everyone]
        try:
            yield
        finally:
            self._watchers, self._compiler = everyone, compiler

    # -- one tick -------------------------------------------------------------------------------------------------

    def _tick(self, row: TickRow, out: list[Outcome], age_ns: int) -> None:
        if not EARLIEST < row.ts_ns < LATEST:
            self._drop_tick(TickDrop.MALFORMED, row, out)
            return
        i = self._instrument.get(row.instrument_token)
        if i is None:
            self._drop_tick(TickDrop.UNROUTED, row, out)
            return
        price, ts = row.price, row.ts_ns
        if not 0.0 < price < math.inf:
            self._drop_tick(TickDrop.BAD_PRICE, row, out)
            return
        book = self.state.book
        if ts < book.instrument.last_ts[i]:
            self._drop_tick(TickDrop.OUT_OF_ORDER, row, out)
            return
        session = self.session_code(i, ts, out)
        if self.arrived_ns is not None:
            age_ns = self.arrived_ns - ts
        moment = Moment(i, self.windows[i], row, session, TOO_OLD if self.feed_stale else age_ns, self.killed)
        blocked = not moment.fillable
        self.ticks += 1
        book.instrument.last_ts[i] = ts
        book.instrument.last_price[i] = price
        book.instrument.ticks[i] += 1
        if not blocked and book.instrument.minute[i] != (minute := ts // MINUTE_NS):
            book.instrument.minute[i] = minute
            book.instrument.minute_open[i] = price
        window = moment.window
        window.push(row)
        watchers = self._watchers[i]
        if self._compiler is not None and len(watchers) >= WORTH_A_CALL:
            watchers = self._attention_of(i).needed(self.state.tables, window, blocked, ts)
        for executor, s in watchers:
            e = executor.row
            if not blocked and book.slot.pending_count[s]:
                self._decisions.fill_waiting(executor, s, row, out)
            state = book.executor.state[e]
            if state == _WARMUP and window.count >= executor.need:
                self._supervision.move(executor, Trigger.WINDOW_FULL, ts, out, row.instrument_token)
                state = book.executor.state[e]
            if ts >= book.executor.due[e]:
                self._supervision.run_timer(executor, ts, out, row.instrument_token)
                state = book.executor.state[e]
            if state == _ACTIVE and window.count >= executor.need:
                self._decisions.evaluate(executor, s, moment, out)
                book = self.state.book

    def _attention_of(self, i: int) -> Attention:
        attention = self._attention.get(i)
        if attention is None:
            assert self._compiler is not None
            attention = self._attention[i] = Attention(self._compiler, self._watchers[i])
        return attention

    def _drop_tick(self, reason: TickDrop, row: TickRow, out: list[Outcome]) -> None:
        self.tick_drops[reason.value] += 1
        out.append(TickDropped(reason, row))

    def session_code(self, i: int, ts: int, out: list[Outcome]) -> int:
        """The session of instrument row `i` at `ts`. Where its calendar does not know, it is closed, and noted once."""
        if not self._timed[i] or self.sessions is None:
            return REGULAR
        token = self.tokens[i]
        try:
            return SESSION_CODE[self.sessions.session(token, ts)]
        except OutsideCalendar as error:
            if token not in self.outside_calendar:
                self.outside_calendar.add(token)
                details = {"instrument": token, "taken_as": "closed", "reason": str(error)}
                out.append(Noted("outside_calendar", ts, None, details))
            return CLOSED

    # -- other events ---------------------------------------------------------------------------------------------

    def _history(self, event: HistoryLoaded, out: list[Outcome]) -> None:
        i = self._instrument.get(event.instrument_token)
        if i is None or not event.times:
            return
        self.settle()
        window, book = self.windows[i], self.state.book
        if window.count:
            return
        for ts, text in zip(event.times, event.prices, strict=True):
            exact = Decimal(text)
            window.push(TickRow(event.instrument_token, ts, float(exact), exact))
        if event.times[-1] >= book.instrument.last_ts[i]:
            book.instrument.last_ts[i] = event.times[-1]
            book.instrument.last_price[i] = float(event.prices[-1])
        for executor, _ in self._watchers[i]:
            if book.executor.state[executor.row] == _WARMUP and window.count >= executor.need:
                self._supervision.move(executor, Trigger.WINDOW_FULL, event.times[-1], out, event.instrument_token)

    def _missed(self, event: InferenceMissed, out: list[Outcome]) -> None:
        i = self._instrument.get(event.instrument_token)
        if i is None or event.tick <= self.state.book.instrument.ticks[i]:
            details = {"event": "inference_missed", "instrument": event.instrument_token, "tick": event.tick}
            out.append(Noted("misplaced_event", event.ts_ns, event.strategy_id, details))
        else:
            self.deadlines.expect(event)

    def _feed(self, event: Arrived | FeedGap | FeedStale | FeedFresh, out: list[Outcome]) -> None:
        """What the feed itself has to say."""
        if isinstance(event, Arrived):
            self.arrived_ns = event.wall_ns
        elif isinstance(event, FeedGap):
            self.settle()
            tokens = self.tokens if event.instrument_tokens is None else event.instrument_tokens
            known = [self._instrument[token] for token in tokens if token in self._instrument]
            for i in known if event.rewarm else ():
                self.windows[i].clear()
            out.append(Noted("feed_gap", event.ts_ns, None, {"instruments": len(known), **event.details}))
        elif isinstance(event, FeedStale):
            self.feed_stale = not event.pause
            if event.pause:
                self._supervision.feed_stale(self.executors, event.ts_ns, out)
            out.append(Noted("feed_stale", event.ts_ns, None, dict(event.details)))
        else:
            self.feed_stale = False
            self._supervision.feed_fresh(self.executors, event.ts_ns, out)
            out.append(Noted("feed_fresh", event.ts_ns))

    def _command(self, command: Command, out: list[Outcome]) -> None:
        if command.operation in (Operation.KILL, Operation.UNKILL):
            self.killed = command.operation is Operation.KILL
            out.append(Noted(f"{command.operation.value}ed", command.ts_ns))
        else:
            self._supervision.command(command, self.executors, out)
