"""A real WebSocket server for the tests of what comes over one: in a thread, on a free port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve


class FeedServer:
    """Sends `messages` to everybody who connects, then keeps what it is told until the other side leaves."""

    def __init__(
        self,
        messages: Iterable[str | bytes] = (),
        *,
        then: Callable[[ServerConnection], object] | None = None,
        refuse: tuple[HTTPStatus, dict[str, str]] | None = None,
    ) -> None:
        self.messages = list(messages)
        self.requests: list[Request] = []
        self.heard: list[str | bytes] = []
        self.something_heard = threading.Event()
        self._then = then
        self._refuse = refuse
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/stream"

    def __enter__(self) -> Self:
        self._server = serve(self._talk, "127.0.0.1", 0, process_request=self._asked, close_timeout=1)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()

    def _asked(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self._refuse is None:
            return None
        status, headers = self._refuse
        response: Any = connection.respond(status, "no")
        for name, value in headers.items():
            response.headers[name] = value
        return response  # type: ignore[no-any-return]

    def _talk(self, connection: ServerConnection) -> None:
        try:
            for message in self.messages:
                connection.send(message)
            if self._then is not None:
                self._then(connection)
            for message in connection:
                self.heard.append(message)
                self.something_heard.set()
        except (ConnectionClosed, OSError):
            pass
