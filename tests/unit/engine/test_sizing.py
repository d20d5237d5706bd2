"""Positions by what an account is worth: by hand, and the same at every speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anystrat
from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.bootstrap import build_engine, default_wiring
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import ConfigurationError
from anystrat.engine.columns.outcomes import signals_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.paper.sizing import deviation_of, leverage_for, units_for

MINUTE = 60_000_000_000


@anystrat.rule(history=1)
def scripted(prices: Any) -> str | None:
    """BUY on prices that end in .1, SELL on those that end in .2."""
    tenth = round(prices[-1] * 10) % 10
    return {1: "BUY", 2: "SELL"}.get(tenth)


def traded(prices: Sequence[float], sizing: dict[str, Any], **more: Any) -> list[int]:
    """The signed quantities of all fills, on the signals' own ticks."""
    ticks = {"ts_ns": np.arange(len(prices)) * MINUTE, "price": np.array(prices)}
    row = {"strategy_type": scripted, "parameters": {"sizing": {"capital": 10_000, **sizing}, **more}}
    result = anystrat.backtest(row, ticks, instruments=[1], fill="same_tick", speed="scalar")
    return [int(quantity) for quantity in result.fills["quantity"]]


def test_a_share_of_equity_grows_with_what_was_earned() -> None:
    # 5,000 / 100.1; the whole position; 10,000 + 49 * 10.1 = 10,494.9, half of it / 100.1
    assert traded([100.1, 105.0, 110.2, 100.1], {"mode": "equity", "fraction": 0.5}) == [49, -49, 52]


def test_a_share_of_cash_is_of_what_is_not_invested() -> None:
    # 5,000 / 100.1; 10,000 - 49 * 100.1 = 5,095.1, half of it / 100.1
    assert traded([100.1, 100.0, 100.1], {"mode": "cash", "fraction": 0.5}) == [49, 25]


def test_what_is_shorted_is_invested_too() -> None:
    assert traded([100.2, 100.0, 100.2, 100.1], {"mode": "cash", "fraction": 0.5}) == [-49, -25, 74]


def test_the_worth_of_a_position_is_at_the_last_price() -> None:
    # 49 bought at 100.1, worth 9.0 more each
    assert traded([100.1, 100.0, 109.1], {"mode": "equity", "fraction": 0.5}) == [49, math.floor(10_441 / 2 / 109.1)]


def test_volatility_allows_what_its_deviation_leaves() -> None:
    # returns of +10 % and -10 %: a deviation of 0.1, so that a target of 0.02 is a fifth of 10,000, at 99.1
    prices = [100.0, 110.0, 110.0 * 0.9 + 0.1]
    deviation = np.std(np.diff(prices) / np.array(prices[:-1]))
    expected = math.floor(0.02 / deviation * 10_000 / prices[-1])
    assert traded(prices, {"mode": "volatility", "target": 0.02, "periods": 2}) == [expected]
    yearly = {"mode": "volatility", "target": 0.2, "steps_per_year": 100, "periods": 2}
    assert traded(prices, yearly) == [expected]


def test_a_price_that_does_not_move_is_held_to_the_leverage() -> None:
    flat = [100.1] * 3
    sizing = {"mode": "volatility", "target": 0.02, "periods": 2, "max_leverage": 2}
    assert traded(flat, sizing) == [math.floor(20_000 / 100.1)]


def test_volatility_waits_for_its_returns() -> None:
    sizing = {"mode": "volatility", "target": 5, "periods": 2}
    assert len(traded([100.1, 110.1], sizing)) == 0


def test_the_risk_multiplier_multiplies_the_share() -> None:
    assert traded([100.1], {"mode": "equity", "fraction": 0.5}, risk_multiplier=0.5) == [24]


def test_what_pays_for_no_unit_is_no_signal() -> None:
    assert traded([100.1], {"mode": "equity", "fraction": 0.009}) == []


def test_lots_and_multipliers_of_the_instrument_count() -> None:
    engine = engine_of(
        [{"sizing": {"mode": "equity", "fraction": 0.5, "capital": 10_000}, "lookback_periods": 2, "threshold": 0.001}],
        {"lot_size": 20, "round_to_lot": True, "multiplier": 2},
    )
    engine.on_tick(anystrat.MarketTick(1, Decimal(99), anystrat_time(0)))
    (signal,) = engine.on_tick(anystrat.MarketTick(1, Decimal(100), anystrat_time(1)))
    assert signal.quantity == 20


@pytest.mark.parametrize(
    ("sizing", "message"),
    [
        ({"mode": "equity"}, "`mode: equity` needs it"),
        ({"mode": "cash", "fraction": 0.1, "target": 0.1}, "`mode: cash` knows only `fraction`"),
        ({"mode": "volatility", "fraction": 0.1}, "`mode: volatility` needs it"),
        ({"mode": "equty", "fraction": 0.1}, "did you mean 'equity'?"),
        ({"mode": "equity", "fraction": 0}, "fraction"),
    ],
)
def test_sizing_that_contradicts_itself_is_refused_where_it_stands(sizing: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"strategies\[0\]\.parameters\.sizing") as refused:
        engine_of([{"sizing": {"capital": 1_000, **sizing}}])
    assert message in str(refused.value)


def test_capital_has_to_be_said() -> None:
    with pytest.raises(ConfigurationError, match="capital"):
        engine_of([{"sizing": {"mode": "equity", "fraction": 0.1}}])


@given(
    amount=st.floats(0, 1e12),
    price=st.floats(0.01, 1e6),
    lot=st.integers(1, 1_000),
)
def test_no_more_is_bought_than_the_amount_pays_for(amount: float, price: float, lot: int) -> None:
    units = units_for(amount, price, 1.0, lot, 10**15)
    assert units % lot == 0
    assert units * price <= amount * (1 + 1e-12)
    assert (units + lot) * price > amount * (1 - 1e-12)


@pytest.mark.parametrize("amount", [-1.0, math.nan, 0.0])
def test_no_amount_buys_nothing(amount: float) -> None:
    assert units_for(amount, 1.0, 1.0, 1, 100) == 0


def test_an_endless_amount_buys_the_largest_quantity() -> None:
    assert units_for(math.inf, 1.0, 1.0, 7, 100) == 100


def test_the_deviation_is_that_of_the_returns() -> None:
    prices = [90.0, 100.0, 103.0, 99.0, 101.0]
    returns = np.diff(prices) / np.array(prices[:-1])
    assert deviation_of(prices, 5, 3) == pytest.approx(returns[1:].std())
    assert leverage_for(0.1, 0.0, 3.0) == 3.0


def anystrat_time(minute: int) -> Any:
    return np.datetime64(minute, "m").astype("datetime64[us]").item()


def engine_of(parameters: list[dict[str, Any]], spec: dict[str, Any] | None = None, fill: str = "next_tick") -> Engine:
    mapping = {
        "version": 1,
        "instruments": [{"token": token, "symbol": f"X{token}", **(spec or {})} for token in (1, 2)],
        "brokers": {"paper": {"type": "paper", "fee_bps": 3, "slippage_bps": 1, "fill": fill}},
        "strategies": [
            {"id": f"s{k}", "strategy_type": "momentum", "parameters": each, "instruments": [1, 2]}
            for k, each in enumerate(parameters)
        ],
    }
    wiring = default_wiring()
    return build_engine(configuration_from_mapping(mapping, wiring.catalog), wiring)


shares = st.floats(0.01, 2.0).map(lambda value: round(value, 3))
modes = st.one_of(
    st.fixed_dictionaries({"mode": st.sampled_from(["cash", "equity"]), "fraction": shares}),
    st.fixed_dictionaries(
        {
            "mode": st.just("volatility"),
            "target": st.floats(0.0001, 0.05),
            "periods": st.integers(2, 9),
            "max_leverage": shares,
        }
    ),
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "sizing": st.builds(lambda mode, capital: mode | {"capital": capital}, modes, st.integers(100, 10**6)),
            "lookback_periods": st.integers(2, 5),
            "threshold": st.just(0.002),
            "risk_multiplier": st.sampled_from([1, 0.5]),
            "risk": st.sampled_from([{}, {"long_only": True}, {"max_exposure": 50_000}]),
        }
    ),
    min_size=1,
    max_size=3,
)


def walk(seed: int, size: int) -> TickColumns:
    rng = np.random.default_rng(seed)
    return TickColumns(
        np.cumsum(rng.integers(1_000_000_000, 9_000_000_000, size)),
        rng.integers(1, 3, size),
        np.round(100 * np.exp(np.cumsum(0.004 * rng.standard_normal(size))), 2).astype(np.float64),
        halted=rng.random(size) < 0.1,
    )


@pytest.mark.parametrize("compiled", [False, True], ids=["interpreted", "compiled"])
def test_every_speed_sizes_alike(compiled: bool) -> None:
    compiler = numba_compiler() if compiled else None

    @settings(max_examples=20 if compiled else 8, deadline=None)
    @given(
        parameters=rows,
        seed=st.integers(0, 999),
        cut=st.integers(1, 120),
        fill=st.sampled_from(["next_tick", "same_tick"]),
    )
    def check(parameters: list[dict[str, Any]], seed: int, cut: int, fill: str) -> None:
        ticks = walk(seed, 120)
        plain, blocks, live = (engine_of(parameters, {"lot_size": 3, "round_to_lot": True}, fill) for _ in range(3))
        expected = [signal.quantity for row in ticks.rows() for signal in plain.on_tick(row.market_tick())]
        runner = BlockRunner(blocks, compiler)
        live.use_compiler(compiler)
        found, lived = [], []
        for places in (np.arange(cut), np.arange(cut, len(ticks))):
            if len(places):
                columns = signals_of(blocks, runner.run(ticks.taken(places)))
                found += columns.quantity[columns.code == 0].tolist()
                lived += [
                    signal.quantity for row in ticks.taken(places).rows() for signal in live.on_tick(row.market_tick())
                ]
        assert found == expected
        assert lived == expected
        for one, other, third in zip(plain.executors, blocks.executors, live.executors, strict=True):
            assert one.counters() == other.counters() == third.counters()
            assert one.portfolio == other.portfolio == third.portfolio

    check()
