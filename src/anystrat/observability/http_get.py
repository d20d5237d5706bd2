"""Answers GET over HTTP/1.1, and nothing else: for scrapers and probes, on the event loop of who runs it.

No framework, no thread, no keep-alive, no body is read. Whoever connects gets one answer within bounded time and memory,
or is let go. A request must name this machine as its `Host` by address (or by a name that is allowed), so that a web page
in somebody's browser cannot read what only this machine may (DNS rebinding).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple

from anystrat.domain.health import EndpointRefused

#: A request line and headers of ours and of every scraper fit many times over.
LARGEST_HEAD: Final = 8 * 1024
#: Scrapers and probes are few; who comes beyond that is turned away at once.
MOST_CONNECTIONS: Final = 32
#: Seconds for a request to arrive, to be answered, and for the answer to be taken.
PATIENCE: Final = 10.0
#: Seconds that an answered connection may stay half open.
_LINGER: Final = 1.0
_END: Final = b"\r\n\r\n"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
TEXT: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = TEXT


class Request(NamedTuple):
    """What was asked for; `headers` by lower-case name, of several with one name the last."""

    method: str
    path: str
    headers: Mapping[str, str]


class Refused(Exception):
    """A request that gets nothing but a status and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = Answer(status, f"{text}\n".encode())


Handler = Callable[[Request], Awaitable[Answer]]


class GetServer:
    """Serves `routes` (path -> handler) at an address. `hosts` are names that a request may give beside addresses.

    A handler that raises is answered with 500; `on_error` hears of it.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        host: str,
        port: int,
        *,
        hosts: Iterable[str] = (),
        on_error: Callable[[Exception], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._routes = dict(routes)
        # As an address, which no resolver has to be asked for: that would take a thread.
        self._host = "127.0.0.1" if host == "localhost" else host
        self._port = port
        self._hosts = {"localhost", *(name.lower() for name in hosts)}
        self._on_error = on_error
        self._patience = patience
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; the URL. Port 0 takes any that is free. Raises `EndpointRefused`."""
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port, limit=LARGEST_HEAD)
        except OSError as error:
            raise EndpointRefused(
                f"cannot listen on {self._host} port {self._port}: {error.strerror or error}; "
                "another port may be free (0 takes any that is)"
            ) from error
        port = self._server.sockets[0].getsockname()[1]
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{port}"

    async def stop(self) -> None:
        """Listen no more, and end what is under way."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            async with asyncio.timeout(3 * self._patience):
                await self._serve(reader, writer)
        except (TimeoutError, ConnectionError):
            pass  # who asks is gone, or too slow to be served
        finally:
            self._connections.discard(task)
            # What was not taken by now is not waited for.
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = ""
        try:
            request = await self._request(reader)
            method = request.method
            answer = await self._answer(request)
        except Refused as refused:
            answer = refused.answer
        except Exception as error:  # noqa: BLE001  a page that fails must not take the service with it
            if self._on_error is not None:
                self._on_error(error)
            answer = Answer(500, b"this page failed; the log says why\n")
        writer.write(_head(answer))
        if method != "HEAD":
            writer.write(answer.body)
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        # Until the other side has all of it and closes: ending a connection with unread bytes would cut the answer off.
        async with asyncio.timeout(_LINGER):
            while await reader.read(LARGEST_HEAD):
                pass

    async def _request(self, reader: asyncio.StreamReader) -> Request:
        try:
            async with asyncio.timeout(self._patience):
                head = await reader.readuntil(_END)
        except TimeoutError:
            raise Refused(408, "the request did not arrive in time") from None
        except asyncio.LimitOverrunError:
            raise Refused(431, f"the request's head is over {LARGEST_HEAD} bytes") from None
        except asyncio.IncompleteReadError:
            raise Refused(400, "the request ended early") from None
        request = parsed(head.removesuffix(_END))
        if not self._is_us(request.headers.get("host", "")):
            raise Refused(400, "the Host of the request is not known here: use an address, or allow the name")
        return request

    async def _answer(self, request: Request) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            raise Refused(405, "only GET is answered here")
        handler = self._routes.get(request.path)
        if handler is None:
            raise Refused(404, f"nothing here; there is {', '.join(self._routes)}")
        return await handler(request)

    def _is_us(self, host: str) -> bool:
        name = host.strip().lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def parsed(head: bytes) -> Request:
    """A request from its head, without the empty line. Raises `Refused`."""
    try:
        lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        raise Refused(400, "the request's head is not ASCII") from None
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[1].startswith("/"):
        raise Refused(400, "the first line is no HTTP request for a path")
    method, target, version = parts
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise Refused(505, "only HTTP/1.1 is spoken here")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or not value.strip().isprintable():
            raise Refused(400, "a header is malformed")
        headers[name.lower()] = value.strip()
    return Request(method, target.partition("?")[0], headers)


def _head(answer: Answer) -> bytes:
    allow = "Allow: GET, HEAD\r\n" if answer.status == 405 else ""
    return (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n{allow}"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
