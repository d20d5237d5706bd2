from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.protocols import PriceRule, StrategyProcessor
from anystrat.strategies.breakout import Breakout, BreakoutParameters, breakout_kernel

PRICES = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=40)


def breakout(lookback: int = 3, buffer: float = 0.0, size: int = 100) -> Breakout:
    return Breakout(BreakoutParameters(lookback, buffer, size))


def test_a_price_above_the_high_of_the_ticks_before_is_bought(history):
    # High of 96 100 98 is 100; 100.5 / 100 - 1 is 0.005 within a bit; 0.5 + 50 * 0.005 = 0.75.
    window = history([96.0, 100.0, 98.0, 100.5])
    signal = breakout().process_tick(window[-1], window)
    assert signal is not None
    excess = 100.5 / 100.0 - 1.0
    assert (signal.signal_type, signal.confidence, signal.quantity) == ("BUY", 0.5 + 50.0 * excess, 100)
    assert signal.confidence == pytest.approx(0.75)
    assert signal.price == Decimal("100.5")
    assert signal.reasoning == "price 0.50% above the high of the 3 ticks before"
    assert signal.metadata == {"excess": excess}


def test_a_price_below_the_low_of_the_ticks_before_is_sold(history):
    # Low of 104 100 102 is 100; 1 - 99.5 / 100 = 0.005; 0.75 again.
    window = history([104.0, 100.0, 102.0, 99.5])
    signal = breakout(size=3).process_tick(window[-1], window)
    assert signal is not None
    assert (signal.signal_type, signal.quantity) == ("SELL", 3)
    assert signal.confidence == 0.5 + 50.0 * (1.0 - 99.5 / 100.0)
    assert signal.reasoning == "price 0.50% below the low of the 3 ticks before"


@pytest.mark.parametrize("last", [100.0, 96.0, 98.0])
def test_a_price_at_the_border_or_inside_is_none(last: float):
    assert breakout().decide([96.0, 100.0, 98.0, last], 4) is None


@pytest.mark.parametrize(
    ("last", "side"), [(112.5, None), (112.50000000000001, 1), (87.5, None), (87.49999999999999, 2)]
)
def test_the_buffer_moves_both_borders(last: float, side: int | None):
    # 100 * 1.125 and 100 * 0.875, both without rounding.
    decision = breakout(1, 0.125).decide([100.0, last], 2)
    assert (decision and decision[0]) == side


@pytest.mark.parametrize("last", [101.5, 98.5, 1e6, 1e-6])
def test_an_excess_of_a_hundredth_is_full_confidence(last: float):
    decision = breakout(1).decide([100.0, last], 2)
    assert decision is not None
    assert decision[1] == 1.0


def test_the_current_tick_and_those_before_the_window_do_not_count():
    # The 200 is older than the window of 2 before the current tick.
    decision = breakout(2).decide([200.0, 100.0, 99.0, 101.0], 4)
    assert decision is not None
    assert decision[0] == 1


def test_a_flat_window_is_left_by_any_move_and_by_no_other():
    assert breakout(3).decide([0.1, 0.1, 0.1, 0.1], 4) is None
    decision = breakout(3).decide([0.1, 0.1, 0.1, 0.1000001], 4)
    assert decision is not None
    assert decision[0] == 1


def test_it_needs_the_ticks_before_and_the_current_one():
    assert breakout(20).get_required_history_length() == 21
    assert breakout(1).get_required_history_length() == 2
    assert isinstance(breakout(), PriceRule)
    assert isinstance(breakout(), StrategyProcessor)
    assert breakout().supports_instrument(1)
    assert breakout().get_strategy_name() == "breakout"


@given(PRICES, PRICES, PRICES)
def test_a_decision_depends_on_its_window_alone(before: list[float], window: list[float], after: list[float]):
    rule = breakout(len(window) - 1)
    whole = [*before, *window, *after]
    assert rule.decide(whole, len(before) + len(window)) == rule.decide(window, len(window))


@given(PRICES, st.floats(0.0, 0.01))
def test_a_decision_agrees_with_maximum_and_minimum(prices: list[float], buffer: float):
    *before, now = prices
    upper, lower = max(before) * (1.0 + buffer), min(before) * (1.0 - buffer)
    side = breakout_kernel(prices, len(prices), len(before), buffer)[0]
    assert side == (1 if now > upper else 2 if now < lower else 0)


@settings(deadline=None)  # the first example waits for the compiler
@given(PRICES, st.floats(0.0, 0.1))
def test_compiled_and_interpreted_give_the_same_bits(compiled, prices: list[float], buffer: float):
    array = np.array(prices)
    fast = compiled(breakout_kernel)
    for lookback in range(1, len(prices)):
        expected = breakout_kernel(memoryview(array), len(prices), lookback, buffer)
        assert fast(array, len(prices), lookback, buffer) == expected
