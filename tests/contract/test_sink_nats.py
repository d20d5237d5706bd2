"""What the NATS sink does beside the contract: streams that are not there, outages, duplicates."""

from __future__ import annotations

import asyncio
import time

import nats
import pytest
from tests.contract.sink_cases import signal, signals

from anystrat.adapters.sink_nats import NatsSink, _covers, subject_for
from anystrat.domain.configuration import Secret
from anystrat.domain.delivery import Idempotent, SinkUnavailable, Verdict
from anystrat.domain.endpoints import NatsBroker
from anystrat.domain.journal import OutboxSignal
from anystrat.testing.servers import NatsServer


def sink_of(
    server: NatsServer, *, stream: str | None = None, subject: str = "out.{strategy_id}", wait: float = 5.0
) -> NatsSink:
    return NatsSink(NatsBroker(Secret(server.url), subject, stream), wait)


async def make(server: NatsServer, name: str, *subjects: str, **options: object) -> None:
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name=name, subjects=list(subjects), **options)
    await client.close()


async def stored(server: NatsServer, name: str) -> list[nats.js.api.RawStreamMsg]:
    client = await nats.connect(server.url)
    try:
        context = client.jetstream()
        count = (await context.stream_info(name)).state.messages
        return [await context.get_msg(name, seq) for seq in range(1, count + 1)]
    finally:
        await client.close()


def test_the_id_is_the_messages_and_the_subject_is_filled_in(nats_server) -> None:
    async def main() -> None:
        await make(nats_server, "FILLED", "filled.>")
        sink = sink_of(nats_server, stream="FILLED", subject="filled.{broker}.{strategy_id}.{instrument_token}")
        await sink.open()
        await sink.send([signal(1)])
        await sink.close()
        (message,) = await stored(nats_server, "FILLED")
        assert message.subject == "filled.out.strat.7"
        assert message.headers is not None
        assert message.headers["Nats-Msg-Id"] == f"{1:032x}"
        assert message.data == signal(1).body

    asyncio.run(main())


def test_the_streams_window_is_what_the_sink_promises(nats_server) -> None:
    async def main() -> None:
        await make(nats_server, "WINDOW", "window.>", duplicate_window=30)
        sink = sink_of(nats_server, stream="WINDOW", subject="window.x")
        assert sink.guarantee == Idempotent(120.0)
        await sink.open()
        assert sink.guarantee == Idempotent(30.0)
        await sink.close()

    asyncio.run(main())


def test_a_server_that_is_away_gives_way_to_the_next_in_the_list(nats_server) -> None:
    async def main() -> None:
        await make(nats_server, "SECOND", "second.>")
        url = Secret(f"nats://127.0.0.1:1, {nats_server.url}")
        sink = NatsSink(NatsBroker(url, "second.x", "SECOND"), 5.0)
        await sink.open()
        (result,) = await sink.send([signal(1)])
        assert result.verdict is Verdict.ACKED
        await sink.close()

    asyncio.run(main())


def test_a_stream_that_is_not_there_is_named_with_the_command_that_makes_it(nats_server) -> None:
    async def main() -> None:
        sink = sink_of(nats_server, stream="NOWHERE")
        with pytest.raises(SinkUnavailable, match=r"nats stream add NOWHERE --subjects 'out\.\*'"):
            await sink.open()
        await sink.close()

    asyncio.run(main())


def test_a_stream_that_does_not_take_the_subject_is_refused(nats_server) -> None:
    async def main() -> None:
        await make(nats_server, "OTHER", "other.>")
        sink = sink_of(nats_server, stream="OTHER")
        with pytest.raises(SinkUnavailable, match=r"takes other\.>, and signals go to out\.\*"):
            await sink.open()
        await sink.close()

    asyncio.run(main())


def test_a_subject_that_no_stream_takes_is_a_failed_attempt_that_says_what_to_do(nats_server) -> None:
    async def main() -> None:
        sink = sink_of(nats_server, subject="lost.{strategy_id}")
        await sink.open()
        (result,) = await sink.send([signal(1)])
        await sink.close()
        assert result.verdict is Verdict.FAILED
        assert "no NATS stream takes lost.*" in result.reason
        assert "nats stream add" in result.reason

    asyncio.run(main())


def test_what_the_stream_cannot_take_is_refused_and_the_rest_of_the_group_goes_on(nats_server) -> None:
    async def main() -> None:
        await make(nats_server, "SMALL", "small.>", max_msg_size=1_000)
        sink = sink_of(nats_server, stream="SMALL", subject="small.x")
        await sink.open()
        big = OutboxSignal("out", 2, f"{2:032x}", "strat", 7, 0, 0, b"x" * 2_000)
        huge = OutboxSignal("out", 3, f"{3:032x}", "strat", 7, 0, 0, b"x" * 2_000_000)
        results = await sink.send([signal(1), big, huge, signal(4)])
        await sink.close()
        assert [each.verdict for each in results] == [Verdict.ACKED, Verdict.REJECTED, Verdict.REJECTED, Verdict.ACKED]

    asyncio.run(main())


def test_a_full_stream_is_a_failed_attempt(nats_server) -> None:
    async def main() -> None:
        await make(nats_server, "FULL", "full.>", max_msgs=1, discard="new")
        sink = sink_of(nats_server, stream="FULL", subject="full.x")
        await sink.open()
        results = await sink.send(signals(1, 2))
        await sink.close()
        assert [each.verdict for each in results] == [Verdict.ACKED, Verdict.FAILED]

    asyncio.run(main())


def test_an_outage_sends_nothing_later_and_the_sink_works_again_after_it(own_nats_server) -> None:
    server = own_nats_server

    async def main() -> None:
        await make(server, "OUT", "out.>")
        sink = sink_of(server, stream="OUT")
        await sink.open()
        await sink.send(signals(1, 2))
        server.kill()
        await asyncio.sleep(0.1)
        with pytest.raises(SinkUnavailable):
            await sink.send(signals(3, 4))
        await sink.close()
        began = time.monotonic()
        with pytest.raises(SinkUnavailable, match="no NATS server can be reached"):
            await sink.open()
        assert time.monotonic() - began < 30
        server.start()
        await sink.open()
        assert [message.data for message in await stored(server, "OUT")] == [signal(n).body for n in (1, 2)]
        await sink.send(signals(3, 4))
        await sink.close()
        assert len(await stored(server, "OUT")) == 4

    asyncio.run(main())


def test_a_server_that_freezes_leaves_outcomes_unknown_and_the_same_ids_count_once(own_nats_server) -> None:
    server = own_nats_server

    async def main() -> None:
        await make(server, "OUT", "out.>")
        sink = sink_of(server, stream="OUT", wait=0.5)
        await sink.open()
        server.freeze()
        results = await sink.send(signals(1, 3))
        assert {each.verdict for each in results} == {Verdict.UNKNOWN}
        await sink.close()
        server.thaw()
        sink = sink_of(server, stream="OUT")
        await sink.open()
        results = await sink.send(signals(1, 3))
        await sink.close()
        assert {each.verdict for each in results} == {Verdict.ACKED}
        assert len(await stored(server, "OUT")) == 3

    asyncio.run(main())


def test_a_server_that_dies_while_answers_are_waited_for_does_not_hold_anybody_up(own_nats_server) -> None:
    server = own_nats_server

    async def main() -> None:
        await make(server, "OUT", "out.>")
        sink = sink_of(server, stream="OUT", wait=60.0)
        await sink.open()
        server.freeze()
        sending = asyncio.create_task(sink.send(signals(1, 3)))
        await asyncio.sleep(0.1)
        server.kill()
        results = await asyncio.wait_for(sending, 10)
        await sink.close()
        assert {each.verdict for each in results} == {Verdict.UNKNOWN}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("strategy", "subject"), [("a", "s.a.7"), ("a.b", "s.a_b.7"), ("a b*>", "s.a_b__.7"), ("é", "s.é.7")]
)
def test_names_stay_one_token_of_the_subject(strategy, subject) -> None:
    named = OutboxSignal("out", 1, "", strategy, 7, 0, 0, b"")

    assert subject_for("s.{strategy_id}.{instrument_token}", named) == subject


@pytest.mark.parametrize(
    ("pattern", "subject", "covers"),
    [
        ("signals.>", "signals.*.*", True),
        ("signals.*.*", "signals.*.*", True),
        ("signals.*", "signals.*.*", False),
        ("signals.a.*", "signals.*.*", False),
        (">", "signals.*", True),
        ("signals.x", "signals.x", True),
        ("signals.*", "signals.>", False),
        ("signals.>", "signals", False),
    ],
)
def test_which_subjects_a_stream_takes(pattern, subject, covers) -> None:
    assert _covers(pattern, subject) is covers
