"""Signals as HTTP POST requests, one each; the id is the idempotency key."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from anystrat.adapters.webhook import Answer, Lost, NotReached, Webhook
from anystrat.domain.delivery import TAKEN, Idempotent, SendResult, SinkUnavailable, Verdict

if TYPE_CHECKING:
    from anystrat.adapters.pinned_network import Resolve
    from anystrat.domain.clock import Clock
    from anystrat.domain.journal import OutboxSignal
    from anystrat.domain.webhook import WebhookBroker

#: Said of the moment, not of the signal: too slow, the same key is under way, too early, too many.
_LATER: Final = frozenset({408, 409, 425, 429})
#: Who sends is not known, or not any more: no fault of any signal.
_LOGIN: Final = frozenset({401, 407})


class WebhookSink:
    """Posts one by one. A receiver has to honour `Idempotency-Key`: what is in doubt is sent again under the same one."""

    def __init__(
        self, options: WebhookBroker, timeout_sec: float, clock: Clock, resolve: Resolve | None = None
    ) -> None:
        self._webhook = Webhook(options, timeout_sec, clock, resolve)

    @property
    def guarantee(self) -> Idempotent:
        return Idempotent()

    @property
    def largest_group(self) -> int:
        return 1

    async def open(self) -> None:
        try:
            await self._webhook.open()
        except NotReached as error:
            raise SinkUnavailable(str(error)) from error

    async def send(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        return [await self._posted(signal) for signal in signals]

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        return [None] * len(signals)

    async def close(self) -> None:
        await self._webhook.close()

    async def _posted(self, signal: OutboxSignal) -> SendResult:
        try:
            answer = await self._webhook.post(signal.body, signal.signal_id)
        except NotReached as error:
            raise SinkUnavailable(str(error)) from error
        except Lost as error:
            return SendResult(Verdict.UNKNOWN, str(error))
        if answer.status in _LOGIN:
            raise SinkUnavailable(f"{self._webhook.host} refuses the login: {named(answer.status)}")
        return result_of(answer)


def result_of(answer: Answer) -> SendResult:
    """What an answer says of the signal. What its body says is not kept: it may repeat what was sent to it."""
    status, said = answer.status, named(answer.status)
    if 200 <= status < 300:
        return TAKEN
    if status in _LATER or (status == 503 and answer.retry_after_sec):
        return SendResult(Verdict.FAILED, said, answer.retry_after_sec)
    if 300 <= status < 400:
        return SendResult(Verdict.REJECTED, f"{said}: redirects are not followed; give the address itself as `url`")
    if 400 <= status < 500:
        return SendResult(Verdict.REJECTED, said)
    return SendResult(Verdict.UNKNOWN, said)


def named(status: int) -> str:
    """A status in words."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
