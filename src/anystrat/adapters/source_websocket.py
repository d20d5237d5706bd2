"""Ticks from a venue's WebSocket: connected again and again, with what that missed told of as a gap."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import numpy as np

from anystrat.adapters.message_mapping import MessageMapper
from anystrat.adapters.tick_messages import MAX_BYTES
from anystrat.domain.errors import AnystratError, MissingExtra
from anystrat.domain.intake import NoticeKind, SourceFailed, SourceNotice, SourceUnauthorised, TickBatch

if TYPE_CHECKING:
    from anystrat.domain.clock import Clock
    from anystrat.domain.websocket import WebSocketSource

PARTITION: Final = "websocket"
_ROOM: Final = 8_192
_FIRST_WAIT_SEC: Final = 0.25
_LONGEST_WAIT_SEC: Final = 30.0
_OPEN_SEC: Final = 10.0
_CLOSE_SEC: Final = 1.0
#: What is no tick is told of so often, and always counted.
_SHOWN: Final = 5


class Connection(Protocol):
    """A WebSocket, as this source needs it."""

    async def recv(self) -> str | bytes:
        """The next message. Any exception means that there will be no more."""
        ...

    async def send(self, message: str, /) -> None:
        """Send text."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


Connect = Callable[[], Awaitable[Connection]]


class ConnectionLost(Exception):
    """The connection is not there (any more); the text says why."""


class WebSocketFeed:
    """A `LiveSource` over one WebSocket. An offset counts messages, from 1 or from after the run before.

    What was sent while nobody was connected is gone: every connection after the first one begins with a GAP, and so does
    the first one of a run that goes on. A connection counts as lost where it breaks, where a ping is not answered, and where no
    message comes for `silence_sec`.
    """

    resumable = False

    def __init__(
        self,
        options: WebSocketSource,
        random: Random,
        clock: Clock,
        symbols: Mapping[str, int] | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._options = options
        self._random = random
        self._clock = clock
        self._connect = connect or connector(options)
        self._mapper = MessageMapper(options.ticks, options.format, {**(symbols or {}), **options.tokens})
        self._offset = 0
        self._shown = 0
        self._strangers = 0
        self._waiting: deque[tuple[str | bytes, int]] = deque()
        self._something = asyncio.Event()
        self._room = asyncio.Event()

    async def batches(self, after: Mapping[str, int]) -> AsyncGenerator[TickBatch | SourceNotice, None]:
        loop = asyncio.get_running_loop()
        self._offset = after.get(PARTITION, 0)
        missing_since = loop.time() if PARTITION in after else None
        failures = connections = 0
        while True:
            reading: asyncio.Task[None] | None = None
            try:
                connection = await self._opened(first=not connections)
                connections += 1
                reading = asyncio.create_task(self._read(connection), name=PARTITION)
                reading.add_done_callback(lambda _: self._something.set())
                if connections > 1:
                    yield SourceNotice(NoticeKind.RECONNECTED, PARTITION, {"connections": connections})
                if missing_since is not None:
                    details = {"seconds": round(loop.time() - missing_since, 3), "certain": False}
                    yield SourceNotice(NoticeKind.GAP, PARTITION, details)
                while await self._came(reading):
                    failures = 0
                    for item in self._taken():
                        yield item
            except ConnectionLost:
                failures += 1
            finally:
                if reading is not None:
                    reading.cancel()
                    await asyncio.wait([reading])
                    if not reading.cancelled():
                        reading.exception()  # known: that it ended is what counts
            missing_since = loop.time()
            await asyncio.sleep(self._wait(max(1, failures)))

    async def acknowledge(self, partition: str, offset: int) -> None:
        pass  # what was sent is gone from the venue

    async def close(self) -> None:
        pass  # the connection went with `batches`

    # -- the connection

    async def _opened(self, *, first: bool) -> Connection:
        """Connect and subscribe. Raises `ConnectionLost`, and what no waiting mends where it is the first time."""
        try:
            async with asyncio.timeout(_OPEN_SEC):
                connection = await self._connect()
        except AnystratError as error:
            if first:
                raise
            # It worked before: a venue's gateway may refuse for a while whom it knows.
            raise ConnectionLost(str(error)) from error
        except TimeoutError as error:
            raise ConnectionLost("no connection in time") from error
        try:
            for message in self._options.subscribe:
                await connection.send(message)
        except Exception as error:
            with suppress(Exception):
                await connection.close()
            raise ConnectionLost("the connection was lost") from error
        return connection

    async def _read(self, connection: Connection) -> None:
        """Everything that comes, until the connection is lost; held back while nobody takes it."""
        beating = asyncio.create_task(self._beat(connection)) if self._options.heartbeat else None
        try:
            while True:
                message = await connection.recv()
                self._waiting.append((message, self._clock.now_ns()))
                self._something.set()
                while len(self._waiting) >= _ROOM:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            raise ConnectionLost(type(error).__name__) from error
        finally:
            if beating is not None:
                beating.cancel()
                await asyncio.wait([beating])
            with suppress(Exception):
                # The library closes the socket after `_CLOSE_SEC` at the latest; cut short before that, it stays open.
                async with asyncio.timeout(2 * _CLOSE_SEC):
                    await connection.close()
            await asyncio.sleep(0)  # the library's own tasks end in the loop's next turn

    async def _beat(self, connection: Connection) -> None:
        with suppress(Exception):  # who reads hears of a lost connection
            while True:
                await asyncio.sleep(self._options.ping_sec)
                await connection.send(self._options.heartbeat)

    async def _came(self, reading: asyncio.Task[None]) -> bool:
        """Wait until something is there. Raises `ConnectionLost`, after all that came before."""
        if not self._waiting:
            self._something.clear()
            if not reading.done():
                try:
                    async with asyncio.timeout(self._options.silence_sec):
                        await self._something.wait()
                except TimeoutError:
                    raise ConnectionLost("silent for too long") from None
        if not self._waiting:
            raise ConnectionLost("the connection was lost")
        return True

    def _wait(self, failures: int) -> float:
        longest = min(_LONGEST_WAIT_SEC, _FIRST_WAIT_SEC * 2.0 ** min(failures - 1, 20))
        return longest * (0.5 + 0.5 * self._random.random())

    # -- what came

    def _taken(self) -> list[TickBatch | SourceNotice]:
        messages = list(self._waiting)
        self._waiting.clear()
        self._room.set()
        first = self._offset + 1
        numbers = np.arange(first, first + len(messages), dtype=np.int64)
        found = self._mapper.decoded(messages, first)
        self._offset = int(numbers[-1])
        items: list[TickBatch | SourceNotice] = []
        for place in found.tally.first[: max(0, _SHOWN - self._shown)]:
            self._shown += 1
            items.append(SourceNotice(NoticeKind.QUARANTINED, PARTITION, {"what": place}))
        for name in self._mapper.strangers[self._strangers :]:
            self._strangers += 1
            what = (
                f"the symbol {name!r} has no token: add it to `tokens`, or to `instruments`; its ticks are passed over"
            )
            items.append(SourceNotice(NoticeKind.QUARANTINED, PARTITION, {"what": what}))
        offsets = np.repeat(numbers, found.counts)
        items.append(TickBatch(PARTITION, found.ticks, offsets, self._offset, found.tally.malformed))
        return items


def connector(options: WebSocketSource) -> Connect:
    """Connects with the library `websockets`. Raises `MissingExtra`; texts of its errors name the host and no more."""
    try:
        from websockets.asyncio.client import ClientConnection
        from websockets.asyncio.client import connect as library
        from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
    except ImportError:
        raise MissingExtra("WebSockets", "websocket") from None

    class Once(library):
        """Where a redirect leads to was not asked for, and must not get what the headers hold."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    host = urlsplit(options.url.reveal()).hostname or ""
    # At its own level the library would write down addresses and headers.
    log = logging.getLogger("anystrat.websocket")
    log.setLevel(logging.WARNING)

    async def connect() -> ClientConnection:
        try:
            return await Once(
                options.url.reveal(),
                additional_headers=[(name, value.reveal()) for name, value in options.headers.items()],
                user_agent_header="anystrat",
                open_timeout=_OPEN_SEC,
                ping_interval=options.ping_sec,
                ping_timeout=options.ping_sec,
                close_timeout=_CLOSE_SEC,
                max_size=MAX_BYTES,
                logger=log,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            if status in {401, 403}:
                raise SourceUnauthorised(f"{host} refuses the login of the source: HTTP {status}") from error
            if 300 <= status < 500 and status not in {408, 425, 429}:
                raise SourceFailed(f"{host} has no WebSocket at this address: HTTP {status}") from error
            raise ConnectionLost(f"HTTP {status}") from error
        except (InvalidURI, InvalidProxy) as error:
            raise SourceFailed(f"the address of {host or 'the WebSocket'} cannot be used") from error
        except (InvalidHandshake, OSError, EOFError) as error:
            raise ConnectionLost(type(error).__name__) from error

    return connect


__all__: Sequence[str] = ("PARTITION", "Connect", "Connection", "ConnectionLost", "WebSocketFeed", "connector")
