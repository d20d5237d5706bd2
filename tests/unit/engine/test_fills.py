"""Paper fills, with every figure worked out by hand."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import anystrat
from anystrat.domain.configuration import FillTiming, InstrumentSpec, PaperCosts
from anystrat.domain.parameters import ParameterError
from anystrat.engine.fills import enqueue, fill
from anystrat.paper.fills import fill_fee, fill_price, impacted_price, position_after, quoted_price

from .scripted import Rig, tick


def test_slippage_is_against_the_order() -> None:
    assert fill_price(200.0, 5, 100.0) == 202.0
    assert fill_price(200.0, -5, 100.0) == 198.0
    assert fill_price(100.0, 5, 0.0) == 100.0


def test_a_fee_is_on_the_whole_turnover() -> None:
    assert fill_fee(250.0, 4, 20.0) == 2.0


@pytest.mark.parametrize(
    ("position", "average", "signed", "price", "expected"),
    [
        (0, 0.0, 10, 100.0, (10, 100.0, 0.0, False, False)),  # opens
        (0, 0.0, -10, 100.0, (-10, 100.0, 0.0, False, False)),  # opens short
        (10, 100.0, 30, 104.0, (40, 103.0, 0.0, False, False)),  # adds
        (-10, 100.0, -30, 96.0, (-40, 97.0, 0.0, False, False)),
        (10, 100.0, -4, 110.0, (6, 100.0, 39.0, True, False)),  # reduces: 4 * 10, less the fee of 1
        (-10, 100.0, 4, 110.0, (-6, 100.0, -41.0, True, False)),
        (10, 100.0, -10, 90.0, (0, 0.0, -101.0, True, True)),  # closes
        (-10, 100.0, 10, 90.0, (0, 0.0, 99.0, True, True)),
        (10, 100.0, -15, 110.0, (-5, 110.0, 99.0, True, True)),  # flips
        (-10, 100.0, 15, 110.0, (5, 110.0, -101.0, True, True)),
    ],
)
def test_a_fill_moves_a_position(
    position: int, average: float, signed: int, price: float, expected: tuple[int, float, float, bool, bool]
) -> None:
    assert position_after(position, average, signed, price, 1.0, 1.0) == expected


def test_a_multiplier_scales_the_profit_and_not_the_average() -> None:
    assert position_after(10, 100.0, -10, 110.0, 1.0, 5.0) == (0, 0.0, 499.0, True, True)


def test_an_account_keeps_cash_fees_profit_and_round_trips() -> None:
    rig = Rig(costs=PaperCosts(fee_bps=10.0, slippage_bps=100.0))
    rig.tick(0, 100, "BUY", 10)
    rig.tick(1, 200)  # bought at 202, fee 2.02
    portfolio = rig.executor.portfolio
    assert portfolio.positions == {1: 10}
    assert portfolio.average_prices == {1: 202.0}
    assert portfolio.fees == pytest.approx(2.02)
    assert portfolio.cash == pytest.approx(-2020 - 2.02)
    assert rig.executor.unrealised == pytest.approx(-20.0)
    assert rig.executor.market_value == pytest.approx(2000.0)

    rig.tick(2, 300, "SELL", 15)
    rig.tick(3, 300)  # sold at 297: 10 close, 5 open short; fee 4.455
    portfolio = rig.executor.portfolio
    assert portfolio.positions == {1: -5}
    assert portfolio.average_prices == {1: 297.0}
    assert portfolio.realised == pytest.approx(95 * 10 - 4.455)
    assert portfolio.cash == pytest.approx(-2022.02 + 15 * 297 - 4.455)
    assert rig.executor.counters()["round_trips"] == 1
    assert rig.executor.counters()["fills"] == 2
    assert portfolio.cash + rig.executor.market_value == pytest.approx(
        portfolio.realised + rig.executor.unrealised - 2.02
    )


def test_a_flat_position_is_not_listed() -> None:
    rig = Rig()
    rig.tick(0, 100, "BUY", 10)
    rig.tick(1, 100, "SELL", 10)
    rig.tick(2, 100)
    assert rig.executor.portfolio.positions == {}
    assert rig.executor.portfolio.average_prices == {}


def test_a_fill_is_an_outcome_with_all_its_figures() -> None:
    rig = Rig(costs=PaperCosts(fee_bps=10.0), instruments={1: InstrumentSpec(1, multiplier=Decimal(2))})
    rig.tick(0, 100, "SELL", 10)
    rig.tick(1, 110)
    (filled,) = rig.fills
    assert (filled.strategy_id, filled.broker, filled.instrument_token) == ("s", "paper", 1)
    assert (filled.quantity, filled.price, filled.fee) == (-10, 110.0, 110.0 * 10 * 10.0 / 10_000.0)
    assert (filled.position, filled.average_price, filled.realised, filled.round_trip) == (-10, 110.0, 0.0, False)


def test_orders_wait_in_their_ring_and_leave_it_in_order() -> None:
    rig = Rig()
    for quantity in (1, 2, 3, 4, 5):
        rig.engine.state.make_room(0, 0, 0)
        enqueue(rig.engine.state.book, 0, 0, quantity, 100.0)
    book = rig.engine.state.book
    assert [book.pending.quantity[k] for k in range(book.slot.pending_count[0])] == [1, 2, 3, 4, 5]
    rig.tick(0, 100)
    assert [filled.quantity for filled in rig.fills] == [1, 2, 3, 4, 5]
    assert rig.engine.state.book.slot.pending_count[0] == 0


def test_room_for_one_instruments_orders_moves_no_other_ones() -> None:
    rig = Rig(tokens=(1, 2, 3))
    for token in (3, 1, 2):
        rig.tick(0, 100, "BUY", token * 10, token=token)
    for quantity in (7, 8, 9):
        rig.engine.state.make_room(0, 1, 0)
        enqueue(rig.engine.state.book, 1, 0, quantity, 100.0)
    for token, quantities in ((1, [10]), (2, [20, 7, 8, 9]), (3, [30])):
        rig.tick(1, 100, token=token)
        assert [filled.quantity for filled in rig.fills] == quantities


def test_a_fill_can_be_entered_into_the_book_directly() -> None:
    rig = Rig(costs=PaperCosts(fee_bps=10.0, slippage_bps=100.0))
    state = rig.engine.state
    assert fill(state.limits, state.book, 0, 0, 5, 10, 100.0) == (101.0, 101.0 * 10 * 10.0 / 10_000.0, 0.0, False)
    assert state.book.slot.changed_at[0] == 5


def test_an_order_that_is_on_its_way_is_filled_by_the_first_tick_that_is_late_enough() -> None:
    rig = Rig(costs=PaperCosts(latency_ms=1_500))
    rig.tick(0, 100, "BUY", 10)
    rig.tick(1, 101, "BUY", 5)
    assert rig.executor.portfolio.positions == {}
    rig.tick(2, 102)
    assert rig.executor.portfolio.positions == {1: 10}
    rig.tick(3, 103)
    portfolio = rig.executor.portfolio
    assert portfolio.positions == {1: 15}
    assert portfolio.cash == -(10 * 102 + 5 * 103)


def test_an_order_filled_by_its_own_tick_knows_no_latency() -> None:
    with pytest.raises(ParameterError, match="knows no latency"):
        PaperCosts(fill=FillTiming.SAME_TICK, latency_ms=5)


def test_fills_at_the_quote_pay_the_spread_and_at_the_price_where_there_is_none() -> None:
    assert quoted_price(100.0, 5, 99.5, 100.5) == 100.5
    assert quoted_price(100.0, -5, 99.5, 100.5) == 99.5
    for missing in (math.nan, 0.0, -1.0, math.inf):
        assert quoted_price(100.0, 5, 99.5, missing) == 100.0


@pytest.mark.parametrize(
    ("signed", "volume", "expected"),
    [(100, 100.0, 101.0), (50, 100.0, 100.25), (-50, 100.0, 99.75), (500, 100.0, 101.0), (5, 0.0, 100.0)],
)
def test_impact_grows_with_the_square_of_the_share_of_the_volume(signed: int, volume: float, expected: float) -> None:
    assert impacted_price(100.0, signed, volume, 100.0) == pytest.approx(expected)
    assert impacted_price(100.0, signed, math.nan, 100.0) == 100.0


@pytest.mark.parametrize("speed", ["scalar", "columns"])
def test_both_speeds_fill_at_the_quote_with_impact_and_latency(speed: str) -> None:
    rng = np.random.default_rng(3)
    price = np.round(100.0 * np.exp(np.cumsum(0.004 * rng.standard_normal(400))), 2)
    ticks = {
        "ts_ns": np.arange(400) * 1_000_000_000,
        "price": price,
        "bid": price - 0.05,
        "ask": price + 0.05,
        "size": np.full(400, 40.0),
    }
    row = {"strategy_type": "momentum", "parameters": {"lookback_periods": 3, "threshold": 0.004, "position_size": 20}}
    costs: dict[str, Any] = {"fill_at": "quote", "impact_bps": 40.0, "latency_ms": 2_000}
    result = anystrat.backtest(row, ticks, instruments=[1], speed=speed, **costs)
    fills, signals = result.fills, result.signals
    assert len(fills["price"]) > 20
    # An order needs a tick of its own for each of the two seconds.
    assert fills["ts_ns"].tolist() == [ts + 2_000_000_000 for ts in signals["ts_ns"][: len(fills["price"])].tolist()]
    at = fills["ts_ns"] // 1_000_000_000
    buys = fills["quantity"] > 0
    wanted = np.where(buys, (price[at] + 0.05) * 1.001, (price[at] - 0.05) * 0.999)
    np.testing.assert_allclose(fills["price"], wanted, rtol=1e-12)


def test_an_order_is_filled_at_the_next_bars_open() -> None:
    rig = Rig(costs=PaperCosts(fill=FillTiming.NEXT_OPEN, slippage_bps=100.0))
    rig.tick(0, 100, "BUY", 10)
    assert rig.position() == 0
    rig.tick(1, 120)
    assert rig.fills[0].price == 120 * 1.01  # no bar, no open
    rig.step(tick(60, 100.0))
    rig.tick(61, 100, "SELL", 10)
    rig.step(tick(62, 130.0, metadata={"open": Decimal(110)}))
    assert rig.fills[0].price == 110 * 0.99


@pytest.mark.parametrize("opened", [None, "110", True, Decimal("NaN"), Decimal("sNaN"), 0, -5])
def test_an_open_that_is_no_price_is_none(opened: Any) -> None:
    rig = Rig(costs=PaperCosts(fill=FillTiming.NEXT_OPEN))
    rig.tick(0, 100, "BUY", 10)
    rig.step(tick(1, 120.0, metadata={"open": opened}))
    assert rig.fills[0].price == 120.0


def test_an_open_has_no_quote() -> None:
    with pytest.raises(ParameterError, match="no quote at its open"):
        PaperCosts(fill=FillTiming.NEXT_OPEN, fill_at="quote")
