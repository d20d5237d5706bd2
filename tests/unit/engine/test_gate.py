"""The checks in their order, and each limit exactly at its border."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from anystrat.domain.configuration import InstrumentSpec, PaperCosts, RiskLimits, Session, StrategyConfig
from anystrat.domain.events import Operation
from anystrat.domain.outcomes import Dropped, Emitted
from anystrat.domain.signal import SignalResult
from anystrat.engine.engine import Engine

from .scripted import MINUTE, SECOND, Rig, Scripted
from .scripted import tick as scripted_tick

NANO = Decimal("0.000000001")


# --------------------------------------------------------------------------------------------------------------- order

EVERYTHING_TIGHT: dict[str, Any] = {
    "max_tick_age_ns": 5,
    "min_confidence": 0.5,
    "max_quantity": 50,
    "band_pct": 5.0,
    "slippage_budget": 5.0,
    "min_flip_ns": SECOND,
    "max_position_size": Decimal(10),
    "max_exposure": 1000.0,
    "max_loss_streak": 1,
    "cooldown_ns": 5 * SECOND,
    "min_signal_interval_ns": 5 * SECOND,
    "max_signals_per_min": 2,
}
WRONG_SIGNAL: dict[str, Any] = {"confidence": 1.5, "quantity": 60, "at_price": Decimal(-1)}
# What is put right, step by step, and what the drop is called before that.
MENDED: list[tuple[str, str, dict[str, Any]]] = [
    ("killed", "run", {"kill": False}),
    ("session_closed", "run", {"closed": False}),
    ("halted", "run", {"halted": False}),
    ("auction", "run", {"auction": False}),
    ("stale", "risk", {"max_tick_age_ns": None}),
    ("invalid_confidence", "signal", {"confidence": 0.3}),
    ("invalid_quantity", "signal", {"quantity": 20}),
    ("invalid_price", "signal", {"at_price": Decimal(100)}),
    ("below_min_confidence", "signal", {"confidence": 0.9}),
    ("price_band", "risk", {"band_pct": None}),
    ("slippage", "risk", {"slippage_budget": None}),
    ("position_guard", "risk", {"min_flip_ns": None}),
    ("position_limit", "risk", {"max_position_size": Decimal(0)}),
    ("exposure", "risk", {"max_exposure": None}),
    ("circuit_open", "risk", {"max_loss_streak": None}),
    ("cooldown", "risk", {"cooldown_ns": None}),
    ("duplicate", "risk", {"dedupe_window_ns": SECOND}),
    ("min_interval", "risk", {"min_signal_interval_ns": None}),
    ("rate_limited", "risk", {"max_signals_per_min": None}),
    ("emitted", "", {}),
]


@pytest.mark.parametrize("step", range(len(MENDED)), ids=[reason for reason, _, _ in MENDED])
def test_of_all_checks_that_fail_the_first_in_the_contracts_order_names_the_drop(step: int) -> None:
    run: dict[str, Any] = {"kill": True, "closed": True, "halted": True, "auction": True}
    risk, signal = dict(EVERYTHING_TIGHT), dict(WRONG_SIGNAL)
    for _, whose, mended in MENDED[:step]:
        {"run": run, "risk": risk, "signal": signal}[whose].update(mended)
    rig = Rig(risk=RiskLimits(**risk), sessions={21: Session.CLOSED} if run["closed"] else {})

    assert rig.tick(10, 100.0, "BUY", 10) == "emitted"
    assert rig.tick(11, 100.0) == ""
    assert rig.tick(20, 100.0, "SELL", 4) == "emitted"
    if run["kill"]:
        rig.command(Operation.KILL, 20)
    # The SELL is filled ten below its BUY: a loss, a position of 6, and the last price far from the minute's open.
    found = rig.tick(21, 90.0, "SELL", **signal, age_ns=6, halted=run["halted"], auction=run["auction"])
    assert found == MENDED[step][0]


# ------------------------------------------------------------------------------------------------------------- borders


def test_a_cool_down_ends_exactly_after_its_seconds() -> None:
    rig = Rig(risk=RiskLimits(cooldown_ns=5 * SECOND))
    assert rig.tick(0, 100, "BUY") == "emitted"
    assert rig.tick(5 - NANO, 101, "BUY") == "cooldown"
    assert rig.tick(5, 101, "BUY") == "emitted"


def test_a_cool_down_counts_from_what_was_emitted_not_from_what_was_dropped() -> None:
    rig = Rig(risk=RiskLimits(cooldown_ns=5 * SECOND))
    rig.tick(0, 100, "BUY")
    assert rig.tick(4, 101, "BUY") == "cooldown"
    assert rig.tick(5, 102, "BUY") == "emitted"


def test_a_cool_down_is_for_one_instrument_alone() -> None:
    rig = Rig(risk=RiskLimits(cooldown_ns=5 * SECOND), tokens=(1, 2))
    assert rig.tick(0, 100, "BUY", token=1) == "emitted"
    assert rig.tick(1, 100, "BUY", token=2) == "emitted"
    assert rig.tick(2, 101, "BUY", token=1) == "cooldown"


def test_a_duplicate_is_one_until_exactly_the_window_has_passed() -> None:
    rig = Rig()
    assert rig.tick(0, 100, "BUY") == "emitted"
    assert rig.tick(3 - NANO, 100, "BUY") == "duplicate"
    assert rig.tick(3, 100, "BUY") == "emitted"


def test_a_duplicate_is_of_any_signal_in_the_window_not_only_of_the_last() -> None:
    rig = Rig()
    for second, price in ((0, 100), (0.5, 101), (1, 102)):
        assert rig.tick(second, price, "BUY") == "emitted"
    for price in (100, 101, 102):
        assert rig.tick(2, price, "BUY") == "duplicate"
    assert rig.tick(2, 100, "SELL") == "emitted"
    assert rig.tick(3, 100, "BUY") == "emitted"
    assert rig.tick(3, 101, "BUY") == "duplicate"


def test_many_signals_within_one_window_are_all_remembered() -> None:
    rig = Rig()
    for k in range(100):
        assert rig.tick(k * 0.01, 100 + k, "BUY") == "emitted"
    for k in range(100):
        assert rig.tick(1.5, 100 + k, "BUY") == "duplicate"
    assert rig.tick(3, 100, "BUY") == "emitted"
    assert rig.tick(3, 101, "BUY") == "duplicate"


@pytest.mark.parametrize(
    ("bucket", "first", "second", "same"),
    [
        ("0.01", "0.29", "0.299999", True),  # 0.29 / 0.01 is 28.999… in doubles
        ("0.01", "0.29", "0.289999999999", False),
        ("0.01", "100", "100.00999999", True),
        ("0.01", "100", "100.01", False),
        ("0.05", "0.15", "0.1999", True),
        ("0.05", "0.15", "0.1499", False),
        ("0.1", "1.1", "1.1000000000000000000001", True),
        ("1", "1.9999999999999999999999", "2", False),
    ],
)
def test_price_buckets_are_floors_of_exact_decimals(bucket: str, first: str, second: str, *, same: bool) -> None:
    rig = Rig(risk=RiskLimits(price_bucket=Decimal(bucket)))
    assert rig.tick(0, first, "BUY") == "emitted"
    assert rig.tick(1, second, "BUY") == ("duplicate" if same else "emitted")


def test_duplicates_are_looked_for_among_the_same_instruments_signals() -> None:
    rig = Rig(tokens=(1, 2))
    assert rig.tick(0, 100, "BUY", token=1) == "emitted"
    assert rig.tick(0, 100, "BUY", token=2) == "emitted"
    assert rig.tick(1, 100, "BUY", token=2) == "duplicate"


def test_the_interval_is_between_any_two_signals_of_the_executor_and_ends_exactly() -> None:
    rig = Rig(risk=RiskLimits(min_signal_interval_ns=SECOND), tokens=(1, 2))
    assert rig.tick(0, 100, "BUY", token=1) == "emitted"
    assert rig.tick(1 - NANO, 100, "BUY", token=2) == "min_interval"
    assert rig.tick(1, 100, "BUY", token=2) == "emitted"
    assert rig.tick(1.5, 101, "BUY", token=1) == "min_interval"


def test_a_rate_limit_forgets_a_signal_after_exactly_sixty_seconds() -> None:
    rig = Rig(risk=RiskLimits(max_signals_per_min=2))
    assert rig.tick(0, 100, "BUY") == "emitted"
    assert rig.tick(10, 101, "BUY") == "emitted"
    assert rig.tick(60 - NANO, 102, "BUY") == "rate_limited"
    assert rig.tick(60, 102, "BUY") == "emitted"
    assert rig.tick(69, 103, "BUY") == "rate_limited"
    assert rig.tick(70, 103, "BUY") == "emitted"
    assert rig.state == "ACTIVE"


def test_dropped_signals_do_not_count_against_the_rate() -> None:
    rig = Rig(risk=RiskLimits(max_signals_per_min=2))
    rig.tick(0, 100, "BUY")
    assert [rig.tick(1, 100, "BUY") for _ in range(5)] == ["duplicate"] * 5
    assert rig.tick(2, 101, "BUY") == "emitted"


def test_a_rate_of_several_instruments_counts_times_and_not_calls() -> None:
    rig = Rig(risk=RiskLimits(max_signals_per_min=2), tokens=(1, 2))
    assert rig.tick(50, 100, "BUY", token=1) == "emitted"
    assert rig.tick(0, 100, "BUY", token=2) == "emitted"  # late, and in order for its own instrument
    assert rig.tick(61, 101, "BUY", token=1) == "emitted"
    assert rig.tick(62, 102, "BUY", token=1) == "rate_limited"


def test_rates_of_several_strategies_are_kept_apart() -> None:
    engine = Engine()
    executors = [
        engine.register(
            StrategyConfig(name, "scripted", None, (1,), risk=RiskLimits(max_signals_per_min=allowed)),
            "paper",
            Scripted(lambda tick, _: SignalResult("BUY", 0.5, 1, tick.last_price)),
        )
        for name, allowed in (("a", 3), ("b", 1), ("c", 2))
    ]
    for second in (0, 1, 2, 3, 61, 61.5, 62):
        engine.step(scripted_tick(second, 100.0 + second))
    # a: at 0, 1, 2, then 61, 61.5, 62; b: at 0, 61; c: at 0, 1, 61, 61.5
    assert [executor.counters()["signals"] for executor in executors] == [6, 2, 4]


@pytest.mark.parametrize("allowed", [1, 2, 3, 5, 8])
def test_a_rate_is_the_count_of_signals_less_than_sixty_seconds_ago_however_late_instruments_are(allowed: int) -> None:
    rng = random.Random(allowed)
    rig = Rig(risk=RiskLimits(max_signals_per_min=allowed), tokens=(1, 2, 3))
    clocks = {1: 0, 2: -40, 3: -90}  # seconds by which each instrument's clock differs
    emitted: list[int] = []
    limited = 0
    for k in range(1500):
        token = rng.choice([1, 2, 3])
        clocks[token] += rng.choice([0, 1, 5, 20])
        second = clocks[token]
        recent = sum(second - earlier < 60 for earlier in emitted)
        found = rig.tick(second, 100.0 + k, "BUY", token=token)
        assert found == ("rate_limited" if recent >= allowed else "emitted"), (k, second, emitted[-10:])
        if found == "emitted":
            emitted.append(second)
        limited += found == "rate_limited"
    assert limited > 50
    assert len(emitted) > 40


def test_reaching_the_rate_pauses_where_that_is_asked_for_until_exactly_its_end() -> None:
    rig = Rig(risk=RiskLimits(max_signals_per_min=1, pause_on_throttle=True, throttle_pause_ns=7 * SECOND))
    rig.tick(0, 100, "BUY")
    assert rig.tick(1, 101, "BUY") == "rate_limited"
    assert rig.transitions == [("ACTIVE", "PAUSED", "throttled")]
    assert rig.tick(8 - NANO, 102, "BUY") == ""
    assert rig.tick(8, 103, "BUY") == "rate_limited"
    assert rig.transitions[0] == ("PAUSED", "ACTIVE", "timer")


@pytest.mark.parametrize(
    ("limits", "passes", "drops"),
    [
        ({"min_confidence": 0.55}, {"confidence": 0.55}, {"confidence": 0.5499999999999999}),
        ({"max_quantity": 20}, {"quantity": 20}, {"quantity": 21}),
        ({"band_pct": 12.5}, {"price": 112.5}, {"price": 112.50000000000001}),
        ({"band_pct": 12.5}, {"price": 87.5}, {"price": 87.49999999999999}),
        ({"slippage_budget": 0.5}, {"at_price": Decimal("99.5")}, {"at_price": Decimal("99.4999")}),
        ({"slippage_budget": 0.5}, {"metadata": {"ref_price": 100.5}}, {"metadata": {"ref_price": 100.6}}),
        ({"max_tick_age_ns": 5}, {"age_ns": 5}, {"age_ns": 6}),
        ({"max_position_size": Decimal(10)}, {"quantity": 10}, {"quantity": 11}),
        ({"max_exposure": 1000.0}, {"quantity": 10}, {"quantity": 11}),
        ({}, {"confidence": 1.0}, {"confidence": 1.0000000000000002}),
        ({}, {"confidence": 0.0}, {"confidence": -5e-324}),
        ({}, {"quantity": 1}, {"quantity": 0}),
    ],
    ids=lambda value: "-".join(f"{key}={item}" for key, item in value.items()) or "always",
)
def test_a_limit_is_not_yet_broken_by_what_equals_it(
    limits: dict[str, Any], passes: dict[str, Any], drops: dict[str, Any]
) -> None:
    for fields, fine in ((passes, True), (drops, False)):
        rig = Rig(risk=RiskLimits(**limits))
        rig.tick(0, 100.0)
        found = rig.tick(1, **{"price": 100.0, "say": "BUY", **fields})
        assert (found == "emitted") == fine, found


@pytest.mark.parametrize(
    "price", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e400")]
)
def test_a_price_that_is_none_is_an_invalid_price(price: Decimal) -> None:
    assert Rig().tick(0, 100, "BUY", at_price=price) == "invalid_price"


@pytest.mark.parametrize("confidence", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_confidence_outside_of_0_to_1_is_invalid(confidence: float) -> None:
    assert Rig().tick(0, 100, "BUY", confidence=confidence) == "invalid_confidence"


def test_slippage_is_measured_from_the_reference_price_else_from_the_signals_own() -> None:
    rig = Rig(risk=RiskLimits(slippage_budget=1.0))
    assert rig.tick(0, 100, "BUY", at_price=Decimal(90)) == "slippage"
    assert rig.tick(0, 100, "BUY", at_price=Decimal(90), metadata={"ref_price": "99.5"}) == "emitted"
    assert rig.tick(1, 100, "SELL", at_price=Decimal(100), metadata={"ref_price": Decimal(90)}) == "slippage"


def test_what_is_not_configured_is_off() -> None:
    rig = Rig()
    assert rig.tick(0, 100, "BUY", 2**53, confidence=0.0, age_ns=10**18) == "emitted"
    for k in range(1, 200):
        say = "SELL" if k % 2 else "BUY"
        assert rig.tick(k * 0.001, 100.0 * 1.04**k, say, 1000 * k, confidence=0.01) == "emitted"


def test_a_dropped_signal_leaves_the_gate_as_it_was() -> None:
    rig = Rig(risk=RiskLimits(min_confidence=0.5, cooldown_ns=MINUTE))
    assert rig.tick(0, 100, "BUY", confidence=0.4) == "below_min_confidence"
    assert rig.tick(1, 100, "BUY", confidence=0.6) == "emitted"


# ------------------------------------------------------------------------------------------------------------ position


def long(rig: Rig, quantity: int = 10) -> None:
    """A filled position, ten seconds before the others' times."""
    rig.tick(-20, 100, "BUY", quantity)
    rig.tick(-10, 100)
    assert rig.position() == quantity


@pytest.mark.parametrize(
    ("quantity", "second", "expected"),
    [
        (11, 0, "position_guard"),
        (11, 5 - NANO, "position_guard"),
        (11, 5, "emitted"),
        (10, 0, "emitted"),  # to flat is no flip
        (4, 0, "emitted"),
    ],
)
def test_a_flip_waits_until_the_position_stood_long_enough(quantity: int, second: Decimal, expected: str) -> None:
    rig = Rig(risk=RiskLimits(min_flip_ns=15 * SECOND))
    long(rig)
    assert rig.tick(second, 100, "SELL", quantity) == expected


def test_opening_the_other_side_from_flat_is_no_flip() -> None:
    rig = Rig(risk=RiskLimits(min_flip_ns=15 * SECOND))
    long(rig)
    rig.tick(0, 100, "SELL", 10)
    rig.tick(1, 100)
    assert rig.position() == 0
    assert rig.tick(2, 101, "SELL", 10) == "emitted"
    rig.tick(3, 100)
    assert rig.tick(4, 100, "BUY", 11) == "position_guard"


def test_a_position_limit_is_on_what_the_position_would_be() -> None:
    rig = Rig(risk=RiskLimits(max_position_size=Decimal(15)))
    long(rig)
    assert rig.tick(0, 100, "BUY", 6) == "position_limit"
    assert rig.tick(0, 100, "SELL", 26) == "position_limit"
    assert rig.tick(0, 100, "SELL", 25) == "emitted"


def test_what_brings_a_too_large_position_nearer_zero_passes() -> None:
    risk = RiskLimits(max_position_size=Decimal(15), allow_sessions=frozenset({Session.CLOSED}))
    rig = Rig(risk=risk, sessions=dict.fromkeys(range(4), Session.CLOSED))
    for second in range(4):  # each is within the limit while the others wait for the market to open
        assert rig.tick(second, 100 + second, "BUY", 10) == "emitted"
    assert rig.tick(4, 100, "BUY", 1) == "position_limit"
    assert rig.position() == 40
    assert rig.tick(5, 100, "SELL", 5) == "emitted"
    assert rig.tick(6, 101, "SELL", 51) == "position_limit"  # from 35 to -16


def test_what_brings_a_too_large_exposure_nearer_zero_passes_but_not_beyond() -> None:
    rig = Rig(risk=RiskLimits(max_exposure=1000.0))
    long(rig)
    assert rig.tick(0, 150, "BUY", 1) == "exposure"
    assert rig.tick(0, 150, "SELL", 1) == "emitted"
    assert rig.tick(1, 150.5, "SELL", 16) == "exposure"  # from 9 to -7, at 150.5


def test_selling_below_zero_is_refused_where_only_long_is_allowed() -> None:
    rig = Rig(risk=RiskLimits(long_only=True))
    assert rig.tick(-30, 100, "SELL", 1) == "position_limit"
    long(rig)
    assert rig.tick(0, 100, "SELL", 11) == "position_limit"
    assert rig.tick(0, 100, "SELL", 10) == "emitted"


def test_a_position_limit_of_zero_is_none() -> None:
    assert Rig(risk=RiskLimits(max_position_size=Decimal(0))).tick(0, 100, "BUY", 10**9) == "emitted"


def test_exposure_is_over_all_instruments_of_the_executor_with_what_waits_on_others() -> None:
    rig = Rig(risk=RiskLimits(max_exposure=2000.0), tokens=(1, 2, 3))
    long(rig)  # 10 at 100
    rig.tick(0, 50, "BUY", 10, token=2)  # waits: 500
    assert rig.tick(1, 20, "BUY", 26, token=3) == "exposure"  # 1000 + 500 + 520
    assert rig.tick(1, 20, "BUY", 25, token=3) == "emitted"


def test_exposure_nets_longs_against_shorts_and_counts_multipliers() -> None:
    spec = {2: InstrumentSpec(2, multiplier=Decimal(5))}
    rig = Rig(risk=RiskLimits(max_exposure=1000.0), tokens=(1, 2), instruments=spec)
    long(rig)
    assert rig.tick(0, 10, "BUY", 1, token=2) == "exposure"  # 1000 + 50
    assert rig.tick(0, 10, "SELL", 40, token=2) == "emitted"  # 1000 - 2000
    assert rig.tick(1, 10, "SELL", 1, token=2) == "exposure"  # filled: -1000, and 50 more


# ------------------------------------------------------------------------------------------------------------- circuit


def lose(rig: Rig, second: float) -> None:
    """A round trip that loses: bought at 100, sold at 90."""
    assert rig.tick(second, 100, "BUY", 10) == "emitted"
    rig.tick(second + 1, 100)
    assert rig.tick(second + 2, 90, "SELL", 10) == "emitted"
    rig.tick(second + 3, 90)


def test_a_streak_of_losing_fills_opens_the_circuit_and_pauses() -> None:
    rig = Rig(risk=RiskLimits(max_loss_streak=2))
    lose(rig, 0)
    lose(rig, 10)
    assert rig.executor.portfolio.loss_streak == 2
    assert rig.state == "ACTIVE"
    assert rig.tick(20, 100, "BUY") == "circuit_open"
    assert rig.transitions == [("ACTIVE", "PAUSED", "circuit_open")]
    assert rig.tick(10**6, 100, "BUY") == ""
    rig.command(Operation.RESUME, 10**6)
    assert rig.executor.portfolio.loss_streak == 0
    assert rig.tick(10**6 + 1, 100, "BUY") == "emitted"


def test_an_open_circuit_closes_by_itself_exactly_after_its_time_and_clears_the_streak() -> None:
    rig = Rig(risk=RiskLimits(max_loss_streak=1, resume_after_ns=30 * SECOND))
    lose(rig, 0)
    assert rig.tick(10, 100, "BUY") == "circuit_open"
    assert rig.tick(40 - NANO, 100, "BUY") == ""
    assert rig.tick(40, 100, "BUY") == "emitted"
    assert rig.executor.portfolio.loss_streak == 0


def test_a_winning_fill_ends_the_streak_and_one_without_profit_does_not() -> None:
    rig = Rig(risk=RiskLimits(max_loss_streak=3))
    lose(rig, 0)
    rig.tick(10, 100, "BUY", 10)
    rig.tick(11, 100)
    rig.tick(12, 100, "SELL", 10)
    rig.tick(13, 100)
    assert rig.executor.portfolio.loss_streak == 1
    rig.tick(20, 100, "BUY", 10)
    rig.tick(21, 100)
    rig.tick(22, 110, "SELL", 10)
    rig.tick(23, 110)
    assert rig.executor.portfolio.loss_streak == 0


def test_a_loss_is_net_of_the_closing_fills_fee_and_not_of_the_opening_one() -> None:
    rig = Rig(costs=PaperCosts(fee_bps=10.0))
    rig.tick(0, 100, "BUY", 10)
    rig.tick(1, 100)
    rig.tick(2, 100.05, "SELL", 10)
    rig.tick(3, 100.05)  # gains 0.5, costs 1.0005
    assert rig.fills[0].realised == (100.05 - 100.0) * 10 - 100.05 * 10 * 10.0 / 10_000.0
    assert rig.executor.portfolio.loss_streak == 1


# -------------------------------------------------------------------------------------------------------------- sizing


@pytest.mark.parametrize(
    ("multiplier", "quantity", "sized"),
    [
        ("0.29", 100, 29),  # 28.999… in doubles
        ("0.57", 100, 57),  # 56.999…
        ("1.1", 10, 11),
        ("1.005", 1000, 1005),
        ("0.1", 3, 0),
        ("0.333", 3, 0),
        ("2.5", 3, 7),
        ("0.999999999999999999999999", 10**15, 10**15 - 1),
        ("1e-30", 10**15, 0),
        ("1", 12, 12),
    ],
)
def test_quantities_are_floors_of_exact_products(multiplier: str, quantity: int, sized: int) -> None:
    rig = Rig(risk=RiskLimits(risk_multiplier=Decimal(multiplier)))
    found = rig.tick(0, 100, "BUY", quantity)
    if sized:
        assert found == "emitted"
        assert rig.signal.quantity == sized
    else:
        assert found == "invalid_quantity"


def test_lots_are_rounded_down_after_the_multiplier_and_only_where_asked_for() -> None:
    specs = {1: InstrumentSpec(1, lot_size=75, round_to_lot=True), 2: InstrumentSpec(2, lot_size=75)}
    rig = Rig(risk=RiskLimits(risk_multiplier=Decimal("1.5")), tokens=(1, 2), instruments=specs)
    rig.tick(0, 100, "BUY", 100, token=1)
    assert rig.signal.quantity == 150
    rig.tick(0, 100, "BUY", 99, token=2)
    assert rig.signal.quantity == 148
    assert rig.tick(1, 101, "BUY", 49, token=1) == "invalid_quantity"  # 73 units are no lot


def test_checks_and_drops_see_the_sized_quantity() -> None:
    rig = Rig(risk=RiskLimits(risk_multiplier=Decimal("0.5"), max_quantity=50))
    assert rig.tick(0, 100, "BUY", 101) == "emitted"
    assert rig.tick(1, 101, "BUY", 102) == "invalid_quantity"
    dropped = rig.out[-1]
    assert isinstance(dropped, Dropped)
    assert dropped.signal.quantity == 51


# ------------------------------------------------------------------------------------------------- several strategies


@pytest.mark.parametrize(("first", "second"), [("BUY", "SELL"), ("SELL", "BUY")])
def test_a_flip_of_a_single_unit_is_one(first: str, second: str) -> None:
    rig = Rig(risk=RiskLimits(min_flip_ns=100 * SECOND))
    assert rig.tick(0, 100, first, 1) == "emitted"
    rig.tick(1, 101)
    assert rig.tick(2, 102, second, 2) == "position_guard"
    assert rig.tick(3, 103, second, 1) == "emitted"  # to zero, which is no flip


def test_a_hold_is_counted_and_told() -> None:
    rig = Rig()
    assert rig.tick(0, 100, "HOLD", 0) == "held"
    assert rig.executor.counters()["holds"] == 1


@pytest.mark.parametrize(
    ("costs", "side", "price"),
    [
        ({}, "BUY", 100.0),
        ({"fill_at": "quote"}, "BUY", 103.0),
        ({"fill_at": "quote"}, "SELL", 98.0),
        ({"impact_bps": 100.0}, "BUY", 101.0),
        ({"impact_bps": 100.0}, "SELL", 99.0),
    ],
)
def test_a_fill_is_at_what_the_costs_say(costs: dict[str, Any], side: str, price: float) -> None:
    rig = Rig(costs=PaperCosts(**costs))
    rig.tick(0, 100, side, 10)
    rig.tick(1, 100, bid=98.0, ask=103.0, volume=10.0)
    (filled,) = rig.fills
    assert filled.price == pytest.approx(price)


def test_an_exposure_that_a_single_order_brings_counts_its_multiplier() -> None:
    spec = {1: InstrumentSpec(1, multiplier=Decimal(4))}
    rig = Rig(risk=RiskLimits(max_exposure=1_000.0), instruments=spec)
    assert rig.tick(0, 100, "BUY", 3) == "exposure"
    assert rig.tick(0, 100, "BUY", 2) == "emitted"


def test_everything_of_a_strategy_is_its_own_wherever_it_stands_in_the_tables() -> None:
    engine = Engine({token: InstrumentSpec(token, multiplier=Decimal(token)) for token in (1, 2, 3)})
    said: dict[str, Any] = {}

    def speaking(name: str) -> Scripted:
        return Scripted(
            lambda tick, _: said.get(name) and SignalResult(said[name][0], 0.9, said[name][1], tick.last_price)
        )

    executors = {
        name: engine.register(StrategyConfig(name, "scripted", None, tokens, risk=risk), "paper", speaking(name))
        for name, tokens, risk in (
            ("a", (1,), RiskLimits()),
            ("b", (2, 3), RiskLimits(max_exposure=2_000.0, max_signals_per_min=2)),
            ("c", (1, 3), RiskLimits(cooldown_ns=5 * SECOND)),
        )
    }

    def on(second: float, token: int, price: float, **signals: tuple[str, int]) -> list[str]:
        said.clear()
        said.update(signals)
        out = engine.step(scripted_tick(second, price, token))
        return [
            f"{each.strategy_id} {each.reason}" if isinstance(each, Dropped) else f"{each.signal.strategy_id} emitted"
            for each in out
            if isinstance(each, Dropped | Emitted)
        ]

    assert on(0, 3, 100, b=("BUY", 4), c=("BUY", 1)) == ["b emitted", "c emitted"]
    assert on(0, 2, 100, b=("BUY", 5)) == ["b exposure"]  # what waits on 3 is 1200, and 1000 more
    assert on(0, 2, 100, b=("BUY", 4)) == ["b emitted"]
    assert on(1, 3, 110, b=("SELL", 1), c=("BUY", 1)) == ["b rate_limited", "c cooldown"]
    assert on(1, 2, 90, b=("SELL", 1)) == ["b rate_limited"]
    assert on(2, 1, 50, a=("SELL", 7), c=("SELL", 2)) == ["a emitted", "c emitted"]
    assert on(3, 1, 40) == []
    assert [executor.counters()["drops"] for executor in executors.values()] == [
        {},
        {"exposure": 1, "rate_limited": 2},
        {"cooldown": 1},
    ]
    assert [executor.portfolio.positions for executor in executors.values()] == [{1: -7}, {2: 4, 3: 4}, {1: -2, 3: 1}]
    assert [executor.unrealised for executor in executors.values()] == [0.0, 0.0, 0.0]
    engine.step(scripted_tick(4, 42.0, 1))
    assert [executor.unrealised for executor in executors.values()] == [-14.0, 0.0, -4.0]
    assert [executor.market_value for executor in executors.values()] == [-294.0, 90 * 4 * 2 + 110 * 4 * 3, 330 - 84]


def test_many_emissions_of_several_instruments_are_each_remembered_until_they_are_old() -> None:
    rig = Rig(tokens=(1, 2), risk=RiskLimits(dedupe_window_ns=100 * SECOND))
    for k in range(60):
        for token in (1, 2):
            assert rig.tick(k, 100 + k, "BUY", 1, token=token) == "emitted"
    for k in range(60):
        assert [rig.tick(60, 100 + k, "BUY", 1, token=token) for token in (1, 2)] == ["duplicate"] * 2
        assert rig.tick(60, 100 + k, "SELL", 1, token=2) == "emitted"
    for k in range(60):
        expected = "emitted" if k <= 30 else "duplicate"
        assert [rig.tick(130, 100 + k, "BUY", 1, token=token) for token in (1, 2)] == [expected] * 2
    assert rig.tick(161, 100, "SELL", 1, token=1) == "emitted"
    assert rig.tick(159, 159, "SELL", 1, token=2) == "duplicate"
    assert rig.tick(160, 159, "SELL", 1, token=2) == "emitted"
