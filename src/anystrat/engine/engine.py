"""The engine: `step(event) -> outcomes`, in the contract's order of steps.

A tick walks through `_tick` from top to bottom: accepted or dropped, then for each executor that watches its instrument
fills, warm-up, timers, evaluation, sizing, checks, emission. Drivers (the synchronous service, replay, the live runner)
feed events in and read outcomes; nothing else reaches the engine, so that the same events give the same outcomes.
"""

from __future__ import annotations

import math
import traceback
from bisect import insort
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.configuration import ExecutionContext, InstrumentSpec, PaperCosts, Session, StrategyConfig
from anystrat.domain.events import Command, DeliveryFailed, Event, ModelSwapped, Operation, TimerDue
from anystrat.domain.exact import floor_product, floor_ratio
from anystrat.domain.lifecycle import State as Life
from anystrat.domain.lifecycle import Trigger, can, next_state
from anystrat.domain.outcomes import (
    REASONS,
    Dropped,
    Emitted,
    Filled,
    Held,
    Noted,
    Outcome,
    ProcessorFailed,
    TickDrop,
    TickDropped,
    Transition,
)
from anystrat.domain.seeds import derived_seed
from anystrat.domain.signal import SIDE_NAME, EmittedSignal, SignalResult
from anystrat.domain.tick import MarketTick, TickRow, row_of
from anystrat.domain.window import Window
from anystrat.engine.answers import NoSignal, checked_answer, checked_verdict
from anystrat.engine.attention import WORTH_A_CALL, Attention
from anystrat.engine.checks import (
    CIRCUIT_OPEN,
    CLOSED,
    MINUTE_NS,
    PREOPEN,
    RATE_LIMITED,
    REGULAR,
    check_gate,
    check_market,
    check_position,
    check_prices,
    check_signal,
    remember,
)
from anystrat.engine.executor import Kind, StrategyExecutor, limits_of
from anystrat.engine.fills import enqueue, fill
from anystrat.engine.state import LONG_AGO, NEVER, REASON_COLUMNS, State

if TYPE_CHECKING:
    from anystrat.domain.protocols import Compiler, SessionClock, SignalValidator, StrategyProcessor

_WARMUP, _ACTIVE, _PAUSED = int(Life.WARMUP), int(Life.ACTIVE), int(Life.PAUSED)
_HOLD: Final = 3
_WRAP: Final = 1 << 64
_SESSION_CODE: Final = {Session.REGULAR: REGULAR, Session.PREOPEN: PREOPEN, Session.CLOSED: CLOSED}
_SESSION_OF: Final = {code: session for session, code in _SESSION_CODE.items()}
_LAST_PRICES_SHOWN: Final = 5


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
        self.executors: list[StrategyExecutor] = []
        self.windows: list[Window] = []
        self.tokens: list[int] = []
        self.killed = False
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
        self._move(executor, Trigger.REGISTERED, LONG_AGO, [])
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
                self._run_timer(executor, event.ts_ns, out)
        elif isinstance(event, DeliveryFailed):
            self._delivery_failed(event, out)
        elif isinstance(event, ModelSwapped):
            out.append(Noted("model_swapped", event.ts_ns, None, {"path": event.model_path, "sha256": event.sha256}))
        return out

    def on_tick(self, tick: MarketTick) -> list[EmittedSignal]:
        """Push one public tick through; the signals that it led to, in the order of rows and brokers."""
        return [outcome.signal for outcome in self.step(row_of(tick)) if isinstance(outcome, Emitted)]

    def latest_ts(self) -> int:
        """The latest time that any instrument's accepted tick had; 0 before the first."""
        return max([ts for ts in self.state.tables["instrument"]["last_ts"].tolist() if ts != LONG_AGO], default=0)

    # -- for drivers of blocks ------------------------------------------------------------------------------------

    def borrow_windows(self, give_back: Callable[[], None] | None) -> None:
        """A driver keeps the windows in columns for a while; `give_back` is called before anyone else needs them."""
        self._lender = give_back

    def settle(self) -> None:
        """Have the windows back from whoever borrowed them."""
        if self._lender is not None:
            self._lender()

    def timed_tokens(self) -> list[int]:
        """The instruments whose session depends on the time."""
        return [token for token, timed in zip(self.tokens, self._timed, strict=True) if timed]

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
        session = self._session(i, row.instrument_token, ts)
        blocked = row.halted or row.auction or session == CLOSED
        self.ticks += 1
        book.instrument.last_ts[i] = ts
        book.instrument.last_price[i] = price
        book.instrument.ticks[i] += 1
        if not blocked and book.instrument.minute[i] != (minute := ts // MINUTE_NS):
            book.instrument.minute[i] = minute
            book.instrument.minute_open[i] = price
        window = self.windows[i]
        window.push(row)
        watchers = self._watchers[i]
        if self._compiler is not None and len(watchers) >= WORTH_A_CALL:
            watchers = self._attention_of(i).needed(self.state.tables, window, blocked, ts)
        for executor, s in watchers:
            e = executor.row
            if not blocked and book.slot.pending_count[s]:
                self._fill_waiting(executor, s, row, out)
            state = book.executor.state[e]
            if state == _WARMUP and window.count >= executor.need:
                self._move(executor, Trigger.WINDOW_FULL, ts, out, row.instrument_token)
                state = book.executor.state[e]
            if ts >= book.executor.due[e]:
                self._run_timer(executor, ts, out, row.instrument_token)
                state = book.executor.state[e]
            if state == _ACTIVE and window.count >= executor.need:
                self._evaluate(executor, s, i, window, row, session, age_ns, out)
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

    def _session(self, i: int, token: int, ts: int) -> int:
        if not self._timed[i] or self.sessions is None:
            return REGULAR
        return _SESSION_CODE[self.sessions.session(token, ts)]

    def _fill_waiting(self, executor: StrategyExecutor, s: int, row: TickRow, out: list[Outcome]) -> None:
        book = self.state.book
        start = s * book.pending_room
        waiting = book.slot.pending_count[s]
        book.slot.pending_count[s] = 0
        for k in range(start, start + waiting):
            self._fill(executor, s, book.pending.quantity[k], row, out)

    def _fill(self, executor: StrategyExecutor, s: int, signed: int, row: TickRow, out: list[Outcome]) -> None:
        book = self.state.book
        price, fee, realised, round_trip = fill(self.state.limits, book, executor.row, s, row.ts_ns, signed, row.price)
        out.append(
            Filled(
                executor.strategy_id,
                executor.broker,
                row.instrument_token,
                row.ts_ns,
                signed,
                price,
                fee,
                realised,
                book.slot.position[s],
                book.slot.average[s],
                round_trip,
            )
        )

    # -- evaluation -----------------------------------------------------------------------------------------------

    def _evaluate(
        self,
        executor: StrategyExecutor,
        s: int,
        i: int,
        window: Window,
        row: TickRow,
        session: int,
        age_ns: int,
        out: list[Outcome],
    ) -> None:
        self.state.book.executor.evaluations[executor.row] += 1
        try:
            signal, side, confidence, quantity, price, reference = self._ask(executor, window, row)
        except Exception as error:  # noqa: BLE001  whatever a strategy raises is contained
            self._failed(executor, window, row, error, out)
            return
        if signal is None:
            return
        if side == _HOLD:
            self._hold(executor, signal, row, out)
            return
        sized = self.sized(executor, row.instrument_token, quantity)
        if sized != signal.quantity:
            signal = _with_quantity(signal, sized)
        if executor.validator is not None:
            judged = self._validated(executor, window, signal, row, session, out)
            if judged is None:
                return
            if judged is not signal:
                try:
                    side, confidence, sized, price, reference = checked_answer(judged)
                except NoSignal as error:
                    self._failed(executor, window, row, error, out)
                    return
                signal = judged
                if side == _HOLD:
                    self._hold(executor, signal, row, out)
                    return
        self._emit_or_drop(executor, s, i, signal, side, confidence, sized, price, reference, row, session, age_ns, out)

    def _ask(
        self, executor: StrategyExecutor, window: Window, row: TickRow
    ) -> tuple[SignalResult | None, int, float, int, Decimal, float]:
        if executor.decide is not None:
            decision = executor.decide(window.view, window.end)
            if decision is None:
                return _NOTHING
            side, confidence, value = decision
            rule: Any = executor.processor
            reasoning, metadata = rule.describe(side, value)
            signal = SignalResult(SIDE_NAME[side], confidence, rule.quantity(), row.decimal, reasoning, metadata)
            return signal, *checked_answer(signal)
        history = window.history(executor.need)
        try:
            answer = executor.processor.process_tick(row.market_tick(), history)
        finally:
            window.expire()
        if answer is None:
            return _NOTHING
        return answer, *checked_answer(answer)

    def _hold(self, executor: StrategyExecutor, signal: SignalResult, row: TickRow, out: list[Outcome]) -> None:
        self.state.book.executor.holds[executor.row] += 1
        out.append(Held(signal, executor.strategy_id, executor.broker, row.instrument_token, row.ts_ns))

    def sized(self, executor: StrategyExecutor, token: int, quantity: int) -> int:
        """A strategy's quantity after the risk multiplier, and down to whole lots where the instrument says so."""
        if executor.risk_multiplier is not None:
            quantity = floor_product(quantity, executor.risk_multiplier)
        lot = executor.lots.get(token)
        return quantity if lot is None else quantity // lot * lot

    def _validated(
        self,
        executor: StrategyExecutor,
        window: Window,
        signal: SignalResult,
        row: TickRow,
        session: int,
        out: list[Outcome],
    ) -> SignalResult | None:
        context = ExecutionContext(
            executor.strategy_id,
            executor.broker,
            row.ts_ns,
            _SESSION_OF[session],
            executor.risk,
            executor.portfolio,
        )
        assert executor.validator is not None
        try:
            judged = checked_verdict(
                executor.validator.validate(signal, row.market_tick(), window.history(executor.need), context)
            )
        except Exception as error:  # noqa: BLE001  a validator is a strategy's own code, and contained like it
            self._failed(executor, window, row, error, out)
            return None
        finally:
            window.expire()
        if isinstance(judged, str):
            executor.own_drops[judged] = executor.own_drops.get(judged, 0) + 1
            out.append(Dropped(signal, judged, executor.strategy_id, executor.broker, row.instrument_token, row.ts_ns))
            return None
        return judged

    def _emit_or_drop(
        self,
        executor: StrategyExecutor,
        s: int,
        i: int,
        signal: SignalResult,
        side: int,
        confidence: float,
        quantity: int,
        price: Decimal,
        reference: float,
        row: TickRow,
        session: int,
        age_ns: int,
        out: list[Outcome],
    ) -> None:
        self.state.make_room(s)
        limits, book, e, ts = self.state.limits, self.state.book, executor.row, row.ts_ns
        plain = float(price) if not price.is_snan() else math.nan
        signed = quantity if side == 1 else -quantity
        bucket = 0
        code = (
            check_market(limits, e, self.killed, session, row.halted, row.auction, age_ns)
            or check_signal(limits, e, confidence, quantity, plain)
            or check_prices(limits, e, row.price, self._minute_open(i, ts), reference)
            or check_position(limits, book, e, s, ts, signed, plain)
        )
        if not code:
            bucket = floor_ratio(price, executor.risk.price_bucket)
            code = check_gate(limits, book, e, s, ts, side, _as_int64(bucket))
        if code:
            book.drops[e * REASON_COLUMNS + code] += 1
            reason = REASONS[code]
            assert reason is not None
            out.append(Dropped(signal, reason, executor.strategy_id, executor.broker, row.instrument_token, ts))
            if code == CIRCUIT_OPEN:
                self._pause(
                    executor, Trigger.CIRCUIT_OPEN, ts, executor.risk.resume_after_ns, out, row.instrument_token
                )
            elif code == RATE_LIMITED and executor.risk.pause_on_throttle:
                self._pause(executor, Trigger.THROTTLED, ts, executor.risk.throttle_pause_ns, out, row.instrument_token)
            return
        remember(limits, book, e, s, ts, side, _as_int64(bucket))
        book.executor.signals[e] += 1
        out.append(
            Emitted(
                EmittedSignal(
                    signal.signal_type,
                    confidence,
                    quantity,
                    price,
                    signal.reasoning,
                    signal.metadata,
                    strategy_id=executor.strategy_id,
                    broker=executor.broker,
                    instrument_token=row.instrument_token,
                    ts_ns=ts,
                    id_bases=executor.id_bases,
                    price_bucket=bucket,
                    dedupe_epoch=ts // executor.risk.dedupe_window_ns,
                )
            )
        )
        if limits.same_tick[e] and not (row.halted or row.auction or session == CLOSED):
            self._fill(executor, s, signed, row, out)
        else:
            enqueue(book, s, signed, plain)

    def _minute_open(self, i: int, ts: int) -> float:
        book = self.state.book
        return book.instrument.minute_open[i] if book.instrument.minute[i] == ts // MINUTE_NS else math.nan

    # -- lifecycle ------------------------------------------------------------------------------------------------

    def _move(
        self, executor: StrategyExecutor, trigger: Trigger, ts: int, out: list[Outcome], token: int | None = None
    ) -> None:
        book, e = self.state.book, executor.row
        before = Life(book.executor.state[e])
        after = next_state(before, trigger)
        book.executor.state[e] = after
        book.executor.since[e] = ts
        if after is not Life.ERROR:
            book.executor.due[e] = NEVER
        out.append(Transition(executor.strategy_id, executor.broker, before, after, trigger, ts, token))

    def _pause(
        self,
        executor: StrategyExecutor,
        trigger: Trigger,
        ts: int,
        resume_after: int | None,
        out: list[Outcome],
        token: int | None = None,
    ) -> None:
        self._move(executor, trigger, ts, out, token)
        book, e = self.state.book, executor.row
        book.executor.pause_cause[e] = CIRCUIT_OPEN if trigger is Trigger.CIRCUIT_OPEN else 0
        if resume_after is not None:
            book.executor.due[e] = ts + resume_after

    def _run_timer(self, executor: StrategyExecutor, ts: int, out: list[Outcome], token: int | None = None) -> None:
        book, e = self.state.book, executor.row
        if ts < book.executor.due[e]:
            return
        if book.executor.state[e] == _PAUSED and book.executor.pause_cause[e] == CIRCUIT_OPEN:
            book.executor.loss_streak[e] = 0
        self._move(executor, Trigger.TIMER, ts, out, token)

    def _failed(
        self, executor: StrategyExecutor, window: Window, row: TickRow, error: Exception, out: list[Outcome]
    ) -> None:
        book, e, ts, risk = self.state.book, executor.row, row.ts_ns, executor.risk
        book.executor.errors[e] += 1
        out.append(
            ProcessorFailed(
                executor.strategy_id,
                executor.broker,
                row.instrument_token,
                ts,
                f"{type(error).__name__}: {_text(error)}",
                _traceback(error),
                tuple(window.view[window.end - min(window.count, _LAST_PRICES_SHOWN) : window.end]),
            )
        )
        times = executor.error_times
        recent = sum(ts - earlier < risk.error_window_ns for earlier in times)
        if not recent:
            book.executor.retries[e] = 0
        # An older time cannot matter again once so many later ones are known.
        insort(times, ts)
        del times[: -(risk.max_errors + 1)]
        if sum(ts - earlier < risk.error_window_ns for earlier in times) <= risk.max_errors:
            return
        self._move(executor, Trigger.TOO_MANY_ERRORS, ts, out, row.instrument_token)
        retries = book.executor.retries[e]
        if retries >= risk.max_retries:
            self._move(executor, Trigger.RETRIES_EXHAUSTED, ts, out, row.instrument_token)
            book.executor.pause_cause[e] = 0
            return
        book.executor.due[e] = ts + (risk.retry_backoff_ns << min(retries, 40))
        book.executor.retries[e] = retries + 1

    # -- other events ---------------------------------------------------------------------------------------------

    def _command(self, command: Command, out: list[Outcome]) -> None:
        if command.operation in (Operation.KILL, Operation.UNKILL):
            self.killed = command.operation is Operation.KILL
            out.append(Noted(f"{command.operation.value}ed", command.ts_ns))
            return
        trigger = _OPERATOR[command.operation]
        meant = [
            executor
            for executor in self.executors
            if command.strategy_id in (None, executor.strategy_id) and command.broker in (None, executor.broker)
        ]
        able = [executor for executor in meant if can(executor.state, trigger)]
        if not meant:
            details = {"operation": command.operation.value, "broker": command.broker}
            out.append(Noted("unknown_strategy", command.ts_ns, command.strategy_id, details))
        elif not able and command.strategy_id is not None:
            next_state(meant[0].state, trigger)
        for executor in able:
            self._move(executor, trigger, command.ts_ns, out)
            book, e = self.state.book, executor.row
            book.executor.pause_cause[e] = 0
            if trigger is Trigger.OPERATOR_RESUME:
                book.executor.loss_streak[e] = 0
                book.executor.retries[e] = 0
                executor.error_times.clear()

    def _delivery_failed(self, event: DeliveryFailed, out: list[Outcome]) -> None:
        for executor in self.executors:
            if (executor.strategy_id, executor.broker) == (event.strategy_id, event.broker) and can(
                executor.state, Trigger.DEAD_LETTERED
            ):
                self._pause(executor, Trigger.DEAD_LETTERED, event.ts_ns, None, out)


_OPERATOR: Final = {
    Operation.PAUSE: Trigger.OPERATOR_PAUSE,
    Operation.RESUME: Trigger.OPERATOR_RESUME,
    Operation.STOP: Trigger.STOP,
}
_NOTHING: Final = (None, 0, 0.0, 0, Decimal(0), 0.0)


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an exception of a strategy's own may fail at this too
        return "(its text cannot be had)"


def _traceback(error: Exception) -> str:
    """The traceback from where the strategy's own code begins: how the engine got there helps nobody."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    except Exception:  # noqa: BLE001  an exception of a strategy's own may fail at being shown
        return "".join(traceback.format_tb(frames or error.__traceback__))


def _with_quantity(signal: SignalResult, quantity: int) -> SignalResult:
    return SignalResult(
        signal.signal_type, signal.confidence, quantity, signal.price, signal.reasoning, signal.metadata
    )


def _as_int64(value: int) -> int:
    return (value + (_WRAP >> 1)) % _WRAP - (_WRAP >> 1)
