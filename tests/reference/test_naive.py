"""Examples worked out by hand that pin the reference implementation itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from . import generate, naive
from .naive import SECOND, Policy, Result, Signal, run

T0 = 1_700_000_040 * SECOND  # 28_333_334 minutes exactly: the start of a UTC minute
MS = SECOND // 1000


def tick(at: float, price: Any, token: int = 1, **flags: Any) -> dict[str, Any]:
    """A tick `at` seconds after T0."""
    return {"ts_ns": T0 + round(at * 1000) * MS, "instrument_token": token, "price": price, **flags}


def prices(*values: Any) -> list[dict[str, Any]]:
    """Ticks of instrument 1, a second apart."""
    return [tick(i, value) for i, value in enumerate(values)]


def config(kind: str, parameters: dict[str, Any], **row: Any) -> dict[str, Any]:
    top = {key: row.pop(key) for key in ("instruments_list", "paper") if key in row}
    entry = {"id": "s", "strategy_type": kind, "parameters": parameters, "instruments": [1], **row}
    made: dict[str, Any] = {"version": 1, "strategies": [entry]}
    if "instruments_list" in top:
        made["instruments"] = top["instruments_list"]
    if "paper" in top:
        made["brokers"] = {"paper": {"type": "paper", **top["paper"]}}
    return made


def script(*answers: Any) -> Callable[[list[float], dict[str, Any]], Any]:
    """A strategy that answers by the tick's `say`, an index into `answers`; without one, the first answer."""

    def answer(_: list[float], raw: dict[str, Any]) -> Any:
        chosen = answers[raw.get("say", 0)]
        if isinstance(chosen, Exception):
            raise chosen
        return chosen

    return answer


def order(side: str, quantity: Any = 10, confidence: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"signal_type": side, "quantity": quantity, "confidence": confidence, **more}


def scripted(
    risk: dict[str, Any], *answers: Any, parameters: dict[str, Any] | None = None, **row: Any
) -> dict[str, Any]:
    """A row that says what the test wants; checks 11's window is short unless the test sets it."""
    made = {**(parameters or {}), "risk": {"dedupe_window_sec": 0.001, **risk}}
    return config("callable", made, callable=script(*answers), **row)


BUY, SELL = order("BUY"), order("SELL")


def sides(result: Result) -> list[tuple[int, str]]:
    """Signals as (seconds after T0, side)."""
    return [((s["ts_ns"] - T0) // SECOND, s["signal_type"]) for s in result.signals]


def reasons(result: Result) -> list[str]:
    return [drop["reason"] for drop in result.drops]


# ---------------------------------------------------------------------------------------------------------------- rules


def test_momentum_needs_more_than_its_threshold() -> None:
    # (101 - 100) / 100 = 0.01 is not above 0.01; (103 - 101) / 101 is; 103 -> 103 is no move.
    result = run(config("momentum", {"lookback_periods": 2, "threshold": 0.01}), prices(100, 101, 103, 103))
    assert sides(result) == [(2, "BUY")]
    assert result.signals[0]["confidence"] == 5.0 * (2.0 / 101.0)
    assert (result.signals[0]["quantity"], result.signals[0]["price"]) == (100, Decimal(103))
    assert result.evaluations == 3


def test_mean_reversion_counts_the_current_price_and_skips_a_flat_window() -> None:
    # 1 1 1 1 is flat. 1 1 1 5: mean 2, variance (1+1+1+9)/4 = 3, z = 3/sqrt(3) = sqrt(3): SELL, confidence sqrt(3)/3.
    result = run(config("mean_reversion", {"lookback_periods": 4, "z_entry": 1.7}), prices(1, 1, 1, 1, 5))
    assert sides(result) == [(4, "SELL")]
    assert result.signals[0]["confidence"] == pytest.approx(math.sqrt(3) / 3)


def test_breakout_looks_at_the_ticks_before() -> None:
    # High 100, buffer 1 %: 101 is not above 101; then high 101, 102.01 is not passed by 102; then low 101 * 0.99 =
    # 99.99 is passed by 99: excess 1 - 99/99.99.
    result = run(config("breakout", {"lookback_periods": 2, "buffer": 0.01}), prices(100, 100, 101, 102, 99))
    assert sides(result) == [(4, "SELL")]
    assert result.signals[0]["confidence"] == pytest.approx(0.5 + 50 * (1 - 99 / 99.99))


def test_sma_crossover_compares_decimals_exactly() -> None:
    # Means of (1, 3): 3 0.4 1.4 has mean 1.6, the fast is below; 0.4 1.4 0.9 has mean 0.9, equal (in doubles the sum is
    # 2.6999999999999997, and the fast would be above); 1.4 0.9 1.5: above, from equal, is a BUY; 0.9 1.5 0.2: below, SELL.
    result = run(config("sma_crossover", {"fast_periods": 1, "slow_periods": 3}), prices(3, 0.4, 1.4, 0.9, 1.5, 0.2))
    assert sides(result) == [(4, "BUY"), (5, "SELL")]
    assert result.signals[0]["confidence"] == 1.0  # 100 * (1.5/1.2667 - 1) = 18


# ------------------------------------------------------------------------------------------------------------------- ml


class Fixed:
    """A model that gives one answer."""

    def __init__(self, *probabilities: float, features: list[str] | None = None) -> None:
        self.features = features or ["ret_1"]
        self.probabilities = probabilities

    def predict(self, row: list[float]) -> tuple[float, float, float]:
        if not self.probabilities:
            raise RuntimeError("no answer")
        sell, hold, buy = self.probabilities
        return generate.float32(sell), generate.float32(hold), generate.float32(buy)


@pytest.mark.parametrize(
    ("model", "min_conf", "expected"),
    [
        (Fixed(0.1, 0.2, 0.7), 0.6, [(1, "BUY")]),
        (Fixed(0.1, 0.2, 0.7), 0.7, []),  # float32(0.7) = 0.699999988
        (Fixed(0.6, 0.2, 0.2), 0.6, [(1, "SELL")]),  # float32(0.6) = 0.600000024
        (Fixed(0.4, 0.2, 0.4), 0.1, []),  # a tie is HOLD, HOLD is none
        (Fixed(0.0, 0.5, 0.5), 0.1, []),
        (Fixed(), 0.1, []),  # raising is none, and no processor error
    ],
)
def test_a_models_largest_probability_decides(model: Fixed, min_conf: float, expected: list[Any]) -> None:
    made = config("ml_momentum", {"model_path": "m", "min_conf": min_conf, "risk": {"max_errors": 0}})
    result = run(made, prices(100, 101), models={"m": model})
    assert sides(result) == expected
    assert (result.evaluations, result.executors["s", "paper"].state) == (1, "ACTIVE")


def test_features() -> None:
    p = [1.0, 2.0, 4.0]
    assert naive.feature("ret_2", p) == 3.0
    assert naive.feature("vol_2", p) == 0.0  # returns 1 and 1
    assert naive.feature("vol_2", [1.0, 2.0, 2.0]) == 0.5  # returns 1 and 0: mean 0.5, deviation 0.5
    assert naive.feature("z_2", p) == 1.0  # mean 3, deviation 1
    assert naive.feature("z_1", p) == 0.0
    assert naive.feature("pos_3", [1.0, 3.0, 2.0]) == 0.5
    assert naive.feature("pos_2", [1.0, 3.0, 2.0]) == 0.0
    assert naive.feature("pos_2", [3.0, 3.0]) == 0.5
    assert [naive.feature_history(name) for name in ("ret_3", "vol_3", "z_3", "pos_3")] == [4, 4, 3, 3]


def test_rsi() -> None:
    assert naive.rsi([1.0] * 11, 2) == 50.0
    assert naive.rsi([1.0 + i for i in range(11)], 2) == 100.0
    assert naive.rsi([20.0 - i for i in range(11)], 2) == 0.0
    # +3 and -1 first, nothing after: Wilder halves both averages alike, so RS stays 1.5/0.5 = 3: 100 - 100/4.
    assert naive.rsi([10.0, 13.0] + [12.0] * 9, 2) == 75.0
    # n = 1: the last change is all there is.
    assert naive.rsi([1.0, 9.0, 1.0, 9.0, 1.0, 9.0], 1) == 100.0


# ------------------------------------------------------------------------------------------------------------- policies


def decide(policy: Any, rules: Any, learned: Any, **more: Any) -> Any:
    """Each side as (side, confidence, quantity); rules at price 1, ML at price 2."""
    flags = more.pop("flags", {})
    window = [
        naive.Tick(0, 1, Decimal(repr(p)), p, False, False, "regular", more.get("volatility"), {})
        for p in more.get("window", [1.0])
    ]
    r = None if rules is None else Signal(rules[0], rules[1], rules[2], Decimal(1), flags)
    m = None if learned is None else Signal(learned[0], learned[1], learned[2], Decimal(2))
    out = Policy({"policy": policy}).decide(r, m, window)
    return None if out is None else (out.side, out.confidence, out.quantity, int(out.price))


B, S, H = ("BUY", 0.5, 10), ("SELL", 0.5, 10), ("HOLD", 0.9, 10)


@pytest.mark.parametrize(
    ("policy", "rules", "learned", "expected"),
    [
        ("majority", B, ("BUY", 0.75, 20), ("BUY", 0.625, 20, 2)),
        ("majority", B, ("SELL", 0.55, 20), ("SELL", 0.55, 20, 2)),
        ("majority", B, ("SELL", 0.54, 20), ("BUY", 0.5, 10, 1)),
        ("majority", H, ("SELL", 0.54, 20), None),
        ({"type": "majority", "min_conf": 0.9, "min_ml_conf": 0.5}, S, ("BUY", 0.5, 20), ("BUY", 0.5, 20, 2)),
        ("majority", None, H, None),
        ("confirm", B, B, ("BUY", 0.5, 10, 2)),
        ("confirm", B, S, None),
        ("confirm", None, S, None),
        ("sizer", B, ("BUY", 0.75, 99), ("BUY", 0.5, 7, 1)),  # floor(10 * 0.75)
        ("sizer", B, S, None),  # floor(10 * 0)
        ({"type": "sizer", "min_scale": 0.5, "max_scale": 2}, B, S, ("BUY", 0.5, 5, 1)),
        (
            {"type": "sizer", "min_scale": 0.5, "max_scale": 2},
            B,
            B,
            ("BUY", 0.5, 12, 1),
        ),  # floor(10 * (0.5 + 1.5 * 0.5))
        ("sizer", None, B, None),
        ("probability_weighted", B, ("BUY", 0.75, 20), ("BUY", 0.625, 7, 2)),  # floor(20 * 0.5 * 0.75)
        ("probability_weighted", ("BUY", 0.1, 10), ("BUY", 0.5, 10), None),
        ("probability_weighted", B, S, None),
        ("probability_weighted", None, S, None),
    ],
)
def test_policies(policy: Any, rules: Any, learned: Any, expected: Any) -> None:
    assert decide(policy, rules, learned) == expected


def test_guardrail() -> None:
    policy = {"type": "guardrail", "rsi_periods": 1}
    rising, falling, flat = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [5.0] * 6
    assert decide(policy, S, B, window=rising) is None  # RSI 100
    assert decide(policy, S, B, window=falling) == ("BUY", 0.5, 10, 2)  # RSI 0
    assert decide(policy, None, S, window=falling) is None
    assert decide(policy, None, S, window=flat) == ("SELL", 0.5, 10, 2)
    assert decide({**policy, "overbought": 50}, None, B, window=flat) is None  # 50 >= 50
    assert decide({**policy, "oversold": 50}, None, S, window=flat) is None
    assert decide(policy, B, None, window=flat) is None
    # The rules' flags decide instead: RSI 100 no longer stops a BUY that the flags call oversold.
    assert decide(policy, S, B, window=rising, flags={"oversold": True}) == ("BUY", 0.5, 10, 2)
    assert decide(policy, S, B, window=flat, flags={"overbought": True}) is None


def test_threshold_escalation() -> None:
    policy = {"type": "threshold_escalation", "vol_threshold": 0.01}
    assert decide(policy, B, ("SELL", 0.55, 10), volatility=0.01) == ("SELL", 0.55, 10, 2)
    assert decide(policy, B, ("SELL", 0.74, 10), volatility=0.011) is None
    assert decide(policy, B, ("SELL", 0.75, 10), volatility=0.011) == ("SELL", 0.75, 10, 2)
    assert decide(policy, B, None, volatility=0.0) is None
    assert decide(policy, None, ("BUY", 0.6, 10), window=[1.0, 2.0] * 11) is None  # vol_20 of +1, -0.5, … is 0.75
    assert decide(policy, None, ("BUY", 0.6, 10), window=[1.0] * 21) == ("BUY", 0.6, 10, 2)


def test_a_hybrid_waits_for_the_longest_of_its_parts_and_splits_its_keys() -> None:
    parameters = {
        "rules": {"type": "momentum", "lookback_periods": 2, "threshold": 0.01, "position_size": 7},
        "ml": {"type": "ml_momentum", "model_path": "m", "position_size": 9},
        "policy": {"type": "guardrail", "rsi_periods": 1, "overbought": 101},
    }
    result = run(config("hybrid", parameters), prices(*range(100, 107)), models={"m": Fixed(0.0, 0.25, 0.75)})
    assert sides(result) == [(5, "BUY"), (6, "BUY")]  # 5 * 1 + 1 prices
    assert [s["quantity"] for s in result.signals] == [9, 9]


def test_a_ready_made_hybrid_feeds_min_conf_to_both_model_and_policy() -> None:
    flat = {"lookback_periods": 2, "threshold": 0.5, "model_path": "m", "policy": "majority"}
    model = {"m": Fixed(0.0, 0.48, 0.52)}
    # Alone at 0.52: above the model's default 0.5, below the policy's default 0.55.
    assert sides(run(config("hybrid_momentum", flat), prices(100, 100), models=model)) == []
    assert sides(run(config("hybrid_momentum", {**flat, "min_conf": 0.51}), prices(100, 100), models=model)) == [
        (1, "BUY")
    ]


# -------------------------------------------------------------------------------------------------------- sizing and id


def test_sizing_is_exact() -> None:
    # 100 * 0.29 is 28.999999999999996 in doubles; a lot of 10 leaves 20.
    row = scripted({}, order("BUY", 100), parameters={"risk_multiplier": 0.29})
    assert run(row, prices(5)).signals[0]["quantity"] == 29
    row["instruments"] = [{"token": 1, "lot_size": 10, "round_to_lot": True}]
    assert run(row, prices(5)).signals[0]["quantity"] == 20
    row["instruments"] = [{"token": 1, "lot_size": 30, "round_to_lot": True}]
    result = run(row, prices(5))
    assert (reasons(result), result.drops[0]["quantity"]) == (["invalid_quantity"], 0)


def test_signal_id() -> None:
    # The mixer with its increment is SplitMix64, whose first number from seed 0 is known.
    assert naive.mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    # 0.29/0.01 is 28.999999999999996 in doubles; the floor of a negative quotient goes down.
    assert naive.bucket_of(Decimal("0.29"), 0.01) == 29
    assert naive.bucket_of(Decimal("-0.001"), "0.01") == -1
    first = naive.signal_id("s", "paper", 1, "BUY", 10_000, T0, 3 * SECOND)
    assert len(first) == 32
    # ts_ns // w: 1_700_000_040 s is 0 s into its three-second slot (1_700_000_040 = 3 * 566_666_680).
    assert naive.signal_id("s", "paper", 1, "BUY", 10_000, T0 + 3 * SECOND - 1, 3 * SECOND) == first
    assert naive.signal_id("s", "paper", 1, "BUY", 10_000, T0 - 1, 3 * SECOND) != first
    assert run(config("callable", {}, callable=script(BUY)), prices(100)).signals[0]["signal_id"] == first


# --------------------------------------------------------------------------------------------------------------- checks


def test_sessions_halts_and_auctions_drop_in_that_order() -> None:
    def sessions(_: int, ts: int) -> str:
        return "closed" if ts == T0 else "preopen" if ts == T0 + SECOND else "regular"

    ticks = [
        tick(0, 5, halted=True),
        tick(1, 5),
        tick(2, 5, halted=True, auction=True),
        tick(3, 5, auction=True),
        tick(4, 5),
    ]
    result = run(scripted({}, BUY), ticks, sessions=sessions)
    assert reasons(result) == ["session_closed", "session_closed", "halted", "auction"]
    result = run(scripted({"allow_sessions": ["preopen"]}, BUY), ticks, sessions=sessions)
    assert reasons(result) == ["session_closed", "halted", "auction"]
    assert sides(result) == [(1, "BUY"), (4, "BUY")]


@pytest.mark.parametrize(
    ("risk", "answer", "reason"),
    [
        ({}, order("BUY", confidence=math.nan), "invalid_confidence"),
        ({}, order("BUY", confidence=1.0000000000000002, quantity=0), "invalid_confidence"),
        ({}, order("BUY", quantity=0, price=0), "invalid_quantity"),
        ({"max_quantity": 9}, BUY, "invalid_quantity"),
        ({"max_quantity": 10}, BUY, None),
        ({"min_confidence": 0.5}, order("BUY", confidence=0.4, price=-1), "invalid_price"),
        ({"min_confidence": 0.5}, order("BUY", confidence=0.49), "below_min_confidence"),
        ({"min_confidence": 0.5}, order("BUY", confidence=0.5), None),
        ({"slippage_budget": 1}, order("BUY", ref_price=98.9), "slippage"),
        ({"slippage_budget": 1}, order("BUY", ref_price=101), None),
        ({"slippage_budget": 1}, order("BUY", price=102), "slippage"),
        ({"long_only": True}, SELL, "position_limit"),
        ({"max_exposure": 1000}, BUY, None),
        ({"max_exposure": 999}, BUY, "exposure"),
        ({"max_exposure": 999}, SELL, "exposure"),
    ],
)
def test_one_tick_checks(risk: dict[str, Any], answer: Any, reason: str | None) -> None:
    assert reasons(run(scripted(risk, answer), prices(100))) == ([] if reason is None else [reason])


def test_price_band_is_against_the_first_fit_tick_of_the_minute() -> None:
    # Open 100 (the halted 50 does not count). 101 is 1 % off, as a double 0.010000000000000009 > 0.01: dropped; 100.9
    # is not. At 60 s the minute turns: 200 is its own open.
    ticks = [tick(0, 50, halted=True), tick(1, 100), tick(2, 101), tick(3, 100.9), tick(59.999, 120), tick(60, 200)]
    result = run(scripted({"band_pct": 1}, BUY), ticks)
    assert reasons(result) == ["halted", "price_band", "price_band"]
    assert sides(result) == [(1, "BUY"), (3, "BUY"), (60, "BUY")]


def test_position_guard_stops_a_flip_only() -> None:
    # BUY 10 at 0 s, filled at 1 s. SELL 25 would flip: refused until 3 s after the fill. SELL 10 closes, no flip.
    answers = (BUY, order("SELL", 25), SELL, None)
    ticks = [tick(0, 100), tick(1, 100, say=1), tick(3.999, 100, say=1), tick(4, 100, say=1)]
    result = run(scripted({"min_flip_sec": 3}, *answers), ticks)
    assert reasons(result) == ["position_guard", "position_guard"]
    assert sides(result) == [(0, "BUY"), (4, "SELL")]
    assert reasons(run(scripted({"min_flip_sec": 3}, *answers), [tick(0, 100), tick(1, 100, say=2)])) == []


def test_position_limit_uses_what_is_filled_and_lets_reductions_pass() -> None:
    answers = (order("BUY", 20), SELL, order("SELL", 40), None)
    # BUY 20 (limit 15) is over. With limit 20: filled at 1 s, where SELL 10 passes; a flip to -20 passes, to -21 not.
    assert reasons(run(scripted({}, *answers, parameters={"max_position_size": 15}), prices(100))) == ["position_limit"]
    row = scripted({}, *answers, order("SELL", 41), parameters={"max_position_size": 20})
    assert reasons(run(row, [tick(0, 100), tick(1, 100, say=2)])) == []
    assert reasons(run(row, [tick(0, 100), tick(1, 100, say=4)])) == ["position_limit"]
    # Two BUY 20 before any fill both pass: what is pending does not count for this check.
    ticks = [tick(0, 100), tick(1, 100, halted=True, say=3), tick(2, 100, say=0)]
    assert reasons(run(row, ticks)) == ["position_limit"]  # filled at 2 s, before the evaluation


def test_exposure_counts_pending_signals_elsewhere_and_multipliers() -> None:
    # Token 1: 10 * 100 * 2 = 2000 pending at 100 from 0 s. Token 2: + 10 * 50 = 500. Limit 2499: refused; 2500: passes.
    instruments = [{"token": 1, "multiplier": 2}, {"token": 2}]
    ticks = [tick(0, 100), tick(1, 50, token=2)]
    for limit, expected in ((2499, ["exposure"]), (2500, [])):
        row = scripted({"max_exposure": limit}, BUY, SELL, instruments=[1, 2], instruments_list=instruments)
        assert reasons(run(row, ticks)) == expected
    # Short on the other side nets: |2000 - 500|.
    row = scripted({"max_exposure": 2000}, BUY, SELL, instruments=[1, 2], instruments_list=instruments)
    assert reasons(run(row, [tick(0, 100), tick(1, 50, token=2, say=1)])) == []


def test_an_open_circuit_pauses_until_its_timer_and_clears_the_streak() -> None:
    # Same-tick fills, no costs. 0 s BUY at 100; 1 s SELL at 99: loses 10. 2 s: circuit open, PAUSED until 12 s.
    row = scripted({"max_loss_streak": 1, "resume_after_sec": 10}, BUY, SELL, paper={"fill": "same_tick"})
    ticks = [tick(0, 100), tick(1, 99, say=1), tick(2, 99), tick(3, 99), tick(12, 99), tick(13, 99)]
    result = run(row, ticks)
    assert reasons(result) == ["circuit_open"]
    assert sides(result) == [(0, "BUY"), (1, "SELL"), (12, "BUY"), (13, "BUY")]
    assert result.evaluations == 5
    done = result.executors["s", "paper"]
    assert (done.state, done.loss_streak, done.round_trips, done.realised) == ("ACTIVE", 0, 1, -10.0)
    # Without a timer it stays paused.
    row = scripted({"max_loss_streak": 1}, BUY, SELL, paper={"fill": "same_tick"})
    done = run(row, ticks).executors["s", "paper"]
    assert (done.state, done.loss_streak, done.evaluations) == ("PAUSED", 1, 3)


def test_cooldown_duplicate_and_interval() -> None:
    ticks = [tick(0, 100), tick(1.999, 100), tick(2, 100)]
    assert reasons(run(scripted({"cooldown_sec": 2}, BUY), ticks)) == ["cooldown"]
    # Default window 3 s, same side and cent; 100.009 shares the cent with 100, 100.01 does not; SELL is another side.
    row = config("callable", {}, callable=script(BUY, SELL))
    ticks = [tick(0, 100.0), tick(1, 100.009), tick(1, 100.01), tick(2, 100, say=1), tick(2.999, 100), tick(3, 100)]
    result = run(row, ticks)
    assert reasons(result) == ["duplicate", "duplicate"]
    assert sides(result) == [(0, "BUY"), (1, "BUY"), (2, "SELL"), (3, "BUY")]
    # The interval is the executor's, across instruments; the cooldown the instrument's.
    ticks = [tick(0, 100), tick(0.5, 50, token=2), tick(1, 50, token=2)]
    row = scripted({"min_signal_interval_ms": 1000}, BUY, instruments=[1, 2])
    assert reasons(run(row, ticks)) == ["min_interval"]
    row = scripted({"cooldown_sec": 1}, BUY, instruments=[1, 2])
    assert reasons(run(row, ticks)) == ["cooldown"]  # token 2 against its own signal at 0.5 s


def test_rate_limit_and_its_pause() -> None:
    ticks = [tick(0, 100), tick(1, 100), tick(2, 100), tick(59, 100), tick(60, 100), tick(60.5, 100), tick(61, 100)]
    result = run(scripted({"max_signals_per_min": 2}, BUY), ticks)
    assert sides(result) == [(0, "BUY"), (1, "BUY"), (60, "BUY"), (61, "BUY")]
    assert reasons(result) == ["rate_limited"] * 3
    result = run(scripted({"max_signals_per_min": 2, "pause_on_throttle": True}, BUY), ticks)
    assert reasons(result) == ["rate_limited"]  # at 2 s: PAUSED until 62 s
    assert (result.evaluations, result.executors["s", "paper"].state) == (3, "PAUSED")


# ------------------------------------------------------------------------------------------------------------ lifecycle


def test_errors_back_off_twice_as_long_each_time_and_then_pause() -> None:
    # More than one error within 60 s is ERROR. Errors at 0 and 1 s: retry at 1 + 1. Error at 2 s: retry at 2 + 2. Error
    # at 4 s: no retry is left.
    risk = {"max_errors": 1, "retry_backoff_sec": 1, "max_retries": 2}
    result = run(scripted(risk, ValueError()), [tick(s, 100) for s in range(9)])
    done = result.executors["s", "paper"]
    assert (done.state, done.errors, done.evaluations) == ("PAUSED", 4, 4)  # at 0, 1, 2 and 4 s
    done = run(scripted({**risk, "max_retries": 3}, ValueError()), [tick(s, 100) for s in range(8)]).executors[
        "s", "paper"
    ]
    assert (done.state, done.errors) == ("ERROR", 4)  # the third retry is due at 4 + 4
    # An error with none in the 60 s before it starts anew.
    ticks = [tick(0, 100), tick(1, 100), tick(2, 100), tick(62, 100), tick(63, 100), tick(64, 100)]
    done = run(scripted({**risk, "max_retries": 2}, ValueError()), ticks).executors["s", "paper"]
    assert (done.state, done.errors) == ("ERROR", 6)  # k = 0 at 63 s, k = 1 at 64 s


@pytest.mark.parametrize("answer", [order("BUY", 2.5), order("HOLD", 2.5), "BUY", {}, order("LONG")])
def test_a_wrong_answer_is_an_error(answer: Any) -> None:
    result = run(scripted({"max_errors": 0}, answer), prices(100))
    assert (result.executors["s", "paper"].state, result.signals, result.drops) == ("ERROR", [], [])


def test_hold_is_counted_and_skips_the_checks() -> None:
    result = run(scripted({}, order("HOLD", -1, math.nan)), prices(100))
    assert (result.holds, result.evaluations, result.signals, result.drops) == (1, 1, [], [])


def test_one_full_window_activates_the_executor_not_the_other_instrument() -> None:
    row = config("momentum", {"lookback_periods": 2}, instruments=[1, 2])
    ticks = [tick(0, 100), tick(1, 50, token=2)]
    assert run(row, ticks).executors["s", "paper"].state == "WARMUP"
    result = run(row, [*ticks, tick(2, 100), tick(3, 100)])
    assert (result.executors["s", "paper"].state, result.evaluations) == ("ACTIVE", 2)


# ---------------------------------------------------------------------------------------------------------------- books


def test_a_paper_fill_at_the_next_tick_with_costs() -> None:
    # BUY 10 at 0 s fills at 1 s: 200 * 1.01 = 202, fee 202 * 10 * 10/10^4 = 2.02. SELL 10 at 1 s fills at 2 s: 300 *
    # 0.99 = 297, fee 2.97; realised (297 - 202) * 10 - 2.97 = 947.03; cash -2020 - 2.02 + 2970 - 2.97 = 945.01.
    row = scripted({}, BUY, SELL, None, paper={"fee_bps": 10, "slippage_bps": 100})
    result = run(row, [tick(0, 100), tick(1, 200, say=1), tick(2, 300, say=2)])
    done = result.executors["s", "paper"]
    assert (done.positions, done.round_trips) == ({1: (0, 0.0)}, 1)
    assert done.realised == pytest.approx(947.03)
    assert done.fees == pytest.approx(4.99)
    assert done.cash == pytest.approx(945.01)


def test_averages_and_flips() -> None:
    # Same-tick fills: BUY 10 at 100, BUY 10 at 200: 20 at 150. SELL 10 at 160: realises 100, average stays. SELL 30 at
    # 140: 10 close at -100, 20 open short at 140. BUY 20 at 130: +200.
    answers = (BUY, SELL, order("SELL", 30), order("BUY", 20))
    row = scripted({}, *answers, paper={"fill": "same_tick"})
    ticks = [tick(0, 100), tick(1, 200), tick(2, 160, say=1), tick(3, 140, say=2), tick(4, 130, say=3)]
    books = []
    for upto in range(1, 6):
        done = run(row, ticks[:upto]).executors["s", "paper"]
        books.append((*done.positions[1], done.realised, done.loss_streak, done.round_trips))
    assert books == [
        (10, 100.0, 0.0, 0, 0),
        (20, 150.0, 0.0, 0, 0),
        (10, 150.0, 100.0, 0, 0),
        (-20, 140.0, 0.0, 1, 1),
        (0, 0.0, 200.0, 0, 2),
    ]


def test_orders_wait_for_a_fit_tick_and_then_all_fill() -> None:
    # 0 s: BUY. 1 s is an auction: no fill, and its own signal is dropped. Closed ticks may signal, but never fill.
    def sessions(_: int, ts: int) -> str:
        return "closed" if T0 < ts < T0 + 3 * SECOND else "regular"

    row = scripted({"allow_sessions": ["closed"]}, BUY, None)
    result = run(row, [tick(0, 100), tick(1, 110), tick(2, 120), tick(3, 130, say=1)], sessions=sessions)
    assert result.executors["s", "paper"].positions == {1: (30, 130.0)}


def test_other_brokers_keep_paper_positions_at_papers_costs() -> None:
    row = scripted({}, BUY, None, brokers=["out", "paper", "sim"], paper={"fee_bps": 100})
    row["brokers"] |= {"out": {"type": "log"}, "sim": {"type": "paper", "fee_bps": 50}}
    result = run(row, [tick(0, 100), tick(1, 100, say=1)])
    assert [s["broker"] for s in result.signals] == ["out", "paper", "sim"]
    assert [result.executors["s", broker].fees for broker in ("out", "paper", "sim")] == [10.0, 10.0, 5.0]


# ---------------------------------------------------------------------------------------------------------------- ticks


def test_ticks_are_dropped_under_the_first_reason_that_fits() -> None:
    bad = [
        tick(0, 0, token=9),
        tick(5, 100),
        tick(4, math.nan),
        tick(6, -1),
        tick(6, "Infinity"),
        tick(6, 0),
        tick(4, 100),
    ]
    result = run(scripted({}, BUY), [*bad, tick(5, 100), tick(4, 100, token=2)])
    assert result.tick_drops == {"unrouted": 2, "bad_price": 4, "out_of_order": 1}
    assert result.evaluations == 2  # 5 s, and 5 s again: equal is accepted


def test_rows_that_are_off_and_rows_per_instrument() -> None:
    row = scripted({"min_signal_interval_ms": 1000}, BUY, instruments=[1, 2], per_instrument=True)
    row["strategies"].append({**row["strategies"][0], "id": "off", "enabled": False, "instruments": [3]})
    result = run(row, [tick(0, 100), tick(0.5, 50, token=2), tick(0.6, 50, token=3)])
    assert [s["instrument_token"] for s in result.signals] == [1, 2]  # an interval each
    assert set(result.executors) == {("s", "paper", 1), ("s", "paper", 2)}
    assert result.tick_drops == {"unrouted": 1}


# ----------------------------------------------------------------------------------------------------------- everything


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(generate.cases())
def test_generated_replays_run_and_add_up(case: generate.Case) -> None:
    result = run(case.config, case.ticks, models=case.models, sessions=case.sessions)
    assert len(result.signals) + len(result.drops) + result.holds <= result.evaluations
    ids = [signal["signal_id"] for signal in result.signals]
    assert len(ids) == len(set(ids))
    again = run(case.config, case.ticks, models=case.models, sessions=case.sessions)
    assert repr(again) == repr(result)
