"""What every sink does: it takes groups in order, may be closed and opened again, and keeps to its guarantee."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.sink_cases import Case, JsonlCase, KafkaCase, LogCase, NatsCase, PublisherCase, WebhookCase, signals
from tests.web_server import Certificates, WebServer

from anystrat.domain.delivery import Idempotent, Reconcilable, Sink, Verdict
from anystrat.domain.journal import OutboxSignal
from anystrat.testing.servers import NatsServer

Opened = Callable[[], AbstractAsyncContextManager[Case]]


@pytest.fixture(params=["log", "jsonl", "publisher", "webhook", "kafka", "nats"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    if request.param == "webhook":
        certificates = Certificates(tmp_path)

        @asynccontextmanager
        async def posted() -> AsyncIterator[Case]:
            async with WebServer(certificates.server) as server:
                yield WebhookCase(server, certificates)

        return posted
    if request.param != "nats":
        if request.param == "kafka":
            made = KafkaCase(request.getfixturevalue("kafka_server"))
        else:
            made = {"log": LogCase, "jsonl": JsonlCase, "publisher": PublisherCase}[request.param](tmp_path)

        @asynccontextmanager
        async def here() -> AsyncIterator[Case]:
            yield made

        return here
    server: NatsServer = request.getfixturevalue("nats_server")

    @asynccontextmanager
    async def there() -> AsyncIterator[Case]:
        case = NatsCase(server, f"case{abs(hash(request.node.name))}")
        client = await case.client()
        await client.jetstream().add_stream(name=case.name, subjects=[f"{case.name}.>"])
        await client.close()
        yield case

    return there


async def sent(sink: Sink, group: Sequence[OutboxSignal]) -> None:
    """In groups that the sink takes; all of it taken."""
    for at in range(0, len(group), sink.largest_group):
        part = group[at : at + sink.largest_group]
        results = await sink.send(part)
        assert [result.verdict for result in results] == [Verdict.ACKED] * len(part)


def test_what_is_sent_arrives_in_order(opened) -> None:
    async def main() -> None:
        async with opened() as case:
            sink = case.sink()
            await sink.open()
            await sent(sink, signals(1, 40))
            await sent(sink, signals(41, 43))
            await sink.close()
            assert await case.ids() == [f"{number:032x}" for number in range(1, 44)]

    asyncio.run(main())


def test_it_may_be_closed_and_opened_again(opened) -> None:
    async def main() -> None:
        async with opened() as case:
            sink = case.sink()
            await sink.close()
            await sink.open()
            await sent(sink, signals(1, 2))
            await sink.close()
            await sink.close()
            await sink.open()
            await sent(sink, signals(3, 4))
            await sink.close()
            assert await case.ids() == [f"{number:032x}" for number in range(1, 5)]

    asyncio.run(main())


def test_a_signal_that_is_sent_again_by_the_guarantee_counts_once(opened) -> None:
    async def main() -> None:
        async with opened() as case:
            sink = case.sink()
            await sink.open()
            await sent(sink, signals(1, 3))
            await sink.close()
            sink = case.sink()
            await sink.open()
            again = signals(2, 4)
            if isinstance(sink.guarantee, Reconcilable):
                held = await sink.has(again)
                assert held == [True, True, False]
                again = [each for each, known in zip(again, held, strict=True) if not known]
            else:
                assert isinstance(sink.guarantee, Idempotent)
            await sent(sink, again)
            await sink.close()
            assert await case.ids() == [f"{number:032x}" for number in range(1, 5)]

    asyncio.run(main())


def test_it_says_how_many_it_takes_before_it_is_opened(opened) -> None:
    async def main() -> None:
        async with opened() as case:
            assert case.sink().largest_group >= 1

    asyncio.run(main())
