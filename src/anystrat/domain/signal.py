"""The signal: what a strategy wants, and what the engine let through."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from anystrat.domain.signal_id import signal_id

BUY: Final = "BUY"
SELL: Final = "SELL"
HOLD: Final = "HOLD"

#: Sides as the engine's numbers: what signal ids and columns hold.
SIDE_CODE: Final[dict[str, int]] = {BUY: 1, SELL: 2, HOLD: 3}
SIDE_NAME: Final[dict[int, str]] = {code: name for name, code in SIDE_CODE.items()}


class SignalResult(msgspec.Struct, frozen=True, gc=False, weakref=False):
    """A strategy's decision on one tick.

    `signal_type` is "BUY", "SELL" or "HOLD"; `confidence` is within 0..1; `quantity` is a positive whole number of the
    instrument's units; `price` is what the decision was made at. `metadata` may hold `ref_price`, which the slippage
    check measures against instead of `price`. Nothing is validated here: the engine's checks do that, and say why.
    """

    signal_type: str
    confidence: float
    quantity: int
    price: Decimal
    reasoning: str = ""
    metadata: Mapping[str, Any] | None = None


class EmittedSignal(SignalResult, frozen=True, gc=False, weakref=False, kw_only=True):
    """A signal that passed sizing and every check.

    `quantity` is the sized one. `signal_id` is the idempotency key everywhere downstream: the same decision has the
    same id after a restart and in a replay. `ts_ns` is the tick's time in nanoseconds since 1970 UTC.
    """

    strategy_id: str
    broker: str
    instrument_token: int
    ts_ns: int
    id_bases: tuple[int, int]
    price_bucket: int
    dedupe_epoch: int

    @property
    def signal_id(self) -> str:
        """128 bits as 32 hex digits."""
        side = SIDE_CODE[self.signal_type]
        return signal_id(self.id_bases, self.instrument_token, side, self.price_bucket, self.dedupe_epoch)
