from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.protocols import PriceRule, StrategyProcessor
from anystrat.strategies.mean_reversion import MeanReversion, MeanReversionParameters, mean_reversion_kernel

PRICES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40)


def mean_reversion(lookback: int = 4, z_entry: float = 1.0, size: int = 100) -> MeanReversion:
    return MeanReversion(MeanReversionParameters(lookback, z_entry, size))


def test_a_price_far_below_its_mean_is_bought(history):
    # Mean of 12 12 12 8 is 11, squared distances 1 1 1 9: 12 / 4 = 3; z = -3 / √3 = -1.7320508075688774.
    window = history([12.0, 12.0, 12.0, 8.0])
    signal = mean_reversion().process_tick(window[-1], window)
    assert signal is not None
    assert signal.signal_type == "BUY"
    assert signal.confidence == 3.0 / 3.0**0.5 / 3.0
    assert (signal.quantity, signal.price) == (100, Decimal(8))
    assert signal.reasoning == "price 1.73 standard deviations below its mean of 4 ticks"
    assert signal.metadata == {"z": -3.0 / 3.0**0.5}


def test_a_price_far_above_its_mean_is_sold(history):
    window = history([8.0, 8.0, 8.0, 12.0])
    signal = mean_reversion(size=5).process_tick(window[-1], window)
    assert signal is not None
    assert (signal.signal_type, signal.quantity) == ("SELL", 5)
    assert signal.reasoning == "price 1.73 standard deviations above its mean of 4 ticks"


@pytest.mark.parametrize(("prices", "side"), [([3.0, 1.0], 1), ([1.0, 3.0], 2)])
def test_a_score_of_exactly_the_entry_is_a_signal(prices: list[float], side: int):
    # Two prices are always one deviation from their mean: 2 ± 1, deviation 1.
    decision = mean_reversion(2, 1.0).decide(prices, 2)
    assert decision == (side, 1.0 / 3.0, -1.0 if side == 1 else 1.0)


@pytest.mark.parametrize("prices", [[3.0, 1.0], [1.0, 3.0]])
def test_a_score_below_the_entry_is_none(prices: list[float]):
    assert mean_reversion(2, 1.0000000000000002).decide(prices, 2) is None


def test_three_deviations_are_full_confidence():
    # 15 times 0 and once 16: mean 1, variance (15 + 225) / 16 = 15, z = 15 / √15 = 3.87.
    decision = mean_reversion(16).decide([1.0] * 15 + [17.0], 16)
    assert decision is not None
    assert decision[1] == 1.0


def test_a_flat_window_gives_nothing_though_its_deviation_in_doubles_is_not_zero():
    # Twenty times 0.1 sums to 2.0000000000000004: mean and price differ in the last bit.
    assert mean_reversion(20, 0.0).decide([0.1] * 20, 20) is None


def test_a_lookback_of_one_is_always_flat():
    assert mean_reversion(1, 0.0).decide([1.0, 100.0], 2) is None


def test_a_deviation_that_underflows_counts_as_flat():
    assert mean_reversion(2, 0.0).decide([1e-200, 2e-200], 2) is None


def test_a_price_at_its_mean_is_bought_when_the_entry_is_zero():
    # As the comparisons are written: z <= -0 comes first.
    assert mean_reversion(3, 0.0).decide([1.0, 3.0, 2.0], 3) == (1, 0.0, 0.0)


def test_it_needs_its_lookback_and_no_more():
    assert mean_reversion(20).get_required_history_length() == 20
    assert isinstance(mean_reversion(), PriceRule)
    assert isinstance(mean_reversion(), StrategyProcessor)
    assert mean_reversion().supports_instrument(1)
    assert mean_reversion().get_strategy_name() == "mean_reversion"


@given(PRICES, PRICES, PRICES)
def test_a_decision_depends_on_its_window_alone(before: list[float], window: list[float], after: list[float]):
    rule = mean_reversion(len(window), 0.5)
    whole = [*before, *window, *after]
    assert rule.decide(whole, len(before) + len(window)) == rule.decide(window, len(window))


@settings(deadline=None)  # the first example waits for the compiler
@given(PRICES, st.floats(0.0, 3.0))
def test_compiled_and_interpreted_give_the_same_bits(compiled, prices: list[float], z_entry: float):
    array = np.array(prices)
    fast = compiled(mean_reversion_kernel)
    for lookback in range(1, len(prices) + 1):
        expected = mean_reversion_kernel(memoryview(array), len(prices), lookback, z_entry)
        assert fast(array, len(prices), lookback, z_entry) == expected
