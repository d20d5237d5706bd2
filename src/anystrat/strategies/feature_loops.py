"""The built-in features over whole columns, as loops for a compiler: `loop(prices, out, k)`, the indicators' bits.

`out[i]` is the feature at the `i`-th place that has its history. Each row adds up in the indicators' order, from left to
right; rows go side by side, `LANES` at a time, so that one row's addition need not wait for another's. Where a row needs
a minimum and a maximum they are carried along in stretches, as in `breakout_fired`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows whose sums wait for each other's loads: as many as stay in the first cache with their prices.
LANES: Final = 64


def return_loop(prices: NDArray[np.float64], out: NDArray[np.float64], k: int) -> None:
    """`ret_k`, as `one_return` has it."""
    now = prices[k:]
    before = prices[: len(prices) - k]
    for i in range(len(now)):
        out[i] = now[i] / before[i] - 1.0


def volatility_loop(prices: NDArray[np.float64], out: NDArray[np.float64], k: int) -> None:
    """`vol_k`, as `volatility` has it."""
    returns = np.empty(len(prices) - 1)
    return_loop(prices, returns, 1)
    centre = np.empty(LANES)
    for first in range(0, len(returns) - k + 1, LANES):
        rows = min(LANES, len(returns) - k + 1 - first)
        part = out[first : first + rows]
        mean_lanes(returns, first, k, rows, centre)
        deviation_lanes(returns, first, k, rows, centre, part)


def score_loop(prices: NDArray[np.float64], out: NDArray[np.float64], k: int) -> None:
    """`z_k`, as `zscore` has it."""
    centre = np.empty(LANES)
    deviation = np.empty(LANES)
    last = prices[0]
    same = 0
    for price in prices[: k - 1]:
        same = same + 1 if price == last else 1
        last = price
    for first in range(0, len(prices) - k + 1, LANES):
        rows = min(LANES, len(prices) - k + 1 - first)
        now = prices[first + k - 1 : first + k - 1 + rows]
        part = out[first : first + rows]
        mean_lanes(prices, first, k, rows, centre)
        deviation_lanes(prices, first, k, rows, centre, deviation)
        for lane in range(rows):
            price = now[lane]
            same = same + 1 if price == last else 1
            last = price
            # Flat is k equal prices in a row; squares of distances below 1e-162 underflow to zero.
            if same >= k or deviation[lane] == 0.0:
                part[lane] = 0.0
            else:
                part[lane] = (price - centre[lane]) / deviation[lane]


def position_loop(prices: NDArray[np.float64], out: NDArray[np.float64], k: int) -> None:
    """`pos_k`, as `position_in_range` has it."""
    rows = len(prices) - k + 1
    low_from = np.empty(k)
    high_from = np.empty(k)
    for first in range(0, rows, k):
        # The window of row `first + i` is the end of this stretch from its `i`-th price on, and the next stretch's
        # first `i` prices.
        stretch = prices[first : first + k]
        low = math.inf
        high = 0.0
        for back in range(k):
            price = stretch[k - 1 - back]
            low = min(low, price)
            high = max(high, price)
            low_from[k - 1 - back] = low
            high_from[k - 1 - back] = high
        here = min(k, rows - first)
        ends = prices[first + k - 1 : first + k - 1 + here]
        part = out[first : first + here]
        low = math.inf
        high = 0.0
        for i in range(here):
            now = ends[i]
            if i > 0:
                low = min(low, now)
                high = max(high, now)
            lowest = min(low, low_from[i])
            highest = max(high, high_from[i])
            part[i] = 0.5 if highest == lowest else (now - lowest) / (highest - lowest)


def mean_lanes(values: NDArray[np.float64], first: int, k: int, rows: int, centre: NDArray[np.float64]) -> None:
    """The means of `rows` windows of `k` values, the first from `first` on."""
    for lane in range(rows):
        centre[lane] = 0.0
    for place in range(first, first + k):
        beside = values[place : place + rows]
        for lane in range(rows):
            centre[lane] += beside[lane]
    for lane in range(rows):
        centre[lane] /= k


def deviation_lanes(
    values: NDArray[np.float64],
    first: int,
    k: int,
    rows: int,
    centre: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> None:
    """The root of the mean squared distance from `centre`, of the same windows."""
    for lane in range(rows):
        deviation[lane] = 0.0
    for place in range(first, first + k):
        beside = values[place : place + rows]
        for lane in range(rows):
            distance = beside[lane] - centre[lane]
            deviation[lane] += distance * distance
    for lane in range(rows):
        deviation[lane] = math.sqrt(deviation[lane] / k)
