from __future__ import annotations

import itertools
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.strategies.indicators import (
    is_flat,
    mean,
    one_return,
    population_deviation,
    position_in_range,
    rsi,
    volatility,
    zscore,
)

PRICES = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=40)
WINDOWED = [is_flat, mean, population_deviation, zscore, position_in_range, one_return, volatility]


def naive_rsi(prices: list[float], n: int) -> float:
    changes = [b - a for a, b in itertools.pairwise(prices)]
    gains, losses = [max(c, 0.0) for c in changes], [max(-c, 0.0) for c in changes]
    up, down = sum(gains[:n]) / n, sum(losses[:n]) / n
    for gain, loss in zip(gains[n:], losses[n:], strict=True):
        up, down = (up * (n - 1) + gain) / n, (down * (n - 1) + loss) / n
    if down == 0:
        return 50.0 if up == 0 else 100.0
    return 100.0 - 100.0 / (1.0 + up / down)


def test_mean_is_the_sum_from_left_to_right_over_the_count():
    # 0.1 + 0.2 is 0.30000000000000004 in doubles, + 0.3 is 0.6000000000000001.
    assert mean([0.1, 0.2, 0.3], 0, 3) == 0.6000000000000001 / 3


def test_deviation_is_that_of_a_population():
    # Mean 5, squared distances 9 1 1 1 0 0 4 16: 32 / 8 = 4, root 2.
    assert population_deviation([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 0, 8) == 2.0


def test_zscore_counts_deviations_from_the_mean():
    # Mean 5 and deviation 2 as above: (9 - 5) / 2.
    assert zscore([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 0, 8) == 2.0


def test_a_flat_window_has_no_score_though_its_deviation_in_doubles_is_not_zero():
    prices = [0.1] * 20
    assert population_deviation(prices, 0, 20) > 0.0
    assert zscore(prices, 0, 20) == 0.0
    assert is_flat(prices, 0, 20)


def test_a_deviation_that_underflows_gives_no_score_and_no_error():
    assert zscore([1e-200, 2e-200], 0, 2) == 0.0


def test_position_is_between_minimum_and_maximum_and_half_when_flat():
    assert position_in_range([1.0, 5.0, 2.0], 0, 3) == 0.25
    assert position_in_range([5.0, 1.0], 0, 2) == 0.0
    assert position_in_range([1.0, 5.0], 0, 2) == 1.0
    assert position_in_range([3.0, 3.0], 0, 2) == 0.5


def test_volatility_is_the_deviation_of_one_step_returns():
    # Returns +1, -0.5, +1, -0.5: mean 0.25, distances 0.75 each.
    assert volatility([1.0, 2.0, 1.0, 2.0, 1.0], 0, 5) == 0.75


def test_one_return_is_last_over_first_minus_one():
    assert one_return([4.0, 100.0, 5.0], 0, 3) == 0.25


def test_rsi_of_a_rise_is_100_of_a_fall_0_and_of_stillness_50():
    assert rsi([1.0, 2.0, 3.0, 4.0], 0, 4, 2) == 100.0
    assert rsi([4.0, 3.0, 2.0, 1.0], 0, 4, 2) == 0.0
    assert rsi([2.0, 2.0, 2.0, 2.0], 0, 4, 2) == 50.0


def test_rsi_smooths_as_wilder_does():
    # n = 2, changes +1 -1 +2: first averages 0.5 and 0.5; then (0.5 + 2) / 2 = 1.25 and (0.5 + 0) / 2 = 0.25:
    # 100 - 100 / (1 + 5) = 83.333…
    assert rsi([10.0, 11.0, 10.0, 12.0], 0, 4, 2) == 100.0 - 100.0 / 6.0


def test_rsi_of_the_textbook_series():
    # The worked example of StockCharts' "Relative Strength Index": 14 periods, first value 70.53.
    prices = [
        44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245,
        45.8433, 46.0826, 45.8931, 46.0328, 45.6140, 46.2820, 46.2820,
    ]  # fmt: skip
    assert rsi(prices, 0, 15, 14) == pytest.approx(70.53, abs=0.01)


@given(PRICES)
def test_values_agree_with_exact_arithmetic(prices: list[float]):
    n = len(prices)
    exact = [Fraction(p) for p in prices]
    assert mean(prices, 0, n) == pytest.approx(float(sum(exact) / n), rel=1e-12)
    assert population_deviation(prices, 0, n) == pytest.approx(statistics.pstdev(exact), rel=1e-9, abs=1e-7)
    returns = [b / a - 1 for a, b in itertools.pairwise(exact)]
    assert volatility(prices, 0, n) == pytest.approx(statistics.pstdev(returns), rel=1e-7, abs=1e-12)


@given(st.lists(st.floats(0.01, 1e4), min_size=6, max_size=31), st.integers(1, 5))
def test_rsi_agrees_with_a_naive_statement(prices: list[float], periods: int):
    assert rsi(prices, 0, len(prices), periods) == pytest.approx(naive_rsi(prices, periods), abs=1e-6)


@given(PRICES, PRICES, PRICES)
def test_a_value_depends_on_its_window_alone(before: list[float], window: list[float], after: list[float]):
    start, end = len(before), len(before) + len(window)
    for indicator in WINDOWED:
        assert indicator([*before, *window, *after], start, end) == indicator(window, 0, len(window))
    assert rsi([*before, *window, *after], start, end, 1) == rsi(window, 0, len(window), 1)


@settings(deadline=None)  # the first example waits for the compiler
@given(PRICES, st.integers(1, 5))
def test_compiled_and_interpreted_give_the_same_bits(compiled, prices: list[float], periods: int):
    array = np.array(prices)
    view = memoryview(array)
    for indicator in WINDOWED:
        assert compiled(indicator)(array, 0, len(prices)) == indicator(view, 0, len(prices))
    if periods < len(prices):
        assert compiled(rsi)(array, 0, len(prices), periods) == rsi(view, 0, len(prices), periods)
