"""The tick: what the market said about one instrument at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import index
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from anystrat.domain.exact import to_decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: What a tick's `flags` are made of. The last says that the exact price may not be the shortest decimal of its double.
HALTED_FLAG: Final = 1
AUCTION_FLAG: Final = 2
EXACT_FLAG: Final = 16
# A decimal of at most 15 digits is the shortest of its double, unless that has lost digits by being tiny.
_SURE_DIGITS: Final = 15
_TINY: Final = 1e-290
_OPTIONAL: Final = ("volume", "bid", "ask", "metadata", "nanosecond")


class MarketTick(msgspec.Struct, frozen=True, gc=False, weakref=False):
    """One tick of one instrument.

    `instrument_token` names the instrument. `last_price` is exact; a float, an integer or a string is taken as the
    decimal it stands for. `timestamp` is in UTC: a naive one is taken as UTC, an aware one is converted.
    `nanosecond` (0..999) is what a `datetime` cannot hold below the microsecond. `volume`, `bid` and `ask` are in the
    venue's own units. `metadata` may hold `halted` and `auction` (bool), `volatility` (float) and whatever a strategy
    of yours wants to read.

    `ts_ns`, `price` and `flags` follow from the others, and are worked out when somebody asks: a feed that makes ticks for
    compiled strategies does not pay for them, since compiled code reads the decimal and the `datetime` as they are.

    Raises `decimal.InvalidOperation` or `TypeError` for a price that is no number or a token that is no whole one,
    `AttributeError` for a timestamp that is no `datetime` and for metadata that are no mapping. A price of NaN, infinity, zero or below makes a tick that the engine counts and drops.
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
        stamp = self.timestamp
        if (
            type(stamp) is not datetime
            or stamp.tzinfo is not UTC
            or type(self.last_price) is not Decimal
            or type(self.instrument_token) is not int
            or type(self.nanosecond) is not int
            or self.metadata
        ):
            self._convert()

    def _convert(self) -> None:
        if type(self.instrument_token) is not int:
            force_setattr(self, "instrument_token", index(self.instrument_token))
        if type(self.last_price) is not Decimal:
            force_setattr(self, "last_price", to_decimal(self.last_price))
        stamp = self.timestamp
        if type(stamp) is not datetime:
            # pandas' Timestamp is a datetime with nanoseconds of its own.
            force_setattr(self, "nanosecond", getattr(stamp, "nanosecond", self.nanosecond))
        if type(self.nanosecond) is not int:
            force_setattr(self, "nanosecond", index(self.nanosecond))
        if stamp.tzinfo is not UTC:
            stamp = stamp.replace(tzinfo=UTC) if stamp.utcoffset() is None else stamp.astimezone(UTC)
            force_setattr(self, "timestamp", stamp)
        if self.metadata:
            self.metadata.get("halted")  # what is no mapping is refused where it is given

    @property
    def ts_ns(self) -> int:
        """The timestamp in nanoseconds since 1970 UTC."""
        since = self.timestamp - _EPOCH
        seconds = since.days * 86_400 + since.seconds
        return seconds * 1_000_000_000 + since.microseconds * 1_000 + self.nanosecond

    @property
    def price(self) -> float:
        """The price as a double; NaN for one that is no number."""
        # As `float(exact)`, which makes the same text of it.
        try:
            return float(str(self.last_price))
        except ValueError:  # a signalling NaN
            return math.nan

    @property
    def flags(self) -> int:
        """What the engine has to know of the tick beside its numbers: see `HALTED_FLAG`."""
        flags = 0 if is_shortest(self.last_price, self.price) else EXACT_FLAG
        if self.metadata:
            flags |= HALTED_FLAG if self.metadata.get("halted") else 0
            flags |= AUCTION_FLAG if self.metadata.get("auction") else 0
        return flags

    def __repr__(self) -> str:
        more = [f"{name}={value!r}" for name in _OPTIONAL if (value := getattr(self, name))]
        return (
            ", ".join(
                [
                    f"MarketTick(instrument_token={self.instrument_token}",
                    f"last_price={self.last_price!r}",
                    f"timestamp={self.timestamp!r}",
                    *more,
                ]
            )
            + ")"
        )


class TickRow(msgspec.Struct, gc=False, weakref=False):
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
    def flags(self) -> int:
        """See `MarketTick.flags`."""
        if self.exact is None and not self.halted and not self.auction:
            return 0
        flags = 0
        if self.exact is not None and not is_shortest(self.exact, self.price):
            flags = EXACT_FLAG
        if self.halted:
            flags |= HALTED_FLAG
        if self.auction:
            flags |= AUCTION_FLAG
        return flags

    @property
    def decimal(self) -> Decimal:
        """The exact price."""
        return self.exact if self.exact is not None else to_decimal(self.price)

    @property
    def last_price(self) -> Decimal:
        """The exact price, as a `MarketTick` calls it."""
        return self.decimal

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


def is_shortest(exact: Decimal, price: float) -> bool:
    """Whether a decimal is surely the shortest of its double, `price`."""
    return len(str(exact)) <= _SURE_DIGITS and price > _TINY


def row_of(tick: MarketTick) -> TickRow:
    """A public tick in the engine's form."""
    metadata = tick.metadata
    return TickRow(
        tick.instrument_token,
        tick.ts_ns,
        tick.price,
        tick.last_price,
        tick.volume,
        tick.bid,
        tick.ask,
        bool(metadata and metadata.get("halted")),
        bool(metadata and metadata.get("auction")),
        metadata,
        tick,
    )


def bar_value(metadata: Mapping[str, Any] | None, name: str) -> float:
    """A bar's `open`, `high` or `low` in a tick's metadata; NaN where there is none, or no number."""
    found = metadata.get(name) if metadata else None
    if not isinstance(found, int | float | Decimal) or isinstance(found, bool):
        return math.nan
    try:
        return float(found)
    except ValueError:  # a signalling NaN
        return math.nan


def datetime_of(ts_ns: int) -> datetime:
    """The UTC `datetime` of a timestamp in nanoseconds, cut to the microsecond."""
    return _EPOCH + (ts_ns // 1_000) * _MICROSECOND
