"""A feature store in memory: the vectors that were asked for last, and no more than it may hold."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FeatureMemory:
    """A `FeatureStore` of at most `size` vectors; beyond that the one that was least recently asked for or put goes.

    `hits`, `misses` and `evictions` count. For one thread, as the engines are.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"expected room for at least 1 vector; found {size}")
        self.size = size
        self.hits = self.misses = self.evictions = 0
        self._vectors: OrderedDict[tuple[str, int, int], NDArray[np.float32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, strategy_id: str, instrument_token: int, bar_ts: int) -> NDArray[np.float32] | None:
        """The vector that was put under this key, or None."""
        key = (strategy_id, instrument_token, bar_ts)
        found = self._vectors.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._vectors.move_to_end(key)
        return found

    def put(self, strategy_id: str, instrument_token: int, bar_ts: int, features: NDArray[np.float32]) -> None:
        """Keep a copy of the vector, which cannot be written to."""
        kept = features.copy()
        kept.flags.writeable = False
        key = (strategy_id, instrument_token, bar_ts)
        self._vectors[key] = kept
        self._vectors.move_to_end(key)
        if len(self._vectors) > self.size:
            self._vectors.popitem(last=False)
            self.evictions += 1
