"""Messages of one JetStream consumer, as many as are asked for at a time, and none that was lost unnoticed."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

#: How long a request stays open, and how often the server says meanwhile that it is there.
EXPIRES_SEC: Final = 5.0
HEARTBEAT_SEC: Final = 1.0
_PATIENCE_SEC: Final = 2.5 * HEARTBEAT_SEC
_NS: Final = 1_000_000_000
#: What is handed on at once, so that decoding never holds the loop for long.
_MOST_BYTES: Final = 4 << 20
#: What a server sends for one request; more than any message may have.
_REQUEST_BYTES: Final = 64 << 20
_OVER: Final = frozenset({"404", "408"})


class PullLost(Exception):
    """Nothing more will come this way: the consumer has to be made anew. The text says why."""


class Delivered(NamedTuple):
    """A message, its number in the stream, and how many times the consumer had delivered until then, this one included."""

    stream_seq: int
    consumer_seq: int
    data: bytes
    reply: str


class Pull:
    """Keeps requests open on a consumer. There are never more than two requests' worth of messages in memory."""

    def __init__(self, client: Client, stream: str, consumer: str, batch: int) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._batch = batch
        self._request = json.dumps(
            {
                "batch": batch,
                "expires": round(EXPIRES_SEC * _NS),
                "idle_heartbeat": round(HEARTBEAT_SEC * _NS),
                "max_bytes": _REQUEST_BYTES,
            }
        ).encode()
        self._waiting: deque[Delivered] = deque()
        self._asked = 0
        self._lost = ""
        self._something = asyncio.Event()
        self._heard = 0.0
        #: The number in the stream of the last message that came in.
        self.received = 0
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Listen, and ask for the first messages."""
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(
            self._inbox,
            cb=self._came,
            pending_msgs_limit=4 * self._batch + 1_024,
            pending_bytes_limit=4 * _REQUEST_BYTES,
        )
        self._heard = asyncio.get_running_loop().time()
        await self._ask()

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None and not self._client.is_closed:
            await self._subscription.unsubscribe()

    @property
    def behind(self) -> bool:
        """Whether messages are here that nobody has taken yet."""
        return bool(self._waiting)

    def lose(self, why: str) -> None:
        """What is waited for will not come."""
        self._lost = self._lost or why
        self._something.set()

    async def messages(self, within_sec: float) -> list[Delivered]:
        """All that has come, in order, once there is something; nothing where nothing came for so long.

        Raises `PullLost` where the server is silent, the connection or the consumer gone, after all that came before.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within_sec
        while not self._waiting:
            if self._lost:
                raise PullLost(self._lost)
            now = loop.time()
            if now >= until:
                return []
            # At least a moment: where the whole process stood still, what came meanwhile has not been read yet.
            patience = max(0.2, self._heard + _PATIENCE_SEC - now)
            self._something.clear()
            try:
                await asyncio.wait_for(self._something.wait(), min(patience, until - now))
            except TimeoutError:
                if loop.time() - self._heard >= _PATIENCE_SEC:
                    raise PullLost(f"the server has been silent for {_PATIENCE_SEC} s") from None
        taken: list[Delivered] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0].data) <= _MOST_BYTES):
            message = self._waiting.popleft()
            size += len(message.data)
            taken.append(message)
        if not self._lost:
            await self._ask()
        return taken

    async def _ask(self) -> None:
        while self._asked < self._batch and len(self._waiting) < self._batch:
            self._asked += self._batch
            await self._client.publish(self._next, self._request, reply=self._inbox)

    async def _came(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        headers = message.headers
        if headers is not None and "Status" in headers and not message.data:
            await self._status(headers["Status"], headers.get("Description", ""), headers.get("Nats-Pending-Messages"))
            return
        parts = message.reply.split(".")
        # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, newer: with domain and account.
        at = 5 if len(parts) < 11 else 7
        try:
            numbers = int(parts[at]), int(parts[at + 1])
        except (IndexError, ValueError):
            self.lose(f"a message without its numbers came: {message.reply!r}")
            return
        self._asked -= 1
        self.received = max(self.received, numbers[0])
        self._waiting.append(Delivered(*numbers, message.data, message.reply))
        self._something.set()

    async def _status(self, status: str, said: str, pending: str | None) -> None:
        if status == "100":
            return
        if status in _OVER or (
            status == "409" and said.startswith(("Message Size", "Batch Completed", "Exceeded Max"))
        ):
            # The request is over; so many of its messages were not sent.
            self._asked -= int(pending) if pending is not None and pending.isdecimal() else self._batch
            self._asked = max(0, self._asked)
            if len(self._waiting) < self._batch:
                await self._ask()
            return
        self.lose(f"the server said {status} {said}".strip())
