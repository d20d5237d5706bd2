"""Everything that the engine decides is a value: journal, metrics, logs, reports and tests read the same stream."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from anystrat.domain.lifecycle import State, Trigger
from anystrat.domain.signal import EmittedSignal, SignalResult

if TYPE_CHECKING:
    from anystrat.domain.tick import TickRow


class TickDrop(StrEnum):
    """Why a tick was not taken, in the order of the checks."""

    MALFORMED = "malformed"
    UNROUTED = "unrouted"
    BAD_PRICE = "bad_price"
    OUT_OF_ORDER = "out_of_order"
    #: Before all checks: the process died of it, again and again. See `events.TickQuarantined`.
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """Why a signal was dropped, in the order of the checks; the first that fits names the drop."""

    KILLED = "killed"
    SESSION_CLOSED = "session_closed"
    HALTED = "halted"
    AUCTION = "auction"
    STALE = "stale"
    INVALID_CONFIDENCE = "invalid_confidence"
    INVALID_QUANTITY = "invalid_quantity"
    INVALID_PRICE = "invalid_price"
    BELOW_MIN_CONFIDENCE = "below_min_confidence"
    PRICE_BAND = "price_band"
    SLIPPAGE = "slippage"
    POSITION_GUARD = "position_guard"
    POSITION_LIMIT = "position_limit"
    EXPOSURE = "exposure"
    CIRCUIT_OPEN = "circuit_open"
    COOLDOWN = "cooldown"
    DUPLICATE = "duplicate"
    MIN_INTERVAL = "min_interval"
    RATE_LIMITED = "rate_limited"


#: The engine's numbers for the reasons: 0 is "emitted", then the checks in their order.
REASON_CODE: dict[Reason, int] = {reason: code for code, reason in enumerate(Reason, start=1)}
REASONS: tuple[Reason | None, ...] = (None, *Reason)


class TickDropped(msgspec.Struct, frozen=True, gc=False):
    """A tick that touched nothing: it was counted, and that is all."""

    reason: TickDrop
    row: TickRow


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """A signal that passed every check."""

    signal: EmittedSignal


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """A signal that a check refused; `reason` is a `Reason`, or the label of a validator of your own.

    `signal` is as sized; `ts_ns` is the tick's time.
    """

    signal: SignalResult
    reason: str
    strategy_id: str
    broker: str
    instrument_token: int
    ts_ns: int


class Held(msgspec.Struct, frozen=True, gc=False):
    """A strategy answered HOLD: counted and kept, never published."""

    signal: SignalResult
    strategy_id: str
    broker: str
    instrument_token: int
    ts_ns: int


class Transition(msgspec.Struct, frozen=True, gc=False):
    """An executor changed its state; `instrument_token` is that of the tick on which it did, None for other events."""

    strategy_id: str
    broker: str
    before: State
    after: State
    trigger: Trigger
    ts_ns: int
    instrument_token: int | None = None


class ProcessorFailed(msgspec.Struct, frozen=True, gc=False):
    """A strategy raised, or answered with something that is no signal; it was contained."""

    strategy_id: str
    broker: str
    instrument_token: int
    ts_ns: int
    error: str
    traceback: str
    last_prices: tuple[float, ...]


class Filled(msgspec.Struct, frozen=True, gc=False):
    """A paper fill. `realised` is the P&L that it closed, net of this fill's whole `fee`; 0 where it closed nothing.

    `quantity` is signed: below zero for a SELL. `position` and `average_price` are as after the fill.
    """

    strategy_id: str
    broker: str
    instrument_token: int
    ts_ns: int
    quantity: int
    price: float
    fee: float
    realised: float
    position: int
    average_price: float
    round_trip: bool


class Noted(msgspec.Struct, frozen=True, gc=False):
    """Something worth recording that is none of the above: a model swapped, a kill switch pressed, an inference lost."""

    kind: str
    ts_ns: int
    strategy_id: str | None = None
    details: dict[str, Any] = {}


Outcome = TickDropped | Emitted | Dropped | Held | Transition | ProcessorFailed | Filled | Noted
