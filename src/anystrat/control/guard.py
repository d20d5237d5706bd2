"""What stands before the control API: whose request it is, from where, how large and how often. Whatever is in doubt is refused."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import msgspec

from anystrat.control.tokens import Scope, TokenBook

Wire = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Wire]]
Send = Callable[[Wire], Awaitable[None]]
App = Callable[[Wire, Receive, Send], Awaitable[None]]

LARGEST_BODY: Final = 64 * 1024
#: Seconds for a body to arrive.
PATIENCE: Final = 10.0
#: Clients whose rate is remembered; of more, the one that was silent longest is forgotten.
_CLIENTS: Final = 1_024
#: A wrong token costs as much as so many requests.
_WRONG: Final = 20.0
WHO: Final = "anystrat.who"

POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: a token's name or `anonymous`, what they may do (None: nothing), and from where."""

    name: str
    scope: Scope | None
    client: str


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class Guard:
    """An ASGI application around another one. What passes has `scope["anystrat.who"]`, and a body that is there already."""

    def __init__(
        self,
        app: App,
        tokens: TokenBook,
        *,
        anonymous: Scope | None,
        hosts: Collection[str],
        requests_per_sec: float,
        unhurried: Collection[str] = (),
        on_wrong_token: Callable[[str], object] = lambda _: None,
        patience: float = PATIENCE,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._anonymous = anonymous
        self._hosts = {"localhost", *(name.lower() for name in hosts)}
        self._rate = Rate(requests_per_sec)
        self._unhurried = frozenset(unhurried)
        self._on_wrong_token = on_wrong_token
        self._patience = patience

    async def __call__(self, scope: Wire, receive: Receive, send: Send) -> None:
        """Let it pass, or answer why not."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            headers = _single(scope["headers"])
            self._from_here(scope, headers)
            who = self._who(scope, headers)
            scope[WHO] = who
            # Whoever may press it, may press it now.
            if not (scope["path"] in self._unhurried and who.scope is Scope.OPERATE):
                self._in_time(who)
            body = await self._body(headers, receive)
        except _Refused as refused:
            await _answer(send, refused)
            return
        sent = False

        async def once() -> Wire:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def guarded(message: Wire) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                policy = () if b"content-security-policy" in given else ((b"content-security-policy", POLICY.encode()),)
                more = [each for each in (*_HEADERS, *policy) if each[0] not in given]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, once, guarded)

    def _from_here(self, scope: Wire, headers: dict[str, str]) -> None:
        """A page in somebody's browser must not do what only who is at this machine, or has a token, may."""
        host = headers.get("host", "")
        if not self._is_us(host):
            raise _Refused(400, "unknown_host", "the Host of the request is not known here: add it to control.hosts")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope.get('scheme', 'http')}://{host}".lower():
            raise _Refused(403, "cross_origin", "requests of other sites' pages are refused")
        site = headers.get("sec-fetch-site", "none")
        opened = scope["method"] == "GET" and scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in {"none", "same-origin"} and not opened:
            raise _Refused(403, "cross_origin", "requests of other sites' pages are refused")

    def _is_us(self, host: str) -> bool:
        name = host.strip().lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def _who(self, scope: Wire, headers: dict[str, str]) -> Who:
        client = str((scope.get("client") or ("unknown",))[0])
        given = headers.get("authorization")
        if given is None:
            return Who("anonymous", self._anonymous, client)
        kind, _, token = given.partition(" ")
        known = self._tokens.known(token.strip()) if kind.lower() == "bearer" else None
        if known is None:
            self._rate.take(client, _WRONG)
            self._on_wrong_token(client)
            raise _Refused(
                401,
                "wrong_token",
                "this token is not known here, or was revoked",
                (b"www-authenticate", b'Bearer error="invalid_token"'),
            )
        return Who(known.name, known.scope, client)

    def _in_time(self, who: Who) -> None:
        wait = self._rate.take(f"{who.name} {who.client}", 1.0)
        if wait > 0.0:
            raise _Refused(429, "too_many_requests", "too many requests", (b"retry-after", str(int(wait) + 1).encode()))

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        too_large = _Refused(413, "too_large", f"a body has {LARGEST_BODY} bytes at most")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            raise _Refused(400, "bad_request", "the length of the body is no number")
        if int(length) > LARGEST_BODY:
            raise too_large
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._patience):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _Refused(400, "bad_request", "the request ended early")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > LARGEST_BODY:
                        raise too_large
                    more = message.get("more_body", False)
        except TimeoutError:
            raise _Refused(408, "too_slow", "the body did not arrive in time") from None
        return b"".join(parts)


class Rate:
    """A token bucket for each client: `per_sec` on average, twice as many at once. Time is the event loop's."""

    def __init__(self, per_sec: float) -> None:
        self._per_sec = per_sec
        self._room = max(2.0 * per_sec, 1.0)
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float) -> float:
        """Seconds that the client has to wait; 0.0: it may go on."""
        now = asyncio.get_running_loop().time()
        left, at = self._clients.pop(client, (self._room, now))
        left = min(self._room, left + (now - at) * self._per_sec)
        allowed = left >= 1.0
        self._clients[client] = (max(left - cost, -self._room) if allowed else left, now)
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_sec


def _single(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name. One that says who asks, or from where, twice says nothing."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.decode("latin-1").lower()
        if key in found and key in {"host", "origin", "authorization", "content-length"}:
            raise _Refused(400, "bad_request", f"the header {key} is there twice")
        found[key] = value.decode("latin-1")
    return found


async def _answer(send: Send, refused: _Refused) -> None:
    body = msgspec.json.encode({"error": {"code": refused.code, "message": str(refused), "problems": []}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [*_HEADERS, (b"content-security-policy", POLICY.encode()), *refused.headers]
    # What was not read of the request is none of the next one's.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
