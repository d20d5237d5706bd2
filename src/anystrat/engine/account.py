"""The account's limits on one engine's executors: what all of them hold, lose and send together.

Numbers are made anew from the positions whenever a signal asks, slot by slot in their order, so that none drifts: a
restored engine judges as the one before it would have. All executors of the account have to be in this engine.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import MutableSequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.account import AccountLimits, AccountReason, ScopeLimits
from anystrat.engine.answers import LARGEST_QUANTITY
from anystrat.engine.lane_tables import KILLED
from anystrat.engine.sizing import expected_position
from anystrat.engine.state import LONG_AGO

if TYPE_CHECKING:
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.state import State

DAY_NS: Final = 86_400_000_000_000
_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60_000_000_000


@dataclass(slots=True)
class _Scope:
    """The account, a broker or an instrument: its limits, its slots, what it did. `opened`: its worth as the day began."""

    limits: ScopeLimits
    slots: list[int] = field(default_factory=list)
    opened: float = 0.0
    today: int = 0
    latest: list[int] = field(default_factory=list)


class AccountGuard:
    """Says whether the account lets a signal pass, and turns the kill switch on where its limits say so.

    `at` is called with every accepted tick before anything of it is known, `filled` with every fill.
    """

    def __init__(self, limits: AccountLimits, state: State, control: MutableSequence[int]) -> None:
        self.limits = limits
        #: Whether the kill switch is on for the account's sake, until somebody turns it off.
        self.pressed = False
        #: Whether an operator lets only those signals pass that reduce a position, whatever the limits say.
        self.reduce_only = False
        self._state = state
        self._control = control
        self._account = _Scope(limits)
        self._scopes: dict[str, _Scope] = {"account": self._account}
        self._of_slot: list[tuple[_Scope, ...]] = []
        #: What was paid and received for each slot, fees included.
        self._cash: list[float] = []
        self._day = LONG_AGO
        self._dropped: list[int] = []

    def watch(self, executor: StrategyExecutor) -> None:
        """Count an executor in, right after it was registered."""
        for token, slot in executor.slots.items():
            scopes = [self._account]
            broker = self.limits.per_broker.get(executor.broker)
            if broker is not None:
                scopes.append(self._scopes.setdefault(f"broker {executor.broker}", _Scope(broker)))
            if self.limits.per_instrument is not None:
                scopes.append(self._scopes.setdefault(f"instrument {token}", _Scope(self.limits.per_instrument)))
            for scope in scopes:
                scope.slots.append(slot)
            self._of_slot.append(tuple(scopes))
            self._cash.append(0.0)

    @property
    def killed(self) -> bool:
        """Whether the kill switch is on, whoever turned it."""
        return self._control[KILLED] != 0

    def at(self, ts: int) -> None:
        """A tick was accepted: where it begins a UTC day, everything is worth what it was at the last prices before."""
        day = ts // DAY_NS
        if day > self._day:
            self._day = day
            for scope in self._scopes.values():
                scope.opened, scope.today = self._worth(scope), 0

    def filled(self, s: int, signed: int, price: float, fee: float) -> None:
        """Book a fill of slot `s`."""
        self._cash[s] = self._cash[s] - signed * price * self._state.book.slot.multiplier[s] - fee

    def check(self, s: int, ts: int, signed: int, price: float) -> AccountReason | None:
        """Why the account refuses a signal of slot `s`; None: it does not. What is no order at all is not its to judge."""
        if not (0 < abs(signed) <= LARGEST_QUANTITY and 0.0 < price < math.inf):
            return None
        reason = self._reason(s, ts, signed, price)
        if self.limits.kill_daily_loss is not None and self._lost(self._account) >= self.limits.kill_daily_loss:
            reason = AccountReason.DAILY_LOSS
            self._press()
        if reason is not None and self.limits.kill_drops_per_min is not None:
            self._remember(self._dropped, ts, self.limits.kill_drops_per_min)
            if self._full(self._dropped, ts, self.limits.kill_drops_per_min, _MINUTE_NS):
                self._press()
        return reason

    def accepted(self, s: int, ts: int) -> None:
        """A signal of slot `s` was emitted."""
        for scope in self._of_slot[s]:
            scope.today += 1
            if scope.limits.max_orders_per_sec is not None:
                self._remember(scope.latest, ts, scope.limits.max_orders_per_sec)

    def figures(self) -> dict[str, dict[str, float]]:
        """What every scope holds, has lost today, and sent today."""
        return {
            name: dict(zip(("gross", "net"), self._exposure(scope, -1, 0.0), strict=True))
            | {"daily_loss": self._lost(scope), "signals_today": scope.today}
            for name, scope in self._scopes.items()
        }

    def _press(self) -> None:
        self.pressed = True
        self._control[KILLED] = 1

    def _reason(self, s: int, ts: int, signed: int, price: float) -> AccountReason | None:
        scopes = [(scope, scope.limits) for scope in self._of_slot[s]]
        if not self._reduces(s, signed):
            if self.limits.reduce_only or self.reduce_only:
                return AccountReason.REDUCE_ONLY
            added = signed * price * self._state.book.slot.multiplier[s]
            for scope, limits in scopes:
                most = limits.max_gross_exposure
                if most is not None and self._exposure(scope, s, added)[0] > most:
                    return AccountReason.GROSS_EXPOSURE
            for scope, limits in scopes:
                most = limits.max_net_exposure
                if most is not None and abs(self._exposure(scope, s, added)[1]) > most:
                    return AccountReason.NET_EXPOSURE
            for scope, limits in scopes:
                if limits.max_daily_loss is not None and self._lost(scope) >= limits.max_daily_loss:
                    return AccountReason.DAILY_LOSS
        for scope, limits in scopes:
            allowed = limits.max_orders_per_sec
            if allowed is not None and self._full(scope.latest, ts, allowed, _SECOND_NS):
                return AccountReason.ORDER_RATE
        for scope, limits in scopes:
            if limits.max_signals_per_day is not None and scope.today >= limits.max_signals_per_day:
                return AccountReason.SIGNALS_PER_DAY
        return None

    def _reduces(self, s: int, signed: int) -> bool:
        """Whether slot `s`, with all that waits there, comes strictly nearer to zero, and not over it."""
        position = expected_position(self._state.book, s)
        after = position + signed
        return abs(after) < abs(position) and (after == 0 or (after > 0) == (position > 0))

    def _exposure(self, scope: _Scope, at: int, added: float) -> tuple[float, float]:
        """(gross, net) with what waits for its fill, at its price, and `added` money more in slot `at`."""
        book = self._state.book
        slot, pending, last = book.slot, book.pending, book.instrument.last_price
        gross = net = 0.0
        for s in scope.slots:
            value = slot.position[s] * last[slot.instrument[s]]
            start = s * book.pending_room
            for k in range(start, start + slot.pending_count[s]):
                value += pending.quantity[k] * pending.price[k]
            value *= slot.multiplier[s]
            if s == at:
                value += added
            gross += abs(value)
            net += value
        return gross, net

    def _worth(self, scope: _Scope) -> float:
        slot, last = self._state.book.slot, self._state.book.instrument.last_price
        total = 0.0
        for s in scope.slots:
            total += self._cash[s] + slot.position[s] * last[slot.instrument[s]] * slot.multiplier[s]
        return total

    def _lost(self, scope: _Scope) -> float:
        return scope.opened - self._worth(scope)

    @staticmethod
    def _full(times: list[int], ts: int, allowed: int, window: int) -> bool:
        return len(times) >= allowed and ts - times[-allowed] < window

    @staticmethod
    def _remember(times: list[int], ts: int, allowed: int) -> None:
        # Ticks of different instruments may come in another order than that of their times.
        insort(times, ts)
        del times[:-allowed]

    # -- what outlives the engine ---------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Everything that later answers depend on beside the book."""
        scopes = {name: [self._lost(one), one.today, one.latest] for name, one in self._scopes.items()}
        return {"day": self._day, "dropped": self._dropped, "pressed": self.pressed, "cash": self._cash} | {
            "reduce_only": self.reduce_only,
            "scopes": scopes,
            "opened": {name: one.opened for name, one in self._scopes.items()},
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take over what `dump` gave of the same executors, after the book."""
        self._take(dumped)
        self._cash = list(dumped["cash"])
        for name, opened in dumped["opened"].items():
            if name in self._scopes:
                self._scopes[name].opened = opened
        self._begin_anew(set(self._scopes) - set(dumped["opened"]))

    def begin(self) -> None:
        """The book is of an engine without an account: the day's loss is counted from here."""
        self._begin_anew(set(self._scopes))

    def carry(self, dumped: dict[str, Any]) -> None:
        """Take over what `dump` gave of other executors: what the day has cost so far goes on, whoever held it."""
        self._take(dumped)
        for name, scope in self._scopes.items():
            lost = dumped["scopes"].get(name, (0.0,))[0]
            scope.opened = self._worth(scope) + lost

    def _begin_anew(self, names: set[str]) -> None:
        for name in names:
            self._scopes[name].opened = self._worth(self._scopes[name])

    def _take(self, dumped: dict[str, Any]) -> None:
        self._day, self._dropped, self.pressed = dumped["day"], list(dumped["dropped"]), dumped["pressed"]
        self.reduce_only = dumped.get("reduce_only", False)  # older snapshots know of no operator
        for name, (_, today, latest) in dumped["scopes"].items():
            if name in self._scopes:
                self._scopes[name].today, self._scopes[name].latest = today, list(latest)
