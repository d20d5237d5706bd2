"""What a run came to, in figures: every formula once, each with its source, on plain arrays.

Returns are simple returns between two marks, one a UTC day on which there was a tick; the first is that from the starting
cash to the first day's close. `periods` is how many such days make a year: 252 where markets close at weekends, 365
where they do not. A figure that is not defined (no return, no loss, no trade) is NaN, never a large number.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_NS: Final = 86_400_000_000_000
TRADING_DAYS: Final = 252
CALENDAR_DAYS: Final = 365
#: More than one mark in twenty on a Saturday or Sunday, and the market does not close at weekends.
_WEEKEND_SHARE: Final = 0.05
_EULER: Final = 0.5772156649015329
#: A deviation below this share of the returns' size is the rounding of equal numbers.
_ROUNDING: Final = 1e-14


def returns_of(marks: NDArray[np.float64], start: float) -> NDArray[np.float64]:
    """Simple returns `e[k]/e[k-1] - 1`, shape (n,), of marks of shape (n,), the first against `start`.

    A mark of zero or below has no return after it: an account that lost everything earns nothing more.
    """
    before = np.empty(len(marks))
    before[:1], before[1:] = start, marks[:-1]
    returns = np.zeros(len(marks))
    np.divide(marks - before, before, out=returns, where=before > 0.0)
    return returns


def periods_of(days: NDArray[np.int64]) -> int:
    """How many marks make a year, for marks on these days (whole days since 1970): 365 with weekends among them, else 252."""
    # 1970-01-01 was a Thursday.
    weekend = np.isin((days + 3) % 7, (5, 6))
    return CALENDAR_DAYS if len(days) and float(np.mean(weekend)) > _WEEKEND_SHARE else TRADING_DAYS


def total_return(end: float, start: float) -> float:
    """`end/start - 1`."""
    return end / start - 1.0 if start > 0.0 else math.nan


def cagr(end: float, start: float, marks: int, periods: int) -> float:
    """Compound annual growth rate: `(end/start)^(periods/marks) - 1`; -1 for an account that was lost.

    Source: Bacon, Practical Portfolio Performance Measurement and Attribution, 2nd ed., ch. 3 (annualised returns).
    """
    if marks == 0 or start <= 0.0:
        return math.nan
    growth = end / start
    if growth <= 0.0:
        return -1.0
    exponent = math.log(growth) * periods / marks
    return math.expm1(exponent) if exponent < 700.0 else math.inf


def volatility(returns: NDArray[np.float64], periods: int) -> float:
    """Annualised sample standard deviation of the returns: `s * sqrt(periods)`. NaN for fewer than two returns.

    Source: Bacon, as above, ch. 4.
    """
    return _deviation(returns) * math.sqrt(periods)


def sharpe(returns: NDArray[np.float64], periods: int) -> float:
    """Mean return over its sample standard deviation, annualised: `mean/s * sqrt(periods)`; the riskless rate is zero.

    Source: Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21 (1994). NaN where the returns do not vary.
    """
    deviation = _deviation(returns)
    return _mean(returns) / deviation * math.sqrt(periods) if deviation > 0.0 else math.nan


def sortino(returns: NDArray[np.float64], periods: int) -> float:
    """Mean return over the downside deviation `sqrt(mean(min(r, 0)^2))`, annualised; the target is zero.

    Source: Sortino and Price, Performance Measurement in a Downside Risk Framework, Journal of Investing 3 (1994). NaN
    where no return is below zero.
    """
    if not len(returns):
        return math.nan
    downside = math.sqrt(_mean(np.minimum(returns, 0.0) ** 2))
    return _mean(returns) / downside * math.sqrt(periods) if downside > 0.0 else math.nan


def calmar(growth: float, drawdown: float) -> float:
    """Annual growth over the largest drawdown (a share, above zero). NaN without a drawdown.

    Source: Young, Calmar Ratio: A Smoother Tool, Futures 20 (1991).
    """
    return growth / drawdown if drawdown > 0.0 else math.nan


def drawdowns(marks: NDArray[np.float64], start: float) -> NDArray[np.float64]:
    """How far each mark is below the highest before it, `start` included, as a share of that: 0 at a new high.

    Source: Magdon-Ismail and Atiya, Maximum Drawdown, Risk 17 (2004).
    """
    peaks = np.maximum.accumulate(np.maximum(marks, start)) if len(marks) else marks
    depths = np.zeros(len(marks))
    np.divide(peaks - marks, peaks, out=depths, where=peaks > 0.0)
    return depths


def hit_rate(won: int, of: int) -> float:
    """The share of trades whose profit, after all costs, is above zero."""
    return won / of if of else math.nan


def profit_factor(won: float, lost: float) -> float:
    """The sum of the profits over that of the losses (zero or below), as a number above zero. NaN without a loss."""
    return won / -lost if lost < 0.0 else math.nan


def wilson(won: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval that a share of `won` of `of` is compatible with, at `z` standard errors (1.96: 95 %).

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    if of == 0:
        return 0.0, 1.0
    share, spread = won / of, z * z / of
    middle = (share + spread / 2.0) / (1.0 + spread)
    half = z * math.sqrt(share * (1.0 - share) / of + spread / (4.0 * of)) / (1.0 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def best_by_luck(sharpes: NDArray[np.float64]) -> float:
    """The Sharpe ratio that the best of so many trials without any skill is expected to have, in the ratios' own unit.

    `sd * ((1 - g) Q(1 - 1/n) + g Q(1 - 1/(n e)))` of n ratios with the sample deviation sd, where Q is the normal quantile
    and g Euler's constant. 0 for a single trial, NaN without one.

    Source: Bailey and Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40 (2014), eq. 1.
    """
    known = sharpes[np.isfinite(sharpes)]
    n = len(known)
    if n == 0:
        return math.nan
    if n == 1:
        return 0.0
    quantile = NormalDist().inv_cdf
    expected = (1.0 - _EULER) * quantile(1.0 - 1.0 / n) + _EULER * quantile(1.0 - 1.0 / (n * math.e))
    return float(np.std(known, ddof=1)) * expected


def probabilistic_sharpe(ratio: float, threshold: float, count: int, skew: float, kurtosis: float) -> float:
    """How likely it is that the true ratio behind one of `count` returns is above `threshold`, both per return.

    `Phi((ratio - threshold) sqrt(count - 1) / sqrt(1 - skew ratio + (kurtosis - 1)/4 ratio^2))`; a normal has a kurtosis
    of 3. NaN where the root is of nothing.

    Source: Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15 (2012).
    """
    error = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio * ratio
    if not error > 0.0:
        return math.nan
    return NormalDist().cdf((ratio - threshold) * math.sqrt(count - 1) / math.sqrt(error))


def deflated_sharpe(returns: NDArray[np.float64], threshold: float) -> float:
    """`probabilistic_sharpe` of these returns, with their own skewness and kurtosis.

    With `best_by_luck` of all trials' ratios, per return, for the threshold it is the deflated Sharpe ratio of one of
    them: above 0.95, more than the luck of many trials. NaN for returns that do not vary.

    Source: Bailey and Lopez de Prado (2014), as above, eq. 2.
    """
    deviation = _deviation(returns)
    if not deviation > 0.0 or math.isnan(threshold):
        return math.nan
    distance = returns - np.mean(returns)
    spread = float(np.mean(distance**2))
    skew = float(np.mean(distance**3)) / spread**1.5
    kurtosis = float(np.mean(distance**4)) / spread**2
    return probabilistic_sharpe(float(np.mean(returns)) / deviation, threshold, len(returns), skew, kurtosis)


def _mean(values: NDArray[np.float64]) -> float:
    # As NumPy's own, which takes several times as long to begin: a sweep has many short series.
    return float(np.add.reduce(values)) / len(values)


def _deviation(returns: NDArray[np.float64]) -> float:
    if len(returns) < 2:
        return math.nan
    distances = returns - _mean(returns)
    found = math.sqrt(float(np.add.reduce(distances * distances)) / (len(returns) - 1))
    # The mean of equal returns is often not that return in doubles.
    return found if found > _ROUNDING * float(np.maximum.reduce(np.abs(returns))) else 0.0
