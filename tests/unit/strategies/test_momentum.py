from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.protocols import PriceRule, StrategyProcessor
from anystrat.strategies.momentum import Momentum, MomentumParameters, momentum_kernel

PRICES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40)


def momentum(lookback: int = 3, threshold: float = 0.01, size: int = 100) -> Momentum:
    return Momentum(MomentumParameters(lookback, threshold, size))


def test_a_rise_beyond_the_threshold_is_bought(history):
    # (102 - 100) / 100 = 0.02; 5 * 0.02 = 0.1.
    window = history([100.0, 101.0, 102.0])
    signal = momentum().process_tick(window[-1], window)
    assert signal is not None
    assert (signal.signal_type, signal.confidence, signal.quantity, signal.price) == ("BUY", 0.1, 100, Decimal(102))
    assert signal.reasoning == "price moved +2.00% over 3 ticks"
    assert signal.metadata == {"change": 0.02}


def test_a_fall_beyond_the_threshold_is_sold(history):
    # (95 - 100) / 100 = -0.05; 5 * 0.05 = 0.25.
    window = history([100.0, 101.0, 95.0])
    signal = momentum(size=7).process_tick(window[-1], window)
    assert signal is not None
    assert (signal.signal_type, signal.confidence, signal.quantity) == ("SELL", 0.25, 7)


@pytest.mark.parametrize("last", [112.5, 87.5])
def test_a_move_of_exactly_the_threshold_is_none(last: float):
    # 12.5 / 100 = 0.125, without rounding.
    assert momentum(2, 0.125).decide([100.0, last], 2) is None


@pytest.mark.parametrize(("last", "side"), [(112.50000000000001, 1), (87.49999999999999, 2)])
def test_the_next_double_beyond_the_threshold_is_a_signal(last: float, side: int):
    decision = momentum(2, 0.125).decide([100.0, last], 2)
    assert decision is not None
    assert decision[0] == side


@pytest.mark.parametrize("last", [120.0, 80.0, 1000.0, 1.0])
def test_a_fifth_or_more_is_full_confidence(last: float):
    decision = momentum(2).decide([100.0, last], 2)
    assert decision is not None
    assert decision[1] == 1.0


def test_a_flat_window_gives_nothing_even_at_threshold_zero():
    assert momentum(20, 0.0).decide([0.1] * 20, 20) is None


def test_a_lookback_of_one_measures_the_tick_against_itself():
    assert momentum(1, 0.0).decide([100.0, 200.0], 2) is None


def test_a_lookback_of_two_measures_one_step():
    assert momentum(2).decide([1.0, 100.0, 110.0], 3) == (1, 5.0 * (10.0 / 100.0), 0.1)


def test_it_needs_its_lookback_and_no_more():
    assert momentum(20).get_required_history_length() == 20
    assert isinstance(momentum(), PriceRule)
    assert isinstance(momentum(), StrategyProcessor)
    assert momentum().supports_instrument(1)
    assert momentum().get_strategy_name() == "momentum"


@given(PRICES, PRICES, PRICES)
def test_a_decision_depends_on_its_window_alone(before: list[float], window: list[float], after: list[float]):
    rule = momentum(len(window), 0.001)
    whole = [*before, *window, *after]
    assert rule.decide(whole, len(before) + len(window)) == rule.decide(window, len(window))


@settings(deadline=None)  # the first example waits for the compiler
@given(PRICES, st.floats(0.0, 0.5))
def test_compiled_and_interpreted_give_the_same_bits(compiled, prices: list[float], threshold: float):
    array = np.array(prices)
    fast = compiled(momentum_kernel)
    for lookback in range(1, len(prices) + 1):
        expected = momentum_kernel(memoryview(array), len(prices), lookback, threshold)
        assert fast(array, len(prices), lookback, threshold) == expected
