"""How many units an amount of money buys, and how much a price moves, in plain numbers.

Written in the part of Python that Numba compiles unchanged, so that each formula stands here once for both speeds.
"""

from __future__ import annotations

import math
from typing import Protocol


class Prices(Protocol):
    """Prices by their place: a view of a window, a column, an array."""

    def __getitem__(self, place: int, /) -> float: ...


def units_for(amount: float, price: float, multiplier: float, lot: int, largest: int) -> int:
    """The units of whole lots that `amount` pays for at `price`; 0 where that is not one lot, and at most `largest`."""
    units = amount / (price * multiplier)
    if not units >= 1.0:
        return 0
    if units >= largest:
        return largest
    return math.floor(units) // lot * lot


def deviation_of(prices: Prices, end: int, periods: int) -> float:
    """The population standard deviation of the last `periods` one-step returns before place `end`: the feature `vol_k`.

    Needs `periods + 1` prices.
    """
    total = 0.0
    for i in range(end - periods, end):
        total += prices[i] / prices[i - 1] - 1.0
    centre = total / periods
    squares = 0.0
    for i in range(end - periods, end):
        distance = prices[i] / prices[i - 1] - 1.0 - centre
        squares += distance * distance
    return math.sqrt(squares / periods)


def leverage_for(target: float, deviation: float, most: float) -> float:
    """`target / deviation`, at most `most`: what a position may be worth over its account."""
    if deviation * most <= target:
        return most
    return target / deviation
