"""Connections to addresses that were looked at first: what a name resolves to is checked, and that very address is used.

Between a check and a use of a *name*, its meaning can change (DNS rebinding). Here there is one look-up a connection; all
of its answers are checked, and an address of it is connected to. TLS and the `Host` header go by the name as ever.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, cast

import httpcore

from anystrat.domain.errors import AnystratError

#: Answers with the addresses of a host, in the order in which they are tried. Raises `OSError` where it has none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: IPv4 in IPv6, by translators: the last 32 bits are the address.
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
#: A site's own translators, and the site-local addresses of old: not every Python knows that they are not global.
_OF_A_SITE: Final = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"))


class AddressRefused(AnystratError):
    """A name stands for an address that must not be connected to."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver, in a thread of the loop's."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def refusal(address: str, *, allow_private: bool = False) -> str:
    """Why an address must not be connected to; empty where it may.

    `allow_private` lets this machine and private networks in; link-local addresses, where clouds keep their metadata, and
    what is no one machine's are never let in. An IPv4 address within an IPv6 one is judged as such.
    """
    try:
        found = _innermost(ip_address(address))
    except ValueError:
        return "no IP address"
    if found.is_link_local:
        return "link-local, where clouds keep their metadata"
    if found.is_multicast or found.is_unspecified:
        return "no one machine's"
    if found.is_loopback:
        return "" if allow_private else "this machine's"
    if found.is_global and not found.is_reserved and not any(found in network for network in _OF_A_SITE):
        return ""
    return "" if allow_private and found.is_private and not found.is_reserved else "not a public address"


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore. Raises `AddressRefused`: one bad address among several refuses them all."""

    def __init__(self, resolve: Resolve = resolve, *, allow_private: bool = False) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        # Its package has a stand-in for it where anyio is missing, which httpx never is without.
        self._sockets = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """What the host stands for now, checked. Raises `AddressRefused`, `httpcore.ConnectError`."""
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address") from error
        for address in found:
            why = refusal(address, allow_private=self._allow_private)
            if why:
                mended = not self._allow_private and not refusal(address, allow_private=True)
                hint = "; where that is meant: allow_private: true" if mended else ""
                raise AddressRefused(f"{host} is {address}, {why}{hint}")
        if not found:
            raise httpcore.ConnectError(f"{host} has no address")
        return found

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's own interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`: to the first of the checked addresses that answers."""
        failed: Exception | None = None
        for address in await self.addresses(host, port):
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = failed or error
        assert failed is not None
        raise failed

    async def sleep(self, seconds: float) -> None:
        """See `httpcore.AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and address in _TRANSLATED:
        inner = IPv4Address(address.packed[-4:])
    return address if inner is None else inner
