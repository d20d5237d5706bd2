"""An executor: its limits as numbers, its account, its counters, and a tick of its own."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from anystrat.domain.configuration import FillTiming, PaperCosts, RiskLimits, Session, StrategyConfig
from anystrat.domain.lifecycle import State
from anystrat.domain.outcomes import Reason
from anystrat.domain.signal import SignalResult
from anystrat.engine.engine import Engine
from anystrat.engine.executor import limits_of
from anystrat.engine.state import NEVER
from anystrat.testing.ticks import tick as market_tick

from .scripted import SECOND, Rig, Scripted, at


def test_limits_that_are_off_become_numbers_that_nothing_reaches() -> None:
    limits = limits_of(RiskLimits(), PaperCosts())
    assert limits["min_confidence"] == -math.inf
    assert limits["band"] == limits["slippage_budget"] == limits["max_exposure"] == math.inf
    assert limits["max_quantity"] == 2**53  # beyond it quantities are not exact in doubles
    for name in ("max_position", "max_loss_streak", "max_age"):
        assert limits[name] == NEVER
    for name in ("min_flip", "cooldown", "per_minute", "long_only", "allow_preopen", "allow_closed", "same_tick"):
        assert limits[name] <= 0
    assert limits["dedupe"] == 3 * SECOND


def test_limits_that_are_set_become_plain_numbers() -> None:
    risk = RiskLimits(
        max_position_size=Decimal("75.9"),
        band_pct=2.5,
        long_only=True,
        max_signals_per_min=6,
        allow_sessions=frozenset({Session.PREOPEN}),
    )
    limits = limits_of(risk, PaperCosts(2.0, 1.0, FillTiming.SAME_TICK))
    assert limits["max_position"] == 75  # positions are whole: more than 75.9 begins at 76
    assert limits["band"] == 0.025
    assert (limits["long_only"], limits["allow_preopen"], limits["allow_closed"]) == (1, 1, 0)
    assert (limits["per_minute"], limits["same_tick"]) == (6, 1)
    assert (limits["fee_bps"], limits["slippage_bps"]) == (2.0, 1.0)


def test_an_executor_says_who_it_is_and_where_it_stands() -> None:
    rig = Rig(length=2)
    assert repr(rig.executor) == "<StrategyExecutor s on paper: WARMUP>"
    assert (rig.executor.strategy_id, rig.executor.state) == ("s", State.WARMUP)
    rig.tick(0)
    rig.tick(1)
    assert rig.executor.state is State.ACTIVE
    assert rig.executor.last_transition_ns == at(1)


def test_counters_count_what_happened() -> None:
    rig = Rig(risk=RiskLimits(cooldown_ns=SECOND), length=2, tokens=(1, 2))
    rig.tick(0, 100)  # fills no window yet
    rig.tick(1, 100, "BUY")
    rig.tick(1.5, 101, "BUY")
    rig.tick(2, 101, "HOLD")
    rig.tick(2, 101, "BUY", quantity=1.5)
    rig.tick(3, 102, "BUY", confidence=2)
    rig.tick(3, 102, token=2)
    assert rig.executor.counters() == {
        "ticks": 7,
        "evaluations": 5,
        "signals": 1,
        "holds": 1,
        "drops": {"cooldown": 1, "invalid_confidence": 1},
        "errors": 1,
        "fills": 1,
        "round_trips": 0,
    }


def test_positions_are_kept_by_instrument() -> None:
    rig = Rig(tokens=(30, 10, 20))
    rig.engine.register(StrategyConfig("other", "scripted", None, (20, 30)), "paper", Scripted())
    for token, quantity in ((10, 1), (20, 2), (30, 3)):
        rig.tick(0, 100 + token, "BUY", quantity, token=token)
    for token in (10, 20, 30):
        rig.tick(1, 100 + token, token=token)
    portfolio = rig.executor.portfolio
    assert portfolio.positions == {30: 3, 10: 1, 20: 2}
    assert portfolio.average_prices == {30: 130.0, 10: 110.0, 20: 120.0}
    assert rig.executor.market_value == 3 * 130 + 110 + 2 * 120
    assert rig.engine.executors[1].portfolio.positions == {}
    assert rig.engine.ticks == 6


def test_every_reason_has_a_counter_of_its_own() -> None:
    rig = Rig()
    rig.engine.killed = True
    rig.tick(0, 100, "BUY")
    assert rig.executor.counters()["drops"] == {Reason.KILLED.value: 1}
    assert Rig().executor.counters()["drops"] == {}


def test_a_tick_through_an_executor_gives_its_own_signal_and_moves_the_whole_engine() -> None:
    engine = Engine()
    executors = [
        engine.register(
            StrategyConfig(name, "scripted", None, (1,)),
            "paper",
            Scripted(lambda tick, _, q=quantity: SignalResult("BUY", 0.5, q, tick.last_price)),
        )
        for name, quantity in (("a", 1), ("b", 2))
    ]
    signal = executors[1].on_tick(market_tick(1, 100, 0))
    assert signal is not None
    assert (signal.strategy_id, signal.quantity) == ("b", 2)
    assert executors[0].counters()["signals"] == 1
    assert executors[1].on_tick(market_tick(1, 100, 1)) is None  # a duplicate


@pytest.mark.parametrize(("multiplier", "kept"), [("1", None), ("1.0", None), ("2", Decimal(2)), ("0", Decimal(0))])
def test_a_multiplier_of_one_costs_nothing(multiplier: str, kept: Decimal | None) -> None:
    assert Rig(risk=RiskLimits(risk_multiplier=Decimal(multiplier))).executor.risk_multiplier == kept
