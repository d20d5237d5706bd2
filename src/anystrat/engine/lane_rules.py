"""A lane's rules on one tick: most of the time numbers that are carried on say that there is no signal.

Written in the part of Python that Numba compiles unchanged; what decides are the very functions of the other paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anystrat.engine.lane_tables import BREAKOUT, MEAN_REVERSION, MOMENTUM
from anystrat.strategies.breakout import breakout_kernel
from anystrat.strategies.mean_reversion import mean_reversion_kernel, stretch_of, surely_none
from anystrat.strategies.momentum import momentum_kernel
from anystrat.strategies.sma_crossover import sma_crossover_kernel

if TYPE_CHECKING:
    from anystrat.engine.lane_tables import Lanes


def quiet_score(lanes: Lanes, rule: int, k: int, ticks: int, end: int, count: int, gone: float) -> bool:
    """Carry the running sums `k` of a rule on to this tick, number `ticks`; whether they rule a signal out.

    `gone` is the price that left the window; of a window of more ticks than the rule's, its own left one is still there.
    """
    n = lanes.rule.periods[rule]
    now = lanes.prices[end - 1]
    if lanes.sums.left[k] <= 0 or lanes.sums.seen[k] + 1 != ticks:
        base = now
        total = 0.0
        squares = 0.0
        reach = 0.0
        for price in lanes.prices[end - n : end]:
            x = price - base
            total += x
            squares += x * x
            reach = max(reach, abs(x))
        lanes.sums.base[k] = base
        lanes.sums.left[k] = stretch_of(n)
        x = 0.0
    else:
        base = lanes.sums.base[k]
        x = now - base
        # The window was full before this tick too, or the sums would not have begun.
        old = (lanes.prices[end - 1 - n] if n < count else gone) - base
        total = lanes.sums.total[k] + (x - old)
        squares = lanes.sums.squares[k] + (x * x - old * old)
        reach = max(lanes.sums.reach[k], abs(x))
        lanes.sums.left[k] -= 1
    lanes.sums.seen[k] = ticks
    lanes.sums.total[k] = total
    lanes.sums.squares[k] = squares
    lanes.sums.reach[k] = reach
    return surely_none(
        total,
        squares,
        x,
        reach,
        base,
        float(n),
        lanes.rule.reach_blur[rule],
        lanes.rule.base_blur[rule],
        lanes.rule.doubt[rule],
        lanes.rule.edge[rule],
        lanes.rule.cap[rule],
    )


def evaluated(lanes: Lanes, rule: int, kind: int, end: int) -> tuple[int, float, float]:
    """(side, confidence, value) of a rule; a side of -1 is one that doubles cannot tell."""
    periods = lanes.rule.periods[rule]
    level = lanes.rule.level[rule]
    if kind == MOMENTUM:
        return momentum_kernel(lanes.prices, end, periods, level)
    if kind == MEAN_REVERSION:
        return mean_reversion_kernel(lanes.prices, end, periods, level)
    if kind == BREAKOUT:
        return breakout_kernel(lanes.prices, end, periods, level)
    return sma_crossover_kernel(lanes.prices, end, periods, lanes.rule.longer[rule])
