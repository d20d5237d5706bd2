"""Hears of changed rows: LISTEN on a PostgreSQL channel, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from anystrat.domain.errors import MissingExtra

#: Changes that come together are one.
_QUIET_SEC: Final = 0.2
_CONNECT_SEC: Final = 10
_LONGEST_WAIT_SEC: Final = 30.0


class PostgresWatch:
    """Awaits `changed()` after each notification on `channel`, and after each connecting: what was told meanwhile is lost.

    Notifications that come within 0.2 seconds of each other are one. A lost connection is told of by `lost(words)`, and made
    again after a wait that doubles up to half a minute. `url` may hold a password, and is in no message.
    """

    def __init__(
        self,
        url: str,
        channel: str,
        changed: Callable[[], Awaitable[None]],
        lost: Callable[[str], None],
        *,
        wait_sec: float = 1.0,
    ) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("watching a PostgreSQL table", "postgres") from None
        self._psycopg: Any = psycopg
        # SQLAlchemy's addresses name the driver.
        self._url = "postgresql://" + url.partition("://")[2]
        self._channel = channel
        self._changed = changed
        self._lost = lost
        self._wait_sec = wait_sec

    async def run(self) -> None:
        """Until it is cancelled."""
        wait = self._wait_sec
        while True:
            try:
                async with await self._connected() as connection:
                    wait = self._wait_sec
                    await self._hear(connection)
            except self._psycopg.Error as error:
                state = getattr(error, "sqlstate", None)
                self._lost(
                    f"PostgreSQL, channel {self._channel}: {type(error).__name__}" + (f" ({state})" if state else "")
                )
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SEC)

    async def _connected(self) -> Any:
        return await self._psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            connect_timeout=_CONNECT_SEC,
            application_name="anystrat watch",
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
        )

    async def _hear(self, connection: Any) -> None:
        sql = self._psycopg.sql
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        await self._changed()
        while True:
            async for _ in connection.notifies(stop_after=1):
                pass
            async for _ in connection.notifies(timeout=_QUIET_SEC):
                pass
            await self._changed()
