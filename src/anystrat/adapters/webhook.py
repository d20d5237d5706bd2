"""One web address that is posted to: signed, with no redirect followed, and only to where it may be."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import ssl
from asyncio import timeout as within
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from anystrat.domain.errors import AnystratError, MissingExtra
from anystrat.domain.webhook import host_of

if TYPE_CHECKING:
    import httpcore

    from anystrat.adapters.pinned_network import PinnedNetwork, Resolve
    from anystrat.domain.clock import Clock
    from anystrat.domain.webhook import WebhookBroker

#: Of the time for a request: the rest is for what the caller does with the answer.
_SHARE: Final = 0.9
_CONNECT_SHARE: Final = 0.5
#: An answer's body says nothing here; so much is read that the connection can be used again.
_MOST_BODY: Final = 65_536
_BODY_SEC: Final = 1.0
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


class NotReached(AnystratError):
    """Nothing was sent: the host cannot be reached, or must not be."""


class Lost(AnystratError):
    """The request was under way when it failed: nobody knows whether it was taken."""


class Answer(NamedTuple):
    """What the server said. `retry_after_sec` is 0 where it did not say when to come back."""

    status: int
    retry_after_sec: float = 0.0


class Webhook:
    """Posts to one address, over connections that stay open for a while. Texts of its errors name the host and no more."""

    def __init__(
        self, options: WebhookBroker, timeout_sec: float, clock: Clock, resolve: Resolve | None = None
    ) -> None:
        try:
            import httpcore

            from anystrat.adapters.pinned_network import PinnedNetwork
            from anystrat.adapters.pinned_network import resolve as by_the_system
        except ImportError:
            raise MissingExtra("webhooks", "webhook") from None
        parts = options.parts()
        self.host = host_of(parts)
        self._options = options
        self._clock = clock
        self._timeout_sec = _SHARE * timeout_sec
        self._network: PinnedNetwork = PinnedNetwork(resolve or by_the_system, allow_private=options.allow_private)
        self._url = httpcore.URL(
            scheme=parts.scheme.encode(),
            host=self.host.encode(),
            port=parts.port,
            target=((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode(),
        )
        self._headers = [(b"Host", self._host_header(parts.port, parts.scheme)), *_logins(options)]
        self._key = None if options.secret is None else signing_key(options.secret.reveal())
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def open(self) -> None:
        """Look whether the host can be reached, and may be. Raises `NotReached`."""
        import httpcore

        await self.close()
        trust, tls = self._trust(), self._url.scheme == b"https"
        pool = httpcore.AsyncConnectionPool(
            ssl_context=trust, max_connections=1, keepalive_expiry=5.0, network_backend=self._network
        )
        port, patience = self._url.port or (443 if tls else 80), _CONNECT_SHARE * self._timeout_sec
        try:
            stream = await self._network.connect_tcp(self.host, port, patience)
            if tls:
                stream = await stream.start_tls(trust, self.host, patience)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, AnystratError) as error:
            raise self._not_reached(error) from error
        with suppress(Exception):  # it was only to see
            await stream.aclose()
        self._pool = pool

    async def post(self, body: bytes, key: str) -> Answer:
        """Post JSON under an idempotency key, once. Raises `NotReached`, `Lost`; `TimeoutError` counts as the latter."""
        import httpcore

        pool = self._pool
        if pool is None:
            raise NotReached(f"the webhook to {self.host} is not open")
        second = self._clock.now_ns() // 1_000_000_000
        headers = [
            *self._headers,
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
            (b"User-Agent", b"anystrat"),
            (b"Idempotency-Key", key.encode()),
            (b"Webhook-Id", key.encode()),
            (b"Webhook-Timestamp", str(second).encode()),
        ]
        if self._key is not None:
            headers.append((b"Webhook-Signature", signature(self._key, key, second, body).encode()))
        connect, rest = _CONNECT_SHARE * self._timeout_sec, self._timeout_sec
        limits = {"connect": connect, "pool": connect, "write": rest, "read": rest}
        request = httpcore.Request("POST", self._url, headers=headers, content=body, extensions={"timeout": limits})
        try:
            async with within(self._timeout_sec):
                response = await pool.handle_async_request(request)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, AnystratError) as error:
            raise self._not_reached(error) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError) as error:
            raise Lost(f"{self.host} did not answer: {_why(error)}") from error
        try:
            return Answer(response.status, self._retry_after(response.headers))
        finally:
            await _finished(response)

    async def close(self) -> None:
        """Close its connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(Exception):  # a broken connection closes as well
                await pool.aclose()

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._options.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise NotReached(f"ca_file: {self._options.ca_file} cannot be used: {error}") from error

    def _host_header(self, port: int | None, scheme: str) -> bytes:
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = port is None or port == (443 if scheme == "https" else 80)
        return (name if usual else f"{name}:{port}").encode()

    def _not_reached(self, error: Exception) -> NotReached:
        return NotReached(f"the webhook to {self.host} cannot be reached: {_why(error)}")

    def _retry_after(self, headers: list[tuple[bytes, bytes]]) -> float:
        """Seconds, from a number or a date; at least a little where the server asks for patience at all."""
        text = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
        if _DIGITS.fullmatch(text):
            return float(text) or 0.1
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError):
            return 0.0
        return max(0.1, moment.timestamp() - self._clock.now_ns() / 1e9)


def signing_key(secret: str) -> bytes:
    """The key in a secret: `whsec_` and base64, as Standard Webhooks write it; any other text is the key itself."""
    if secret.startswith("whsec_"):
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()


def signature(key: bytes, message_id: str, second: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`: Standard Webhooks 1.0."""
    signed = hmac.new(key, f"{message_id}.{second}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def _logins(options: WebhookBroker) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode(), value.reveal().encode()) for name, value in options.headers.items()]
    parts = options.parts()
    if options.token is not None:
        headers.append((b"Authorization", b"Bearer " + options.token.reveal().encode()))
    elif parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers.append((b"Authorization", b"Basic " + base64.b64encode(login)))
    return headers


async def _finished(response: httpcore.Response) -> None:
    """Read a short body, so that the connection can be used again; a long or slow one costs the connection."""
    read = 0
    with suppress(Exception):
        async with within(_BODY_SEC):
            async for part in response.aiter_stream():
                read += len(part)
                if read > _MOST_BODY:
                    break
    with suppress(Exception):
        await response.aclose()


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    return str(error) or type(error).__name__
