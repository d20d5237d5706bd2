"""A sink made of a `SignalPublisher`, the small port that users and plug-ins write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from anystrat.domain.delivery import (
    TAKEN,
    Guarantee,
    Idempotent,
    OutcomeUnknown,
    Rejected,
    SendResult,
    SinkUnavailable,
    Verdict,
)
from anystrat.domain.signal import EmittedSignal
from anystrat.domain.signal_id import id_bases

if TYPE_CHECKING:
    from anystrat.domain.journal import OutboxSignal
    from anystrat.domain.protocols import SignalPublisher


class _Body(msgspec.Struct):
    signal_type: str
    confidence: float
    quantity: int
    price: Decimal
    reasoning: str = ""
    metadata: dict[str, Any] | None = None


class DeliveredSignal(EmittedSignal, frozen=True, weakref=False, kw_only=True):
    """An accepted signal as it was written down: its id is the one that it was accepted under.

    `price_bucket` and `dedupe_epoch`, which ids are computed from, are not written down and are 0 here.
    """

    accepted_id: str

    @property
    def signal_id(self) -> str:
        """128 bits as 32 hex digits."""
        return self.accepted_id


_decode = msgspec.json.Decoder(_Body).decode


def delivered_signal(signal: OutboxSignal) -> DeliveredSignal:
    """The signal that an outbox entry was made of."""
    body = _decode(signal.body)
    return DeliveredSignal(
        body.signal_type,
        body.confidence,
        body.quantity,
        body.price,
        body.reasoning,
        body.metadata,
        strategy_id=signal.strategy_id,
        broker=signal.broker,
        instrument_token=signal.instrument_token,
        ts_ns=signal.ts_ns,
        id_bases=id_bases(signal.strategy_id, signal.broker),
        price_bucket=0,
        dedupe_epoch=0,
        accepted_id=signal.signal_id,
    )


class PublisherSink:
    """Publishes one by one, so that the kill switch and the rate limit hold for each.

    `Rejected` and `OutcomeUnknown` are taken at their word; a `ConnectionError` means that nobody can be reached now; every
    other exception is a failed attempt. A publisher may have `guarantee`, and coroutines `open()` and `close()`; without
    `guarantee` it is taken to honour ids, as `SignalPublisher` asks for.
    """

    def __init__(self, publisher: SignalPublisher) -> None:
        self._publisher = publisher
        self._guarantee: Guarantee = getattr(publisher, "guarantee", Idempotent())
        self._open: Callable[[], Awaitable[None]] | None = getattr(publisher, "open", None)
        self._close: Callable[[], Awaitable[None]] | None = getattr(publisher, "close", None)
        self._has: Callable[[str], Awaitable[bool | None]] | None = getattr(publisher, "has", None)

    @property
    def guarantee(self) -> Guarantee:
        return self._guarantee

    @property
    def largest_group(self) -> int:
        return 1

    async def open(self) -> None:
        if self._open is not None:
            await self._open()

    async def send(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        return [await self._published(signal) for signal in signals]

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        if self._has is None:
            return [None] * len(signals)
        return [await self._has(signal.signal_id) for signal in signals]

    async def close(self) -> None:
        if self._close is not None:
            await self._close()

    async def _published(self, signal: OutboxSignal) -> SendResult:
        emitted = delivered_signal(signal)
        try:
            await self._publisher.publish(emitted, strategy_id=signal.strategy_id, broker=signal.broker)
        except Rejected as error:
            return SendResult(Verdict.REJECTED, str(error) or "rejected")
        except OutcomeUnknown as error:
            return SendResult(Verdict.UNKNOWN, str(error) or "outcome unknown")
        except SinkUnavailable:
            raise
        except ConnectionError as error:
            raise SinkUnavailable(f"{type(error).__name__}: {error}") from error
        except Exception as error:  # noqa: BLE001  "any exception is a failed attempt"
            return SendResult(Verdict.FAILED, f"{type(error).__name__}: {error}")
        return TAKEN
