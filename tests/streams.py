"""JetStream streams as their makers, producers and consumers see them: made, filled, read back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError


@dataclass(frozen=True)
class Stored:
    """A message in a stream, and the id that it was sent with."""

    subject: str
    id: str
    data: bytes


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Client, None]:
    client = await nats.connect(url, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


async def make_stream(url: str, name: str, subjects: Sequence[str], **options: object) -> None:
    async with connected(url) as client:
        await client.jetstream().add_stream(name=name, subjects=list(subjects), **options)  # type: ignore[arg-type]


async def publish(url: str, subject: str, messages: Iterable[bytes]) -> None:
    async with connected(url) as client:
        context = client.jetstream()
        for message in messages:
            await context.publish(subject, message)


async def stored(url: str, name: str) -> list[Stored]:
    """Everything that the stream holds, in its order."""
    found: list[Stored] = []
    async with connected(url) as client:
        context = client.jetstream()
        count = (await context.stream_info(name)).state.messages
        reading = await context.pull_subscribe(
            "", stream=name, config=ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=60)
        )
        while len(found) < count:
            for message in await reading.fetch(min(500, count - len(found)), timeout=30):
                found.append(Stored(message.subject, (message.headers or {}).get("Nats-Msg-Id", ""), message.data))
    return found


async def handled(url: str, stream: str, consumer: str) -> bool:
    """Whether the consumer has acknowledged all that the stream holds."""
    async with connected(url) as client:
        context = client.jetstream()
        last = (await context.stream_info(stream)).state.last_seq
        try:
            info = await context.consumer_info(stream, consumer)
        except NotFoundError:
            return False
    return info.ack_floor is not None and info.ack_floor.stream_seq >= last
