"""SMA crossover: trade when a fast mean of prices passes a slow one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Annotated, Any, Final

from anystrat.domain.parameters import Doc, Ge, Gt, ParameterError, Unit
from anystrat.domain.signal import SIDE_NAME, SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.catalog import BuildContext, StrategyType

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

    fast_periods: Annotated[int, Ge(1), Unit("ticks"), Doc("The fast mean is over this many ticks.")] = 10
    slow_periods: Annotated[
        int, Ge(2), Unit("ticks"), Doc("The slow mean is over this many ticks; more than `fast_periods`.")
    ] = 30
    position_size: Annotated[int, Gt(0), Unit("units"), Doc("Quantity of every signal.")] = 100

    def __post_init__(self) -> None:
        if not self.fast_periods < self.slow_periods:
            raise ParameterError(
                "fast_periods", f"must be less than slow_periods ({self.slow_periods}), found {self.fast_periods}"
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
            side = self.settle(history)
        if side == 0:
            return None
        reasoning, metadata = self.describe(side, value)
        return SignalResult(SIDE_NAME[side], confidence, self.quantity(), tick.last_price, reasoning, metadata)

    def screen(self, prices: Sequence[float], end: int) -> tuple[int, float, float]:
        """(side, confidence, value) from `prices[:end]`, any doubles; side is `UNDECIDED` where `settle` has to decide."""
        return sma_crossover_kernel(prices, end, self.parameters.fast_periods, self.parameters.slow_periods)

    def settle(self, history: History) -> int:
        """The side by the exact prices of the history, whose length is the required one."""
        return exact_crossover_side(history.exact_prices(), self.parameters.fast_periods, self.parameters.slow_periods)

    def quantity(self) -> int:
        return self.parameters.position_size

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        crossing = "rose above" if side == 1 else "fell below"
        fast, slow = self.parameters.fast_periods, self.parameters.slow_periods
        return f"mean of {fast} ticks {crossing} the mean of {slow} ({value:+.4%})", {"fast_over_slow": value}


def _build(parameters: SmaCrossoverParameters, context: BuildContext) -> SmaCrossover:  # noqa: ARG001
    return SmaCrossover(parameters)


SMA_CROSSOVER = StrategyType(
    "sma_crossover", "rules", SmaCrossoverParameters, _build, "Trade when a fast mean of prices passes a slow one."
)
