"""The server of the control API: uvicorn on the event loop of the service, listening while it runs."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from anystrat.control.api import KILL, control_app
from anystrat.control.guard import Guard
from anystrat.control.places import Access, Places, forget_access, write_owned
from anystrat.control.service import ControlService
from anystrat.control.tokens import Scope, Token, TokenBook, fresh, hashed
from anystrat.domain.health import EndpointRefused

if TYPE_CHECKING:
    from anystrat.domain.configuration import ControlSettings


#: Connections beyond this are answered with 503 at once.
MOST_CONNECTIONS: Final = 128
#: Seconds for the head of a request to arrive.
_HEAD_SEC: Final = 10.0
_LARGEST_HEAD: Final = 16 * 1024


class Patient(H11Protocol):
    """uvicorn's protocol, which lets go of whoever does not end a request's head in time."""

    head_sec = _HEAD_SEC
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop()
        super().connection_lost(exc)

    def _look(self) -> None:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        answering = cycle is not None and not cycle.response_complete
        if answering:
            self._stop()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.head_sec, self.transport.abort)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """The service itself knows what signals mean."""
        yield


class ControlEndpoint:
    """The `Endpoint` of `control:` in a configuration.

    While it listens, `places.access` tells this machine's own commands how to reach it: its address, and a token that is
    good for everything and ends with it. Whoever can read that file can stop the process as well.
    """

    def __init__(
        self,
        service: ControlService,
        settings: ControlSettings,
        places: Places,
        *,
        now_ns: Callable[[], int],
        on_wrong_token: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._places = places
        self._token = fresh()
        self._service = service
        self._now_ns = now_ns
        local = Token("local", Scope.OPERATE, hashed(self._token), now_ns())
        self._book = TokenBook(places.tokens, [local])
        self.app = guarded(service, settings, self._book, on_wrong_token=on_wrong_token)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    async def start(self) -> str:
        """Listen; the address, for people. Raises `EndpointRefused`, `FileRefused`, `AuditRefused`."""
        settings = self._settings
        if not settings.loopback and not self._book.tokens():
            raise EndpointRefused(
                f"control.listen is {settings.listen}, which other machines can reach, and there is no token in "
                f"{self._places.tokens}: make one with `anystrat token new`, or listen on 127.0.0.1"
            )
        self._book.tokens()
        await asyncio.to_thread(self._service.audit.open)
        config = uvicorn.Config(
            self.app,
            http=Patient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_LARGEST_HEAD,
            ssl_certfile=None if settings.tls is None else str(settings.tls.certificate),
            ssl_keyfile=None if settings.tls is None else str(settings.tls.key),
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            assert settings.tls is not None
            raise EndpointRefused(
                f"control.tls: {settings.tls.certificate} and {settings.tls.key} cannot be used: {error}"
            ) from error
        self._socket = self._bound()
        server = _Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[self._socket])
        self._server = server
        self._serving = asyncio.create_task(server.main_loop(), name="control API")
        host, port = self._socket.getsockname()[:2]
        scheme = "http" if settings.tls is None else "https"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self._write_access(url, host, port)
        return url

    async def stop(self) -> None:
        """Listen no more, and end what is under way."""
        forget_access(self._places.access, self._token)
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving
        await self._server.shutdown(sockets=None if self._socket is None else [self._socket])
        self._server = None

    def _bound(self) -> socket.socket:
        host, port = self._settings.address
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            if os.name != "nt":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
        except OSError as error:
            made.close()
            raise EndpointRefused(
                f"the control API cannot listen on {self._settings.listen}: {error.strerror or error}; name another port in "
                "control.listen (0 takes any that is free), or end what listens there"
            ) from error
        return made

    def _write_access(self, url: str, host: str, port: int) -> None:
        # Commands of this machine go to an address that it has, whatever it listens on.
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host)  # noqa: S104  compared with, not listened on
        if near is not None:
            url = f"{url.partition('://')[0]}://{f'[{near}]' if ':' in near else near}:{port}"
        tls = self._settings.tls
        access = Access(url, self._token, os.getpid(), None if tls is None else str(tls.certificate.absolute()))
        write_owned(self._places.access, msgspec.json.encode(access))


def guarded(
    service: ControlService,
    settings: ControlSettings,
    book: TokenBook,
    *,
    on_wrong_token: Callable[[str], object] = lambda _: None,
) -> Guard:
    """The whole application, with what stands before it."""
    anonymous = settings.anonymous if settings.loopback else "none"
    return Guard(
        control_app(service),
        book,
        anonymous=None if anonymous == "none" else Scope(anonymous),
        hosts=settings.hosts,
        requests_per_sec=settings.requests_per_sec,
        unhurried=(KILL,),
        on_wrong_token=on_wrong_token,
    )
