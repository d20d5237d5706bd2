from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.domain.parameters import ParameterError
from anystrat.domain.protocols import DecisionPolicy
from anystrat.domain.signal import SIDE_CODE, SignalResult
from anystrat.strategies.indicators import rsi, volatility
from anystrat.strategies.policies import POLICIES
from anystrat.strategies.policies.answer import Decided, Pairs, numbers_of, told
from anystrat.strategies.policies.confirm import Confirm, ConfirmParameters, confirm_core
from anystrat.strategies.policies.guardrail import Guardrail, GuardrailParameters, guardrail_core
from anystrat.strategies.policies.majority import Majority, MajorityParameters, majority_core
from anystrat.strategies.policies.probability_weighted import (
    ProbabilityWeighted,
    ProbabilityWeightedParameters,
    probability_weighted_core,
)
from anystrat.strategies.policies.sizer import Sizer, SizerParameters, sizer_core
from anystrat.strategies.policies.threshold_escalation import (
    ThresholdEscalation,
    ThresholdEscalationParameters,
    threshold_escalation_core,
)

SIDES = (None, "BUY", "SELL", "HOLD")
CONFIDENCES = (0.0, 0.3, 0.5499999999999999, 0.55, 0.6, 0.75, 0.9, 1.0)
#: {none, BUY, SELL, HOLD}² × confidence of each.
TABLE = list(itertools.product(SIDES, SIDES, CONFIDENCES, CONFIDENCES))

RULES_PRICE, ML_PRICE = Decimal("100.5"), Decimal("100.6")
RISING = [100.0 + i for i in range(71)]
FALLING = [200.0 - i for i in range(71)]
SWINGING = [100.0 + i % 2 for i in range(71)]

Outcome = tuple[str, float, int, Decimal] | None
Signal = SignalResult | None


def rules_signal(side: str | None, confidence: float, quantity: int = 100, **metadata: Any) -> Signal:
    return side and SignalResult(side, confidence, quantity, RULES_PRICE, "rules say so", metadata or None)


def ml_signal(side: str | None, confidence: float, quantity: int = 40) -> Signal:
    return side and SignalResult(side, confidence, quantity, ML_PRICE, "ml says so", {"model": "m"})


def outcome(signal: Signal) -> Outcome:
    return signal and (signal.signal_type, signal.confidence, signal.quantity, signal.price)


def traded(signal: Signal) -> Signal:
    """The signal, unless it is none or HOLD."""
    return signal if signal is not None and signal.signal_type in {"BUY", "SELL"} else None


def agreed(rules: Signal, ml: Signal) -> Outcome:
    """SPEC's merge, where both trade on the same side."""
    rules, ml = traded(rules), traded(ml)
    if rules is None or ml is None or rules.signal_type != ml.signal_type:
        return None
    mean = (rules.confidence + ml.confidence) / 2
    return rules.signal_type, mean, max(rules.quantity, ml.quantity), ml.price


# --------------------------------------------------------------------------------- SPEC's sentences, naively, one each


def naive_majority(rules: Signal, ml: Signal, min_ml_conf: float) -> Outcome:
    if agreed(rules, ml):
        return agreed(rules, ml)
    if traded(ml) and ml.confidence >= min_ml_conf:
        return outcome(ml)
    return outcome(traded(rules))


def naive_confirm(rules: Signal, ml: Signal) -> Outcome:
    return agreed(rules, ml)


def naive_sizer(rules: Signal, ml: Signal, low: float, high: float) -> Outcome:
    if not traded(rules):
        return None
    c = ml.confidence if agreed(rules, ml) else 0.0
    quantity = math.floor(rules.quantity * (low + (high - low) * c))
    return (rules.signal_type, rules.confidence, quantity, rules.price) if quantity else None


def naive_guardrail(ml: Signal, *, overbought: bool, oversold: bool) -> Outcome:
    if not traded(ml) or (ml.signal_type == "BUY" and overbought) or (ml.signal_type == "SELL" and oversold):
        return None
    return outcome(ml)


def naive_escalation(ml: Signal, needed: float) -> Outcome:
    return outcome(ml) if traded(ml) and ml.confidence >= needed else None


def naive_weighted(rules: Signal, ml: Signal) -> Outcome:
    both = agreed(rules, ml)
    if both is None:
        return None
    quantity = math.floor(both[2] * rules.confidence * ml.confidence)
    return (both[0], both[1], quantity, both[3]) if quantity else None


@pytest.fixture(scope="module")
def context(history) -> Callable[..., dict[str, Any]]:
    def make(prices: list[float], **last: Any) -> dict[str, Any]:
        window = history(prices, **last)
        return {"tick": window[-1], "history": window}

    return make


# -------------------------------------------------------------------------------------------------- whole truth tables


@pytest.mark.parametrize(
    ("parameters", "min_ml_conf"),
    [
        (MajorityParameters(), 0.55),
        (MajorityParameters(min_conf=0.75), 0.75),
        (MajorityParameters(min_ml_conf=0.6), 0.6),
        (MajorityParameters(min_ml_conf=0.6, min_conf=0.9), 0.6),
        (MajorityParameters(min_ml_conf=0.0), 0.0),
    ],
)
def test_majority_merges_agreement_then_takes_a_sure_model_then_the_rules(parameters, min_ml_conf):
    policy = Majority(parameters)
    for rules_side, ml_side, rc, mc in TABLE:
        rules, ml = rules_signal(rules_side, rc), ml_signal(ml_side, mc)
        assert outcome(policy.decide(rules, ml, {})) == naive_majority(rules, ml, min_ml_conf), (rules, ml)


def test_confirm_trades_agreement_alone():
    policy = Confirm(ConfirmParameters())
    for rules_side, ml_side, rc, mc in TABLE:
        rules, ml = rules_signal(rules_side, rc), ml_signal(ml_side, mc)
        assert outcome(policy.decide(rules, ml, {})) == naive_confirm(rules, ml), (rules, ml)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.25, 1.0), (0.0, 0.0), (0.5, 2.0), (1.0, 1.0), (0.0, 0.29)])
@pytest.mark.parametrize("quantity", [1, 3, 100])
def test_sizer_scales_the_rules_by_an_agreeing_model(low: float, high: float, quantity: int):
    policy = Sizer(SizerParameters(low, high))
    for rules_side, ml_side, rc, mc in TABLE:
        rules, ml = rules_signal(rules_side, rc, quantity), ml_signal(ml_side, mc)
        assert outcome(policy.decide(rules, ml, {})) == naive_sizer(rules, ml, low, high), (rules, ml)


@pytest.mark.parametrize(
    ("prices", "overbought", "oversold"), [(RISING, True, False), (FALLING, False, True), (SWINGING, False, False)]
)
def test_guardrail_lets_ml_trade_within_the_rsi(context, prices, overbought: bool, oversold: bool):
    policy = Guardrail(GuardrailParameters())
    here = context(prices)
    for rules_side, ml_side, rc, mc in TABLE:
        rules, ml = rules_signal(rules_side, rc), ml_signal(ml_side, mc)
        expected = naive_guardrail(ml, overbought=overbought, oversold=oversold)
        assert outcome(policy.decide(rules, ml, here)) == expected, (rules, ml)


@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True), (False, False)])
@pytest.mark.parametrize("prices", [RISING, FALLING, SWINGING])
def test_guardrail_believes_the_flags_of_the_rules_instead(context, prices, flags):
    policy = Guardrail(GuardrailParameters())
    here = context(prices)
    by_rsi = (prices is RISING, prices is FALLING)
    for rules_side, ml_side, rc, mc in TABLE:
        rules = rules_signal(rules_side, rc, overbought=flags[0], oversold=flags[1])
        ml = ml_signal(ml_side, mc)
        # A HOLD is no signal, so its flags are none either.
        overbought, oversold = flags if traded(rules) and any(flags) else by_rsi
        expected = naive_guardrail(ml, overbought=overbought, oversold=oversold)
        assert outcome(policy.decide(rules, ml, here)) == expected, (rules, ml)


@pytest.mark.parametrize(("volatility_given", "needed"), [(0.2, 0.75), (0.1, 0.55), (0.0, 0.55)])
def test_threshold_escalation_wants_a_surer_model_in_a_wild_market(context, volatility_given: float, needed: float):
    policy = ThresholdEscalation(ThresholdEscalationParameters(vol_threshold=0.1))
    here = context(SWINGING, metadata={"volatility": volatility_given})
    for rules_side, ml_side, rc, mc in TABLE:
        rules, ml = rules_signal(rules_side, rc), ml_signal(ml_side, mc)
        assert outcome(policy.decide(rules, ml, here)) == naive_escalation(ml, needed), (rules, ml)


@pytest.mark.parametrize(("rules_quantity", "ml_quantity"), [(100, 40), (40, 100), (1, 1)])
def test_probability_weighted_shrinks_agreement_by_both_confidences(rules_quantity: int, ml_quantity: int):
    policy = ProbabilityWeighted(ProbabilityWeightedParameters())
    for rules_side, ml_side, rc, mc in TABLE:
        rules, ml = rules_signal(rules_side, rc, rules_quantity), ml_signal(ml_side, mc, ml_quantity)
        assert outcome(policy.decide(rules, ml, {})) == naive_weighted(rules, ml), (rules, ml)


# ------------------------------------------------------------------------------------------------------------- details


@pytest.mark.parametrize(
    "policy",
    [
        Majority(MajorityParameters()),
        Confirm(ConfirmParameters()),
        ProbabilityWeighted(ProbabilityWeightedParameters()),
    ],
)
def test_the_merge_says_who_agreed(policy: DecisionPolicy):
    signal = policy.decide(rules_signal("SELL", 0.5), ml_signal("SELL", 1.0), {})
    assert signal is not None
    assert (signal.reasoning, signal.price) == ("rules+ml agree", ML_PRICE)
    assert signal.metadata == {
        "rules": {"side": "SELL", "confidence": 0.5, "quantity": 100, "reasoning": "rules say so"},
        "ml": {"side": "SELL", "confidence": 1.0, "quantity": 40, "reasoning": "ml says so"},
    }


def test_what_one_of_them_decides_alone_stays_the_very_signal():
    rules, ml = rules_signal("BUY", 0.9), ml_signal("SELL", 0.9)
    policy = Majority(MajorityParameters())
    assert policy.decide(rules, ml, {}) is ml
    assert policy.decide(rules, None, {}) is rules


def test_the_sizer_keeps_the_rules_words_and_adds_the_scale():
    signal = Sizer(SizerParameters()).decide(rules_signal("BUY", 0.5, ref_price=7), ml_signal("BUY", 0.75), {})
    assert signal is not None
    assert signal.reasoning == "rules say so; sized by 0.75"
    assert signal.metadata == {"ref_price": 7}
    silent = SignalResult("BUY", 0.5, 100, RULES_PRICE)
    signal = Sizer(SizerParameters()).decide(silent, ml_signal("BUY", 0.75), {})
    assert signal is not None
    assert signal.reasoning == "sized by 0.75"


def test_sizes_are_floored_in_doubles():
    # 100 * 0.29 is 28.999999999999996 in doubles.
    signal = Sizer(SizerParameters()).decide(rules_signal("BUY", 0.5), ml_signal("BUY", 0.29), {})
    assert signal is not None
    assert signal.quantity == 28
    # 100 * 0.29 * 1.0 likewise.
    signal = ProbabilityWeighted(ProbabilityWeightedParameters()).decide(
        rules_signal("BUY", 0.29), ml_signal("BUY", 1.0), {}
    )
    assert signal is not None
    assert signal.quantity == 28


@pytest.mark.parametrize("confidence", [math.nan, math.inf])
def test_a_confidence_that_is_no_number_sizes_nothing(confidence: float):
    assert Sizer(SizerParameters()).decide(rules_signal("BUY", 0.5), ml_signal("BUY", confidence), {}) is None
    weighted = ProbabilityWeighted(ProbabilityWeightedParameters())
    assert weighted.decide(rules_signal("BUY", 0.5), ml_signal("BUY", confidence), {}) is None


def test_a_scale_that_shrinks_with_agreement_is_refused():
    with pytest.raises(ParameterError, match="max_scale: must be at least min_scale"):
        SizerParameters(0.6, 0.5)


def test_guardrail_blocks_at_the_very_border(context):
    # Neither gains nor losses: an RSI of 50.
    flat = context([100.0] * 71)
    policy = Guardrail(GuardrailParameters(overbought=50.0, oversold=50.0))
    assert policy.decide(None, ml_signal("BUY", 0.9), flat) is None
    assert policy.decide(None, ml_signal("SELL", 0.9), flat) is None
    policy = Guardrail(GuardrailParameters(overbought=50.00000000000001, oversold=49.99999999999999))
    assert policy.decide(None, ml_signal("BUY", 0.9), flat) is not None
    assert policy.decide(None, ml_signal("SELL", 0.9), flat) is not None


def test_guardrail_reads_the_last_5n_and_1_prices_and_no_more(context):
    policy = Guardrail(GuardrailParameters(rsi_periods=2))
    assert policy.get_required_history_length() == 11
    # Rising for the last 11 prices, after a fall that it must not see.
    prices = [1000.0, *[float(i) for i in range(100, 111)]]
    assert rsi(prices, 1, 12, 2) == 100.0
    assert rsi(prices, 0, 12, 2) < 70.0
    assert policy.decide(None, ml_signal("BUY", 0.9), context(prices)) is None


def test_only_true_is_a_flag(context):
    policy = Guardrail(GuardrailParameters())
    rules = rules_signal("BUY", 0.5, overbought=71.5, oversold="no")
    assert policy.decide(rules, ml_signal("BUY", 0.9), context(FALLING)) is not None


def test_without_the_metadata_the_volatility_is_vol_20(context):
    prices = [*([1.0] * 5), *[100.0 + i % 2 for i in range(21)]]
    vol_20 = volatility(prices, len(prices) - 21, len(prices))
    here = context(prices)
    at = ThresholdEscalation(ThresholdEscalationParameters(vol_threshold=vol_20))
    below = ThresholdEscalation(ThresholdEscalationParameters(vol_threshold=math.nextafter(vol_20, 0.0)))
    assert at.get_required_history_length() == 21
    assert at.decide(None, ml_signal("BUY", 0.6), here) is not None
    assert below.decide(None, ml_signal("BUY", 0.6), here) is None
    assert here["history"].memo["vol_20"] == vol_20


def test_a_feature_that_is_known_already_is_not_computed_again(context):
    here = context(SWINGING)
    here["history"].memo["vol_20"] = 5.0
    policy = ThresholdEscalation(ThresholdEscalationParameters(vol_threshold=4.0))
    assert policy.decide(None, ml_signal("BUY", 0.6), here) is None


def test_a_given_volatility_of_zero_is_given(context):
    here = context(SWINGING, metadata={"volatility": 0.0})
    policy = ThresholdEscalation(ThresholdEscalationParameters(vol_threshold=0.001))
    assert policy.decide(None, ml_signal("BUY", 0.6), here) is not None


def test_the_threshold_of_escalation_has_no_default():
    with pytest.raises(TypeError, match="vol_threshold"):
        ThresholdEscalationParameters()


def test_a_side_that_does_not_exist_is_an_error():
    with pytest.raises(KeyError, match="LONG"):
        Majority(MajorityParameters()).decide(SignalResult("LONG", 0.5, 1, RULES_PRICE), None, {})


def test_the_six_policies_are_offered_by_name():
    assert [policy.name for policy in POLICIES] == [
        "majority", "confirm", "sizer", "guardrail", "threshold_escalation", "probability_weighted",
    ]  # fmt: skip
    for policy in POLICIES:
        required = {"vol_threshold": 0.1} if policy.name == "threshold_escalation" else {}
        assert isinstance(policy.build(policy.parameters(**required)), DecisionPolicy)


@pytest.mark.parametrize("n", [1, 14])
def test_histories_are_what_the_policies_read(n: int):
    assert Guardrail(GuardrailParameters(rsi_periods=n)).get_required_history_length() == 5 * n + 1
    for policy in (
        Majority(MajorityParameters()),
        Confirm(ConfirmParameters()),
        Sizer(SizerParameters()),
        ProbabilityWeighted(ProbabilityWeightedParameters()),
    ):
        assert policy.get_required_history_length() == 1


CORES = [
    (majority_core, (0.55,)),
    (confirm_core, ()),
    (sizer_core, (0.1, 1.0)),
    (guardrail_core, (True, False)),
    (guardrail_core, (False, False)),
    (threshold_escalation_core, (0.2, 0.55, 0.75, 0.1)),
    (probability_weighted_core, ()),
]
CONFIDENCE = st.floats(0.0, 1.0)
QUANTITY = st.integers(0, 10**9)
SIDE = st.integers(0, 3)


@settings(deadline=None)  # the first example waits for the compiler
@given(SIDE, CONFIDENCE, QUANTITY, SIDE, CONFIDENCE, QUANTITY)
def test_compiled_and_interpreted_cores_give_the_same_bits(compiled, rs, rc, rq, ms, mc, mq):
    for core, more in CORES:
        numbers = (rs, rc, rq, ms, mc, mq, *more)
        assert compiled(core)(*numbers) == core(*numbers)


@given(SIDE, CONFIDENCE, QUANTITY, SIDE, CONFIDENCE, QUANTITY)
def test_a_core_never_gives_a_hold_and_says_nothing_with_zeros(rs, rc, rq, ms, mc, mq):
    for core, more in CORES:
        decision = core(rs, rc, rq, ms, mc, mq, *more)
        side, _, _, source = decision
        assert side in {0, 1, 2}
        assert (side == 0) == (source == 0)
        if side == 0:
            assert decision == (0, 0.0, 0, 0)


def test_no_signal_and_its_numbers():
    assert numbers_of(None) == (0, 0.0, 0)
    for side, code in SIDE_CODE.items():
        assert numbers_of(SignalResult(side, 0.5, 7, RULES_PRICE)) == (code, 0.5, 7)


MANY = [
    Majority(MajorityParameters(min_ml_conf=0.6)),
    Confirm(ConfirmParameters()),
    Sizer(SizerParameters()),
    Guardrail(GuardrailParameters(rsi_periods=3)),
    ThresholdEscalation(ThresholdEscalationParameters(vol_threshold=0.01)),
    ProbabilityWeighted(ProbabilityWeightedParameters()),
]


@pytest.mark.parametrize("policy", MANY, ids=[type(policy).__name__ for policy in MANY])
def test_the_loop_over_many_ticks_says_of_each_what_the_policy_says_of_it_alone(context, policy):
    rng = random.Random(5)
    prices = [100.0]
    for _ in range(160):
        prices.append(prices[-1] * (1 + rng.choice((0.001, 0.03)) * rng.uniform(-1, 1)))
    pairs = [
        (rules_signal(one, rng.random(), 100), ml_signal(other, rng.random()))
        for one, other in itertools.product(SIDES, SIDES)
        for _ in range(6)
    ]
    need, many = policy.get_required_history_length(), len(pairs)
    first = len(prices) - many
    columns = Pairs(*map(list, zip(*((*numbers_of(one), *numbers_of(other)) for one, other in pairs), strict=True)))
    decided = Decided([9] * many, [9.0] * many, [9] * many)
    loop, arguments = policy.decisions()
    assert loop(columns, decided, prices, first, *arguments) is None
    alone = [
        numbers_of(policy.decide(one, other, context(prices[first + k + 1 - need : first + k + 1])))
        for k, (one, other) in enumerate(pairs)
    ]
    assert list(zip(*decided, strict=True)) == alone
    assert len(set(decided.side)) == 3


def test_what_both_said_is_told_in_words():
    assert told(rules_signal("BUY", 0.5), ml_signal("HOLD", 0.5)) == "rules say BUY, ML says nothing"
    assert told(None, ml_signal("SELL", 0.5)) == "rules say nothing, ML says SELL"
    said = Confirm(ConfirmParameters()).measure(rules_signal("BUY", 0.5), ml_signal("SELL", 0.5), {})
    assert said.note == "rules say BUY, ML says SELL; it takes the same side of both"
