"""An explanation as a value: whoever shows it (text, JSON, a report, a control page) reads the same fields."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from anystrat.domain.measurement import Condition


class Ending(StrEnum):
    """What a tick came to for one executor."""

    EMITTED = "emitted"
    DROPPED = "dropped"
    HELD = "held"
    NO_SIGNAL = "no_signal"
    WARMING_UP = "warming_up"
    BETWEEN_BARS = "between_bars"
    NOT_ACTIVE = "not_active"
    FAILED = "failed"
    TICK_DROPPED = "tick_dropped"


class Status(StrEnum):
    """How a check came out. OFF: it is not configured. SKIPPED: the signal is broken, there was nothing to measure."""

    PASSED = "passed"
    FAILED = "failed"
    OFF = "off"
    SKIPPED = "skipped"


class Said(msgspec.Struct, frozen=True):
    """A signal, as somebody gave it; `side` is empty where there was none. `price` is exact."""

    side: str = ""
    confidence: float = 0.0
    quantity: int = 0
    price: str = ""
    reasoning: str = ""


class Vote(msgspec.Struct, frozen=True):
    """What one voice measured and said. `part` is "rules", "ml" or "strategy".

    `features` are what a model read, `probabilities` what it made of them: SELL, HOLD, BUY. `error` is what it raised.
    """

    part: str
    name: str
    said: Said
    values: dict[str, float] = {}
    conditions: tuple[Condition, ...] = ()
    features: dict[str, float] = {}
    probabilities: dict[str, float] = {}
    note: str = ""
    error: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What a hybrid's policy made of the two votes."""

    policy: str
    said: Said
    values: dict[str, float] = {}
    conditions: tuple[Condition, ...] = ()
    note: str = ""


class Sizing(msgspec.Struct, frozen=True):
    """From the strategy's quantity to the sized one. `lot` is 0 where quantities are not rounded to lots.

    `mode` is how the account says the quantity, empty where the strategy's own is multiplied.
    """

    quantity: int
    risk_multiplier: str
    lot: int
    sized: int
    mode: str = ""


class Check(msgspec.Struct, frozen=True):
    """One check: what was measured, the limit that it is held to, and both in words.

    `reason` is the drop's name, `setting` the key that sets the limit. `decisive`: this one named the drop. Checks after
    it were measured all the same, as if they had been reached.
    """

    reason: str
    status: Status
    text: str
    measured: float | None = None
    limit: float | None = None
    setting: str = ""
    decisive: bool = False


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one executor made of one tick.

    `window` are the last prices of the instrument, oldest first, this tick's last, of `held` ticks where `need` are
    needed (`unit`: or bars). `before` is what happened on this tick before the strategy was asked (fills, timers), `after` what followed.
    `because` is the whole in one sentence.
    """

    ts_ns: int
    instrument_token: int
    price: str
    strategy_id: str
    broker: str
    strategy_type: str
    kind: str
    state: str
    window: tuple[float, ...]
    held: int
    need: int
    position: int
    ending: Ending
    reason: str
    because: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    verdict: Verdict | None = None
    answer: Said | None = None
    sizing: Sizing | None = None
    checks: tuple[Check, ...] = ()
    signal_id: str = ""
    unit: str = "ticks"
