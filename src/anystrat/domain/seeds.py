"""Where the engine's only randomness comes from: a seed a strategy and broker, derived from the run's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def derived_seed(rng_seed: int, strategy_id: str, broker: str, tokens: Sequence[int] = ()) -> int:
    """A 64-bit seed that depends on nothing but its arguments."""
    text = "|".join([str(rng_seed), strategy_id, broker, *map(str, tokens)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
