"""One connection to one NATS server, which never reconnects by itself: what was lost with it is known to be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

    from anystrat.domain.configuration import Secret


_RETRY_SEC: Final = 0.05


class NatsAccess(Protocol):
    """Where the servers are, and how one gets in."""

    @property
    def url(self) -> Secret: ...
    @property
    def user(self) -> Secret | None: ...
    @property
    def password(self) -> Secret | None: ...
    @property
    def token(self) -> Secret | None: ...
    @property
    def credentials(self) -> Path | None: ...


def servers_of(access: NatsAccess) -> list[str]:
    """The servers' addresses, in the order of the configuration."""
    return [server.strip() for server in access.url.reveal().split(",") if server.strip()]


async def connect(
    access: NatsAccess,
    server: str,
    on_lost: Callable[[], object],
    *,
    timeout_sec: int = 2,
    on_error: Callable[[Exception], object] | None = None,
) -> Client:
    """A client of this server; `on_lost` hears when the connection is gone, `on_error` what the client says of it. Raises what the client raises, `MissingExtra`."""
    try:
        from nats.aio.client import Client
    except ImportError:
        raise MissingExtra("NATS", "nats") from None

    async def lost() -> None:
        on_lost()

    async def noted(error: Exception) -> None:
        """Whatever matters of it ends the connection, or is raised where it is waited for."""
        if on_error is not None:
            on_error(error)

    login: dict[str, Any] = {
        name: value.reveal()
        for name, value in (("user", access.user), ("password", access.password), ("token", access.token))
        if value is not None
    }
    if access.credentials is not None:
        login["user_credentials"] = str(access.credentials)
    client = Client()
    try:
        await client.connect(
            server,
            allow_reconnect=False,
            # Without these, the client would try the one server for two minutes before it says anything.
            max_reconnect_attempts=1,
            reconnect_time_wait=_RETRY_SEC,  # type: ignore[arg-type]  # it sleeps for that long, fractions included
            connect_timeout=timeout_sec,
            error_cb=noted,
            disconnected_cb=lost,
            closed_cb=lost,
            name="anystrat",
            **login,
        )
    except BaseException:
        # A client that was refused may leave its socket open, which nobody could close any more.
        transport: Any = client._transport  # noqa: SLF001  it has no other way to it
        if transport is not None:
            transport.close()
        raise
    return client
