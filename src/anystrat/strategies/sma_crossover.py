"""SMA crossover: trade when a fast mean of prices passes a slow one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

from anystrat.domain.exact import to_decimal
from anystrat.domain.measurement import Condition, Measurement
from anystrat.domain.parameters import LARGEST_SIZE, LONGEST_WINDOW, Doc, Ge, Gt, Le, ParameterError, Unit
from anystrat.domain.signal import BUY, SELL, SIDE_NAME, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType
from anystrat.strategies.indicators import equal_before, mean
from anystrat.strategies.price_rule import SignalColumns, dense_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The side of a decision that doubles cannot make: the exact decimals have to be asked.
UNDECIDED: Final = -1

# Sums and whole multiples of decimals are never rounded in it.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def sma_crossover_kernel(prices: Sequence[float], end: int, fast: int, slow: int) -> tuple[int, float, float]:
    """(side, confidence, fast mean / slow mean - 1) from `prices[end - slow - 1 : end]`; side 0 is no signal.

    The side is that of the exact prices, or -1 (`UNDECIDED`) where their doubles are too close to call; confidence and
    ratio hold then too, and the side is for `sma_grid_side` or `exact_crossover_side` to say.
    """
    fast_sum = 0.0
    for price in prices[end - fast : end]:
        fast_sum += price
    slow_sum = 0.0
    for price in prices[end - slow : end]:
        slow_sum += price
    ratio = (fast_sum / fast) / (slow_sum / slow) - 1.0
    confidence = 100.0 * abs(ratio)
    if not confidence < 1.0:
        confidence = 1.0

    # d = slow*Σfast - fast*Σslow, now and one tick ago, and how far rounding can have moved them. Let u = 2^-53, and a
    # price's double be within a relative error u of its decimal (it is its nearest double). A left-to-right sum of n
    # positive numbers is exact up to a factor (1+δ)^(n-1), |δ| <= u (Higham: "Accuracy and Stability of Numerical
    # Algorithms", 2002, section 4.2), the price itself and the product add one factor each: with n <= slow the two
    # products err by at most γ(slow+1) = (slow+1)u/(1-(slow+1)u) of their exact values. The step back adds four
    # products, of at most 3 factors each, and five additions of terms whose magnitudes sum to at most `size`; so both
    # differences err by less than γ(slow+8) times the sum of all magnitudes. The bound below takes 2(slow+12)u times
    # that sum: more than twice as much, which also covers the rounding of the sum and of the bound, and doubles that
    # are a few units beside the nearest. 1e-280 covers what underflow can add; where a sum overflows, every comparison
    # is false, which is "undecided".
    gained = slow * prices[end - 1]
    fast_lost = slow * prices[end - 1 - fast]
    tail_gained = fast * prices[end - 1]
    slow_lost = fast * prices[end - 1 - slow]
    fast_side = slow * fast_sum
    slow_side = fast * slow_sum
    size = fast_side + slow_side + gained + fast_lost + tail_gained + slow_lost
    bound = (slow + 12) * 2.220446049250313e-16 * size + 1e-280
    now = fast_side - slow_side
    before = (fast_side - gained + fast_lost) - (slow_side - tail_gained + slow_lost)
    if now > bound:
        if before > bound:
            return 0, confidence, ratio
        if before < -bound:
            return 1, confidence, ratio
    elif now < -bound:
        if before < -bound:
            return 0, confidence, ratio
        if before > bound:
            return 2, confidence, ratio
    return -1, confidence, ratio


def sma_grid_side(prices: Sequence[float], end: int, fast: int, slow: int) -> int:
    """The exact side where all prices of the window are whole multiples of one of 1, 0.1, … 1e-9; -1 where not.

    For prices that stand for the shortest decimals of their doubles, and no others. A decimal of at most 15 digits is the shortest of its double, and a whole number below 2^53 divided by a power of
    ten up to 1e22 is rounded once, to the double of that decimal: so `k / scale == price` with `k < 1e15` proves that
    the price is exactly `k / scale`. All sums are then sums of whole numbers.
    """
    # Beyond it the whole numbers below could leave 64 bits.
    largest = 9e18 / (2.0 * fast * slow)
    if largest > 1e15:
        largest = 1e15
    scale = 1.0
    for _ in range(10):
        fast_now = 0
        slow_now = 0
        fits = True
        for i in range(end - slow - 1, end):
            scaled = prices[i] * scale + 0.5
            if not scaled < largest:
                return -1
            whole = int(scaled)
            if whole / scale != prices[i]:
                fits = False
                break
            if i >= end - slow:
                slow_now += whole
            if i >= end - fast:
                fast_now += whole
        if fits:
            last = int(prices[end - 1] * scale + 0.5)
            fast_lost = int(prices[end - 1 - fast] * scale + 0.5)
            slow_lost = int(prices[end - 1 - slow] * scale + 0.5)
            now = slow * fast_now - fast * slow_now
            before = slow * (fast_now - last + fast_lost) - fast * (slow_now - last + slow_lost)
            if before <= 0 and now > 0:
                return 1
            if before >= 0 and now < 0:
                return 2
            return 0
        scale = scale * 10.0
    return -1


def sma_crossover_fired(
    prices: Sequence[float],
    first: int,
    at: MutableSequence[int],
    side: MutableSequence[int],
    confidence: MutableSequence[float],
    value: MutableSequence[float],
    fast: int,
    slow: int,
    shortest: int,
) -> int:
    """See `ColumnRule.fired`; `shortest` is 0 or 1. Where `possible_crossings` is not sure the literal kernel decides."""
    # With exact prices even a window of equal doubles may hold a crossing.
    flat = slow + 1 if shortest else len(prices) + 1
    candidates = possible_crossings(prices, first, at, value, fast, slow, flat)
    count = 0
    for k in range(candidates):
        end = at[k] + 1
        found, sure, ratio = sma_crossover_kernel(prices, end, fast, slow)
        if found == -1 and shortest:
            found = sma_grid_side(prices, end, fast, slow)
        if found != 0:
            at[count] = end - 1
            side[count] = found
            confidence[count] = sure
            value[count] = ratio
            count += 1
    return count


def possible_crossings(
    prices: Sequence[float],
    first: int,
    at: MutableSequence[int],
    sums: MutableSequence[float],
    fast: int,
    slow: int,
    flat: int,
) -> int:
    """Write to `at` the ticks from `first` on that may be crossings by exact prices; how many. None that is is left out.

    Left out too are those with `flat` equal prices in a row. `sums` is room for the running sum of the distances from a base
    price; differences of two of them tell the sign of d = slow·Σfast - fast·Σslow on most ticks, as the base falls out of d.
    They only screen: where the sign is sure, and the same as on the tick before, there is no crossing. Every `stretch` ticks
    they begin anew from the prices themselves; without the room to, every tick may be one.

    Let u = 2^-53, x = p - base, X the largest |x| of the stretch, P the largest price, n = slow + stretch the number of
    sums. Roundings, each of at most u times the magnitude that is rounded: a price is within uP of its decimal (its double is
    the nearest; 4uP is allowed for), and x within another uX; with 2·slow·fast weights altogether that moves d by at most
    2·slow·fast·(4uP + uX). No sum is beyond nX, so that the n additions before one of them move it by at most n²uX; a difference
    of two by twice that and its own rounding, 2nuX; times the other's length, both together by at most
    (slow + fast)(2n² + 2n)uX. Two products and a difference add less than 6·slow·fast·uX. `bound` is at least twice all
    of this, which covers its own roundings. 1e-280 covers underflow; where something could overflow, no sign is sure.
    """
    count = 0
    size = len(prices)
    begin = max(first, slow) - 1
    # The walk begins one tick early, to know the sign before.
    stretch = min(max(1024, 4 * slow), len(sums) - slow - 1)
    if stretch < 1:
        for i in range(begin + 1, size):
            at[count] = i
            count += 1
        begin = size
    n = float(slow + stretch)
    fast_weight = float(fast)
    slow_weight = float(slow)
    weights = fast_weight * slow_weight * 2.220446049250313e-16
    unit = (fast_weight + slow_weight) * n * (n + 1.0) * 2.220446049250313e-16
    while begin < size - 1:
        base = prices[begin]
        stop = min(size, begin + 1 + stretch)
        total = reach = 0.0
        sums[0] = 0.0
        k = 0
        for price in prices[begin + 1 - slow : stop]:
            k += 1
            x = price - base
            total += x
            sums[k] = total
            reach = max(reach, abs(x))
        bound = 2.0 * unit * reach + weights * (8.0 * (base + reach) + 8.0 * reach) + 1e-280
        if not n * n * (base + reach) < 1e300:
            bound = math.inf
        d = slow_weight * (sums[slow] - sums[slow - fast]) - fast_weight * (sums[slow] - sums[0])
        before = int(d > bound) - int(d < -bound)
        latest = sums[slow + 1 : k + 1]
        fast_ago = sums[slow + 1 - fast : k + 1 - fast]
        slow_ago = sums[1 : k + 1 - slow]
        for i in range(stop - begin - 1):
            total = latest[i]
            d = slow_weight * (total - fast_ago[i]) - fast_weight * (total - slow_ago[i])
            now = int(d > bound) - int(d < -bound)
            # Without branches: which way they go is as hard to foresee as the market.
            at[count] = begin + 1 + i
            count += (now == 0) | (now != before)
            before = now
        begin = stop - 1
    return not_flat(prices, at, count, flat)


def not_flat(prices: Sequence[float], at: MutableSequence[int], count: int, flat: int) -> int:
    """Keep of the ticks `at[:count]` those with fewer than `flat` equal prices in a row; how many."""
    kept = 0
    same = 0
    last = -1
    for k in range(count):
        i = at[k]
        if same > 0 and i == last + 1:
            same = same + 1 if prices[i] == prices[last] else 1
        else:
            same = equal_before(prices, i + 1, flat)
        last = i
        if same < flat:
            at[kept] = i
            kept += 1
    return kept


def exact_crossover_side(prices: Sequence[Decimal], fast: int, slow: int) -> int:
    """The side from exact decimals, `slow + 1` of them, oldest first: 1 BUY, 2 SELL, 0 none. Nothing is rounded."""
    tail = Decimal(0)
    for price in prices[1 : slow + 1 - fast]:
        tail = _EXACT.add(tail, price)
    head = Decimal(0)
    for price in prices[slow + 1 - fast :]:
        head = _EXACT.add(head, price)
    # slow*Σfast - fast*Σslow, with the fast prices taken out of the slow sum: they are in both.
    now = _EXACT.subtract(_EXACT.multiply(head, Decimal(slow - fast)), _EXACT.multiply(tail, Decimal(fast)))
    # One tick ago the current price was in neither sum, and the last of the tail was in the head.
    fast_gain = _EXACT.subtract(prices[slow], prices[slow - fast])
    slow_gain = _EXACT.subtract(prices[slow], prices[0])
    gain = _EXACT.subtract(_EXACT.multiply(fast_gain, Decimal(slow)), _EXACT.multiply(slow_gain, Decimal(fast)))
    before = _EXACT.subtract(now, gain)
    if before <= 0 < now:
        return 1
    if before >= 0 > now:
        return 2
    return 0


@dataclass(frozen=True, slots=True)
class SmaCrossoverParameters:
    """Parameters of `sma_crossover`."""

    fast_periods: Annotated[
        int, Ge(1), Le(LONGEST_WINDOW), Unit("ticks"), Doc("The fast mean is over this many ticks.")
    ] = 10
    slow_periods: Annotated[
        int,
        Ge(2),
        Le(LONGEST_WINDOW),
        Unit("ticks"),
        Doc("The slow mean is over this many ticks; more than `fast_periods`."),
    ] = 30
    position_size: Annotated[int, Gt(0), Le(LARGEST_SIZE), Unit("units"), Doc("Quantity of every signal.")] = 100

    def __post_init__(self) -> None:
        if not self.fast_periods < self.slow_periods:
            raise ParameterError(
                "fast_periods", f"must be less than slow_periods ({self.slow_periods})", self.fast_periods
            )


@dataclass(frozen=True, slots=True)
class SmaCrossover:
    """BUY on the tick where the fast mean passes from at or below the slow one to above it, SELL where downwards.

    Means are compared exactly, on decimal prices; an equality is never decided by rounding. No `PriceRule`: exact
    prices may say more than doubles. `screen` answers from doubles wherever they are enough, and says where not.
    """

    parameters: SmaCrossoverParameters

    def get_required_history_length(self) -> int:
        return self.parameters.slow_periods + 1

    def supports_instrument(self, token: int) -> bool:  # noqa: ARG002  the protocol's signature
        return True

    def get_strategy_name(self) -> str:
        return "sma_crossover"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        prices = history.prices.tolist()
        side, confidence, value = self.screen(prices, len(prices))
        if side == UNDECIDED:
            side = self.settle(prices, len(prices), history.exact_prices())
        if side == 0:
            return None
        reasoning, metadata = self.describe(side, value)
        return SignalResult(SIDE_NAME[side], confidence, self.quantity(), tick.last_price, reasoning, metadata)

    def screen(self, prices: Sequence[float], end: int) -> tuple[int, float, float]:
        """(side, confidence, value) from `prices[:end]`, any doubles; side is `UNDECIDED` where `settle` has to decide."""
        return sma_crossover_kernel(prices, end, self.parameters.fast_periods, self.parameters.slow_periods)

    def measure(self, prices: Sequence[float], end: int) -> Measurement:
        fast, slow = self.parameters.fast_periods, self.parameters.slow_periods
        _, _, now = sma_crossover_kernel(prices, end, fast, slow)
        before = mean(prices, end - 1 - fast, end - 1) / mean(prices, end - 1 - slow, end - 1) - 1.0
        return Measurement(
            {"fast_mean": mean(prices, end - fast, end), "slow_mean": mean(prices, end - slow, end)},
            (
                Condition("fast_over_slow_before", before, "<=", 0.0, BUY),
                Condition("fast_over_slow", now, ">", 0.0, BUY),
                Condition("fast_over_slow_before", before, ">=", 0.0, SELL),
                Condition("fast_over_slow", now, "<", 0.0, SELL),
            ),
            "ratios are shown in doubles; the sides are compared on exact decimals",
        )

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:
        return sma_crossover_fired, (self.parameters.fast_periods, self.parameters.slow_periods, int(shortest))

    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:
        """The side by exact prices, `slow_periods + 1` of them; None: those that the doubles are the shortest for."""
        fast, slow = self.parameters.fast_periods, self.parameters.slow_periods
        if exact is None:
            window = [float(price) for price in prices[end - slow - 1 : end]]
            side = sma_grid_side(window, slow + 1, fast, slow)
            if side != UNDECIDED:
                return side
            exact = [to_decimal(price) for price in window]
        return exact_crossover_side(exact, fast, slow)

    def process_columns(self, prices: NDArray[np.float64], first: int) -> SignalColumns:
        return dense_columns(self, prices, first)

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        crossing = "rose above" if side == 1 else "fell below"
        fast, slow = self.parameters.fast_periods, self.parameters.slow_periods
        words = "mean of %d ticks %s the mean of %d (%+.4f%%)" % (fast, crossing, slow, value * 100.0)  # noqa: UP031  half an f-string's time, which is most of a signal's
        return words, {"fast_over_slow": value}


def _build(parameters: SmaCrossoverParameters, context: BuildContext) -> SmaCrossover:  # noqa: ARG001
    return SmaCrossover(parameters)


SMA_CROSSOVER = StrategyType(
    "sma_crossover", "rules", SmaCrossoverParameters, _build, "Trade when a fast mean of prices passes a slow one."
)
