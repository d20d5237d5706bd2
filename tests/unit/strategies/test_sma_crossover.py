from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.exact import to_decimal
from anystrat.domain.parameters import ParameterError
from anystrat.domain.protocols import PriceRule, StrategyProcessor
from anystrat.strategies.sma_crossover import (
    UNDECIDED,
    SmaCrossover,
    SmaCrossoverParameters,
    exact_crossover_side,
    sma_crossover_kernel,
    sma_grid_side,
)

# Few levels make ties, and many levels within a few bits make what doubles cannot tell apart.
GRID = st.sampled_from([99.9, 99.95, 100.0, 100.05, 100.1])
NEARLY = st.integers(-3, 3).map(lambda k: 100.0 + k * 2.0**-46)
WIDE = st.floats(1e-3, 1e9)
# Made from text, since arithmetic on decimals rounds to 28 digits.
FINE = st.integers(-3, 3).map(lambda k: Decimal(f"{100 * 10**40 + k}e-40"))


def crossover(fast: int = 1, slow: int = 2, size: int = 100) -> SmaCrossover:
    return SmaCrossover(SmaCrossoverParameters(fast, slow, size))


def naive_side(prices: Sequence[Decimal], fast: int, slow: int) -> int:
    def difference(window: Sequence[Decimal]) -> Fraction:
        return sum(map(Fraction, window[-fast:])) / Fraction(fast) - sum(map(Fraction, window[-slow:])) / Fraction(slow)

    before, now = difference(prices[:-1]), difference(prices)
    return 1 if before <= 0 < now else 2 if before >= 0 > now else 0


@st.composite
def windows(draw: st.DrawFn, prices: st.SearchStrategy[float | Decimal]) -> tuple[list[float | Decimal], int, int]:
    slow = draw(st.integers(2, 12))
    fast = draw(st.integers(1, slow - 1))
    return draw(st.lists(prices, min_size=slow + 1, max_size=slow + 1)), fast, slow


ANY = st.one_of(windows(GRID), windows(NEARLY), windows(WIDE))


def test_the_fast_mean_rising_above_the_slow_one_is_bought(history):
    # Fast 1, slow 2. Before: 10 against (12 + 10) / 2 = 11, below. Now: 14 against (10 + 14) / 2 = 12, above.
    window = history([12.0, 10.0, 14.0])
    signal = crossover().process_tick(window[-1], window)
    assert signal is not None
    ratio = 14.0 / 12.0 - 1.0
    # 100 * 1/6 is over 1.
    assert (signal.signal_type, signal.confidence, signal.quantity, signal.price) == ("BUY", 1.0, 100, Decimal(14))
    assert signal.metadata == {"fast_over_slow": ratio}
    assert signal.reasoning == "mean of 1 ticks rose above the mean of 2 (+16.6667%)"


def test_the_fast_mean_falling_below_the_slow_one_is_sold(history):
    # Before: 100.2 against 100.1. Now: 100 against 100.1, a thousandth below: 100 * |100 / 100.1 - 1|.
    window = history([100.0, 100.2, 100.0])
    signal = crossover(size=9).process_tick(window[-1], window)
    assert signal is not None
    assert (signal.signal_type, signal.quantity) == ("SELL", 9)
    assert signal.confidence == 100.0 * abs(100.0 / ((100.2 + 100.0) / 2.0) - 1.0)


def test_a_mean_that_stays_above_is_no_crossing(history):
    window = history([10.0, 12.0, 14.0])
    assert crossover().process_tick(window[-1], window) is None


@pytest.mark.parametrize(("prices", "side"), [([5.0, 5.0, 6.0], "BUY"), ([5.0, 5.0, 4.0], "SELL")])
def test_leaving_an_exact_equality_is_a_crossing(history, prices: list[float], side: str):
    window = history(prices)
    signal = crossover().process_tick(window[-1], window)
    assert signal is not None
    assert signal.signal_type == side


@pytest.mark.parametrize("prices", [[5.0, 6.0, 6.0], [6.0, 5.0, 5.0], [5.0, 5.0, 5.0]])
def test_reaching_an_exact_equality_is_no_crossing(history, prices: list[float]):
    window = history(prices)
    assert crossover().process_tick(window[-1], window) is None


def test_a_tie_in_decimals_that_doubles_break_is_still_a_tie(history):
    # 0.7 + 0.1 + 0.4 is 1.2 and their mean 0.4: the last price reaches the mean and does not pass it. In doubles the mean
    # is 0.39999999999999997 and three times 0.4 is 1.2000000000000002: both ways would see a crossing.
    window = history([0.3, 0.7, 0.1, 0.4])
    prices = window.prices.tolist()
    assert sum(prices[1:]) / 3 < prices[3]
    assert sum(prices[1:]) < 3 * prices[3]
    assert crossover(1, 3).screen(prices, 4)[0] == UNDECIDED
    assert crossover(1, 3).process_tick(window[-1], window) is None


def test_exact_prices_may_say_more_than_their_doubles(history):
    # All three are the double 100.0; by decimals the last is above, so the fast mean rises above the slow one.
    above, below = Decimal("100." + 30 * "0" + "1"), Decimal("99." + 30 * "9")
    window = history([Decimal(100), Decimal(100), above])
    assert window.prices.tolist() == [100.0] * 3
    signal = crossover().process_tick(window[-1], window)
    assert signal is not None
    assert signal.signal_type == "BUY"
    falling = history([Decimal(100), Decimal(100), below])
    signal = crossover().process_tick(falling[-1], falling)
    assert signal is not None
    assert signal.signal_type == "SELL"


def test_it_needs_one_tick_more_than_the_slow_mean():
    assert crossover(10, 30).get_required_history_length() == 31
    assert isinstance(crossover(), StrategyProcessor)
    assert crossover().supports_instrument(1)
    assert crossover().get_strategy_name() == "sma_crossover"


def test_it_is_no_price_rule_since_doubles_do_not_tell_all():
    assert not isinstance(crossover(), PriceRule)


@pytest.mark.parametrize(("fast", "slow"), [(2, 2), (3, 2)])
def test_a_fast_mean_that_is_not_faster_is_refused(fast: int, slow: int):
    with pytest.raises(ParameterError, match="fast_periods: must be less than slow_periods"):
        SmaCrossoverParameters(fast, slow)


@pytest.mark.parametrize("prices", [[1e308] * 4, [5e-324] * 4, [1e308, 1e-308, 1e308, 1e-308]])
def test_sums_that_overflow_or_underflow_are_left_to_the_decimals(history, prices: list[float]):
    window = history(prices)
    signal = crossover(1, 3).process_tick(window[-1], window)
    assert ({"BUY": 1, "SELL": 2}[signal.signal_type] if signal else 0) == naive_side(window.exact_prices(), 1, 3)


def test_clear_cases_never_ask_for_decimals():
    rng = np.random.default_rng(5)
    prices = memoryview(100.0 * np.exp(np.cumsum(rng.normal(0, 1e-3, 20_000))))
    undecided = sum(sma_crossover_kernel(prices, end, 10, 30)[0] == UNDECIDED for end in range(31, 20_001))
    assert undecided == 0


@settings(max_examples=200)
@given(ANY)
def test_what_the_doubles_decide_is_what_the_decimals_say(case):
    prices, fast, slow = case
    exact = naive_side([to_decimal(p) for p in prices], fast, slow)
    assert sma_crossover_kernel(prices, slow + 1, fast, slow)[0] in {exact, UNDECIDED}
    assert sma_grid_side(prices, slow + 1, fast, slow) in {exact, UNDECIDED}


@settings(max_examples=120)
@given(windows(FINE))
def test_what_the_doubles_decide_holds_for_decimals_that_say_more(case):
    prices, fast, slow = case
    side = sma_crossover_kernel([float(p) for p in prices], slow + 1, fast, slow)[0]
    assert side in {naive_side(prices, fast, slow), UNDECIDED}


@given(windows(GRID))
def test_prices_on_a_grid_are_always_decided_by_whole_numbers(case):
    prices, fast, slow = case
    assert sma_grid_side(prices, slow + 1, fast, slow) == naive_side([to_decimal(p) for p in prices], fast, slow)


@pytest.mark.parametrize("price", [0.1 + 0.2, 1e15, 123456789.0123456])
def test_prices_of_more_than_fifteen_digits_are_not_taken_for_a_grid(price: float):
    assert sma_grid_side([1.0, 1.0, price], 3, 1, 2) == UNDECIDED


@settings(max_examples=120)
@given(st.one_of(ANY, windows(FINE)))
def test_a_signal_is_the_exact_side_with_the_confidence_of_double_means(history, case):
    prices, fast, slow = case
    window = history(prices)
    signal = crossover(fast, slow).process_tick(window[-1], window)
    exact = naive_side([to_decimal(p) for p in prices], fast, slow)
    assert ({"BUY": 1, "SELL": 2}[signal.signal_type] if signal else 0) == exact
    if signal:
        doubles = [float(p) for p in prices]
        means = sum(doubles[-fast:]) / fast, sum(doubles[-slow:]) / slow
        assert signal.confidence == min(1.0, 100.0 * abs(means[0] / means[1] - 1.0))


@given(windows(FINE))
def test_the_exact_side_never_rounds(case):
    prices, fast, slow = case
    assert exact_crossover_side(prices, fast, slow) == naive_side(prices, fast, slow)


@given(ANY, st.lists(WIDE, max_size=5), st.lists(WIDE, max_size=5))
def test_a_screening_depends_on_its_window_alone(case, before: list[float], after: list[float]):
    prices, fast, slow = case
    whole, end = [*before, *prices, *after], len(before) + len(prices)
    assert crossover(fast, slow).screen(whole, end) == crossover(fast, slow).screen(prices, len(prices))
    assert sma_grid_side(whole, end, fast, slow) == sma_grid_side(prices, len(prices), fast, slow)


@settings(deadline=None)  # the first example waits for the compiler
@given(ANY)
def test_compiled_and_interpreted_give_the_same_bits(compiled, case):
    prices, fast, slow = case
    array = np.array(prices)
    end = len(prices)
    for kernel in (sma_crossover_kernel, sma_grid_side):
        assert compiled(kernel)(array, end, fast, slow) == kernel(memoryview(array), end, fast, slow)
