"""The options of what is posted to somebody's web address, and which addresses that may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from anystrat.domain.configuration import Secret
from anystrat.domain.parameters import Doc, ParameterError

_NOT_IN_A_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: What the request says of itself; a header of the same name would contradict it.
_OURS: Final = frozenset(
    {
        *("connection", "content-length", "content-type", "expect", "host", "idempotency-key", "te", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)


@dataclass(frozen=True, slots=True)
class WebhookBroker:
    """Signals as signed HTTP POST requests; the signal id is the idempotency key."""

    url: Annotated[Secret, Doc("https:// address; http:// needs `allow_private`.")]
    hosts: Annotated[
        tuple[str, ...],
        Doc("Hosts that `url` may name, `*.example.com` for all below it; without any, whichever it names."),
    ] = ()
    headers: Annotated[Mapping[str, Secret], Doc("Headers of every request.")] = field(default_factory=dict)
    token: Annotated[Secret | None, Doc("Sent as a bearer token.")] = None
    secret: Annotated[
        Secret | None,
        Doc("Signs every request with HMAC-SHA-256, as Standard Webhooks have it; `whsec_…` or any text."),
    ] = None
    allow_private: Annotated[bool, Doc("Allow plain http, and addresses of this machine and the own network.")] = False
    ca_file: Annotated[
        Path | None, Doc("Certificates (PEM) that the server's is checked against, instead of the system's.")
    ] = None

    def __post_init__(self) -> None:
        parts = self.parts()
        if parts.scheme == "http" and not self.allow_private:
            raise ParameterError("url", "must begin with https://; plain http needs `allow_private: true`")
        host = host_of(parts)
        if self.hosts and not any(_covers(each, host) for each in self.hosts):
            raise ParameterError("url", f"names a host that `hosts` does not list; allowed: {', '.join(self.hosts)}")
        if parts.username and (self.token is not None or any(name.lower() == "authorization" for name in self.headers)):
            raise ParameterError("url", "holds a user, and `token` or `headers` log in as well; keep one of them")
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name):
                raise ParameterError("headers", f"{name!r} is no name of a header")
            if name.lower() in _OURS or (name.lower() == "authorization" and self.token is not None):
                raise ParameterError("headers", f"{name} is set by the webhook itself")
            text = value.reveal()
            if not (text.isascii() and text.isprintable()):
                raise ParameterError("headers", f"the value of {name} must be printable ASCII")
        if self.token is not None and not (self.token.reveal().isascii() and self.token.reveal().isprintable()):
            raise ParameterError("token", "must be printable ASCII")

    def parts(self) -> SplitResult:
        """The address, taken apart. Raises `ParameterError` where it is none."""
        text = self.url.reveal()
        if not text.startswith(("https://", "http://")):
            raise ParameterError("url", "must begin with https:// (or http://)")
        wrong = ParameterError("url", "must be an address as https://host:port/path, in ASCII and without a fragment")
        try:
            parts = urlsplit(text)
            usable = bool(parts.hostname) and parts.port != 0 and not parts.fragment and text.isascii()
        except ValueError:
            raise wrong from None
        if not usable or _NOT_IN_A_URL.search(text):
            raise wrong
        return parts


def host_of(parts: SplitResult) -> str:
    """The host, as it is compared: lower case, without a last dot."""
    return (parts.hostname or "").lower().rstrip(".")


def _covers(pattern: str, host: str) -> bool:
    pattern = pattern.lower().rstrip(".")
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
