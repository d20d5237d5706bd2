"""A venue's WebSocket as a source: on simulated time where it is lost and found again, and over a real one."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import Callable
from contextlib import aclosing
from http import HTTPStatus
from random import Random
from typing import Any

import msgspec
import pytest
from tests.feed_server import FeedServer

from anystrat.adapters.source_websocket import PARTITION, ConnectionLost, WebSocketFeed
from anystrat.domain.configuration import Secret
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, SourceUnauthorised, TickBatch
from anystrat.domain.websocket import MessageFormat, TickMapping, WebSocketSource
from anystrat.testing.loop import simulate

TRADES = TickMapping("p", each="data", where={"e": "trade"}, instrument="s", time="T", size="q")
CANARY = "s3cr3t-canary"


class Clock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000


def trade(number: int, symbol: str = "BTCUSDT") -> str:
    data = {
        "e": "trade",
        "s": symbol,
        "t": number,
        "p": f"{60_000 + number}.50000000",
        "q": "0.1",
        "T": 1_723_161_255_000 + number,
    }
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def options(url: str = "ws://venue.example/stream", **more: Any) -> WebSocketSource:
    return WebSocketSource(Secret(url), (TRADES,), **({"tokens": {"BTCUSDT": 1}} | more))


async def read(
    feed: WebSocketFeed, ticks: int, after: dict[str, int] | None = None
) -> tuple[list[float], list[SourceNotice], list[TickBatch]]:
    """Until so many ticks came: their prices, and all that was said."""
    prices: list[float] = []
    notices, batches = [], []
    async with aclosing(feed.batches(after or {})) as items:
        async for item in items:
            if isinstance(item, SourceNotice):
                notices.append(item)
                continue
            batches.append(item)
            prices += item.ticks.price.tolist()
            if len(prices) >= ticks:
                break
    await feed.close()
    return prices, notices, batches


class Line:
    """A connection that says what it is given, then breaks, or says nothing any more."""

    def __init__(self, messages: list[str], *, breaks: bool = True) -> None:
        self.messages, self.breaks = list(messages), breaks
        self.sent: list[str] = []
        self.closed = False

    async def recv(self) -> str:
        await asyncio.sleep(0.01)
        if self.messages:
            return self.messages.pop(0)
        if self.breaks:
            raise ConnectionResetError
        await asyncio.sleep(1e9)
        raise AssertionError

    async def send(self, message: str) -> None:
        self.sent.append(message)

    async def close(self) -> None:
        self.closed = True


def lines(*several: Line | Exception) -> tuple[Callable[[], Any], list[float]]:
    """A way to connect that gives one after the other, and when each was asked for."""
    waiting, asked = list(several), []

    async def connect() -> Line:
        asked.append(asyncio.get_running_loop().time())
        found = waiting.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return connect, asked


def feed_of(connect: Any, **more: Any) -> WebSocketFeed:
    return WebSocketFeed(options(**more), Random(1), Clock(), {}, connect)


class TestALineThatBreaks:
    def test_is_made_anew_and_what_was_missed_is_a_gap(self) -> None:
        first, second = Line([trade(1), trade(2)]), Line([trade(7)], breaks=False)

        async def main() -> Any:
            connect, _ = lines(first, second)
            return await read(feed_of(connect, subscribe=("go",)), 3)

        prices, notices, batches = simulate(main)
        assert prices == [60_001.5, 60_002.5, 60_007.5]
        assert [notice.kind for notice in notices] == [NoticeKind.RECONNECTED, NoticeKind.GAP]
        assert notices[1].details["certain"] is False
        assert notices[1].details["seconds"] > 0
        assert [batch.last for batch in batches] == [1, 2, 3]
        assert (first.sent, second.sent) == (["go"], ["go"])
        assert first.closed
        assert second.closed

    def test_is_waited_for_longer_and_longer_but_never_too_long(self) -> None:
        async def main() -> list[float]:
            connect, asked = lines(*[ConnectionLost("away")] * 12, Line([trade(1)], breaks=False))
            await read(feed_of(connect), 1)
            return asked

        asked = simulate(main)
        waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
        for at, wait in enumerate(waits):
            longest = min(30.0, 0.25 * 2**at)
            assert longest / 2 <= wait <= longest + 1e-6
        assert len(set(waits)) == len(waits)

    def test_that_worked_is_tried_again_at_once_as_often_as_it_works(self) -> None:
        async def main() -> list[float]:
            connect, asked = lines(*[Line([trade(number)]) for number in range(20)])
            await read(feed_of(connect), 20)
            return asked

        asked = simulate(main)
        assert asked[-1] - asked[0] < 20 * 0.3

    def test_that_falls_silent_is_given_up(self) -> None:
        mute = Line([trade(1)], breaks=False)

        async def main() -> Any:
            connect, asked = lines(mute, Line([trade(2)], breaks=False))
            prices, notices, _ = await read(feed_of(connect, silence_sec=5.0), 2)
            return prices, notices, asked

        prices, notices, asked = simulate(main)
        assert prices == [60_001.5, 60_002.5]
        assert NoticeKind.GAP in [notice.kind for notice in notices]
        assert 5.0 <= asked[1] - asked[0] < 5.5
        assert mute.closed

    def test_gets_a_heartbeat_as_often_as_it_is_pinged(self) -> None:
        line = Line([], breaks=False)

        async def main() -> None:
            connect, _ = lines(line, Line([trade(1)], breaks=False))
            await read(feed_of(connect, heartbeat="ping", ping_sec=1.0, silence_sec=5.5), 1)

        simulate(main)
        assert line.sent == ["ping"] * 5

    def test_that_refuses_later_what_it_took_before_is_tried_again(self) -> None:
        async def main() -> list[float]:
            refused = SourceUnauthorised("refused")
            connect, _ = lines(Line([trade(1)]), refused, Line([trade(2)], breaks=False))
            return (await read(feed_of(connect), 2))[0]

        assert simulate(main) == [60_001.5, 60_002.5]

    def test_is_held_back_while_nobody_takes_what_came(self) -> None:
        class Flood(Line):
            said = 0

            async def recv(self) -> str:
                self.said += 1
                return trade(1)

        flood = Flood([])

        async def main() -> None:
            connect, _ = lines(flood)
            async with aclosing(feed_of(connect).batches({})) as items:
                await anext(items)
                await asyncio.sleep(60)

        simulate(main)
        assert flood.said <= 2 * 8_192


class TestARestart:
    def test_begins_with_a_gap_and_numbers_on(self) -> None:
        async def main() -> Any:
            connect, _ = lines(Line([trade(1)], breaks=False))
            return await read(feed_of(connect), 1, {PARTITION: 41})

        _, notices, batches = simulate(main)
        assert [notice.kind for notice in notices] == [NoticeKind.GAP]
        assert batches[0].offsets.tolist() == [42]


class TestARealServer:
    def over(self, server: FeedServer, ticks: int = 1, **more: Any) -> Any:
        found = options(server.url, **more)
        return asyncio.run(read(WebSocketFeed(found, Random(1), Clock(), {"ETHUSDT": 2}), ticks))

    def test_sends_frames_as_binance_does(self) -> None:
        acknowledged = json.dumps({"result": None, "id": 1})
        depth = json.dumps(
            {"stream": "btcusdt@depth@100ms", "data": {"e": "depthUpdate", "s": "BTCUSDT", "b": [], "a": []}}
        )
        sent = [acknowledged, depth, *(trade(number, ["BTCUSDT", "ETHUSDT"][number % 2]) for number in range(1_000))]
        with FeedServer(sent) as server:
            subscribe = (json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}),)
            prices, notices, batches = self.over(server, 1_000, subscribe=subscribe, headers={"X-Key": Secret("k")})
            assert server.something_heard.wait(10)
        assert prices == [60_000.5 + number for number in range(1_000)]
        assert not notices
        assert batches[-1].last == 1_002
        assert {token for batch in batches for token in batch.ticks.instrument_token.tolist()} == {1, 2}
        assert server.heard[0] == subscribe[0]
        assert server.requests[0].headers["X-Key"] == "k"
        assert server.requests[0].headers["User-Agent"] == "anystrat"

    def test_sends_messagepack(self) -> None:
        message = msgspec.msgpack.encode(json.loads(trade(3)))
        with FeedServer([message]) as server:
            assert self.over(server, format=MessageFormat.MSGPACK)[0] == [60_003.5]

    def test_is_pinged(self) -> None:
        from websockets.frames import Opcode

        pinged = threading.Event()

        def talk(connection: Any) -> None:
            process = connection.protocol.recv_frame

            def seen(frame: Any) -> None:
                if frame.opcode is Opcode.PING:
                    pinged.set()
                process(frame)

            connection.protocol.recv_frame = seen
            assert pinged.wait(10)
            connection.send(trade(1))

        with FeedServer(then=talk) as server:
            assert self.over(server, ping_sec=0.05)[0] == [60_001.5]

    def test_that_closes_is_connected_to_again(self) -> None:
        with FeedServer([trade(1)], then=lambda connection: connection.close()) as server:
            prices, notices, _ = self.over(server, 2)
        assert prices == [60_001.5] * 2
        assert [notice.kind for notice in notices] == [NoticeKind.RECONNECTED, NoticeKind.GAP]

    @pytest.mark.parametrize(
        ("status", "error", "said"),
        [
            (HTTPStatus.UNAUTHORIZED, SourceUnauthorised, r"127\.0\.0\.1 refuses the login of the source: HTTP 401"),
            (HTTPStatus.NOT_FOUND, SourceFailed, r"127\.0\.0\.1 has no WebSocket at this address: HTTP 404"),
            (HTTPStatus.FOUND, SourceFailed, "HTTP 302"),
        ],
    )
    def test_that_refuses_ends_a_run_that_has_just_begun(self, status, error, said) -> None:
        refuse = (status, {"Location": "ws://127.0.0.1:1/"})
        with FeedServer(refuse=refuse) as server, pytest.raises(error, match=said):
            self.over(server)
        assert len(server.requests) == 1

    def test_secrets_are_in_no_log_and_in_no_error(self, caplog) -> None:
        caplog.set_level(logging.DEBUG)
        said = ""
        with FeedServer([trade(1)], then=lambda connection: connection.close()) as server:
            found = options(f"{server.url}?listenKey={CANARY}", headers={"X-Key": Secret(CANARY)}, subscribe=(CANARY,))
            _, notices, _ = asyncio.run(read(WebSocketFeed(found, Random(1), Clock()), 2))
            said += str(notices)
        with FeedServer(refuse=(HTTPStatus.UNAUTHORIZED, {})) as server:
            found = options(f"{server.url}?listenKey={CANARY}", headers={"X-Key": Secret(CANARY)})
            with pytest.raises(SourceUnauthorised) as refused:
                asyncio.run(read(WebSocketFeed(found, Random(1), Clock()), 1))
            said += str(refused.value)
        # The server of this test writes down what it hears, in the same process.
        ours = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
        assert CANARY not in "\n".join([*ours, said])


def test_a_symbol_without_a_token_is_told_of_once() -> None:
    async def main() -> Any:
        connect, _ = lines(Line([trade(1, "XRPUSDT"), trade(2, "XRPUSDT"), trade(3)], breaks=False))
        return await read(feed_of(connect), 1)

    _, notices, batches = simulate(main)
    assert [notice.kind for notice in notices] == [NoticeKind.QUARANTINED]
    assert "the symbol 'XRPUSDT' has no token" in notices[0].details["what"]
    assert sum(batch.malformed for batch in batches) == 0
