"""The last ticks of each instrument from a PostgreSQL table, so that a new run's windows are full at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from weakref import finalize

from anystrat.domain.errors import HistoryRefused, MissingExtra
from anystrat.domain.exact import to_decimal
from anystrat.domain.tick import MarketTick, TickRow

if TYPE_CHECKING:
    import psycopg

_CONNECT_SEC: Final = 10


class PostgresTicks:
    """A `HistoryProvider` over a table with `instrument_token`, `price`, and `ts_ns` or `timestamp`.

    `ts_ns` are nanoseconds, `timestamp` is a `timestamptz` (a `timestamp` counts as UTC). Only ticks from before `before_ns`
    are in it (None: all), and none that the engine would drop for its price. It connects when it is asked first. Raises
    `HistoryRefused`, `MissingExtra`.
    """

    def __init__(self, url: str, table: str, before_ns: Callable[[], int | None] = lambda: None) -> None:
        self._url = url
        self._table = table
        self._before_ns = before_ns
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._query: Any = None
        self._before: int | None = None

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        if count <= 0:
            return ()
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("a history in PostgreSQL", "postgres") from None
        try:
            if self._connection is None or self._connection.closed:
                self._open(psycopg)
            assert self._connection is not None
            found = self._connection.execute(
                self._query, {"token": instrument_token, "before": self._before, "count": count}
            ).fetchall()
        except psycopg.OperationalError:
            # The driver's own words may show the address, and with it a password.
            raise HistoryRefused(
                f"history: the PostgreSQL server does not answer; it was asked for table {self._table}"
            ) from None
        except psycopg.Error as error:
            words = " ".join(str(error).split())
            raise HistoryRefused(f"history: PostgreSQL, table {self._table}: {words}") from None
        return list(self._rows(instrument_token, reversed(found)))

    def _open(self, psycopg: Any) -> None:
        self._connection = connection = psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_SEC)
        finalize(self, connection.close)  # nobody says when the last question was asked
        sql = psycopg.sql
        table = sql.Identifier(*self._table.split("."))
        names = [
            column.name for column in connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description
        ]
        time = next((name for name in ("ts_ns", "timestamp") if name in names), None)
        if time is None or not {"instrument_token", "price"} <= set(names):
            raise HistoryRefused(
                f"history: PostgreSQL, table {self._table}: expected columns instrument_token, price, and ts_ns or "
                f"timestamp; found {', '.join(names)}"
            )
        self._before = self._before_ns()
        nanoseconds, limit = "{time}", "%(before)s"
        if time == "timestamp":
            connection.execute("SET TIME ZONE 'UTC'")
            nanoseconds = "(extract(epoch FROM {time}) * 1000000000)::bigint"
            # Microseconds, rounded up: a whole number of them is below one limit as below the other.
            limit = "'epoch'::timestamptz + ((%(before)s::bigint + 999) / 1000) * interval '1 microsecond'"
        self._query = sql.SQL(
            f"SELECT {nanoseconds}, price FROM {{table}} WHERE instrument_token = %(token)s "  # noqa: S608  words of ours
            f"AND (%(before)s::bigint IS NULL OR {{time}} < {limit}) "
            "AND price::float8 > 0 AND price::float8 < 'Infinity' ORDER BY {time} DESC LIMIT %(count)s"
        ).format(time=sql.Identifier(time), table=table)

    def _rows(self, token: int, found: Iterable[tuple[int, Any]]) -> Iterator[MarketTick]:
        for ts_ns, price in found:
            try:
                exact = to_decimal(price)
            except (InvalidOperation, ValueError, TypeError):
                raise HistoryRefused(
                    f"history: PostgreSQL, table {self._table}, instrument {token}: {price!r} is no price"
                ) from None
            yield TickRow(token, ts_ns, float(exact), exact).market_tick()
