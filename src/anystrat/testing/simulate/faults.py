"""Which faults a history has: rates drawn by the seed (none at all included), and each fault with a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from anystrat.testing.simulate.dice import Dice


class Fault(StrEnum):
    """What can go wrong in a call of a port."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    SLOW = "slow"
    FAIL = "fail"
    LOST = "lost"
    AGAIN = "again"
    CUT = "cut"
    GAP = "gap"
    SILENT = "silent"
    FAIL_AFTER = "fail after"
    HANG = "hang"
    HANG_AFTER = "hang after"
    PART = "part"
    CRASH_WITHIN = "crash within"
    BUSY = "busy"
    MISCOUNT = "miscount"


CRASHES: Final = frozenset({Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_WITHIN})
#: More would only make a history longer.
_MOST_CRASHES: Final = 12
_WRITE: Final[Mapping[Fault, float]] = {
    Fault.CRASH_BEFORE: 0.02,
    Fault.CRASH_AFTER: 0.02,
    Fault.CRASH_WITHIN: 0.02,
    Fault.SLOW: 0.04,
    Fault.FAIL: 0.01,
}
#: How often each fault comes where a seed has it, by call.
RATES: Final[Mapping[str, Mapping[Fault, float]]] = {
    "journal.open": {Fault.CRASH_BEFORE: 0.02, Fault.CRASH_AFTER: 0.02, Fault.SLOW: 0.05, Fault.FAIL: 0.02},
    "journal.commit": _WRITE,
    "journal.sending": _WRITE,
    "journal.settle": _WRITE,
    "journal.switch": {each: 5 * rate for each, rate in _WRITE.items()},
    "journal.revive": {Fault.CRASH_BEFORE: 0.1, Fault.CRASH_AFTER: 0.1, Fault.SLOW: 0.1},
    "journal.compact": {Fault.CRASH_BEFORE: 0.1, Fault.CRASH_AFTER: 0.1, Fault.FAIL: 0.03},
    "journal.read": {Fault.CRASH_BEFORE: 0.01, Fault.SLOW: 0.02, Fault.FAIL: 0.003},
    "source.batch": {
        Fault.CRASH_BEFORE: 0.01,
        Fault.AGAIN: 0.08,
        Fault.CUT: 0.03,
        Fault.SILENT: 0.02,
        Fault.GAP: 0.02,
        Fault.FAIL: 0.005,
    },
    "source.acknowledge": {
        Fault.CRASH_BEFORE: 0.02,
        Fault.CRASH_AFTER: 0.02,
        Fault.LOST: 0.1,
        Fault.SLOW: 0.05,
    },
    "sink.open": {Fault.CRASH_BEFORE: 0.02, Fault.FAIL: 0.15, Fault.HANG: 0.05},
    "sink.send": {
        Fault.CRASH_BEFORE: 0.02,
        Fault.CRASH_WITHIN: 0.02,
        Fault.CRASH_AFTER: 0.02,
        Fault.SLOW: 0.05,
        Fault.FAIL: 0.05,
        Fault.FAIL_AFTER: 0.04,
        Fault.HANG: 0.02,
        Fault.HANG_AFTER: 0.03,
        Fault.PART: 0.06,
        Fault.BUSY: 0.03,
        Fault.MISCOUNT: 0.02,
    },
    "sink.has": {Fault.CRASH_BEFORE: 0.03, Fault.LOST: 0.15, Fault.FAIL: 0.05, Fault.HANG: 0.03},
}


class Faults:
    """Draws a fault for each call. `only` are the names of those that may happen; None: any.

    Which fault the n-th call of an operation has depends on the seed, the operation and n alone.
    """

    def __init__(self, seed: int, *, only: Collection[str] | None = None) -> None:
        dice = Dice(seed, "rates")
        #: How much goes wrong at all: in one history in twelve nothing does.
        level = 0.0 if dice.chance(1 / 12) else dice.scale(0.3, 4.0)
        self._rates = {
            operation: [
                (fault, 0.0 if dice.chance(0.35) else min(0.4, level * rate * dice.scale(0.3, 3.0)))
                for fault, rate in rates.items()
            ]
            for operation, rates in RATES.items()
        }
        self._dice = {operation: Dice(seed, operation) for operation in RATES}
        self._calls: Counter[str] = Counter()
        self._only = only
        self._crashes = 0
        #: From then on nothing goes wrong any more.
        self.healed = False
        self.injected: list[str] = []

    def draw(self, operation: str) -> Fault | None:
        """What goes wrong in this call."""
        self._calls[operation] += 1
        chance = self._dice[operation].random()
        if self.healed:
            return None
        for fault, rate in self._rates[operation]:
            if chance < rate:
                return fault if self.allowed(f"{operation} #{self._calls[operation]}: {fault}", fault) else None
            chance -= rate
        return None

    def allowed(self, name: str, fault: Fault | None = None) -> bool:
        """Whether the fault of this name may happen; it is noted."""
        if self._only is not None and name not in self._only:
            return False
        if fault in CRASHES:
            self._crashes += 1
            if self._crashes > _MOST_CRASHES:
                return False
        self.injected.append(name)
        return True
