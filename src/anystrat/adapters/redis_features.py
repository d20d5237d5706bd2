"""A feature store in Redis: vectors that several processes share, and that outlive each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.adapters.feature_memory import FeatureMemory
from anystrat.adapters.redis_client import redis_client, redis_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How long a server that failed is left alone.
_ALONE_SEC: Final = 5.0


class RedisFeatures:
    """A `FeatureStore` in Redis, the last `size` vectors in memory before it. What is not asked for lives `ttl_sec` there.

    Features are computed where there are none, so that a server which does not answer within `timeout_sec` costs time
    and nothing else: it is counted in `failures`, and asked again after five seconds. For one thread. The first call raises
    `MissingExtra`.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        prefix: str,
        ttl_sec: int,
        timeout_sec: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0
        self._memory = FeatureMemory(size)
        self._url = url
        self._prefix = prefix
        self._ttl_sec = ttl_sec
        self._timeout_sec = timeout_sec
        self._clock = clock
        self._client: Any = None
        self._alone_until = -float("inf")

    def get(self, strategy_id: str, instrument_token: int, bar_ts: int) -> NDArray[np.float32] | None:
        """The vector that was put under this key, or None."""
        found = self._memory.get(strategy_id, instrument_token, bar_ts)
        if found is not None:
            return found
        key = self._key(strategy_id, instrument_token, bar_ts)
        data = self._asked(lambda client: client.getex(key, ex=self._ttl_sec))
        if not isinstance(data, bytes) or len(data) % 4:
            return None
        vector = np.frombuffer(data, "<f4").astype(np.float32)
        self._memory.put(strategy_id, instrument_token, bar_ts, vector)
        return vector

    def put(self, strategy_id: str, instrument_token: int, bar_ts: int, features: NDArray[np.float32]) -> None:
        """Keep a copy of the vector."""
        self._memory.put(strategy_id, instrument_token, bar_ts, features)
        key, data = self._key(strategy_id, instrument_token, bar_ts), features.astype("<f4").tobytes()
        self._asked(lambda client: client.set(key, data, ex=self._ttl_sec))

    def _key(self, strategy_id: str, instrument_token: int, bar_ts: int) -> str:
        # Numbers first: whatever is in a strategy's name, no two keys are alike.
        return f"{self._prefix}{instrument_token}:{bar_ts}:{strategy_id}"

    def _asked(self, question: Callable[[Any], Any]) -> Any:
        if self._clock() < self._alone_until:
            return None
        if self._client is None:
            self._client = redis_client(self._url, timeout_sec=self._timeout_sec)
        try:
            return question(self._client)
        except redis_error():
            self.failures += 1
            self._alone_until = self._clock() + _ALONE_SEC
            return None
