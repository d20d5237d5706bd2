"""The checks in the contract's order, each with what it measured against what it is held to.

Read off an engine that stands just before the checks of one signal. The engine's own checks are `engine.checks`; they say
the first that fails. Here each is measured, those behind the first one too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.analysis.explaining.explanation import Check, Status
from anystrat.analysis.explaining.numbers import SECOND, duration, number
from anystrat.domain.configuration import Session
from anystrat.domain.exact import floor_ratio, plain_text
from anystrat.domain.outcomes import Reason
from anystrat.domain.signal import SIDE_CODE
from anystrat.engine.answers import LARGEST_QUANTITY, checked_answer
from anystrat.engine.checks import MINUTE_NS, exposure
from anystrat.engine.recent import recent_place
from anystrat.engine.state import LONG_AGO

if TYPE_CHECKING:
    from decimal import Decimal

    from anystrat.domain.signal import SignalResult
    from anystrat.domain.tick import TickRow
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

_WRAP: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Market:
    """What surrounds the signal: the tick, its session, its age, and whether the instrument's session is timed at all."""

    row: TickRow
    session: Session
    age_ns: int


@dataclass
class Gauges:
    """Measures the checks of one signal, as sized, of one executor of an engine that stands just before them."""

    engine: Engine
    executor: StrategyExecutor
    market: Market
    signal: SignalResult

    def __post_init__(self) -> None:
        side, confidence, quantity, price, reference = checked_answer(self.signal)
        self.side, self.confidence, self.quantity = side, confidence, quantity
        self.price: Decimal = price
        self.plain = float(price) if not price.is_snan() else math.nan
        self.reference = reference
        self.signed = quantity if side == SIDE_CODE["BUY"] else -quantity

    def all(self, decisive: str) -> tuple[Check, ...]:
        """Every check in order; `decisive` is the reason that the engine dropped the signal for ("": none)."""
        return tuple(
            msgspec.structs.replace(made, decisive=True) if made.reason == decisive else made for made in self._made()
        )

    def _made(self) -> Iterator[Check]:
        yield from self._market()
        yield from self._signal()
        yield self._band()
        yield self._slippage()
        yield self._guard()
        yield from self._position()
        yield self._circuit()
        yield self._cooldown()
        yield self._duplicate()
        yield self._interval()
        yield self._rate()

    # -- 1, 2: the market -----------------------------------------------------------------------------------------

    def _market(self) -> Iterator[Check]:
        risk, row, session = self.executor.risk, self.market.row, self.market.session
        killed = self.engine.killed
        yield _check(Reason.KILLED, killed, f"the kill switch is {'on' if killed else 'off'}")
        spec = self.engine.instruments.get(row.instrument_token)
        if spec is None or spec.calendar is None:
            yield Check(Reason.SESSION_CLOSED, Status.OFF, "no calendar: the session is always regular")
        else:
            allowed = session is Session.REGULAR or session in risk.allow_sessions
            more = ", ".join(["regular", *sorted(each.value for each in risk.allow_sessions)])
            text = f"the session is {session.value}; it takes {more}"
            yield _check(Reason.SESSION_CLOSED, not allowed, text, setting="risk.allow_sessions")
        yield _check(Reason.HALTED, row.halted, "the tick says halted" if row.halted else "the tick is not halted")
        yield _check(
            Reason.AUCTION, row.auction, "the tick is of an auction" if row.auction else "the tick is of no auction"
        )
        yield self._stale()

    def _stale(self) -> Check:
        limit = self.executor.risk.max_tick_age_ns
        setting = "risk.max_tick_age_sec"
        if self.engine.feed_stale:
            return _check(Reason.STALE, True, "the feed is silent: no tick is fresh", setting=setting)
        if limit is None:
            return _off(Reason.STALE, setting)
        age = self.market.age_ns
        text = f"{duration(age)} old on arrival; it takes at most {duration(limit)}"
        return _check(Reason.STALE, age > limit, text, age / SECOND, limit / SECOND, setting)

    # -- 3: the signal itself -------------------------------------------------------------------------------------

    def _signal(self) -> Iterator[Check]:
        risk, confidence, quantity = self.executor.risk, self.confidence, self.quantity
        fine = 0.0 <= confidence <= 1.0
        yield _check(Reason.INVALID_CONFIDENCE, not fine, f"{number(confidence)}; it takes 0 to 1", confidence)
        most = LARGEST_QUANTITY if risk.max_quantity is None else min(risk.max_quantity, LARGEST_QUANTITY)
        text = f"{quantity:,} after sizing; it takes 1 to {most:,}"
        limit, setting = (None, "") if risk.max_quantity is None else (most, "risk.max_quantity")
        yield _check(Reason.INVALID_QUANTITY, quantity <= 0 or quantity > most, text, quantity, limit, setting)
        priced = 0.0 < self.plain < math.inf
        yield _check(Reason.INVALID_PRICE, not priced, f"{number(self.plain)}; it takes more than 0", self.plain)
        if risk.min_confidence is None:
            yield _off(Reason.BELOW_MIN_CONFIDENCE, "risk.min_confidence")
            return
        text = f"{number(confidence)}; it needs {number(risk.min_confidence)}"
        below = confidence < risk.min_confidence
        yield _check(Reason.BELOW_MIN_CONFIDENCE, below, text, confidence, risk.min_confidence, "risk.min_confidence")

    # -- 4, 5: prices ---------------------------------------------------------------------------------------------

    def _band(self) -> Check:
        band, row = self.executor.risk.band_pct, self.market.row
        if band is None:
            return _off(Reason.PRICE_BAND, "risk.band_pct")
        instrument = self.engine.state.book.instrument
        i = self._instrument
        if instrument.minute[i] != row.ts_ns // MINUTE_NS:
            return Check(Reason.PRICE_BAND, Status.PASSED, "the minute has no open yet", None, band, "risk.band_pct")
        opened = instrument.minute_open[i]
        moved = abs(row.price / opened - 1.0)
        text = f"{moved:.4%} from the minute's open {number(opened)}; it takes at most {number(band)}%"
        return _check(Reason.PRICE_BAND, moved > band / 100.0, text, 100.0 * moved, band, "risk.band_pct")

    def _slippage(self) -> Check:
        budget = self.executor.risk.slippage_budget
        if budget is None:
            return _off(Reason.SLIPPAGE, "risk.slippage_budget")
        away = abs(self.market.row.price - self.reference)
        text = f"{number(away)} from the reference {number(self.reference)}; it takes at most {number(budget)}"
        return _check(Reason.SLIPPAGE, away > budget, text, away, budget, "risk.slippage_budget")

    # -- 6 to 9: the paper account --------------------------------------------------------------------------------

    @property
    def _slot(self) -> int:
        return self.executor.slots[self.market.row.instrument_token]

    @property
    def _instrument(self) -> int:
        return self.engine.state.book.slot.instrument[self._slot]

    @property
    def _after(self) -> tuple[int, int, bool, bool]:
        """(position, position after the signal, whether it flips, whether it only brings it nearer zero)."""
        position = self.engine.state.book.slot.position[self._slot]
        after = position + self.signed
        flips = (position > 0 > after) or (position < 0 < after)
        return position, after, flips, not flips and abs(after) < abs(position)

    def _guard(self) -> Check:
        limit = self.executor.risk.min_flip_ns
        if limit is None:
            return _off(Reason.POSITION_GUARD, "risk.min_flip_sec")
        position, after, flips, _ = self._after
        if not flips:
            text = f"{position:+,} to {after:+,} flips no side"
            return Check(Reason.POSITION_GUARD, Status.PASSED, text, None, limit / SECOND, "risk.min_flip_sec")
        held = self.market.row.ts_ns - self.engine.state.book.slot.changed_at[self._slot]
        text = f"{position:+,} to {after:+,} flips, {duration(held)} after its last change; it needs {duration(limit)}"
        return _check(Reason.POSITION_GUARD, held < limit, text, held / SECOND, limit / SECOND, "risk.min_flip_sec")

    def _position(self) -> Iterator[Check]:
        risk = self.executor.risk
        position, after, _, nearer = self._after
        limited, most = bool(risk.max_position_size), int(risk.max_position_size)
        setting = "risk.long_only" if risk.long_only and not limited else "max_position_size"
        moves = f"{position:+,} to {after:+,}"
        if not limited and not risk.long_only:
            yield _off(Reason.POSITION_LIMIT, setting)
        elif nearer:
            yield Check(
                Reason.POSITION_LIMIT,
                Status.PASSED,
                f"{moves} is nearer zero, which passes",
                after,
                most if limited else None,
                setting,
            )
        else:
            short = risk.long_only and after < 0
            over = limited and abs(after) > most
            takes = [f"at most {most:,}"] if limited else []
            takes += ["nothing below 0"] if risk.long_only else []
            if short and not over:
                setting = "risk.long_only"
            text = f"{moves}; it takes {', '.join(takes)}"
            yield _check(Reason.POSITION_LIMIT, over or short, text, after, most if limited else None, setting)
        yield self._exposure(nearer=nearer)

    def _exposure(self, *, nearer: bool) -> Check:
        limit = self.executor.risk.max_exposure
        if limit is None:
            return _off(Reason.EXPOSURE, "risk.max_exposure")
        state = self.engine.state
        slot = self._slot
        held = exposure(state.limits, state.book, self.executor.row, slot)
        total = held + self.signed * self.plain * state.book.slot.multiplier[slot]
        text = f"{number(held)} to {number(total)}; it takes at most {number(limit)}"
        if nearer:
            return Check(
                Reason.EXPOSURE, Status.PASSED, f"{text}; nearer zero passes", abs(total), limit, "risk.max_exposure"
            )
        return _check(Reason.EXPOSURE, abs(total) > limit, text, abs(total), limit, "risk.max_exposure")

    def _circuit(self) -> Check:
        limit = self.executor.risk.max_loss_streak
        if limit is None:
            return _off(Reason.CIRCUIT_OPEN, "risk.max_loss_streak")
        streak = self.engine.state.book.executor.loss_streak[self.executor.row]
        text = f"{streak} losing fills in a row; it opens at {limit}"
        return _check(Reason.CIRCUIT_OPEN, streak >= limit, text, streak, limit, "risk.max_loss_streak")

    # -- 10 to 13: the gate ---------------------------------------------------------------------------------------

    def _cooldown(self) -> Check:
        last = self.engine.state.book.slot.last_emit[self._slot]
        limit = self.executor.risk.cooldown_ns
        what = f"since the last signal on {self.market.row.instrument_token}"
        return self._since(Reason.COOLDOWN, last, limit, what, "risk.cooldown_sec")

    def _duplicate(self) -> Check:
        risk, setting = self.executor.risk, "risk.dedupe_window_sec"
        if not self.price.is_finite():
            return Check(Reason.DUPLICATE, Status.SKIPPED, "the signal has no price", setting=setting)
        bucket = floor_ratio(self.price, risk.price_bucket)
        wrapped = (bucket + (_WRAP >> 1)) % _WRAP - (_WRAP >> 1)
        book = self.engine.state.book
        k = recent_place(book, self._slot, self.side, wrapped)
        same = f"{self.signal.signal_type} in the bucket of {plain_text(self.price)}"
        limit = risk.dedupe_window_ns
        last = book.recent.ts[k] if book.recent.side[k] == self.side else LONG_AGO
        age = self.market.row.ts_ns - last
        if last == LONG_AGO or age >= limit:
            text = f"no {same} within {duration(limit)}"
            return Check(Reason.DUPLICATE, Status.PASSED, text, None, limit / SECOND, setting)
        text = f"{duration(age)} since a {same}; it needs {duration(limit)}"
        return _check(Reason.DUPLICATE, True, text, age / SECOND, limit / SECOND, setting)

    def _interval(self) -> Check:
        last = self.engine.state.book.executor.last_emit[self.executor.row]
        limit = self.executor.risk.min_signal_interval_ns
        return self._since(
            Reason.MIN_INTERVAL, last, limit, "since the last signal on any instrument", "risk.min_signal_interval_ms"
        )

    def _rate(self) -> Check:
        limit = self.executor.risk.max_signals_per_min
        if limit is None:
            return _off(Reason.RATE_LIMITED, "risk.max_signals_per_min")
        book, e = self.engine.state.book, self.executor.row
        start, many = self.engine.state.limits.rate_start[e], book.executor.rate_count[e]
        ts = self.market.row.ts_ns
        times = [book.rate_ts[start + k] for k in range(min(many, limit))]
        recent = sum(ts - each < MINUTE_NS for each in times)
        text = f"{recent} signals in the last 60 s; it takes {limit} a minute"
        return _check(Reason.RATE_LIMITED, recent >= limit, text, recent, limit, "risk.max_signals_per_min")

    def _since(self, reason: Reason, last: int, limit: int | None, what: str, setting: str) -> Check:
        if limit is None:
            return _off(reason, setting)
        if last == LONG_AGO:
            return Check(reason, Status.PASSED, "it has given no signal yet", None, limit / SECOND, setting)
        since = self.market.row.ts_ns - last
        text = f"{duration(since)} {what}; it needs {duration(limit)}"
        return _check(reason, since < limit, text, since / SECOND, limit / SECOND, setting)


def _check(
    reason: Reason,
    failed: bool,  # noqa: FBT001  read as "this check, whether it failed, in words"
    text: str,
    measured: float | None = None,
    limit: float | None = None,
    setting: str = "",
) -> Check:
    return Check(reason, Status.FAILED if failed else Status.PASSED, text, measured, limit, setting)


def _off(reason: Reason, setting: str) -> Check:
    return Check(reason, Status.OFF, "not configured", setting=setting)
