"""The tick: what the market said about one instrument at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import index
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from anystrat.domain.exact import to_decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class MarketTick(msgspec.Struct, frozen=True, weakref=False):
    """One tick of one instrument.

    `instrument_token` names the instrument. `last_price` is exact; a float, an integer or a string is taken as the
    decimal it stands for. `timestamp` is in UTC: a naive one is taken as UTC, an aware one is converted.
    `nanosecond` (0..999) is what a `datetime` cannot hold below the microsecond. `volume`, `bid` and `ask` are in the
    venue's own units. `metadata` may hold `halted` and `auction` (bool), `volatility` (float) and whatever a strategy
    of yours wants to read.

    Raises `decimal.InvalidOperation` or `TypeError` for a price that is no number or a token that is no whole one,
    `AttributeError` for a timestamp that is no `datetime`. A price of NaN, infinity, zero or below makes a tick that the engine counts and drops.
    """

    instrument_token: int
    last_price: Decimal
    timestamp: datetime
    volume: Decimal | float | None = None
    bid: Decimal | float | None = None
    ask: Decimal | float | None = None
    metadata: Mapping[str, Any] | None = None
    nanosecond: int = 0

    def __post_init__(self) -> None:
        if type(self.instrument_token) is not int:
            force_setattr(self, "instrument_token", index(self.instrument_token))
        if type(self.last_price) is not Decimal:
            force_setattr(self, "last_price", to_decimal(self.last_price))
        if type(self.timestamp) is not datetime:
            # pandas' Timestamp is a datetime with nanoseconds of its own.
            force_setattr(self, "nanosecond", int(getattr(self.timestamp, "nanosecond", self.nanosecond)))
        zone = self.timestamp.tzinfo
        if zone is not UTC:
            stamp = self.timestamp
            force_setattr(
                self, "timestamp", stamp.replace(tzinfo=UTC) if stamp.utcoffset() is None else stamp.astimezone(UTC)
            )

    @property
    def ts_ns(self) -> int:
        """The timestamp in nanoseconds since 1970-01-01 UTC."""
        since = self.timestamp - _EPOCH
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000 + self.nanosecond


class TickRow(msgspec.Struct, weakref=False):
    """A tick as the engine takes it: integer nanoseconds, the price as a double, its decimal only if that says more.

    `exact` is None where the price's shortest decimal is the exact price. A row becomes a `MarketTick` when somebody
    asks for one.
    """

    instrument_token: int
    ts_ns: int
    price: float
    exact: Decimal | None = None
    volume: float | Decimal | None = None
    bid: float | Decimal | None = None
    ask: float | Decimal | None = None
    halted: bool = False
    auction: bool = False
    metadata: Mapping[str, Any] | None = None
    market: MarketTick | None = None

    @property
    def decimal(self) -> Decimal:
        """The exact price."""
        return self.exact if self.exact is not None else to_decimal(self.price)

    def market_tick(self) -> MarketTick:
        """The same tick as the public DTO, made once."""
        if self.market is None:
            self.market = MarketTick(
                self.instrument_token,
                self.decimal,
                datetime_of(self.ts_ns),
                self.volume,
                self.bid,
                self.ask,
                self._metadata(),
                self.ts_ns % 1_000,
            )
        return self.market

    def _metadata(self) -> Mapping[str, Any] | None:
        if not (self.halted or self.auction):
            return self.metadata
        flags = {name: True for name, on in (("halted", self.halted), ("auction", self.auction)) if on}
        return {**(self.metadata or {}), **flags}


def row_of(tick: MarketTick) -> TickRow:
    """A public tick in the engine's form."""
    metadata = tick.metadata
    exact = tick.last_price
    price = float(exact) if exact.is_finite() or not exact.is_snan() else math.nan
    return TickRow(
        tick.instrument_token,
        tick.ts_ns,
        price,
        tick.last_price,
        tick.volume,
        tick.bid,
        tick.ask,
        bool(metadata.get("halted")) if metadata else False,
        bool(metadata.get("auction")) if metadata else False,
        metadata,
        tick,
    )


def datetime_of(ts_ns: int) -> datetime:
    """The UTC `datetime` of a timestamp in nanoseconds, cut to the microsecond."""
    return _EPOCH + (ts_ns // 1_000) * _MICROSECOND
