"""The conformance checks: what anystrat brings passes them all, and each planted fault is found by the check for it."""

from __future__ import annotations

import gc
import random
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anystrat.adapters.model_shelf import OnnxShelf
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import MarketTick
from anystrat.domain.window import History
from anystrat.strategies.builtin import STRATEGIES
from anystrat.strategies.catalog import Part, PolicyType, StrategyType
from anystrat.strategies.features import Feature, FeatureRegistry
from anystrat.strategies.function_rule import rule
from anystrat.strategies.hybrid import HYBRID, HybridParameters
from anystrat.strategies.ml import DEFAULT_FEATURES, ML_MOMENTUM, MLParameters
from anystrat.strategies.momentum import MOMENTUM, MomentumParameters
from anystrat.strategies.policies import POLICIES
from anystrat.strategies.policies.majority import Majority, MajorityParameters
from anystrat.testing import (
    ContractBroken,
    all_checks,
    all_feature_checks,
    all_policy_checks,
    check_feature,
    check_policy,
    check_strategy,
)
from anystrat.testing.conformance import Check, NotJudged
from anystrat.testing.models import linear_model
from anystrat.testing.ticks import tick

POLICY_PARAMETERS: dict[str, Mapping[str, Any]] = {"threshold_escalation": {"vol_threshold": 0.01}}


# -------------------------------------------------------------------------------------------- what anystrat brings along


@pytest.fixture(scope="module", autouse=True)
def only_what_these_tests_make() -> Iterator[None]:
    """One check looks through every object of the process: what other tests left behind need not be among them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A real model for each ML type, whose answers change sides with the prices."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(3)
    return {
        name: linear_model(folder / f"{name}.onnx", features, rng.normal(0, 9, (len(features), 3)).tolist())
        for name, features in DEFAULT_FEATURES.items()
    }


def parameters_for(entry: StrategyType, models: Mapping[str, Path]) -> Any:
    """Parameters with which an entry of the catalogue answers often enough to be checked."""
    if entry.kind == "rules":
        return None
    if entry.kind == "ml":
        return {"model_path": str(models[entry.name]), "min_conf": 0.4}
    assert entry.composition is not None
    rules = entry.composition.rules or "momentum"
    ml = entry.composition.ml or "ml_momentum"
    known = {each.name: each for each in STRATEGIES}
    return HybridParameters(
        Part(rules, known[rules].parameters()),
        Part(ml, MLParameters(str(models[ml]), min_conf=0.4)),
        Part("majority", MajorityParameters(0.5)),
    )


@pytest.mark.parametrize("entry", STRATEGIES, ids=lambda entry: entry.name)
def test_every_built_in_strategy_passes_and_answers(entry: StrategyType, models: dict[str, Path]) -> None:
    parameters = parameters_for(entry, models)
    report = check_strategy(entry, parameters=parameters, models=OnnxShelf(), instruments=[1, 256265], seeds=1)
    assert report.signals > 10
    if entry.kind == "rules":
        assert "column_rule" in report.passed
    assert "columns" in report.passed


@pytest.mark.parametrize("entry", POLICIES, ids=lambda entry: entry.name)
def test_every_built_in_policy_passes_and_answers(entry: PolicyType) -> None:
    report = check_policy(entry, parameters=POLICY_PARAMETERS.get(entry.name), seeds=1)
    assert report.signals > 10
    assert not report.skipped


@pytest.mark.parametrize("policy", POLICIES, ids=lambda entry: entry.name)
def test_a_hybrid_passes_under_every_policy(policy: PolicyType, models: dict[str, Path]) -> None:
    parameters = HybridParameters(
        Part("momentum", MomentumParameters(5, 0.01)),
        Part("ml_momentum", MLParameters(str(models["ml_momentum"]), min_conf=0.4)),
        Part(policy.name, policy.parameters(**POLICY_PARAMETERS.get(policy.name, {}))),
    )
    report = check_strategy(HYBRID, parameters=parameters, models=OnnxShelf(), seeds=1)
    assert report.signals > 0


@pytest.mark.parametrize("name", ["ret_1", "ret_20", "vol_1", "vol_20", "z_1", "z_20", "pos_1", "pos_20", "pos_60"])
def test_every_built_in_feature_passes(name: str) -> None:
    report = check_feature(name)
    assert not report.skipped


# ------------------------------------------------------------------------------------------------------------ how to use


@rule(history=5)
def drift(prices: NDArray[np.float64], threshold: float = 0.001) -> tuple[str, float] | None:
    """Trade with a move over five ticks."""
    move = prices[-1] / prices[0] - 1.0
    return ("BUY" if move > 0 else "SELL", min(1.0, 5.0 * abs(move))) if abs(move) > threshold else None


def test_a_rule_made_of_a_function_passes() -> None:
    assert check_strategy(drift, seeds=1).signals > 10


def test_a_check_is_called_after_its_promise_and_says_it() -> None:
    names = [check.name for check in all_checks(drift)]
    assert names[0] == "contract"
    assert [str(check) for check in all_checks(drift)] == names == [check.__name__ for check in all_checks(drift)]
    assert all(check.promise.endswith(".") for check in all_checks(drift))


def test_nothing_is_run_before_a_check_is_called() -> None:
    def build() -> Any:
        raise AssertionError("built too early")

    assert all_checks(build)
    assert all_policy_checks(build)


def test_a_rule_can_be_checked_as_a_type_a_processor_or_a_builder() -> None:
    def build() -> Any:
        return MOMENTUM.build(MomentumParameters(7, 0.002), None)  # type: ignore[arg-type]

    by_type = check_strategy(MOMENTUM, parameters={"lookback_periods": 7, "threshold": 0.002}, seeds=1)
    by_object = check_strategy(build(), seeds=1)
    by_builder = check_strategy(build, seeds=1)
    assert by_type.signals == by_object.signals == by_builder.signals > 0


def test_ticks_of_ones_own_take_the_place_of_the_synthetic_ones() -> None:
    asked: list[int] = []

    @dataclass
    class ReadsMetadata(Simple):
        def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
            asked.append(tick.instrument_token)
            assert tick.metadata is not None
            return buy(tick) if tick.metadata["mood"] > 3 else None

    own = [tick(token, 100 + i, i, metadata={"mood": i % 7}) for i in range(40) for token in (8, 9)]
    report = check_strategy(ReadsMetadata, ticks=own)
    assert set(asked) == {8, 9}
    assert report.signals > 0


def test_ticks_that_never_fill_a_window_are_judged_by_nobody() -> None:
    report = check_strategy(MOMENTUM, ticks=[tick(1, 100, i) for i in range(19)])
    assert report.passed == ()
    assert "has the 20 ticks" in report.skipped["contract"]


def test_a_processor_that_cannot_be_copied_needs_a_builder() -> None:
    @dataclass
    class HoldsAGenerator(Simple):
        source: Any = None

    with pytest.raises(TypeError, match="pass a function that builds one"):
        check_strategy(HoldsAGenerator(source=(i for i in range(3))))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: check_strategy(MOMENTUM, seeds=0), "seeds must be at least 1"),
        (lambda: check_strategy(MOMENTUM, instruments=[]), "no instrument"),
        (lambda: check_strategy(3), "has no process_tick"),  # type: ignore[arg-type]
        (lambda: check_strategy(Simple(), parameters={}), "for a StrategyType"),
        (lambda: check_strategy(ML_MOMENTUM), "pass parameters="),
        (lambda: check_policy(Majority(MajorityParameters()), parameters={}), "for a PolicyType"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_a_sentence(wrong: Callable[[], object], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        wrong()


def test_a_finding_says_what_where_and_what_to_do() -> None:
    with pytest.raises(ContractBroken) as caught:
        check_strategy(PreviousPrice, seeds=1)
    text = str(caught.value)
    assert text.startswith("PreviousPrice: an answer depends on earlier calls\n")
    for part in ("check     memory", "where     path 'trend', seed 0, instrument 1, tick", "found     ", "expected  "):
        assert part in text
    assert "prices    " in text
    assert "to do     keep nothing between calls" in text


def test_everything_that_is_broken_is_reported_at_once() -> None:
    @dataclass
    class TwiceWrong(Simple):
        def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
            if tick.metadata is not None:
                tick.metadata["seen"] = True  # type: ignore[index]
            return buy(tick, confidence=2.0)

    with pytest.raises(ContractBroken) as caught:
        check_strategy(TwiceWrong, seeds=1)
    assert caught.value.checks == ("answers", "untouched")


def test_a_check_that_rests_on_a_broken_one_is_skipped_and_says_why() -> None:
    checks = {check.name: check for check in all_checks(Unseeded, seeds=1)}
    with pytest.raises(NotJudged, match=r"judged once 'determinism' holds: two fresh processors answer differently"):
        checks["memory"]()
    with pytest.raises(NotJudged, match="judged once 'determinism' holds"):
        checks["restart"]()
    assert issubclass(NotJudged, unittest.SkipTest)


def test_a_verdict_is_worked_out_once() -> None:
    built: list[int] = []

    def build() -> Any:
        built.append(1)
        return Simple()

    check = next(check for check in all_checks(build, seeds=1) if check.name == "memory")
    check()
    once = len(built)
    check()
    assert len(built) == once


# ----------------------------------------------------------------------------------------------------- planted strategies


def buy(tick: MarketTick, confidence: Any = 0.7, quantity: Any = 10, price: Any = None, **more: Any) -> SignalResult:
    return SignalResult("BUY", confidence, quantity, tick.last_price if price is None else price, **more)


@dataclass
class Simple:
    """Buys what rose over its window; the faults below are planted into it."""

    length: int = 20

    def get_required_history_length(self) -> int:
        return self.length

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "simple"

    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        return self.answer(history, tick)

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        return buy(tick) if history.prices[-1] > history.prices[0] else None


class NoName(Simple):
    get_strategy_name = None  # type: ignore[assignment]


class EmptyName(Simple):
    def get_strategy_name(self) -> str:
        return ""


class NoHistory(Simple):
    def get_required_history_length(self) -> int:
        return 0


class HalfATick(Simple):
    def get_required_history_length(self) -> int:
        return 2.5  # type: ignore[return-value]


class TrueHistory(Simple):
    def get_required_history_length(self) -> int:
        return True


class GrowingHistory(Simple):
    def get_required_history_length(self) -> int:
        self.length += 1
        return self.length


class HistoryThatGrowsByUse(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        self.length += 1
        return None


class SupportsNothing(Simple):
    def supports_instrument(self, token: int) -> bool:
        return False


class SupportsWithANumber(Simple):
    def supports_instrument(self, token: int) -> bool:
        return 1  # type: ignore[return-value]


class ModelThatDoesNotLoad(Simple):
    model_error = "expected 3 columns, found 2"

    def load_model(self) -> bool:
        return False

    def extract_features(self, tick: MarketTick, history: History) -> None:
        return None

    def predict_signal(self, features: None) -> None:
        return None


def never_built() -> Any:
    raise ValueError("no such file")


class Answers(Simple):
    """Answers with whatever `given` makes of a tick."""

    def __init__(self, given: Callable[[MarketTick], Any]) -> None:
        super().__init__()
        self.given = given

    def answer(self, history: History, tick: MarketTick) -> Any:
        return self.given(tick) if history.prices[-1] > history.prices[0] else None


class RaisesNowAndThen(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        low, high = history.prices.min(), history.prices.max()
        return buy(tick) if 1 / float(high - low) else None  # a flat window


class NeedsFiveMore(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        return buy(tick) if history[-1].last_price > history[-25].last_price else None


class WaitsForThirty(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        if len(history) < 30:
            return None
        return buy(tick) if history.prices[-1] > history.prices[-20] else None


class Unseeded(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        return buy(tick, confidence=random.random())


CALLS: list[int] = []


class CountsGlobally(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        CALLS.append(1)
        return buy(tick) if len(CALLS) % 7 == 0 else None


class IgnoresItsSeed(Simple):
    def set_seed(self, seed: int) -> None:
        self.rng = random.Random()

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        return buy(tick, confidence=self.rng.random())


class WritesMetadata(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        if tick.metadata is not None:
            tick.metadata["seen"] = True  # type: ignore[index]
        return super().answer(history, tick)


class NormalisesInPlace(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        prices = history.prices
        prices.flags.writeable = True
        prices /= prices[0]
        return None


class OverwritesTheMemo(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        history.memo["vol_20"] = history.memo.get("vol_20", 0.0) + 1.0
        return super().answer(history, tick)


class KeepsTheHistory(Simple):
    kept: History | None = None

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        before, self.kept = self.kept, history
        return buy(tick) if before is not None and before.prices[-1] < history.prices[-1] else None


class KeepsTheHistoryAndHidesIt(Simple):
    kept: History | None = None

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        before, self.kept = self.kept, history.last(3)
        try:
            return buy(tick) if before is not None and before[-1].last_price else None
        except Exception:
            return None


class KeepsThePrices(Simple):
    kept: NDArray[np.float64] | None = None

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        before, self.kept = self.kept, history.prices[-5:]
        return buy(tick) if before is not None and before[-1] < history.prices[-1] else None


class KeepsTheMemo(Simple):
    kept: dict[str, float] | None = None

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        self.kept = history.memo
        return super().answer(history, tick)


class ReadsBeforeItsWindow(Simple):
    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        whole = history.prices.base
        assert whole is not None
        return buy(tick) if whole.max() > history.prices.max() else None


class PreviousPrice(Simple):
    before = 0.0

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        before, self.before = self.before, float(history.prices[-1])
        return buy(tick) if self.before > before else None


class RunningSum(Simple):
    """A mean that is kept up to date by adding and subtracting: it drifts away from the window's own."""

    total = 0.0
    window: list[float] | None = None

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        prices = history.prices.tolist()
        if self.window is not None and self.window[1:] == prices[:-1]:
            self.total += prices[-1] - self.window[0]
        else:
            self.total = sum(prices)
        self.window = prices
        return buy(tick, metadata={"mean": self.total / len(prices)})


class DrawsAtEachCall(Simple):
    def set_seed(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        return buy(tick, confidence=self.rng.random())


class EveryOtherTime(Simple):
    odd = False

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        self.odd = not self.odd
        return buy(tick) if self.odd else None


class LearnsSlowly(Simple):
    calls = 0

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        self.calls += 1
        return buy(tick, confidence=0.9 if self.calls > 200 else 0.5)


class Priced(Simple):
    """The same rule on plain prices, as the engine likes it."""

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        prices = history.prices.tolist()
        return None if self.decide(prices, len(prices)) is None else buy(tick, 0.7)

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        return (1, 0.7, 0.0) if prices[end - 1] > prices[end - self.length] else None

    def quantity(self) -> int:
        return 10

    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        return "", None


class PricedOtherwise(Priced):
    def process_tick(self, tick: MarketTick, history: History) -> SignalResult | None:
        return buy(tick, 0.7) if history.prices[-1] >= history.prices[0] else None


class PricedInAnotherQuantity(Priced):
    def quantity(self) -> int:
        return 11


class PricedBeforeTheWindow(Priced):
    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        return (1, 0.7, 0.0) if max(prices[max(0, end - self.length - 3) : end]) == prices[end - 1] else None


class PricedAndKept(Priced):
    kept: Any = None

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        self.kept = prices[end - 3 : end]
        return super().decide(prices, end)


Four = tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


class InColumns(Simple):
    """The same rule, many ticks a call; this one is right."""

    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        n = len(prices) - first
        sides = np.zeros(n, np.int8)
        for k in range(n):
            i = first + k
            sides[k] = i + 1 >= self.length and prices[i] > prices[i + 1 - self.length]
        return sides, np.full(n, 0.7), np.zeros(n), np.full(n, 10, np.int64)


class ForgetsTheBorder(InColumns):
    """Starts every block as if nothing had been before it."""

    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        return super().process_columns(prices[first:], 0)


class ScalesByTheBlock(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        sides, confidences, values, quantities = super().process_columns(prices, first)
        return sides, confidences * (1.0 if len(prices) < 30 else 1.0000001), values, quantities


class ReadsAhead(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        sides, confidences, values, quantities = super().process_columns(prices, first)
        future = np.append(prices[first + 1 :], prices[-1:])[: len(sides)]
        sides[(future < prices[first:]) & (sides == 1)] = 0
        return sides, confidences, values, quantities


class WrongTypes(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        sides, confidences, values, quantities = super().process_columns(prices, first)
        return sides.astype(np.int64), confidences, values, quantities  # type: ignore[return-value]


class TooManyRows(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        return super().process_columns(prices, 0)


class ListsForColumns(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        return tuple(column.tolist() for column in super().process_columns(prices, first))  # type: ignore[return-value]


class ColumnsInAnotherQuantity(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        sides, confidences, values, quantities = super().process_columns(prices, first)
        return sides, confidences, values, quantities + 1


class ChangesTheColumns(InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        prices /= prices[:1]
        return super().process_columns(prices, first)


class CountsBlocks(InColumns):
    blocks = 0

    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        self.blocks += 1
        sides, confidences, values, quantities = super().process_columns(prices, first)
        return sides, confidences, values, quantities + (self.blocks > 2)


class PricedColumnsWithAnotherValue(Priced, InColumns):
    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        sides, confidences, values, quantities = InColumns.process_columns(self, prices, first)
        return sides, confidences, values + 1.0, quantities


class OnlyWholePaths(InColumns):
    """Leaves what it cannot do to single ticks."""

    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        if first:
            raise NotImplementedError
        return super().process_columns(prices, first)


class NotNow(ForgetsTheBorder):
    def batchable(self, *, shortest: bool = False) -> bool:
        return False


def rises(prices: Any, first: int, at: Any, side: Any, confidence: Any, value: Any, length: float) -> int:
    count = 0
    for j in range(max(first, int(length) - 1), len(prices)):
        move = prices[j] / prices[j + 1 - int(length)] - 1.0
        if move > 0.0:
            at[count], side[count], confidence[count], value[count] = j, 1 if move > 0.01 else -1, 0.7, move
            count += 1
    return count


class Fires(Priced):
    """The same rule as one loop; small moves are left to `settle`. This one is right."""

    kernel: Any = staticmethod(rises)

    def decide(self, prices: Sequence[float], end: int) -> tuple[int, float, float] | None:
        move = prices[end - 1] / prices[end - self.length] - 1.0
        return (1, 0.7, move) if move > 0.0 else None

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:
        return self.kernel, (float(self.length),)

    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:
        return 1 if prices[end - 1] > prices[end - self.length] else 0


class FiresInPlainBlocksOnly(Fires):
    @staticmethod
    def kernel(prices: Any, first: int, *rest: Any) -> int:
        return rises(prices[first:], 0, *rest)


class FiresOnTheNextTick(Fires):
    @staticmethod
    def kernel(prices: Any, first: int, at: Any, *rest: Any) -> int:
        count = rises(prices, first, at, *rest)
        at[:count] += 1
        return count


class FiresBackwards(Fires):
    @staticmethod
    def kernel(prices: Any, first: int, at: Any, *rest: Any) -> int:
        count = rises(prices, first, at, *rest)
        at[:count] = at[:count][::-1].copy()
        return count


class SettlesForSell(Fires):
    def settle(self, prices: Sequence[float], end: int, exact: Sequence[Decimal] | None) -> int:
        return 2


class FiresWithAnotherValue(Fires):
    def describe(self, side: int, value: float) -> tuple[str, Mapping[str, Any] | None]:
        return "", {"move": value}

    def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
        prices = history.prices.tolist()
        decision = self.decide(prices, len(prices))
        return None if decision is None else buy(tick, 0.7, metadata={"move": decision[2]})

    @staticmethod
    def kernel(prices: Any, first: int, at: Any, side: Any, confidence: Any, value: Any, length: float) -> int:
        count = rises(prices, first, at, side, confidence, value, length)
        value += 1e-9
        return count


class FiresAsIfSure(Fires):
    """Takes the promise of shortest decimals for more than it says."""

    def fired(self, *, shortest: bool = False) -> tuple[Callable[..., int], tuple[float, ...]]:
        def kernel(prices: Any, first: int, at: Any, side: Any, *rest: Any) -> int:
            count = rises(prices, first, at, side, *rest)
            side[:count][side[:count] < 0] = 0 if shortest else -1
            return count

        return kernel, (float(self.length),)


class Complete(InColumns, Fires):
    """Everything that a strategy can offer, without fault."""

    def process_columns(self, prices: NDArray[np.float64], first: int) -> Four:
        sides, confidences, values, quantities = super().process_columns(prices, first)
        for k in np.flatnonzero(sides):
            values[k] = prices[first + k] / prices[first + k + 1 - self.length] - 1.0
        return sides, confidences, values, quantities


@pytest.mark.parametrize("check", all_checks(Complete, seeds=1))
def test_checks_can_be_parametrised(check: Check) -> None:
    check()


def answering(given: Callable[[MarketTick], Any]) -> Callable[[], Any]:
    return lambda: Answers(given)


PLANTED: list[tuple[str, Any, str]] = [
    ("contract", NoName, "has no method get_strategy_name"),
    ("contract", EmptyName, "gives no name"),
    ("contract", NoHistory, "gives no number of ticks"),
    ("contract", HalfATick, "gives no number of ticks"),
    ("contract", TrueHistory, "gives no number of ticks"),
    ("contract", GrowingHistory, "get_required_history_length changes"),
    ("contract", HistoryThatGrowsByUse, "get_required_history_length changes"),
    ("contract", SupportsNothing, r"supports_instrument\(1\) does not answer True"),
    ("contract", SupportsWithANumber, r"supports_instrument\(1\) does not answer True"),
    ("contract", ModelThatDoesNotLoad, "expected 3 columns, found 2"),
    ("contract", never_built, "ValueError: no such file"),
    ("answers", answering(lambda _: ("BUY", 0.5)), "expected None or a SignalResult"),
    ("answers", answering(lambda _: "BUY"), "expected None or a SignalResult"),
    ("answers", answering(lambda t: SignalResult("LONG", 0.5, 1, t.last_price)), "signal_type is 'LONG'"),
    ("answers", answering(lambda t: buy(t, confidence=1.5)), "confidence is 1.5"),
    ("answers", answering(lambda t: buy(t, confidence=float("nan"))), "confidence is nan"),
    ("answers", answering(lambda t: buy(t, confidence="high")), "confidence is 'high'"),
    ("answers", answering(lambda t: buy(t, quantity=0)), "quantity is 0"),
    ("answers", answering(lambda t: buy(t, quantity=-5)), "quantity is -5"),
    ("answers", answering(lambda t: buy(t, quantity=1.5)), "quantity is 1.5"),
    ("answers", answering(lambda t: buy(t, quantity=True)), "quantity is True"),
    ("answers", answering(lambda t: buy(t, price=-t.last_price)), "price is -"),
    ("answers", answering(lambda t: buy(t, price=Decimal("NaN"))), "price is NaN"),
    ("answers", answering(lambda t: buy(t, price="cheap")), "price is 'cheap'"),
    ("answers", answering(lambda t: buy(t, metadata=[("ref_price", 1)])), "AttributeError|metadata is"),
    ("answers", answering(lambda t: buy(t, reasoning=None)), "reasoning is None"),
    ("answers", RaisesNowAndThen, "ZeroDivisionError"),
    ("history_length", NeedsFiveMore, "needs more history than the 20 ticks"),
    ("history_length", WaitsForThirty, "never answers with the 20 ticks"),
    ("determinism", Unseeded, "two fresh processors answer differently"),
    ("determinism", CountsGlobally, "two fresh processors answer differently"),
    ("determinism", IgnoresItsSeed, "two fresh processors answer differently"),
    ("untouched", WritesMetadata, "changes the ticks"),
    ("untouched", NormalisesInPlace, "changes the ticks"),
    ("untouched", OverwritesTheMemo, r"changes what history\.memo already holds for this tick: vol_20"),
    ("kept", KeepsTheHistory, "reads a history of an earlier call"),
    ("kept", KeepsTheHistoryAndHidesIt, "reads a history of an earlier call"),
    ("kept", KeepsThePrices, "keeps the prices"),
    ("kept", KeepsTheMemo, "keeps the prices"),
    ("kept", PricedAndKept, r"keeps the prices that decide\(prices, end\) was handed"),
    ("window_only", ReadsBeforeItsWindow, "depends on ticks before its window"),
    ("memory", PreviousPrice, "depends on earlier calls"),
    ("memory", RunningSum, "depends on earlier calls"),
    ("memory", DrawsAtEachCall, "depends on earlier calls"),
    ("memory", EveryOtherTime, "depends on earlier calls"),
    ("price_rule", PricedOtherwise, r"decide\(prices, end\) and process_tick differ"),
    ("price_rule", PricedInAnotherQuantity, r"decide\(prices, end\) and process_tick differ"),
    ("price_rule", PricedBeforeTheWindow, r"decide\(prices, end\) and process_tick differ"),
    ("columns", ForgetsTheBorder, r"process_columns and process_tick differ[\s\S]*block of ticks"),
    ("columns", ScalesByTheBlock, "process_columns and process_tick differ"),
    ("columns", ReadsAhead, "it reads ahead"),
    ("columns", WrongTypes, r"sides is int64\[\d+\], expected int8"),
    ("columns", TooManyRows, "expected int8"),
    ("columns", ListsForColumns, "sides is list"),
    ("columns", ColumnsInAnotherQuantity, "quantity 11"),
    ("columns", ChangesTheColumns, "read-only"),
    ("columns", CountsBlocks, "quantity 11"),
    ("columns", PricedColumnsWithAnotherValue, "value 1.0"),
    ("column_rule", FiresInPlainBlocksOnly, r"the kernel of fired\(\) and process_tick differ"),
    ("column_rule", FiresOnTheNextTick, r"the kernel of fired\(\) and process_tick differ"),
    ("column_rule", FiresBackwards, "hits come in order"),
    ("column_rule", SettlesForSell, "SELL"),
    ("column_rule", FiresWithAnotherValue, r"the kernel of fired\(\) and process_tick differ"),
    ("column_rule", FiresAsIfSure, r"fired\(shortest=True\)"),
    ("restart", LearnsSlowly, "goes on differently after a restart"),
]


@pytest.mark.parametrize(
    ("check", "bad", "text"),
    PLANTED,
    ids=[f"{check}-{getattr(bad, '__name__', 'answer')}-{number}" for number, (check, bad, _) in enumerate(PLANTED)],
)
def test_a_planted_fault_is_found_by_its_own_check_and_by_no_other(check: str, bad: Any, text: str) -> None:
    with pytest.raises(ContractBroken, match=text) as caught:
        check_strategy(bad, seeds=1)
    assert caught.value.checks == (check,)


@pytest.mark.parametrize("good", [Simple, Priced, InColumns, Fires, Complete, lambda: Answers(buy)])
def test_what_the_faults_were_planted_into_is_itself_without_fault(good: Any) -> None:
    report = check_strategy(good, seeds=1)
    assert report.signals > 10
    assert ("columns" in report.passed) == hasattr(good(), "process_columns")
    assert ("price_rule" in report.passed) == hasattr(good(), "decide")
    assert ("column_rule" in report.passed) == hasattr(good(), "fired")


def test_a_block_that_is_left_to_single_ticks_is_no_fault() -> None:
    assert "columns" in check_strategy(OnlyWholePaths, seeds=1).passed


def test_columns_that_are_not_to_be_called_now_are_not_judged() -> None:
    assert "batchable() answers False" in check_strategy(NotNow, seeds=1).skipped["columns"]


def test_state_that_one_instrument_leaves_for_another_is_found() -> None:
    class OtherInstrument(Simple):
        last_token = 0

        def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
            before, self.last_token = self.last_token, tick.instrument_token
            return buy(tick) if before not in {0, tick.instrument_token} else None

    check_strategy(OtherInstrument, instruments=[1], seeds=1)
    with pytest.raises(ContractBroken) as caught:
        check_strategy(OtherInstrument, instruments=[1, 2], seeds=1)
    assert caught.value.checks == ("memory",)


def test_a_kept_history_that_is_never_read_again_is_no_fault() -> None:
    class KeepsWithoutReading(Simple):
        latest: History | None = None

        def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
            self.latest = history
            return super().answer(history, tick)

    check_strategy(KeepsWithoutReading, seeds=1)


def test_what_a_strategy_copied_during_the_call_is_its_own() -> None:
    class Copies(Simple):
        seen: Any = None

        def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
            self.seen = (tuple(history), history.prices.copy())
            return super().answer(history, tick)

    check_strategy(Copies, seeds=1)


def test_randomness_from_the_seed_and_the_tick_is_pure() -> None:
    class SeededByTick(Simple):
        def set_seed(self, seed: int) -> None:
            self.seed = seed

        def answer(self, history: History, tick: MarketTick) -> SignalResult | None:
            return buy(tick, confidence=random.Random(f"{self.seed} {tick.last_price}").random())

    assert check_strategy(SeededByTick, seeds=1).signals > 0


def test_hold_is_an_answer() -> None:
    report = check_strategy(answering(lambda t: SignalResult("HOLD", 0.0, 0, t.last_price)), seeds=1)
    assert report.signals > 0


def test_a_long_history_is_checked_in_bounded_time_on_fewer_ticks() -> None:
    report = check_strategy(lambda: Simple(length=800), seeds=1)
    assert report.signals > 10


def test_a_snapshot_that_is_refused_is_found() -> None:
    from anystrat.testing.conformance.restart import restart
    from anystrat.testing.conformance.subject import subject_of
    from anystrat.testing.conformance.suite import Broken

    class Colour:
        pass

    ticks = [tick(1, 100 + i % 5, i, metadata={"colour": Colour()}) for i in range(40)]
    with pytest.raises(Broken, match="a snapshot is refused"):
        restart(subject_of(Simple, ticks=ticks))


# ------------------------------------------------------------------------------------------------------ planted policies


@dataclass
class RulesOnly:
    """The rules decide; the faults below are planted into it."""

    def decide(
        self, rules_signal: SignalResult | None, ml_signal: SignalResult | None, context: Mapping[str, Any]
    ) -> SignalResult | None:
        if rules_signal is None or rules_signal.signal_type == "HOLD":
            return None
        return self.answer(rules_signal, context)

    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        return signal


class NoDecision:
    def process(self) -> None:
        return None


class PolicyOfNoLength(RulesOnly):
    def get_required_history_length(self) -> int:
        return 0


class PolicyOfGrowingLength(RulesOnly):
    length = 3

    def get_required_history_length(self) -> int:
        self.length += 1
        return self.length


class TradesHolds(RulesOnly):
    def decide(self, rules_signal: Any, ml_signal: Any, context: Mapping[str, Any]) -> SignalResult | None:
        if rules_signal is None:
            return None
        return SignalResult("BUY", rules_signal.confidence, 1, rules_signal.price)


class NeedsBoth(RulesOnly):
    def decide(self, rules_signal: Any, ml_signal: Any, context: Mapping[str, Any]) -> SignalResult | None:
        return rules_signal if rules_signal.confidence > ml_signal.confidence else None


class ScalesToNothing(RulesOnly):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        return SignalResult(signal.signal_type, signal.confidence, int(signal.quantity * 0.5), signal.price)


class ReadsMoreThanItSays(RulesOnly):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        return signal if context["history"].prices.max() > context["history"].prices[-1] else None

    def get_required_history_length(self) -> int:
        return 5


class ReadsWithoutSaying(RulesOnly):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        return signal if context["history"].prices[-2] else None


class TossesACoin(RulesOnly):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        return signal if random.random() > 0.5 else None


class OncePerSide(RulesOnly):
    last = ""

    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        before, self.last = self.last, signal.signal_type
        return signal if before != signal.signal_type else None


class MarksSignals(RulesOnly):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        signal.metadata["sized"] = True  # type: ignore[index]
        return signal


class FillsTheContext(RulesOnly):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        context["volatility"] = 1.0  # type: ignore[index]
        return signal


class Loops(RulesOnly):
    """The same policy over many ticks; this one is right."""

    def decisions(self) -> tuple[Callable[..., None], tuple[float, ...]]:
        return self.loop, ()

    @staticmethod
    def loop(pairs: Any, decided: Any, prices: Any, first: int) -> None:
        for k in range(len(pairs.rules_side)):
            for column, given in zip(decided, pairs[:3], strict=True):
                column[k] = given[k]


class LoopsForMl(Loops):
    @staticmethod
    def loop(pairs: Any, decided: Any, prices: Any, first: int) -> None:
        for k in range(len(pairs.ml_side)):
            for column, given in zip(decided, pairs[3:], strict=True):
                column[k] = given[k]


class LoopsOneTickLate(Loops):
    def answer(self, signal: SignalResult, context: Mapping[str, Any]) -> SignalResult | None:
        return signal if context["history"].prices[-1] > context["history"].prices[-2] else None

    def get_required_history_length(self) -> int:
        return 2

    @staticmethod
    def loop(pairs: Any, decided: Any, prices: Any, first: int) -> None:
        Loops.loop(pairs, decided, prices, first)
        for k in range(len(pairs.rules_side)):
            if not prices[first + k - 1] > prices[first + k - 2]:
                decided.side[k] = 0


class LoopsBeyondTheBlock(Loops):
    @staticmethod
    def loop(pairs: Any, decided: Any, prices: Any, first: int) -> None:
        Loops.loop(pairs, decided, prices, first)
        assert prices[first + len(pairs.rules_side)]


@pytest.mark.parametrize(
    ("check", "bad", "text"),
    [
        ("columns", LoopsForMl, r"the loop of decisions\(\) and decide differ"),
        ("columns", LoopsOneTickLate, r"the loop of decisions\(\) and decide differ"),
        ("columns", LoopsBeyondTheBlock, r"the loop of decisions\(\) raises"),
        ("contract", NoDecision, "has no method decide"),
        ("contract", PolicyOfNoLength, "no constant number of ticks"),
        ("contract", PolicyOfGrowingLength, "no constant number of ticks"),
        ("answers", NeedsBoth, "AttributeError"),
        ("answers", ScalesToNothing, "quantity is 0"),
        ("answers", ReadsWithoutSaying, "IndexError"),
        ("determinism", TossesACoin, "two fresh policies decide differently"),
        ("untouched", MarksSignals, "changes the signals"),
        ("untouched", FillsTheContext, "changes the signals, the history or the context"),
        ("window_only", ReadsMoreThanItSays, "ticks before the 5 that it declares"),
        ("hold", TradesHolds, "HOLD does not count as no signal"),
        ("memory", OncePerSide, "a decision depends on earlier ones"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_fault_of_a_policy_is_found_by_its_own_check(check: str, bad: Any, text: str) -> None:
    with pytest.raises(ContractBroken, match=text) as caught:
        check_policy(bad, seeds=1)
    assert caught.value.checks == (check,)


def test_a_policy_without_fault_passes_as_an_object_too() -> None:
    assert "columns" in check_policy(RulesOnly(), seeds=1).skipped
    assert "columns" in check_policy(Loops(), seeds=1).passed
    assert next(check.name for check in all_policy_checks(RulesOnly)) == "contract"


# ------------------------------------------------------------------------------------------------------ planted features


def spread(prices: Sequence[float], end: int) -> float:
    window = prices[end - 4 : end]
    return max(window) / min(window) - 1.0


def spread_columns(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    view = np.lib.stride_tricks.sliding_window_view(prices, 4)
    return view.max(axis=1) / view.min(axis=1) - 1.0


def feature(compute: Callable[..., Any] = spread, history: Any = 4, columns: Any = None, loop: Any = None) -> Feature:
    return Feature("spread", history, compute, columns, (loop, (4,)) if loop is not None else None)


def spread_loop(prices: NDArray[np.float64], out: NDArray[np.float64], k: int) -> None:
    for i in range(len(out)):
        out[i] = prices[i : i + k].max() / prices[i : i + k].min() - 1.0


def loop_that_forgets_a_row(prices: NDArray[np.float64], out: NDArray[np.float64], k: int) -> None:
    out[:] = 0.0
    spread_loop(prices[: len(prices) - 1], out[: len(out) - 1], k)


CALLED: list[int] = []


def counting(prices: Sequence[float], end: int) -> float:
    CALLED.append(1)
    return float(len(CALLED))


def sorting(prices: list[float], end: int) -> float:
    prices.sort()
    return 1.0


def spread_of_the_block(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    return spread_columns(prices) + 1e-9 * (len(prices) < 20)


@pytest.mark.parametrize(
    ("check", "bad", "text"),
    [
        ("contract", feature(history=0), "no number of prices"),
        ("contract", feature(history=2.0), "no number of prices"),
        ("answers", feature(lambda prices, end: prices[end + 2]), "IndexError"),
        ("window_only", feature(lambda prices, end: prices[end - 6]), "depends on prices before its history"),
        ("answers", feature(lambda prices, end: float("nan")), "gives no finite float"),
        ("answers", feature(lambda prices, end: int(prices[end - 1])), "gives no finite float"),
        ("answers", feature(lambda prices, end: 1 / (max(prices[end - 4 : end]) - prices[end - 1])), "ZeroDivision"),
        ("determinism", feature(counting), "gives another value for the same prices"),
        ("untouched", feature(sorting), "changes the prices"),
        ("window_only", feature(lambda prices, end: max(prices[:end])), "depends on prices before its history"),
        ("window_only", feature(lambda prices, end: prices[-1]), "depends on prices after the current one"),
        ("columns", feature(columns=lambda prices: spread_columns(prices)[:-1]), "does not hold"),
        ("columns", feature(columns=lambda prices: spread_columns(prices) * 1.0000000001), "a single value differ"),
        ("columns", feature(columns=spread_of_the_block), "a single value differ"),
        ("columns", feature(loop=loop_that_forgets_a_row), "by the loop and a single value differ"),
    ],
)
def test_a_planted_fault_of_a_feature_is_found_by_its_own_check(check: str, bad: Feature, text: str) -> None:
    with pytest.raises(ContractBroken, match=text) as caught:
        check_feature(bad)
    assert caught.value.checks == (check,)


def test_a_feature_without_fault_passes_with_and_without_columns() -> None:
    assert not check_feature(feature()).skipped
    assert not check_feature(feature(columns=spread_columns)).skipped
    assert not check_feature(feature(columns=spread_columns, loop=spread_loop)).skipped
    assert "columns" in {check.name for check in all_feature_checks(feature())}


def test_a_feature_of_a_registry_of_ones_own_is_found_by_name() -> None:
    registry = FeatureRegistry()
    registry.register_feature("spread", spread, 4, spread_columns)
    assert check_feature("spread", registry=registry).subject == "spread"


def test_the_paths_are_in_time_order_positive_and_the_same_for_a_seed() -> None:
    from anystrat.testing.conformance.paths import KINDS, synthetic_paths

    once, again = (list(synthetic_paths(2, [3, 4], 50)) for _ in range(2))
    assert {path.kind for path in once} == set(KINDS)
    for path, other in zip(once, again, strict=True):
        assert path.ticks == other.ticks
        assert all(row.price > 0.0 for row in path.ticks)
        times = [row.market_tick().timestamp for row in path.ticks]
        assert times == sorted(times)
        assert times[-1] - times[0] > timedelta(0)
    assert once[0].ticks != once[len(KINDS)].ticks
