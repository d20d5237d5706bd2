from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

import pytest

from anystrat.domain.errors import ModelRefused, StaleHistory
from anystrat.domain.protocols import MLCapable, SeedAware, StrategyProcessor
from anystrat.domain.signal import SignalResult
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.catalog import BuildContext, Composition, Part, StrategyType
from anystrat.strategies.hybrid import (
    HYBRID,
    HYBRID_BREAKOUT,
    HYBRID_MEAN_REVERSION,
    HYBRID_MOMENTUM,
    HybridParameters,
    HybridProcessor,
    NeedsHistory,
)
from anystrat.strategies.hybrid_layout import LayoutProblem, PartLayout, split_parameters
from anystrat.strategies.ml import MLParameters
from anystrat.strategies.momentum import MomentumParameters
from anystrat.strategies.policies.confirm import Confirm, ConfirmParameters
from anystrat.strategies.policies.guardrail import Guardrail, GuardrailParameters
from anystrat.strategies.policies.majority import Majority, MajorityParameters

FLAT = Composition("momentum", "ml_momentum")
NESTED = Composition()


@dataclass
class Recorder:
    """A part that keeps what it was shown; with `supports` it is choosy."""

    history_length: int
    answer: SignalResult | None = None
    seen: list[list[float]] = field(default_factory=list)
    kept: Any = None
    tokens: frozenset[int] = frozenset({7})

    def get_required_history_length(self) -> int:
        return self.history_length

    def supports_instrument(self, token: int) -> bool:
        return token in self.tokens

    def get_strategy_name(self) -> str:
        return "recorder"

    def process_tick(self, tick, history) -> SignalResult | None:
        assert history[-1] is tick
        assert len(history) == self.history_length
        self.seen.append(history.prices.tolist())
        self.kept = history
        return self.answer


@dataclass
class Model(Recorder):
    """An ML part. Without a model it cannot say how much history it needs."""

    loads: bool = True
    seed: int | None = None

    def get_required_history_length(self) -> int:
        if not self.loads:
            raise ModelRefused("no model")
        return self.history_length

    def load_model(self) -> bool:
        return self.loads

    def extract_features(self, tick, history) -> Any:
        return history.prices.tolist()

    def predict_signal(self, features) -> SignalResult | None:
        return SignalResult("BUY", 0.5, len(features), Decimal(1))

    def supports_broker(self, broker_id: str) -> bool:
        return broker_id != "venue"

    def set_seed(self, seed: int) -> None:
        self.seed = seed


@dataclass
class WatchfulPolicy:
    """A policy that keeps what it was asked, and needs no history of its own."""

    asked: list[tuple[Any, Any, Mapping[str, Any]]] = field(default_factory=list)

    def decide(self, rules_signal, ml_signal, context) -> SignalResult | None:
        self.asked.append((rules_signal, ml_signal, context))
        return rules_signal


def buy(confidence: float = 0.5) -> SignalResult:
    return SignalResult("BUY", confidence, 10, Decimal(100))


def layout(composition: Composition, mapping: Mapping[str, Any]):
    return split_parameters(composition, builtin_catalog(), mapping)


# ------------------------------------------------------------------------------------------------------- the processor


def test_each_part_sees_its_own_history_and_the_policy_the_whole(history):
    rules, ml, policy = Recorder(2, buy()), Model(3), WatchfulPolicy()
    hybrid = HybridProcessor(rules, ml, policy)
    window = history([1.0, 2.0, 3.0, 4.0])
    assert hybrid.process_tick(window[-1], window) is rules.answer
    assert rules.seen == [[3.0, 4.0]]
    assert ml.seen == [[2.0, 3.0, 4.0]]
    ((rules_signal, ml_signal, context),) = policy.asked
    assert (rules_signal, ml_signal) == (rules.answer, None)
    assert context["tick"] is window[-1]
    assert context["history"] is window


@pytest.mark.parametrize(
    ("rules", "ml", "policy", "longest"),
    [
        (20, 3, Majority(MajorityParameters()), 20),
        (3, 21, Majority(MajorityParameters()), 21),
        (3, 21, Guardrail(GuardrailParameters()), 71),
        (3, 2, WatchfulPolicy(), 3),
    ],
)
def test_it_needs_the_longest_history_of_rules_ml_and_policy(rules, ml, policy, longest):
    assert HybridProcessor(Recorder(rules), Model(ml), policy).get_required_history_length() == longest


def test_a_policy_that_needs_no_history_need_not_say_so():
    assert not isinstance(WatchfulPolicy(), NeedsHistory)
    assert isinstance(Guardrail(GuardrailParameters()), NeedsHistory)


def test_a_view_for_a_part_is_stale_when_the_call_is_over(history):
    rules = Recorder(2)
    hybrid = HybridProcessor(rules, Model(2), WatchfulPolicy())
    window = history([1.0, 2.0, 3.0])
    hybrid.process_tick(window[-1], window)
    window._window.expire()
    with pytest.raises(StaleHistory):
        rules.kept[-1]


def test_it_is_ml_capable_through_its_ml_part(history):
    hybrid = HybridProcessor(Recorder(4), Model(2), WatchfulPolicy())
    assert isinstance(hybrid, StrategyProcessor)
    assert isinstance(hybrid, MLCapable)
    assert isinstance(hybrid, SeedAware)
    window = history([1.0, 2.0, 3.0, 4.0])
    assert hybrid.load_model()
    assert hybrid.extract_features(window[-1], window) == [3.0, 4.0]
    assert hybrid.predict_signal([3.0, 4.0]) == SignalResult("BUY", 0.5, 2, Decimal(1))


def test_an_ml_part_without_a_model_is_named_when_one_is_asked_for():
    hybrid = HybridProcessor(Recorder(1), Recorder(1), WatchfulPolicy(), "mine")
    with pytest.raises(TypeError, match=r"the ML part of mine, Recorder, has no model"):
        hybrid.load_model()


def test_a_model_that_does_not_load_leaves_the_rules_to_go_on_with():
    rules = Recorder(5)
    hybrid = HybridProcessor(rules, Model(9, loads=False), WatchfulPolicy())
    assert not hybrid.load_model()
    assert hybrid.rules.get_required_history_length() == 5
    with pytest.raises(ModelRefused):
        hybrid.get_required_history_length()


def test_it_trades_what_both_parts_trade():
    hybrid = HybridProcessor(Recorder(1), Model(1, tokens=frozenset({7, 8})), WatchfulPolicy())
    assert hybrid.supports_instrument(7)
    assert not hybrid.supports_instrument(8)
    assert hybrid.supports_broker("paper")
    assert not hybrid.supports_broker("venue")


def test_parts_that_want_a_seed_get_one_each():
    rules, ml = Model(1), Model(1)
    HybridProcessor(rules, ml, WatchfulPolicy()).set_seed(5)
    HybridProcessor(again := Model(1), Recorder(1), WatchfulPolicy()).set_seed(5)
    assert rules.seed is not None
    assert rules.seed != ml.seed
    assert rules.seed == again.seed


def test_a_part_that_raises_is_not_hidden(history):
    class Broken(Recorder):
        def process_tick(self, tick, history):
            raise ZeroDivisionError

    window = history([1.0])
    with pytest.raises(ZeroDivisionError):
        HybridProcessor(Broken(1), Model(1), WatchfulPolicy()).process_tick(window[-1], window)


@pytest.mark.parametrize("entry", [HYBRID, HYBRID_MOMENTUM, HYBRID_MEAN_REVERSION, HYBRID_BREAKOUT])
def test_a_hybrid_is_built_of_any_parts_and_bears_its_types_name(entry: StrategyType):
    parameters = HybridParameters(
        Part("momentum", MomentumParameters(5)),
        Part("ml_momentum", MLParameters("m.onnx")),
        Part("confirm", ConfirmParameters()),
    )

    class NoShelf:
        def model(self, path: str):
            raise AssertionError("nothing is loaded before it is asked for")

    hybrid = entry.build(parameters, BuildContext(builtin_catalog(), NoShelf()))
    assert isinstance(hybrid, HybridProcessor)
    assert hybrid.get_strategy_name() == entry.name
    assert (hybrid.rules.get_strategy_name(), hybrid.ml.get_strategy_name()) == ("momentum", "ml_momentum")
    assert isinstance(hybrid.policy, Confirm)


@dataclass
class LateModel(Model):
    """An ML part whose answer is never there in time."""

    inference_deadline_ns: int | None = 5
    missed: bool = True

    def use_inference(self, inference) -> None:
        raise AssertionError("there is no port here")

    def miss_next(self) -> None:
        raise AssertionError("it is late by itself")


@pytest.mark.parametrize(("on_deadline", "falls_back"), [("drop", False), ("rules_only", True)])
def test_a_tick_without_the_models_answer_asks_no_policy(history, on_deadline, falls_back):
    rules, policy = Recorder(1, buy()), WatchfulPolicy()
    hybrid = HybridProcessor(rules, LateModel(1), policy, on_deadline=on_deadline)
    window = history([1.0])
    assert hybrid.process_tick(window[-1], window) is (rules.answer if falls_back else None)
    assert (hybrid.inference_deadline_ns, hybrid.missed, policy.asked) == (5, True, [])


# ------------------------------------------------------------------------------------------------- whose key is which


def test_flat_keys_go_to_every_part_that_knows_them():
    got = layout(
        FLAT,
        {
            "lookback_periods": 20, "threshold": 0.012, "position_size": 75, "model_path": "m.onnx",
            "policy": "majority", "min_conf": 0.6, "on_model_failure": "rules_only",
        },
    )  # fmt: skip
    assert got.problems == ()
    assert got.rules == PartLayout(
        "momentum",
        {"lookback_periods": 20, "threshold": 0.012, "position_size": 75},
        {"lookback_periods": ("lookback_periods",), "threshold": ("threshold",), "position_size": ("position_size",)},
    )
    assert got.ml is not None
    assert got.ml.values == {"model_path": "m.onnx", "position_size": 75, "min_conf": 0.6}
    assert got.policy is not None
    assert (got.policy.type, got.policy.values) == ("majority", {"min_conf": 0.6})
    assert got.on_model_failure == "rules_only"


def test_a_policy_takes_its_keys_from_its_mapping_then_from_the_parameters():
    mapping = {"model_path": "m", "min_conf": 0.6, "high_vol_conf": 0.9}
    got = layout(FLAT, {**mapping, "policy": {"type": "threshold_escalation", "min_conf": 0.7, "vol_threshold": 0.01}})
    assert got.problems == ()
    assert got.policy is not None
    assert got.policy.values == {"min_conf": 0.7, "vol_threshold": 0.01, "high_vol_conf": 0.9}
    assert got.policy.paths == {
        "min_conf": ("policy", "min_conf"),
        "vol_threshold": ("policy", "vol_threshold"),
        "high_vol_conf": ("high_vol_conf",),
    }
    assert got.ml is not None
    assert got.ml.values["min_conf"] == 0.6


def test_without_a_policy_it_is_the_compositions():
    got = layout(FLAT, {"model_path": "m"})
    assert got.policy is not None
    assert got.policy.type == "majority"
    assert got.on_model_failure is None


def test_nested_parts_have_their_own_mappings():
    got = layout(
        NESTED,
        {
            "rules": {"type": "sma_crossover", "fast_periods": 3, "position_size": 5},
            "ml": {"type": "ml_breakout", "model_path": "m", "min_conf": 0.4},
            "policy": "majority",
            "min_conf": 0.6,
        },
    )
    assert got.problems == ()
    assert got.rules == PartLayout(
        "sma_crossover",
        {"fast_periods": 3, "position_size": 5},
        {"fast_periods": ("rules", "fast_periods"), "position_size": ("rules", "position_size")},
    )
    assert got.ml is not None
    assert got.ml.values == {"model_path": "m", "min_conf": 0.4}
    assert got.policy is not None
    assert got.policy.values == {"min_conf": 0.6}


def test_a_composition_that_names_one_part_alone_is_nested():
    for half in (Composition("momentum", None), Composition(None, "ml_momentum")):
        assert [problem.path for problem in layout(half, {}).problems] == [("rules",), ("ml",)]


def problems(composition: Composition, mapping: Mapping[str, Any]) -> dict[tuple[str, ...], LayoutProblem]:
    return {problem.path: problem for problem in layout(composition, mapping).problems}


def test_keys_that_nobody_knows_are_listed_with_all_that_are():
    found = problems(FLAT, {"model_path": "m", "treshold": 1, "overbought": 70})
    assert set(found) == {("treshold",), ("overbought",)}
    assert found["treshold",].message == "unknown key"
    assert found["treshold",].allowed == (
        "inference_deadline_ms", "lookback_periods", "min_conf", "min_ml_conf", "model_path", "on_deadline",
        "on_model_failure", "policy", "position_size", "threshold",
    )  # fmt: skip


def test_keys_of_a_part_are_checked_where_they_stand():
    found = problems(
        NESTED,
        {
            "rules": {"type": "momentum", "z_entry": 1},
            "ml": {"type": "ml_momentum", "model_path": "m", "on_model_failure": "skip"},
            "policy": {"type": "guardrail", "min_scale": 1},
            "lookback_periods": 20,
        },
    )
    assert set(found) == {
        ("rules", "z_entry"), ("ml", "on_model_failure"), ("policy", "min_scale"), ("lookback_periods",),
    }  # fmt: skip
    assert found["rules", "z_entry"].allowed == ("lookback_periods", "position_size", "threshold", "type")
    assert found["lookback_periods",].allowed == (
        "ml", "on_deadline", "on_model_failure", "overbought", "oversold", "policy", "rsi_periods", "rules",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mapping", "path", "message"),
    [
        ({}, ("rules",), "is missing: a mapping with `type`"),
        ({"rules": "momentum"}, ("rules",), "must be a mapping with `type`"),
        ({"rules": {"threshold": 1}}, ("rules", "type"), "is missing"),
        ({"rules": {"type": 3}}, ("rules", "type"), "must be a name"),
        ({"rules": {"type": "momentun"}}, ("rules", "type"), "unknown rules strategy"),
        ({"rules": {"type": "ml_momentum"}}, ("rules", "type"), "unknown rules strategy"),
        ({"ml": {"type": "momentum"}}, ("ml", "type"), "unknown ml strategy"),
        ({"policy": "majorty"}, ("policy",), "unknown policy"),
        ({"policy": {"type": "majorty"}}, ("policy", "type"), "unknown policy"),
        ({"policy": {"min_conf": 1}}, ("policy", "type"), "is missing"),
        ({"policy": 3}, ("policy",), "must be a mapping with `type`"),
    ],
)
def test_a_part_that_cannot_be_told_is_a_problem_with_what_is_allowed(mapping, path, message):
    right = {"rules": {"type": "momentum"}, "ml": {"type": "ml_momentum"}}
    got = layout(NESTED, {**right, **mapping} if mapping else {"ml": right["ml"]})
    (problem,) = got.problems
    assert (problem.path, problem.message) == (path, message)
    assert problem.allowed
    assert getattr(got, path[0]) is None


def test_keys_are_not_called_wrong_for_a_policy_that_is_not_known():
    assert set(problems(FLAT, {"model_path": "m", "policy": "guardrial", "overbought": 80})) == {("policy",)}


def test_the_composition_of_a_plug_in_that_is_not_registered_is_a_problem():
    found = problems(Composition("momentum", "ml_gone"), {"policy": "confirm"})
    assert [problem.message for problem in found.values()] == ["unknown ml strategy"]


def test_no_value_is_validated():
    got = layout(FLAT, {"model_path": None, "threshold": "a lot"})
    assert got.problems == ()


def test_the_default_policy_is_majority_and_failure_skips():
    defaults = {each.name: each.default for each in fields(HybridParameters)}
    assert defaults["on_model_failure"] == "skip"
    assert [entry.composition for entry in (HYBRID, HYBRID_MOMENTUM)] == [
        Composition(None, None, "majority"),
        Composition("momentum", "ml_momentum", "majority"),
    ]
