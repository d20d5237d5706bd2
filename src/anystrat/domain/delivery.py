"""Delivery's port: a sink takes signals by the group, and says of each what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from anystrat.domain.errors import AnystratError

if TYPE_CHECKING:
    from anystrat.domain.journal import OutboxSignal


class Idempotent(msgspec.Struct, frozen=True, tag=True):
    """The sink honours the signal's id: sent twice within `window_sec` (None: ever), it counts once."""

    window_sec: float | None = None


class Reconcilable(msgspec.Struct, frozen=True, tag=True):
    """The sink can be asked whether it has a signal's id."""


class Neither(msgspec.Struct, frozen=True, tag=True):
    """A signal whose outcome is not known must not be sent again blindly: it is parked as UNKNOWN."""


Guarantee = Idempotent | Reconcilable | Neither


class Verdict(StrEnum):
    """What one attempt came to: taken; refused for good; surely not taken, may be tried again; nobody knows."""

    ACKED = "acked"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"


class SendResult(msgspec.Struct, frozen=True):
    """The verdict on one signal. With FAILED, `retry_after_sec` above 0: the sink asked for patience.

    Nothing is sent to the broker for so long then, and the attempt is not counted.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_sec: float = 0.0


#: What most signals come to.
TAKEN: Final = SendResult(Verdict.ACKED)


class SinkUnavailable(AnystratError):
    """The sink cannot be reached, so that nothing of the group was sent; costs no signal an attempt."""


class Rejected(AnystratError):
    """Raised by a `SignalPublisher`: the signal is refused for good, another attempt would be in vain."""


class OutcomeUnknown(AnystratError):
    """Raised by a `SignalPublisher`: the signal may have been taken, or not; the publisher's `guarantee` says what to do."""


class Sink(Protocol):
    """Where a broker's signals go. One group is under way at a time.

    A kill switch lets the call that is under way finish: a sink that sends one by one has a `largest_group` of 1.
    """

    @property
    def guarantee(self) -> Guarantee:
        """What the sink does with an id that it was sent before."""
        ...

    @property
    def largest_group(self) -> int:
        """How many signals `send` takes at most."""
        ...

    async def open(self) -> None:
        """Connect, or open the file; called again after `close`. An exception is a failed attempt, and tried again."""
        ...

    async def send(self, signals: Sequence[OutboxSignal]) -> Sequence[SendResult]:
        """Send in order, and never try again yourself; one result each, in the same order.

        An exception, or being cancelled, leaves all of them UNKNOWN, but for `SinkUnavailable`. After an exception
        `close` is called, and `open` before the next group.
        """
        ...

    async def has(self, signals: Sequence[OutboxSignal]) -> Sequence[bool | None]:
        """Asked of a `Reconcilable` sink alone: whether it has each; None: it cannot say now."""
        ...

    async def close(self) -> None:
        """Give back what is held. What `send` answered ACKED for is safe already."""
        ...
