"""A family of features: `wiggle_k`, how much of the way of the last k steps was in vain."""

from __future__ import annotations

from collections.abc import Sequence

from anystrat import register_feature


def wiggle(prices: Sequence[float], end: int, k: int) -> float:
    """1 less the distance between both ends over the length of the way; 0 where nothing moved."""
    way = 0.0
    for i in range(end - k, end):
        way += abs(prices[i] - prices[i - 1])
    return 1.0 - abs(prices[end - 1] - prices[end - 1 - k]) / way if way else 0.0


def history(k: int) -> int:
    """The prices that `wiggle_k` reads."""
    return k + 1


def register() -> None:
    """What the entry point names."""
    register_feature("wiggle", wiggle, history)
