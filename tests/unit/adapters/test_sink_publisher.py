from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from anystrat.adapters.sink_publisher import PublisherSink, delivered_signal
from anystrat.domain.delivery import (
    Idempotent,
    Neither,
    OutcomeUnknown,
    Reconcilable,
    Rejected,
    SendResult,
    SinkUnavailable,
    Verdict,
)
from anystrat.domain.journal import OutboxSignal
from anystrat.domain.signal import EmittedSignal
from anystrat.domain.signal_id import id_bases

BODY = {
    "ts_ns": 12,
    "strategy_id": "s",
    "broker": "out",
    "instrument_token": 7,
    "signal_type": "SELL",
    "confidence": 0.25,
    "quantity": 3,
    "price": "100.5",
    "signal_id": "ab" * 16,
    "reasoning": "why",
    "metadata": {"a": [1]},
}
SIGNAL = OutboxSignal("out", 1, "ab" * 16, "s", 7, 12, 0, json.dumps(BODY).encode())


def send(publisher: Any) -> SendResult:
    (result,) = asyncio.run(PublisherSink(publisher).send([SIGNAL]))
    return result


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def publish(self, signal: EmittedSignal, *, strategy_id: str, broker: str) -> None:
        raise self.error


def test_a_publisher_gets_the_signal_with_the_id_that_it_was_accepted_under() -> None:
    signal = delivered_signal(SIGNAL)

    assert isinstance(signal, EmittedSignal)
    assert signal.signal_id == "ab" * 16
    assert (signal.signal_type, signal.confidence, signal.quantity, signal.price) == ("SELL", 0.25, 3, Decimal("100.5"))
    assert (signal.strategy_id, signal.broker, signal.instrument_token, signal.ts_ns) == ("s", "out", 7, 12)
    assert (signal.reasoning, signal.metadata, signal.id_bases) == ("why", {"a": [1]}, id_bases("s", "out"))


def test_a_body_without_reasons_does_too() -> None:
    short = {key: value for key, value in BODY.items() if key not in {"reasoning", "metadata"}}
    signal = delivered_signal(OutboxSignal("out", 1, "ab" * 16, "s", 7, 12, 0, json.dumps(short).encode()))

    assert (signal.reasoning, signal.metadata) == ("", None)


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (Rejected("no margin"), Verdict.REJECTED, "no margin"),
        (OutcomeUnknown("no answer"), Verdict.UNKNOWN, "no answer"),
        (ValueError("odd"), Verdict.FAILED, "ValueError: odd"),
        (TimeoutError(), Verdict.FAILED, "TimeoutError: "),
    ],
)
def test_what_a_publisher_raises_is_a_verdict(error, verdict, reason) -> None:
    assert send(Raising(error)) == SendResult(verdict, reason)


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), SinkUnavailable("closed on Sundays")])
def test_a_publisher_that_reaches_nobody_costs_the_signal_no_attempt(error) -> None:
    with pytest.raises(SinkUnavailable, match=str(error)):
        send(Raising(error))


def test_a_publisher_is_taken_to_honour_ids_unless_it_says_otherwise() -> None:
    plain, careful = Raising(ValueError()), Raising(ValueError())
    careful.guarantee = Neither()  # type: ignore[attr-defined]

    assert PublisherSink(plain).guarantee == Idempotent()
    assert PublisherSink(careful).guarantee == Neither()


def test_a_publisher_may_be_opened_closed_and_asked() -> None:
    calls: list[str] = []

    class Whole(Raising):
        guarantee = Reconcilable()

        async def open(self) -> None:
            calls.append("open")

        async def close(self) -> None:
            calls.append("close")

        async def has(self, signal_id: str) -> bool | None:
            return signal_id == SIGNAL.signal_id

    async def main() -> list[bool | None]:
        sink = PublisherSink(Whole(ValueError()))
        await sink.open()
        found = await sink.has([SIGNAL])
        await sink.close()
        return found

    assert asyncio.run(main()) == [True]
    assert calls == ["open", "close"]
