"""What fills are charged by schedules and parts: by hand, by the law, and the same at every speed."""

from __future__ import annotations

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
from anystrat.domain.charges import SCHEDULES, ChargedSide, ChargePart, Schedule
from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import InstrumentSpec, PaperCosts
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.parameters import ParameterError
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine

from .scripted import Rig


def charged(costs: PaperCosts, quantity: int, price: str, *, multiplier: str = "1") -> float:
    """What the one fill of an order of that size is charged."""
    spec = InstrumentSpec(token=1, symbol="X", multiplier=Decimal(multiplier))
    rig = Rig(costs=costs, instruments={1: spec})
    rig.tick(0, price, "BUY" if quantity > 0 else "SELL", abs(quantity))
    rig.tick(1, price)
    return rig.executor.portfolio.fees


def test_an_intraday_sale_on_the_nse_is_charged_part_by_part() -> None:
    # 100 at 1,500: brokerage 45 cut to 20; STT 37.5; exchange 4.455; SEBI 0.15; GST 18 % of 24.605; no stamp duty.
    assert charged(PaperCosts(schedule=Schedule.NSE_INTRADAY), -100, "1500") == pytest.approx(
        20 + 37.5 + 4.455 + 0.15 + 0.18 * 24.605
    )


def test_a_purchase_for_delivery_pays_stamp_duty_and_no_brokerage() -> None:
    assert charged(PaperCosts(schedule=Schedule.NSE_DELIVERY), 100, "1500") == pytest.approx(
        150 + 4.455 + 0.15 + 22.5 + 0.18 * 4.605
    )


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        (100, "50", 1.0),  # 0.50 raised to the minimum
        (1_000, "50", 5.0),
        (10, "5", 0.5),  # the minimum, cut to 1 % of 50
        (-1_000, "50", 5.0 + 50_000 * 27.80e-6 + 0.166),
        (-100_000, "50", 500.0 + 5_000_000 * 27.80e-6 + 8.30),
    ],
)
def test_us_commissions_have_a_floor_and_a_ceiling_and_sales_pay_the_regulators(
    quantity: int, price: str, expected: float
) -> None:
    assert charged(PaperCosts(schedule=Schedule.US_STOCKS), quantity, price) == pytest.approx(expected)


def test_parts_of_ones_own_follow_the_schedules_and_may_tax_them() -> None:
    costs = PaperCosts(
        fee_bps=1.0,
        schedule=Schedule.US_STOCKS,
        charges=(ChargePart("desk", per_trade=2.0), ChargePart(percent=10.0, of=("commission", "desk"))),
    )
    assert charged(costs, 1_000, "50") == pytest.approx(5.0 + 5.0 + 2.0 + 0.7)


def test_basis_points_of_a_charge_are_of_the_contracts_worth() -> None:
    assert charged(PaperCosts(charges=(ChargePart(bps=10.0),)), 2, "100", multiplier="50") == pytest.approx(10.0)


def test_every_schedules_parts_stand_before_those_that_tax_them() -> None:
    for schedule in Schedule:
        PaperCosts(schedule=schedule)
        names = [part.name for part in SCHEDULES[schedule]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((ChargePart("a", percent=5.0, of=("a",)),), "no part before this one is called 'a'; there are: none"),
        ((ChargePart("a"), ChargePart("a")), "another part is called 'a'"),
        ((ChargePart(),) * 63, "must be at most 62 parts"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(parts: tuple[ChargePart, ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        PaperCosts(charges=parts)


@pytest.mark.parametrize("more", [{"percent": 5.0}, {"of": ("a",)}, {"minimum": 2.0, "maximum": 1.0}])
def test_a_part_that_contradicts_itself_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        ChargePart(**more)


def test_the_configuration_says_where_a_part_is_wrong() -> None:
    mapping = {
        "version": 1,
        "brokers": {"paper": {"type": "paper", "charges": [{"name": "a", "bps": 1}, {"percent": 18, "of": ["b"]}]}},
        "strategies": [],
    }
    with pytest.raises(ConfigurationError, match=r"brokers\.paper\.charges\[1\]\.of: no part before this one"):
        configuration_from_mapping(mapping, default_wiring().catalog)


amounts = st.floats(0.0, 50.0).map(lambda value: round(value, 3))
parts = st.lists(
    st.builds(
        ChargePart,
        side=st.sampled_from(ChargedSide),
        per_trade=amounts,
        per_unit=amounts,
        bps=amounts,
        minimum=amounts,
        maximum=st.none() | st.floats(50.0, 80.0),
        max_bps=st.none() | amounts,
    ),
    max_size=4,
).map(tuple)


def mapping_of(made: tuple[ChargePart, ...]) -> list[dict[str, Any]]:
    names = ("per_trade", "per_unit", "bps", "minimum", "maximum", "max_bps")
    listed = [
        {"name": f"p{k}", "side": part.side.value, **{n: v for n in names if (v := getattr(part, n)) is not None}}
        for k, part in enumerate(made)
    ]
    return [*listed, {"percent": 18, "of": ["p0"]}] if listed else []


def engine_of(made: tuple[ChargePart, ...], *, compiled: bool) -> Engine:
    wiring = default_wiring()
    row = {
        "strategy_type": "momentum",
        "instruments": [1, 2],
        "parameters": {"lookback_periods": 3, "threshold": 0.004, "position_size": 7},
    }
    mapping = {
        "version": 1,
        "brokers": {"paper": {"type": "paper", "fee_bps": 1.5, "slippage_bps": 2, "charges": mapping_of(made)}},
        "strategies": [
            {**row, "id": "a"},
            {**row, "id": "b", "parameters": {"lookback_periods": 2, "threshold": 0.01}},
        ],
    }
    engine = build_engine(configuration_from_mapping(mapping, wiring.catalog), wiring)
    if compiled:
        engine.use_compiler(numba_compiler())
    return engine


@settings(max_examples=25)
@given(made=parts, seed=st.integers(0, 2**32))
def test_single_ticks_lanes_and_columns_charge_the_same_to_the_last_bit(
    made: tuple[ChargePart, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    count = 300
    price = np.round(100.0 * np.exp(np.cumsum(0.005 * rng.standard_normal(count))), 2)
    block = TickColumns(np.arange(count) * 60_000_000_000, 1 + np.arange(count) % 2, price)
    stepped, lanes, columns = (engine_of(made, compiled=each) for each in (False, True, True))
    for row in block.rows():
        stepped.step(row)
    lanes.step_block(block)
    BlockRunner(columns, numba_compiler()).run(block)
    books = [[one.portfolio for one in engine.executors] for engine in (stepped, lanes, columns)]
    assert books[0] == books[1] == books[2]
    assert any(one.book.executor.fills[one.row] for one in stepped.executors)


@settings(max_examples=25)
@given(made=parts, seed=st.integers(0, 2**32))
def test_money_is_neither_made_nor_lost(made: tuple[ChargePart, ...], seed: int) -> None:
    """Cash is what was sold less what was bought and what was charged."""
    rng = np.random.default_rng(seed)
    price = np.round(100.0 * np.exp(np.cumsum(0.005 * rng.standard_normal(200))), 2)
    row = {"strategy_type": "momentum", "parameters": {"lookback_periods": 2, "threshold": 0.004, "position_size": 7}}
    ticks = {"ts_ns": np.arange(200) * 60_000_000_000, "price": price}
    result = anystrat.backtest(row, ticks, instruments=[1], cash=10_000, charges=mapping_of(made))
    fills = result.fills
    flow = -(fills["quantity"] * fills["price"]).sum() - fills["fee"].sum()
    worth = fills["quantity"].sum() * price[-1]
    assert result.stats.end == pytest.approx(10_000 + flow + worth, rel=1e-9)
    assert result.stats.fees == pytest.approx(fills["fee"].sum(), rel=1e-9)
