"""Every formula against `empyrical`, which others trust, and at its edges."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.backtest import statistics


@pytest.fixture(scope="module")
def empyrical() -> Any:
    """Loaded for its tests alone: what it brings along takes seconds, for every process that collects tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports warns of deprecations of its own
        return importlib.import_module("empyrical")


_returns = st.lists(st.floats(-0.2, 0.25), min_size=2, max_size=400).map(np.array)
_periods = st.sampled_from([252, 365])


def marks(returns: Any, start: float = 1_000.0) -> Any:
    return start * np.cumprod(1.0 + returns)


def same(found: float, other: float) -> bool:
    return found == pytest.approx(other, rel=1e-9, abs=1e-12)


@given(_returns, _periods)
def test_every_ratio_is_that_of_empyrical(empyrical: Any, returns: Any, periods: int):
    equity = marks(returns)
    end, start = float(equity[-1]), 1_000.0
    found = statistics.returns_of(equity, start)
    worst = float(np.max(statistics.drawdowns(equity, start)))
    assert np.allclose(found, returns, atol=1e-12)
    assert same(statistics.total_return(end, start), empyrical.cum_returns_final(returns))
    assert same(worst, -empyrical.max_drawdown(returns))
    growth = statistics.cagr(end, start, len(returns), periods)
    assert growth == pytest.approx(empyrical.annual_return(returns, annualization=periods), rel=1e-7, abs=1e-9)
    if np.std(returns) > 1e-6:
        assert same(
            statistics.volatility(returns, periods), empyrical.annual_volatility(returns, annualization=periods)
        )
        assert same(statistics.sharpe(returns, periods), empyrical.sharpe_ratio(returns, annualization=periods))
    if np.min(returns) < -1e-6:
        assert same(statistics.sortino(returns, periods), empyrical.sortino_ratio(returns, annualization=periods))
        theirs = empyrical.calmar_ratio(returns, annualization=periods)
        assert statistics.calmar(growth, worst) == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_a_figure_that_is_not_defined_is_no_number():
    one, same_twice = np.array([0.1]), np.array([0.01, 0.01, 0.01])
    assert math.isnan(statistics.sharpe(one, 252))
    assert math.isnan(statistics.sharpe(same_twice, 252))
    assert math.isnan(statistics.volatility(one, 252))
    assert math.isnan(statistics.sortino(same_twice, 252))
    assert math.isnan(statistics.calmar(0.1, 0.0))
    assert math.isnan(statistics.cagr(1.0, 1.0, 0, 252))
    nothing = np.zeros(0)
    assert math.isnan(statistics.hit_rate(0, 0))
    assert math.isnan(statistics.profit_factor(0.0, 0.0))
    assert len(statistics.drawdowns(nothing, 1.0)) == len(statistics.returns_of(nothing, 1.0)) == 0


def test_equal_returns_have_no_volatility():
    assert statistics.volatility(np.array([0.1] * 10), 252) == 0.0


def test_an_account_that_lost_everything_earns_nothing_more():
    assert statistics.returns_of(np.array([50.0, -10.0, 20.0]), 100.0).tolist() == [-0.5, -1.2, 0.0]
    assert statistics.cagr(-10.0, 100.0, 3, 252) == -1.0
    assert statistics.drawdowns(np.array([-10.0]), 100.0).tolist() == [1.1]


def test_growth_beyond_doubles_is_infinite():
    assert statistics.cagr(3.0, 1.0, 1, 365 * 2) == math.inf
    assert math.isfinite(statistics.cagr(2.0, 1.0, 1, 365))


def test_marks_at_weekends_make_a_year_of_365_days():
    thursday = 0  # 1970-01-01
    week = np.arange(thursday, thursday + 28)
    assert statistics.periods_of(week) == 365
    assert statistics.periods_of(week[(week + 3) % 7 < 5]) == 252
    one_special_saturday = np.concatenate([week[(week + 3) % 7 < 5], [thursday + 2]])
    assert statistics.periods_of(np.sort(one_special_saturday)) == 252
    assert statistics.periods_of(week[:0]) == 252


def test_the_hit_rate_is_of_all_trades_and_the_profit_factor_needs_a_loss():
    assert statistics.hit_rate(1, 4) == 0.25
    assert statistics.profit_factor(3.0, -2.0) == 1.5
    assert math.isnan(statistics.profit_factor(1.0, 0.0))


def test_the_interval_of_a_share_is_that_of_wilson():
    # Values of R's prop.test(..., correct = FALSE).
    low, high = statistics.wilson(7, 10, 1.959964)
    assert (low, high) == pytest.approx((0.3967781, 0.8922087), abs=1e-6)
    assert statistics.wilson(0, 0) == (0.0, 1.0)
    assert statistics.wilson(0, 5)[0] == 0.0
    assert statistics.wilson(5, 5)[1] == 1.0


def test_the_deflated_sharpe_ratio_is_that_of_its_source():
    # Bailey and Lopez de Prado (2014), "A numerical example": 2.5 a year over five years of days, found among 100 trials
    # whose annual ratios have a variance of a half; skewness -3, kurtosis 10.
    spread = np.random.default_rng(0).standard_normal(100)
    ratios = (spread - spread.mean()) / spread.std(ddof=1) * math.sqrt(0.5 / 250)
    luck = statistics.best_by_luck(ratios)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    found = statistics.probabilistic_sharpe(2.5 / math.sqrt(250), luck, 1250, -3.0, 10.0)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_a_ratio_is_deflated_with_the_skewness_and_kurtosis_of_its_returns():
    from scipy.stats import kurtosis, skew

    returns = np.random.default_rng(2).standard_t(4, 500) * 0.01 + 0.001
    ratio = statistics.sharpe(returns, 1)
    own = statistics.probabilistic_sharpe(
        ratio, 0.05, len(returns), float(skew(returns)), float(kurtosis(returns, fisher=False))
    )
    assert statistics.deflated_sharpe(returns, 0.05) == pytest.approx(own, rel=1e-12)


def test_nothing_is_deflated_without_variation_and_one_trial_has_no_luck():
    assert math.isnan(statistics.deflated_sharpe(np.full(9, 0.01), 0.0))
    assert statistics.best_by_luck(np.array([1.5])) == 0.0
    assert math.isnan(statistics.best_by_luck(np.zeros(0)))
