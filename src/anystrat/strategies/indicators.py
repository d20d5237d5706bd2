"""Indicators over `prices[start:end]`, oldest first: each formula of SPEC written once, for every speed.

The functions are plain loops over numbers, so that they run as they stand on lists, arrays and memoryviews of doubles,
and compile unchanged. Sums go from left to right, one rounding a step: both ways give the same bits. The caller
guarantees `0 <= start < end <= len(prices)`; nothing outside is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def is_flat(prices: Sequence[float], start: int, end: int) -> bool:
    """Whether maximum = minimum over `prices[start:end]`."""
    first = prices[start]
    for price in prices[start:end]:  # noqa: SIM110  generators do not compile
        if price != first:
            return False
    return True


def mean(prices: Sequence[float], start: int, end: int) -> float:
    """The arithmetic mean of `prices[start:end]`: the sum from left to right, then one division."""
    total = 0.0
    for price in prices[start:end]:
        total += price
    return total / (end - start)


def deviation_around(prices: Sequence[float], start: int, end: int, centre: float) -> float:
    """The root of the mean squared distance of `prices[start:end]` from `centre`."""
    total = 0.0
    for price in prices[start:end]:
        distance = price - centre
        total += distance * distance
    return math.sqrt(total / (end - start))


def population_deviation(prices: Sequence[float], start: int, end: int) -> float:
    """The population standard deviation of `prices[start:end]`: the mean first, the squares in a second loop."""
    return deviation_around(prices, start, end, mean(prices, start, end))


def zscore(prices: Sequence[float], start: int, end: int) -> float:
    """How many population standard deviations the last of `prices[start:end]` lies above their mean; 0 if flat."""
    # The mean of equal prices is often not that price in doubles, so a deviation of zero would miss a flat window.
    if is_flat(prices, start, end):
        return 0.0
    centre = mean(prices, start, end)
    deviation = deviation_around(prices, start, end, centre)
    # Squares of distances below 1e-162 underflow to zero.
    if deviation == 0.0:
        return 0.0
    return (prices[end - 1] - centre) / deviation


def extremes(prices: Sequence[float], start: int, end: int) -> tuple[float, float]:
    """(minimum, maximum) of `prices[start:end]`."""
    low = prices[start]
    high = low
    for price in prices[start:end]:
        if price < low:
            low = price
        elif price > high:
            high = price
    return low, high


def position_in_range(prices: Sequence[float], start: int, end: int) -> float:
    """Where the last of `prices[start:end]` lies between their minimum (0) and maximum (1); 0.5 if flat."""
    low, high = extremes(prices, start, end)
    if high == low:
        return 0.5
    return (prices[end - 1] - low) / (high - low)


def one_return(prices: Sequence[float], start: int, end: int) -> float:
    """The relative change from the first to the last of `prices[start:end]`: `last / first - 1`."""
    return prices[end - 1] / prices[start] - 1.0


def volatility(prices: Sequence[float], start: int, end: int) -> float:
    """The population standard deviation of the one-step returns `p[i] / p[i-1] - 1` within `prices[start:end]`.

    `k` returns need `k + 1` prices: `vol_k` of a window is `volatility(prices, end - k - 1, end)`.
    """
    count = end - start - 1
    total = 0.0
    for i in range(start + 1, end):
        total += prices[i] / prices[i - 1] - 1.0
    centre = total / count
    squares = 0.0
    for i in range(start + 1, end):
        distance = (prices[i] / prices[i - 1] - 1.0) - centre
        squares += distance * distance
    return math.sqrt(squares / count)


def rsi(prices: Sequence[float], start: int, end: int, periods: int) -> float:
    """The relative strength index, 0..100, of `prices[start:end]`, which holds more than `periods` prices.

    The first averages are the means of the first `periods` gains and losses; after them Wilder's smoothing
    (J. Welles Wilder: "New Concepts in Technical Trading Systems", 1978). No losses: 100; neither gains nor losses: 50.
    """
    gain = 0.0
    loss = 0.0
    before = prices[start]
    for price in prices[start + 1 : start + periods + 1]:
        change = price - before
        before = price
        if change > 0.0:
            gain += change
        else:
            loss -= change
    gain = gain / periods
    loss = loss / periods
    for price in prices[start + periods + 1 : end]:
        change = price - before
        before = price
        up = 0.0
        down = 0.0
        if change > 0.0:
            up = change
        else:
            down = -change
        gain = (gain * (periods - 1) + up) / periods
        loss = (loss * (periods - 1) + down) / periods
    if loss == 0.0:
        if gain == 0.0:
            return 50.0
        return 100.0
    return 100.0 - 100.0 / (1.0 + gain / loss)


def equal_before(prices: Sequence[float], end: int, most: int) -> int:
    """How many equal prices `prices[:end]` ends with: at least 1, and not counted beyond `most`."""
    same = 1
    while same < most and same < end <= len(prices) and prices[end - 1 - same] == prices[end - 1]:
        same += 1
    return same


def reach_of(prices: Sequence[float], start: int, end: int, base: float) -> float:
    """The largest distance of `prices[start:end]` from `base`."""
    reach = 0.0
    for price in prices[start:end]:
        reach = max(reach, abs(price - base))
    return reach
