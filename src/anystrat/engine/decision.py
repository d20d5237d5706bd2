"""One decision: ask the strategy, size its answer, check it, and emit or drop it; and the paper fills around that."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anystrat.domain.configuration import ExecutionContext, FillTiming, Session
from anystrat.domain.errors import ProcessLost
from anystrat.domain.exact import as_int64, floor_product, floor_ratio
from anystrat.domain.lifecycle import Trigger
from anystrat.domain.outcomes import REASONS, Dropped, Emitted, Filled, Held, Noted, Outcome
from anystrat.domain.signal import SIDE_NAME, EmittedSignal, SignalResult
from anystrat.domain.tick import bar_value
from anystrat.engine.answers import LARGEST_QUANTITY, NoSignal, checked_answer, checked_verdict
from anystrat.engine.checks import (
    CIRCUIT_OPEN,
    CLOSED,
    EMITTED,
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
from anystrat.engine.columns.grouping import CLOSED_BIT, PREOPEN_BIT
from anystrat.engine.deadlines import Deadlines
from anystrat.engine.fills import enqueue, fill
from anystrat.engine.recent import recent_place
from anystrat.engine.sizing import BY_VOLATILITY, account_quantity
from anystrat.engine.state import NEVER, REASON_COLUMNS, State
from anystrat.engine.to_come import ToCome
from anystrat.paper.fills import impacted_price, opening_price, quoted_price
from anystrat.paper.sizing import deviation_of

if TYPE_CHECKING:
    from anystrat.domain.configuration import PaperCosts
    from anystrat.domain.tick import TickRow
    from anystrat.domain.window import Window
    from anystrat.engine.account import AccountGuard
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.supervision import Supervision

_HOLD: Final = 3
#: No check's number: the account's limits have names of their own.
REFUSED_BY_ACCOUNT: Final = -1
#: An age beyond every limit, "no limit" included.
TOO_OLD: Final = NEVER + 1
SESSION_CODE: Final = {Session.REGULAR: REGULAR, Session.PREOPEN: PREOPEN, Session.CLOSED: CLOSED}
_SESSION_OF: Final = {code: session for session, code in SESSION_CODE.items()}
_NOTHING: Final = (None, 0, 0.0, 0, Decimal(0), 0.0)


def session_of(flags: int) -> int:
    """The session that a tick's market bits say."""
    return CLOSED if flags & CLOSED_BIT else PREOPEN if flags & PREOPEN_BIT else REGULAR


class Moment(NamedTuple):
    """One accepted tick, and what is the same for every executor on it."""

    instrument: int
    window: Window
    row: TickRow
    session: int
    age_ns: int
    killed: bool

    @property
    def fillable(self) -> bool:
        """Whether paper orders fill on this tick: not on a halted, auction or closed one."""
        return not (self.row.halted or self.row.auction or self.session == CLOSED)


class _Raw(NamedTuple):
    """A strategy's answer, checked for being one."""

    side: int
    confidence: float
    quantity: int
    price: Decimal
    reference: float


class Decisions:
    """Takes executors through evaluation, sizing, checks, emission and fills on one tick."""

    def __init__(self, state: State, supervision: Supervision, account: AccountGuard | None = None) -> None:
        self._state = state
        self._supervision = supervision
        self._account = account
        self.deadlines = Deadlines()
        #: Evaluations that a live run lost with a strategy's process, as a replay is told of them.
        self.losses = ToCome()

    def fill_waiting(self, executor: StrategyExecutor, s: int, row: TickRow, out: list[Outcome]) -> None:
        """Fill every order that waits on slot `s` and is due, in the order of acceptance."""
        for signed in self._due(executor.costs.latency_ms * 1_000_000, s, row.ts_ns):
            self._fill(executor, s, signed, row, out)

    def _due(self, latency: int, s: int, ts: int) -> list[int]:
        """Take the orders off slot `s` that are no younger than `latency`; with none, all, whatever time they are of."""
        book = self._state.book
        pending, start = book.pending, s * book.pending_room
        due: list[int] = []
        kept = start
        for k in range(start, start + book.slot.pending_count[s]):
            if not latency or ts - pending.ts[k] >= latency:
                due.append(pending.quantity[k])
                continue
            pending.quantity[kept], pending.price[kept], pending.ts[kept] = (
                pending.quantity[k],
                pending.price[k],
                pending.ts[k],
            )
            kept += 1
        book.slot.pending_count[s] = kept - start
        return due

    def _fill(self, executor: StrategyExecutor, s: int, signed: int, row: TickRow, out: list[Outcome]) -> None:
        book, at = self._state.book, _price_for(executor.costs, row, signed)
        price, fee, realised, round_trip = fill(self._state.limits, book, executor.row, s, row.ts_ns, signed, at)
        if self._account is not None:
            self._account.filled(s, signed, price, fee)
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

    def evaluate(self, executor: StrategyExecutor, s: int, moment: Moment, out: list[Outcome]) -> None:
        """Ask the executor's strategy about this tick, and carry its answer to its end."""
        self._state.book.executor.evaluations[executor.row] += 1
        timed = executor.deadline is not None
        # The number of the tick is the place of what a replay of it needs to know.
        tick = self._state.book.instrument.ticks[moment.instrument] if timed or executor.isolation is not None else 0
        if timed:
            self.deadlines.before(executor, moment.row.instrument_token, tick)
        try:
            signal, side, confidence, quantity, price, reference = (
                self._ask(executor, moment)
                if executor.isolation is None
                else self._ask_isolated(executor, moment, tick)
            )
        except ProcessLost as lost:
            self._supervision.lost(executor, moment.row, tick, str(lost), out)
            return
        except Exception as error:  # noqa: BLE001  whatever a strategy raises is contained
            self._supervision.failed(executor, moment.window, moment.row, error, out)
            return
        if timed:
            self.deadlines.after(executor, moment.row, tick, out)
        if signal is not None:
            self._carry(executor, s, signal, _Raw(side, confidence, quantity, price, reference), moment, out)

    def _ask_isolated(
        self, executor: StrategyExecutor, moment: Moment, tick: int
    ) -> tuple[SignalResult | None, int, float, int, Decimal, float]:
        """Ask a strategy that has a process to itself in a live run; nobody, where that run lost the answer."""
        why = self.losses.take(executor, moment.row.instrument_token, tick)
        if why is not None:
            raise ProcessLost(why)
        return self._ask(executor, moment)

    def _carry(
        self,
        executor: StrategyExecutor,
        s: int,
        signal: SignalResult,
        raw: _Raw,
        moment: Moment,
        out: list[Outcome],
    ) -> None:
        """Size the answer, have it validated, and emit or drop it."""
        side, confidence, quantity, price, reference = raw
        if side == _HOLD:
            self._hold(executor, signal, moment.row, out)
            return
        if executor.risk.sizing is not None and quantity > 0:
            size = self._by_account(executor, s, side, moment)
        else:
            size = sized(executor, moment.row.instrument_token, quantity)
        if size != signal.quantity:
            signal = _with_quantity(signal, size)
        if executor.validator is not None:
            judged = self._validated(executor, signal, moment, out)
            if judged is None:
                return
            if judged is not signal:
                try:
                    side, confidence, size, price, reference = checked_answer(judged)
                except NoSignal as error:
                    self._supervision.failed(executor, moment.window, moment.row, error, out)
                    return
                signal = judged
                if side == _HOLD:
                    self._hold(executor, signal, moment.row, out)
                    return
        self._emit_or_drop(executor, s, signal, _Raw(side, confidence, size, price, reference), moment, out)

    def _by_account(self, executor: StrategyExecutor, s: int, side: int, moment: Moment) -> int:
        limits, e, window = self._state.limits, executor.row, moment.window
        deviation = 0.0
        if limits.sizing[e] == BY_VOLATILITY:
            deviation = deviation_of(window.view, window.end, limits.deviation_periods[e])
        return account_quantity(limits, self._state.book, e, s, side, moment.row.price, deviation)

    def _ask(
        self, executor: StrategyExecutor, moment: Moment
    ) -> tuple[SignalResult | None, int, float, int, Decimal, float]:
        window, row = moment.window, moment.row
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
        self._state.book.executor.holds[executor.row] += 1
        out.append(Held(signal, executor.strategy_id, executor.broker, row.instrument_token, row.ts_ns))

    def _validated(
        self, executor: StrategyExecutor, signal: SignalResult, moment: Moment, out: list[Outcome]
    ) -> SignalResult | None:
        window, row = moment.window, moment.row
        context = ExecutionContext(
            executor.strategy_id,
            executor.broker,
            row.ts_ns,
            _SESSION_OF[moment.session],
            executor.risk,
            executor.portfolio,
        )
        assert executor.validator is not None
        try:
            judged = checked_verdict(
                executor.validator.validate(signal, row.market_tick(), window.history(executor.need), context)
            )
        except Exception as error:  # noqa: BLE001  a validator is a strategy's own code, and contained like it
            self._supervision.failed(executor, moment.window, moment.row, error, out)
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
        signal: SignalResult,
        raw: _Raw,
        moment: Moment,
        out: list[Outcome],
    ) -> None:
        side, confidence, quantity, price, reference = raw
        row = moment.row
        self._state.make_room(executor.row, s, row.ts_ns)
        limits, book, e, ts = self._state.limits, self._state.book, executor.row, row.ts_ns
        plain = float(price) if not price.is_snan() else math.nan
        signed = quantity if side == 1 else -quantity
        bucket = place = 0
        killed = moment.killed if self._account is None else self._account.killed
        code = (
            check_market(limits, e, killed, moment.session, row.halted, row.auction, moment.age_ns)
            or self._refused_by_account(executor, s, signal, plain, signed, row, out)
            or check_signal(limits, e, confidence, quantity, plain)
            or check_prices(limits, e, row.price, self._minute_open(moment.instrument, ts), reference)
            or check_position(limits, book, e, s, ts, signed, plain)
        )
        if not code:
            bucket = floor_ratio(price, executor.risk.price_bucket)
            place = recent_place(book, s, side, as_int64(bucket))
            code = check_gate(limits, book, e, s, ts, side, place)
        if code == REFUSED_BY_ACCOUNT:
            return
        if code:
            book.drops[e * REASON_COLUMNS + code] += 1
            reason = REASONS[code]
            assert reason is not None
            out.append(Dropped(signal, reason, executor.strategy_id, executor.broker, row.instrument_token, ts))
            if code == CIRCUIT_OPEN:
                self._supervision.pause(
                    executor, Trigger.CIRCUIT_OPEN, ts, executor.risk.resume_after_ns, out, row.instrument_token
                )
            elif code == RATE_LIMITED and executor.risk.pause_on_throttle:
                self._supervision.pause(
                    executor, Trigger.THROTTLED, ts, executor.risk.throttle_pause_ns, out, row.instrument_token
                )
            return
        remember(limits, book, e, s, ts, side, as_int64(bucket), place)
        if self._account is not None:
            self._account.accepted(s, ts)
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
        if limits.same_tick[e] and moment.fillable:
            self._fill(executor, s, signed, row, out)
        else:
            enqueue(book, s, ts, signed, plain)

    def _refused_by_account(
        self,
        executor: StrategyExecutor,
        s: int,
        signal: SignalResult,
        price: float,
        signed: int,
        row: TickRow,
        out: list[Outcome],
    ) -> int:
        """`REFUSED_BY_ACCOUNT`, with the drop told and counted, or 0."""
        account = self._account
        reason = account.check(s, row.ts_ns, signed, price) if account is not None else None
        if account is None or reason is None:
            return EMITTED
        executor.own_drops[reason] = executor.own_drops.get(reason, 0) + 1
        token, ts = row.instrument_token, row.ts_ns
        out.append(Dropped(signal, reason, executor.strategy_id, executor.broker, token, ts))
        if account.killed:
            details = {"by": "account", "reason": reason.value, "broker": executor.broker, "instrument": token}
            out.append(Noted("killed", ts, executor.strategy_id, details))
        return REFUSED_BY_ACCOUNT

    def _minute_open(self, i: int, ts: int) -> float:
        book = self._state.book
        return book.instrument.minute_open[i] if book.instrument.minute[i] == ts // MINUTE_NS else math.nan


def sized(executor: StrategyExecutor, token: int, quantity: int) -> int:
    """A strategy's quantity after the risk multiplier, and down to whole lots where the instrument says so."""
    if executor.risk_multiplier is not None:
        quantity = floor_product(quantity, executor.risk_multiplier)
    lot = executor.lots.get(token)
    if lot is not None:
        quantity = quantity // lot * lot
    # One beyond the largest is as invalid as any larger one, and fits a column.
    return min(quantity, LARGEST_QUANTITY + 1)


def _price_for(costs: PaperCosts, row: TickRow, signed: int) -> float:
    """What the tick offers an order, before slippage."""
    price = row.price
    if costs.fill is FillTiming.NEXT_OPEN:
        price = opening_price(price, bar_value(row.metadata, "open"))
    if costs.fill_at == "quote":
        price = quoted_price(price, signed, _number(row.bid), _number(row.ask))
    if costs.impact_bps:
        price = impacted_price(price, signed, _number(row.volume), costs.impact_bps)
    return price


def _number(value: float | Decimal | None) -> float:
    return math.nan if value is None else float(value)


def _with_quantity(signal: SignalResult, quantity: int) -> SignalResult:
    return SignalResult(
        signal.signal_type, signal.confidence, quantity, signal.price, signal.reasoning, signal.metadata
    )
