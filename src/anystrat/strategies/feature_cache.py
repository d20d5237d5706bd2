"""A strategy's way to the feature store: for features that are dear to compute, and declared so.

What a store gives must be what would be computed. A feature is a function of the last prices; so the key says which
prices they were, and a vector that was put for others is never found.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.protocols import FeatureStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.tick import MarketTick


class FeatureCache:
    """The feature store, as one strategy uses it. The same features come out as without it."""

    def __init__(self, store: FeatureStore, strategy_id: str) -> None:
        self._store = store
        self._strategy_id = strategy_id

    def key(self, names: Sequence[str], prices: NDArray[np.float64], tick: MarketTick) -> tuple[str, int, int]:
        """(strategy, instrument, time) of these features over these prices, the tick's the last.

        The strategy's part carries a digest of names and prices: ticks of one time are told apart, and so are versions
        of a recording, and models that read other features.
        """
        digest = blake2b(",".join(names).encode(), digest_size=12)
        digest.update(prices.tobytes())
        return f"{self._strategy_id}:{digest.hexdigest()}", tick.instrument_token, tick.ts_ns

    def get(self, key: tuple[str, int, int], count: int) -> list[float] | None:
        """The values under this key, as the float32 that they are cast to; None where they have to be computed."""
        found = self._store.get(*key)
        return found.tolist() if found is not None and found.shape == (count,) else None

    def put(self, key: tuple[str, int, int], values: Sequence[float]) -> None:
        """Keep what was computed."""
        with np.errstate(over="ignore"):
            self._store.put(*key, np.array(values, np.float64).astype(np.float32))
