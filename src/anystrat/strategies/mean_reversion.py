"""Mean reversion: trade against a price that has gone far from its recent mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import LARGEST_SIZE, LONGEST_WINDOW, Doc, Ge, Gt, Le, Unit
from anystrat.domain.signal import BUY, SELL, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.indicators import deviation_around, equal_before, is_flat, mean, reach_of
from anystrat.strategies.price_rule import (
    REASONS_KEPT,
    SignalColumns,
    dense_columns,
    price_rule_signal,
    settled_by_doubles,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def mean_reversion_kernel(prices: Sequence[float], end: int, lookback: int, z_entry: float) -> tuple[int, float, float]:
    """(side, confidence, z) from `prices[end - lookback : end]`; side 0 is no signal, z is 0 where the window is flat."""
    start = end - lookback
    if is_flat(prices, start, end):
        return 0, 0.0, 0.0
    centre = mean(prices, start, end)
    deviation = deviation_around(prices, start, end, centre)
    # Squares of distances below 1e-162 underflow to zero: such a window is as good as flat.
    if deviation == 0.0:
        return 0, 0.0, 0.0
    return score_decision((prices[end - 1] - centre) / deviation, z_entry)


def score_decision(z: float, z_entry: float) -> tuple[int, float, float]:
    """(side, confidence, z) for a z-score."""
    if z <= -z_entry:
        side = 1
    elif z >= z_entry:
        side = 2
    else:
        return 0, 0.0, z
    confidence = abs(z) / 3.0
    if not confidence < 1.0:
        confidence = 1.0
    return side, confidence, z


def mean_reversion_fired(
    prices: Sequence[float],
    first: int,
    at: MutableSequence[int],
    side: MutableSequence[int],
    confidence: MutableSequence[float],
    value: MutableSequence[float],
    lookback: int,
    z_entry: float,
) -> int:
    """See `ColumnRule.fired`: where `possible_scores` cannot rule a signal out, the literal formula decides."""
    candidates = possible_scores(prices, first, at, lookback, z_entry)
    count = 0
    # What is read from `at` here lies at or after what is written to it.
    for k in range(0, candidates, 4):
        group = min(4, candidates - k)
        ends = at[k], at[min(k + 1, candidates - 1)], at[min(k + 2, candidates - 1)], at[min(k + 3, candidates - 1)]
        scores = four_scores(prices, ends[0] + 1, ends[1] + 1, ends[2] + 1, ends[3] + 1, lookback)
        for lane in range(group):
            found, sure, z = score_decision(scores[lane], z_entry)
            if found != 0:
                at[count] = ends[lane]
                side[count] = found
                confidence[count] = sure
                value[count] = z
                count += 1
    return count


def possible_scores(
    prices: Sequence[float], first: int, at: MutableSequence[int], lookback: int, z_entry: float
) -> int:
    """Write to `at` the ticks from `first` on whose windows may give a signal; how many. None that does is left out.

    Running sums of distances from a base price say in a few operations a tick that most windows give none. They only
    screen: no result is made of them. Every `stretch` ticks they begin anew from the prices themselves.

    With n = lookback, x = p - base, D = n·x[-1] - Σx and W = n·Σx² - (Σx)² it is D = n·(p[-1] - mean) and W = (n·σ)²,
    exactly; so |z| < z_entry where D² < z_entry²·W. Let u = 2^-53 and X the largest |x| of the stretch, and
    count roundings, each of at most u times the magnitude that is rounded:
    - Each x is a rounded difference: |error| <= uX. Taken together these move D by at most 2nuX, W by 5n²uX².
    - A sum begins with n - 1 additions, and each of at most `stretch` ticks adds one rounded difference of two terms;
      no partial sum is beyond (n + 1)X, or (n + 1)X² for the squares, whose own rounding adds n·uX². With
      K = n + stretch + 16 the sums err by less than K(n+2)uX and K(n+2)uX².
    - So D, with its own two roundings, errs by less than 2K(n+2)uX, and W by less than 4n(n+2)KuX²: n times the error
      of the squares, 2nX times that of the sum, and three roundings of at most n²X² each.
    - The literal formula rounds too: its mean by at most (n+1)u times the largest price, its deviation and quotient by
      a factor within 1 ± (n+12)u. It takes the squares around its own mean, which only makes the deviation larger.
    `blur` bounds the first and the mean's rounding, `doubt` the second, `slack` the factor; each is at least 1.5 times
    what is needed, which covers its own roundings and terms in u². Where squares could underflow or overflow a comparison
    below fails, and the literal formula is asked. A flat window is one of n equal prices in a row.
    """
    n = lookback
    size = len(prices)
    stretch = stretch_of(n)
    k = float(n + stretch + 16)
    slack = 1.0 + (n + 64) * 4.440892098500626e-16
    limit = z_entry * z_entry
    if limit < 1e-50:
        limit = 0.0
    many = float(n)
    count = 0
    j = max(first, n - 1)
    same = equal_before(prices, j, n)
    while j < size:
        base = prices[j]
        total = 0.0
        squares = 0.0
        for price in prices[j - n + 1 : j]:
            x = price - base
            total += x
            squares += x * x
        stop = min(size, j + stretch)
        reach = reach_of(prices, j - n + 1, stop, base)
        blur = ((n + 2.0) * k * 1.5 * reach + n * (n + 1.0) * (base + reach)) * 2.220446049250313e-16
        doubt = n * (n + 2.0) * k * 3.0 * 2.220446049250313e-16 * (reach * reach)
        if not (n + 2.0) * (n + 2.0) * (reach * reach) < 1e300:
            doubt = math.inf
        entering = prices[j:stop]
        leaving = prices[j - n + 1 : stop - n + 1]
        old = 0.0
        old_square = 0.0
        before = prices[j - 1] if j > 0 else 0.0
        for i in range(stop - j):
            price = entering[i]
            same = same + 1 if price == before else 1
            before = price
            x = price - base
            total += x - old
            squares += x * x - old_square
            old = leaving[i] - base
            old_square = old * old
            distance = abs(many * x - total) + blur
            room = (many * squares - total * total) - doubt
            # Without branches: which way they go is as hard to foresee as the market.
            sure = (room > 1e-250) & (distance * distance * slack < limit * room)
            at[count] = j + i
            count += (not sure) & (same < n)
        j = stop
    return count


def stretch_of(lookback: int) -> int:
    """For how many ticks running sums are carried on before they begin anew."""
    return max(256, 4 * lookback)


def screen_of(lookback: int, z_entry: float) -> tuple[float, float, float, float, float]:
    """What `surely_none` weighs running sums with: (reach_blur, base_blur, doubt, edge, cap); see `possible_scores`."""
    n = float(lookback)
    k = n + stretch_of(lookback) + 16.0
    unit = 2.220446049250313e-16
    limit = z_entry * z_entry
    return (
        ((n + 2.0) * k * 1.5 + n * (n + 1.0)) * unit,
        n * (n + 1.0) * unit,
        n * (n + 2.0) * k * 3.0 * unit,
        limit / (1.0 + (n + 64.0) * 2.0 * unit) if limit >= 1e-50 else 0.0,
        1e150 / (n + 2.0),
    )


def surely_none(
    total: float,
    squares: float,
    x: float,
    reach: float,
    base: float,
    many: float,
    reach_blur: float,
    base_blur: float,
    doubt: float,
    edge: float,
    cap: float,
) -> bool:
    """Whether running sums over a window of `many` ticks prove that `mean_reversion_kernel` gives no signal for it.

    They are those of `possible_scores`, at most `stretch_of` ticks old: `total` and `squares` sum up `p - base` and its
    square, `x` is that of the last price, `reach` the largest of them, without sign, since they began. The rest is
    `screen_of` the rule.
    """
    distance = abs(many * x - total) + (reach_blur * reach + base_blur * base)
    room = (many * squares - total * total) - doubt * (reach * reach)
    return reach < cap and room > 1e-250 and distance * distance < edge * room


def four_scores(
    prices: Sequence[float], end0: int, end1: int, end2: int, end3: int, lookback: int
) -> tuple[float, float, float, float]:
    """The z-scores of four windows that are not flat, as `mean_reversion_kernel` has them; NaN where it has none.

    Sums from left to right wait for each addition before the next; four at a time wait together.
    """
    n = lookback
    window0 = prices[end0 - n : end0]
    window1 = prices[end1 - n : end1]
    window2 = prices[end2 - n : end2]
    window3 = prices[end3 - n : end3]
    centre0 = centre1 = centre2 = centre3 = 0.0
    for i in range(n):
        centre0 += window0[i]
        centre1 += window1[i]
        centre2 += window2[i]
        centre3 += window3[i]
    centre0 /= n
    centre1 /= n
    centre2 /= n
    centre3 /= n
    squares0 = squares1 = squares2 = squares3 = 0.0
    for i in range(n):
        distance = window0[i] - centre0
        squares0 += distance * distance
        distance = window1[i] - centre1
        squares1 += distance * distance
        distance = window2[i] - centre2
        squares2 += distance * distance
        distance = window3[i] - centre3
        squares3 += distance * distance
    return (
        _score(window0[n - 1], centre0, math.sqrt(squares0 / n)),
        _score(window1[n - 1], centre1, math.sqrt(squares1 / n)),
        _score(window2[n - 1], centre2, math.sqrt(squares2 / n)),
        _score(window3[n - 1], centre3, math.sqrt(squares3 / n)),
    )


def _score(now: float, centre: float, deviation: float) -> float:
    return math.nan if deviation == 0.0 else (now - centre) / deviation


@dataclass(frozen=True, slots=True)
class MeanReversionParameters:
    """Parameters of `mean_reversion`."""

    lookback_periods: Annotated[
        int,
        Ge(1),
        Le(LONGEST_WINDOW),
        Unit("ticks"),
        Doc("Mean and standard deviation are taken over this many ticks, the current included."),
    ] = 20
    z_entry: Annotated[
        float, Ge(0), Unit("standard deviations"), Doc("A signal needs a z-score at least this far from 0.")
    ] = 1.0
    position_size: Annotated[int, Gt(0), Le(LARGEST_SIZE), Unit("units"), Doc("Quantity of every signal.")] = 100


@dataclass(frozen=True, slots=True)
class MeanReversion:
    """z-score of the price in its window: at or below `-z_entry` BUY, at or above `z_entry` SELL; flat: no signal."""

    parameters: MeanReversionParameters

    def get_required_history_length(self) -> int:
        return self.parameters.lookback_periods

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return "mean_reversion"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        return price_rule_signal(self, tick, history)

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        parameters = self.parameters
        decision = mean_reversion_kernel(prices, end, parameters.lookback_periods, parameters.z_entry)
        return decision if decision[0] else None

    def measure(self, prices: Sequence[float], end: int) -> Measurement:
        lookback, z_entry = self.parameters.lookback_periods, self.parameters.z_entry
        centre = mean(prices, end - lookback, end)
        deviation = deviation_around(prices, end - lookback, end, centre)
        values = {"mean": centre, "deviation": deviation, "now": prices[end - 1]}
        if deviation == 0.0 or is_flat(prices, end - lookback, end):
            return Measurement(values, (), f"flat: the last {lookback} prices are as good as equal")
        _, _, z = mean_reversion_kernel(prices, end, lookback, z_entry)
        return Measurement(values, (Condition("z", z, "<=", -z_entry, BUY), Condition("z", z, ">=", z_entry, SELL)))

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:  # noqa: ARG002
        return mean_reversion_fired, (self.parameters.lookback_periods, self.parameters.z_entry)

    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:  # noqa: ARG002
        return settled_by_doubles(self, prices, end)

    def process_columns(self, prices: NDArray[np.float64], first: int) -> SignalColumns:
        return dense_columns(self, prices, first)

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        return _reason(side, (abs(value) * 100.0 + 0.5) // 1.0, self.parameters.lookback_periods), {"z": value}


@lru_cache(REASONS_KEPT)
def _reason(side: int, hundredths_of_deviations: float, lookback: int) -> str:
    where = "below" if side == 1 else "above"
    return f"price {hundredths_of_deviations / 100.0:.2f} standard deviations {where} its mean of {lookback} ticks"


def _build(parameters: MeanReversionParameters, context: BuildContext) -> MeanReversion:  # noqa: ARG001
    return MeanReversion(parameters)


MEAN_REVERSION = StrategyType(
    "mean_reversion", "rules", MeanReversionParameters, _build, "Trade against a price far from its recent mean."
)
