"""The stream of outcomes as server-sent events: resumable by `Last-Event-ID`, and never slower than its slowest reader.

A reader is served from what is kept. Whoever falls behind so far that what it has not read is kept no more, or takes
nothing for too long, is cut off; it may come back with the id that it saw last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

from anystrat.control.stream import OutcomeStream, body_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Seconds for a reader to take what is sent; and between two signs of life.
PATIENCE: Final = 10.0
HEARTBEAT: Final = 15.0
#: Readers get what there is so often, so that many of them wake the loop seldom.
_PAUSE: Final = 0.05
_AT_ONCE: Final = 200
_LOOKED_AT: Final = 2_000


class EventStream(Response):
    """The answer. `after`: the number to begin behind. `follow`: go on when all that is there has been told."""

    def __init__(
        self,
        stream: OutcomeStream,
        after: int,
        *,
        kinds: Collection[str] | None = None,
        lost: bool = False,
        follow: bool = True,
        patience: float = PATIENCE,
        heartbeat: float = HEARTBEAT,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self._stream = stream
        self._after = after
        self._kinds = kinds
        self._lost = lost
        self._follow = follow
        self._patience = patience
        self._heartbeat = heartbeat
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the reader leaves, falls behind, or has all."""
        del scope
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell(send))
                leaving = group.create_task(_left(receive))
                await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
                telling.cancel()
                leaving.cancel()
        except* (TimeoutError, OSError):
            pass  # it takes nothing, or has gone: the server closes the connection
        finally:
            self._on_end()

    async def _tell(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for text in self._texts():
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.body", "body": text, "more_body": True})
        async with asyncio.timeout(self._patience):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _texts(self) -> AsyncIterator[bytes]:
        stream, at = self._stream, self._after
        yield b"retry: 1000\n\n"
        if self._lost:
            # Another process's numbers, or too long ago: what lies between is not here any more.
            yield _event("gap", stream.id_of(at), {"first": stream.first})
        while True:
            if at + 1 < stream.first:
                yield _event("cut", None, {"reason": "too slow: what was not read is kept no more", "at": at})
                return
            parts: list[bytes] = []
            for looked, event in enumerate(stream.after(at), start=1):
                at = event.number
                if self._kinds is None or event.kind in self._kinds:
                    parts.append(_event(event.kind, stream.id_of(at), body_of(event)))
                if len(parts) == _AT_ONCE or looked == _LOOKED_AT:
                    break
            else:
                at = stream.last
            if parts:
                yield b"".join(parts)
            if at < stream.last:
                await asyncio.sleep(0)
                continue
            if not self._follow:
                return
            if not await stream.more(at, self._heartbeat):
                yield b": nothing new\n\n"
            await asyncio.sleep(_PAUSE)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(kind: str, event_id: str | None, body: dict[str, Any]) -> bytes:
    head = f"event: {kind}\n" + (f"id: {event_id}\n" if event_id is not None else "")
    # One line, whatever a name holds: JSON escapes most line ends, and some readers know of three more.
    data = msgspec.json.encode(body).decode()
    for char in "\x85\u2028\u2029":
        data = data.replace(char, f"\\u{ord(char):04x}")
    return f"{head}data: {data}\n\n".encode()
