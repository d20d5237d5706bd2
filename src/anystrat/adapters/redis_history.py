"""The last ticks of each instrument from Redis streams, so that a new run's windows are full at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import InvalidOperation
from math import inf
from typing import Any, Final

from anystrat.adapters.redis_client import redis_client, redis_error
from anystrat.domain.errors import HistoryRefused
from anystrat.domain.exact import to_decimal
from anystrat.domain.tick import MarketTick, TickRow

_PAGE: Final = 1_000
_TIMEOUT_SEC: Final = 10.0


class RedisTicks:
    """A `HistoryProvider` over streams, one an instrument, whose entries have the fields `ts_ns` and `price`.

    `key` names the stream, with `{token}` in it. Only ticks from before `before_ns` are in it (None: all), and none that
    the engine would drop for its price or its order. Raises `HistoryRefused`, `MissingExtra`.
    """

    def __init__(self, url: str, key: str, before_ns: Callable[[], int | None] = lambda: None) -> None:
        self._url = url
        self._key = key
        self._before_ns = before_ns
        self._client: Any = None
        self._before: int | None = None

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        if count <= 0:
            return ()
        if self._client is None:
            self._client = redis_client(self._url, timeout_sec=_TIMEOUT_SEC)
            self._before = self._before_ns()
        key = self._key.replace("{token}", str(instrument_token))
        newest_first: list[TickRow] = []
        end = "+"
        try:
            while len(newest_first) < count:
                page = self._client.xrevrange(key, max=end, min="-", count=_PAGE)
                for name, fields in page:
                    self._take(key, name.decode(), instrument_token, fields, newest_first)
                    if len(newest_first) == count:
                        break
                if len(page) < _PAGE:
                    break
                end = f"({page[-1][0].decode()}"
        except redis_error() as error:
            raise HistoryRefused(f"history: Redis, stream {key}: {type(error).__name__}: {error}") from None
        return [row.market_tick() for row in reversed(newest_first)]

    def _take(
        self, key: str, name: str, token: int, fields: Mapping[bytes, bytes], newest_first: list[TickRow]
    ) -> None:
        try:
            exact = to_decimal(fields[b"price"].decode())
            row = TickRow(token, int(fields[b"ts_ns"]), float(exact), exact)
        except (KeyError, ValueError, InvalidOperation):
            found = {field.decode(errors="replace"): text.decode(errors="replace") for field, text in fields.items()}
            raise HistoryRefused(
                f"history: Redis, stream {key}, entry {name}: expected ts_ns (nanoseconds) and price; found {found}"
            ) from None
        late = newest_first and row.ts_ns > newest_first[-1].ts_ns
        if not late and 0.0 < row.price < inf and (self._before is None or row.ts_ns < self._before):
            newest_first.append(row)
