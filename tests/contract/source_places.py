"""Where the contract's sources come from: each place gives the same feed as often as it is asked, as restarts would."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import nats
from tests.feed_server import FeedServer
from tests.kafka_cluster import KafkaCluster

from anystrat.adapters.offload import on_the_spot
from anystrat.adapters.source_file import FileFeed
from anystrat.adapters.source_kafka import KafkaFeed
from anystrat.adapters.source_nats import NatsFeed
from anystrat.adapters.source_stdin import StdinFeed
from anystrat.adapters.source_synthetic import SyntheticFeed
from anystrat.adapters.source_websocket import WebSocketFeed
from anystrat.adapters.tick_files import open_ticks
from anystrat.adapters.tick_files.merge import sliced
from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import Secret
from anystrat.domain.endpoints import KafkaSource, NatsSource, SyntheticSource, TickFormat
from anystrat.domain.intake import LiveSource, SourceNotice, TickBatch
from anystrat.domain.websocket import TickMapping, TimeUnit, WebSocketSource
from anystrat.testing.messages import columns_message, json_lines_message, json_message, packed_message
from anystrat.testing.servers import NatsServer
from anystrat.testing.ticks import synthetic_ticks

#: Ticks of every place's feed.
COUNT = 500


class StoppedClock:
    """A wall clock that stands still, until it is set."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.ns = now_ns

    def now_ns(self) -> int:
        return self.ns


@dataclass(frozen=True)
class Place:
    """One kind of source with `COUNT` ticks in it, `malformed` of what it holds being none."""

    feed: Callable[[], LiveSource]
    malformed: int = 0


def ticks(count: int = COUNT) -> TickColumns:
    (block,) = synthetic_ticks(7, [3, 5, 8], count, block_rows=max(1, count))
    return block


def rows(block: TickColumns) -> list[dict[str, object]]:
    return [
        {"ts_ns": row.ts_ns, "instrument_token": row.instrument_token, "price": str(row.decimal), "size": row.volume}
        for row in block.rows()
    ]


def jsonl(block: TickColumns) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows(block))


def of_file(directory: Path) -> Place:
    path = directory / "ticks.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["ts_ns", "instrument_token", "price", "size"])
        writer.writeheader()
        writer.writerows(rows(ticks()))
    return Place(lambda: FileFeed(open_ticks(path, block_rows=64), offload=on_the_spot))


def of_broken_file(directory: Path) -> Place:
    """Seven lines among the others are no ticks: the first, the last, and five in the middle."""
    lines = jsonl(ticks()).splitlines(keepends=True)
    lines[250:250] = ["{}\n", "[1]\n", "\x00\n", '{"price": 1}\n', "nothing\n"]
    path = directory / "ticks.jsonl"
    path.write_text("what\n" + "".join(lines) + '{"ts_ns": 1, "instr')
    return Place(lambda: FileFeed(open_ticks(path, block_rows=64)), malformed=7)


def of_merged_files(directory: Path) -> Place:
    whole = ticks()
    paths = []
    for token in (3, 5, 8):
        paths.append(directory / f"{token}.jsonl")
        paths[-1].write_text(jsonl(whole.taken((whole.instrument_token == token).nonzero()[0])))
    return Place(lambda: FileFeed(open_ticks(paths, block_rows=64), offload=on_the_spot))


def of_synthetic(_directory: Path) -> Place:
    options = SyntheticSource(ticks=COUNT, seed=3, interval_ms=0.01)
    return Place(lambda: SyntheticFeed(options, [3, 5, 8], StoppedClock()))


def chunked(data: bytes, size: int) -> Callable[[], AsyncIterator[bytes]]:
    """A reader that answers with so many bytes at a time."""
    places = iter([*range(0, len(data), size), len(data)])

    async def read() -> bytes:
        at = next(places, len(data))
        return data[at : at + size]

    return read  # type: ignore[return-value]


def of_stdin(_directory: Path) -> Place:
    data = ("\n" + jsonl(ticks()) + "nothing").encode()
    return Place(lambda: StdinFeed(TickFormat.JSONL, read=chunked(data, 700)), malformed=1)  # type: ignore[arg-type]


class Until:
    """An endless feed, up to its message number `last`: what the contract's tests take for the end."""

    resumable = True

    def __init__(self, feed: LiveSource, last: int) -> None:
        self._feed = feed
        self._last = last

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        if any(offset >= self._last for offset in after.values()):
            return
        async with aclosing(self._feed.batches(after)) as items:
            async for item in items:
                yield item
                if isinstance(item, TickBatch) and item.last >= self._last:
                    return

    async def acknowledge(self, partition: str, offset: int) -> None:
        await self._feed.acknowledge(partition, offset)

    async def close(self) -> None:
        await self._feed.close()


_streams = itertools.count()


def stream_messages() -> list[bytes]:
    """Of every form, with 1 to 9 ticks; four messages among them are none."""
    whole = ticks()
    forms = itertools.cycle([json_message, json_lines_message, packed_message, columns_message])
    messages = [b"nothing"]
    start = 0
    for size in itertools.cycle([1, 9, 4, 1, 1, 2]):
        if start >= COUNT:
            break
        messages.append(next(forms)(sliced(whole, start, min(COUNT, start + size))))
        start += size
    messages[40:40] = [b"[1]", b"{}", b""]
    return messages


def of_nats(server: NatsServer) -> Place:
    """A stream of every form of message."""
    name = f"TICKS{next(_streams)}"
    messages, url = stream_messages(), server.url

    async def publish() -> None:
        client = await nats.connect(url, allow_reconnect=False)
        js = client.jetstream()
        await js.add_stream(name=name, subjects=[f"{name}.>"])
        for at, message in enumerate(messages):
            await js.publish(f"{name}.{at % 3}", message)
        await client.close()

    asyncio.run(publish())
    options = NatsSource(Secret(url), stream=name, subject=f"{name}.>", durable="contract", batch=16)
    return Place(lambda: Until(NatsFeed(options, Random(1)), len(messages)), malformed=4)


class UntilGone:
    """The messages of a fleeting feed that are there to be had, then the end."""

    resumable = False

    def __init__(self, feed: LiveSource, count: int) -> None:
        self._feed = feed
        self._count = count

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        last = max([0, *after.values()]) + self._count
        async with aclosing(self._feed.batches(after)) as items:
            async for item in items:
                yield item
                if isinstance(item, TickBatch) and item.last >= last:
                    return

    async def acknowledge(self, partition: str, offset: int) -> None:
        await self._feed.acknowledge(partition, offset)

    async def close(self) -> None:
        await self._feed.close()


def of_kafka(cluster: KafkaCluster) -> Place:
    """One partition of a topic, which this run reads by itself."""
    topic, messages = cluster.name(), stream_messages()
    cluster.publish(topic, {2: messages})
    options = KafkaSource(cluster.servers, topic, group_id=cluster.name(), partitions=(2,), batch=16)
    return Place(lambda: Until(KafkaFeed(options, Random(1)), len(messages)), malformed=4)


def of_websocket(server: FeedServer) -> Place:
    """What `socket_messages` holds, to everybody who connects."""
    url = server.url
    names = {"instrument": "i", "time": "t", "time_unit": TimeUnit.NS, "size": "s"}
    options = WebSocketSource(Secret(url), (TickMapping("p", each="ticks", **names),))  # type: ignore[arg-type]
    count = len(socket_messages())
    return Place(lambda: UntilGone(WebSocketFeed(options, Random(1), StoppedClock()), count), malformed=2)


def socket_messages() -> list[str]:
    """Lists of 1 to 9 ticks; among them a message that is no JSON, one of another kind, and a tick without a price."""
    found = [
        {"i": row.instrument_token, "t": row.ts_ns, "p": str(row.decimal), "s": row.volume} for row in ticks().rows()
    ]
    messages = ["nothing", '{"welcome": true}', '{"ticks": [{"i": 1, "t": 1}]}']
    start = 0
    for size in itertools.cycle([1, 9, 4, 1, 1, 2]):
        if start >= COUNT:
            return messages
        messages.append(json.dumps({"ticks": found[start : start + size]}))
        start += size
    raise AssertionError


PLACES: dict[str, Callable[[Path], Place]] = {
    "file": of_file,
    "broken file": of_broken_file,
    "merged files": of_merged_files,
    "synthetic": of_synthetic,
    "stdin": of_stdin,
}
#: Those that need a server.
SERVED: dict[str, Callable[[Any], Place]] = {"nats": of_nats, "kafka": of_kafka, "websocket": of_websocket}
#: Those where what was missed is gone.
FLEETING = ("stdin", "websocket")
