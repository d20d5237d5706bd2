"""ML strategies: who decides, what counts as no answer, and that both speeds give the same bits."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.adapters.model_shelf import OnnxShelf
from anystrat.adapters.onnx_model import load_onnx
from anystrat.domain.errors import MissingExtra, ModelRefused
from anystrat.domain.protocols import BatchCapable, MLCapable, PriceRule, StrategyProcessor
from anystrat.domain.signal import SIDE_CODE, SignalResult
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.strategies.catalog import BuildContext, Catalog
from anystrat.strategies.features import FEATURES, required_history
from anystrat.strategies.ml import (
    DEFAULT_FEATURES,
    ML_BREAKOUT,
    ML_MEAN_REVERSION,
    ML_MOMENTUM,
    TRIAL_INFERENCES,
    MLParameters,
    MLStrategy,
    PredictionFailed,
)
from anystrat.strategies.ml_decision import are_probabilities, decide_probabilities, decide_rows
from anystrat.testing.models import linear_model

NAN = math.nan
TYPES = [ML_MOMENTUM, ML_MEAN_REVERSION, ML_BREAKOUT]


class FakeModel:
    """Answers with `answer`, or raises it; counts the rows."""

    def __init__(
        self, answer: Any, names: tuple[str, ...] = ("ret_1",), *, batchable: bool = True, sha256: str = "ab" * 32
    ) -> None:
        self.answer, self.feature_names, self.batchable = answer, names, batchable
        self.sha256 = sha256
        self.rows = self.calls = 0

    def predict(self, features: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.rows += len(features)
        answer = self.answer(features) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return np.broadcast_to(np.asarray(answer, np.float32), (len(features), 3))


class FakeShelf:
    def __init__(self, model: Any) -> None:
        self.serving = model
        self.failures: list[tuple[str, str, str]] = []

    def model(self, path: str) -> Any:
        if isinstance(self.serving, Exception):
            raise self.serving
        return self.serving

    def version(self, path: str, sha256: str) -> Any:
        if getattr(self.serving, "sha256", None) != sha256:
            raise ModelRefused(f"{path}: no version {sha256}")
        return self.serving

    def failed(self, path: str, sha256: str, why: str) -> None:
        self.failures.append((path, sha256, why))


def strategy_over(model: Any, **parameters: Any) -> MLStrategy:
    return MLStrategy("ml_momentum", MLParameters("m.onnx", **parameters), FakeShelf(model))


def window_of(*prices: float) -> Window:
    window = Window(64)
    for i, price in enumerate(prices):
        window.push(TickRow(1, i, price))
    return window


def ask(strategy: MLStrategy, *prices: float, window: Window | None = None) -> SignalResult | None:
    window = window or window_of(*(prices or (100.0, 101.0)))
    return strategy.process_tick(window.row(0).market_tick(), window.history(strategy.get_required_history_length()))


# ------------------------------------------------------------------------------------------------------------ decision


@pytest.mark.parametrize(
    ("sell", "hold", "buy", "min_conf", "decided"),
    [
        (0.1, 0.2, 0.7, 0.5, (1, 0.7)),
        (0.7, 0.2, 0.1, 0.5, (2, 0.7)),
        (0.1, 0.7, 0.2, 0.5, (0, 0.0)),
        (0.5, 0.0, 0.5, 0.1, (0, 0.0)),  # SELL ties with BUY
        (0.2, 0.4, 0.4, 0.1, (0, 0.0)),  # HOLD ties with BUY
        (0.4, 0.4, 0.2, 0.1, (0, 0.0)),  # SELL ties with HOLD
        (1 / 3, 1 / 3, 1 / 3, 0.0, (0, 0.0)),
        (0.0, 0.0, 0.0, 0.0, (0, 0.0)),
        (0.25, 0.25, 0.5, 0.5, (1, 0.5)),  # exactly min_conf
        (0.25, 0.25, 0.5, 0.5000001, (0, 0.0)),
        (0.3, 0.3, 0.4, 0.5, (0, 0.0)),
        (0.0, 0.0, 1.0005, 0.5, (1, 1.0)),  # a confidence is never above 1
        (NAN, 0.1, 0.9, 0.5, (0, 0.0)),
        (0.1, NAN, 0.9, 0.5, (0, 0.0)),
        (0.1, 0.1, NAN, 0.5, (0, 0.0)),
        (0.9, 0.1, NAN, 0.5, (0, 0.0)),
    ],
)
def test_the_largest_probability_decides_and_any_tie_for_it_is_hold(
    sell: float, hold: float, buy: float, min_conf: float, decided: tuple[int, float]
) -> None:
    assert decide_probabilities(sell, hold, buy, min_conf) == decided


@pytest.mark.parametrize(
    ("triple", "fits"),
    [
        ((0.0, 0.0, 1.0), True),
        ((-0.001, 0.0, 1.001), True),
        ((-0.0011, 0.0, 1.0), False),
        ((0.0, 0.0, 1.0011), False),
        ((0.0, NAN, 1.0), False),
        ((math.inf, 0.0, 0.0), False),
        ((2.0, -3.0, 1.0), False),
    ],
)
def test_probabilities_lie_within_0_and_1_give_or_take_a_thousandth(
    triple: tuple[float, float, float], fits: bool
) -> None:
    for order in itertools.permutations(triple):
        assert are_probabilities(*order) is fits


PROBABILITY = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0005, 1.5, -0.5, NAN]) | st.floats(0.0, 1.0, width=32)


@given(rows=st.lists(st.tuples(PROBABILITY, PROBABILITY, PROBABILITY)), min_conf=st.floats(0.0, 1.0))
def test_rows_are_decided_as_single_ticks_are(rows: list[tuple[float, float, float]], min_conf: float) -> None:
    table = np.array(rows, np.float32).reshape(-1, 3)
    sides, confidences, failed = decide_rows(table, min_conf)
    for i, (sell, hold, buy) in enumerate(table.tolist()):
        fits = are_probabilities(sell, hold, buy)
        assert failed[i] == (not fits)
        expected = decide_probabilities(sell, hold, buy, min_conf) if fits else (0, 0.0)
        assert (int(sides[i]), float(confidences[i])) == expected


def test_the_decision_compiles_to_the_same_answers() -> None:
    numba = pytest.importorskip("numba")
    compiled = numba.njit(decide_probabilities)
    for triple in itertools.product([0.0, 0.3, 0.5, 1.0005, NAN], repeat=3):
        assert compiled(*triple, 0.4) == decide_probabilities(*triple, 0.4)


# -------------------------------------------------------------------------------------------------------------- signal


def test_a_signal_carries_size_price_reason_and_the_models_hash() -> None:
    signal = ask(strategy_over(FakeModel([0.125, 0.125, 0.75]), position_size=7), 100.0, 101.5)
    assert signal == SignalResult(
        "BUY",
        0.75,
        7,
        Decimal("101.5"),
        "ml: BUY p=0.750",
        {"probabilities": [0.125, 0.125, 0.75], "model": "ab" * 32},
    )


def test_the_confidence_is_the_float32_that_the_model_gave() -> None:
    signal = ask(strategy_over(FakeModel([0.7, 0.2, 0.1])))
    assert signal is not None
    assert signal.signal_type == "SELL"
    assert signal.confidence == float(np.float32(0.7)) != 0.7


def test_hold_and_low_confidence_are_no_signal_and_no_failure() -> None:
    for answer in ([0.1, 0.8, 0.1], [0.4, 0.2, 0.4], [0.3, 0.3, 0.4]):
        strategy = strategy_over(FakeModel(answer))
        assert ask(strategy) is None
        assert (strategy.inferences, strategy.inference_failures) == (1, 0)


@pytest.mark.parametrize(
    "answer",
    [
        [NAN, 0.5, 0.5],
        [0.0, 0.0, 1.1],
        [-0.1, 0.0, 1.0],
        [[[0.1]]],
        RuntimeError("out of memory"),
        KeyError("no such input"),
    ],
)
def test_a_failed_prediction_is_no_signal_and_is_counted(answer: Any) -> None:
    model = FakeModel(answer)
    strategy = strategy_over(model)
    assert ask(strategy) is None
    assert ask(strategy) is None
    assert (strategy.inferences, strategy.inference_failures) == (2, 2)
    assert strategy.last_failure
    model.answer = [0.1, 0.1, 0.8]
    assert ask(strategy) is not None


def test_a_value_that_is_no_probability_is_named() -> None:
    strategy = strategy_over(FakeModel([-2.0, 0.5, 3.5]))
    ask(strategy)
    assert strategy.last_failure == (
        "PredictionFailed: expected probabilities within 0..1 (±0.001); found SELL -2, HOLD 0.5, BUY 3.5: "
        "look at the model's last layer and at its inputs"
    )


def test_predict_signal_that_raises_ends_neither_tick_nor_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = strategy_over(FakeModel([0.1, 0.1, 0.8]))
    with monkeypatch.context() as patch:
        patch.setattr(strategy, "predict_signal", lambda features: 1 / 0)
        assert ask(strategy) is None
    assert strategy.inference_failures == 1
    assert "ZeroDivisionError" in strategy.last_failure
    assert ask(strategy) is not None


def test_predict_signal_itself_raises_so_that_its_caller_can_tell() -> None:
    strategy = strategy_over(FakeModel([NAN, NAN, NAN]))
    window = window_of(1.0, 2.0)
    features = strategy.extract_features(window.row(0).market_tick(), window.history(2))
    with pytest.raises(PredictionFailed):
        strategy.predict_signal(features)


def test_the_features_are_a_float32_row_in_the_models_order() -> None:
    strategy = strategy_over(FakeModel([0.1, 0.1, 0.8], names=("pos_2", "ret_1")))
    window = window_of(100.0, 125.0)
    values = strategy.extract_features(window.row(0).market_tick(), window.history(2)).values
    assert values.dtype == np.float32
    assert values.tolist() == [[1.0, 0.25]]


# --------------------------------------------------------------------------------------------------------------- model


def test_a_model_that_is_refused_leaves_the_strategy_standing() -> None:
    strategy = strategy_over(ModelRefused("m.onnx: no such file"))
    assert strategy.load_model() is False
    assert strategy.load_model() is False
    assert strategy.model_error == "m.onnx: no such file"
    window = window_of(1.0, 2.0)
    assert strategy.process_tick(window.row(0).market_tick(), window.history(2)) is None
    assert strategy.inference_failures == 1
    with pytest.raises(ModelRefused, match="no such file"):
        strategy.get_required_history_length()
    sides, *_ = strategy.process_columns(np.ones(3), 0)
    assert sides.tolist() == [0, 0, 0]


def test_a_missing_extra_is_not_taken_for_a_bad_model() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'anystrat\[ml\]'"):
        strategy_over(MissingExtra("ONNX models", "ml")).load_model()


def test_loading_is_lazy_and_idempotent() -> None:
    shelf = FakeShelf(RuntimeError("asked too early"))
    strategy = MLStrategy("ml_momentum", MLParameters("m.onnx"), shelf)
    shelf.serving = FakeModel([0.1, 0.1, 0.8], names=("z_9",))
    assert strategy.load_model() is strategy.load_model() is True
    assert strategy.get_required_history_length() == 9
    assert strategy.model is shelf.serving
    assert strategy.model_error == ""


NEXT = "cd" * 32


def test_another_version_serves_from_the_tick_after_it_was_said() -> None:
    shelf = FakeShelf(FakeModel([0.1, 0.1, 0.8]))
    strategy = MLStrategy("ml_momentum", MLParameters("m.onnx"), shelf)
    assert strategy.model_sha256 is None
    assert ask(strategy).signal_type == "BUY"
    shelf.serving = FakeModel([0.8, 0.1, 0.1], names=("pos_2", "ret_1"), sha256=NEXT)
    assert ask(strategy).signal_type == "BUY"
    assert strategy.swap_model(NEXT) == ""
    sold = ask(strategy)
    assert (sold.signal_type, sold.metadata["model"], strategy.model_sha256) == ("SELL", NEXT, NEXT)
    assert (strategy.swap_model(NEXT), strategy.model_path) == ("", "m.onnx")


def test_a_version_that_cannot_be_had_changes_nothing() -> None:
    strategy = strategy_over(FakeModel([0.1, 0.1, 0.8]))
    assert ask(strategy).signal_type == "BUY"
    with pytest.raises(ModelRefused, match="no version"):
        strategy.swap_model(NEXT)
    assert ask(strategy).signal_type == "BUY"


@pytest.mark.parametrize("name", ["ret_2", "z_1", "no_such_feature"])
def test_a_successor_that_does_not_fit_leaves_the_model_before_it_serving(name: str) -> None:
    before = FakeModel([0.1, 0.1, 0.8])
    shelf = FakeShelf(before)
    strategy = MLStrategy("ml_momentum", MLParameters("m.onnx"), shelf)
    assert strategy.load_model()
    shelf.serving = FakeModel([0.8, 0.1, 0.1], names=(name,), sha256=NEXT)
    assert strategy.swap_model(NEXT) == strategy.model_error
    assert ask(strategy).signal_type == "BUY"
    assert strategy.model is before
    assert strategy.get_required_history_length() == 2
    assert ("needs a history of 2 ticks" in strategy.model_error) or ("unknown feature" in strategy.model_error)


def on_trial(good: int, *, columns: bool, trial: bool = True) -> FakeShelf:
    """A version that answers `good` times, and then with what is no probability."""
    shelf = FakeShelf(FakeModel([0.1, 0.1, 0.8]))
    strategy = MLStrategy("ml_momentum", MLParameters("m.onnx"), shelf)
    for _ in range(7):
        ask(strategy)
    asked = 0

    def answer(rows: np.ndarray) -> Any:
        nonlocal asked
        asked += len(rows)
        places = np.arange(asked - len(rows), asked)
        return np.where(places[:, np.newaxis] < good, np.float32([[0.1, 0.1, 0.8]]), np.float32(NAN))

    shelf.serving = FakeModel(answer, sha256=NEXT)
    strategy.swap_model(NEXT, on_trial=trial)
    if columns:
        strategy.process_columns(np.linspace(1.0, 2.0, good + 20), 0)
    else:
        for _ in range(good + 5):
            ask(strategy)
    return shelf


@pytest.mark.parametrize("columns", [False, True])
def test_a_version_on_trial_that_fails_is_reported_once(columns: bool) -> None:
    for good in (0, TRIAL_INFERENCES - 1):
        [(path, sha256, why)] = on_trial(good, columns=columns).failures
        assert (path, sha256) == ("m.onnx", NEXT)
        assert "expected probabilities within 0..1" in why


@pytest.mark.parametrize("columns", [False, True])
def test_a_version_that_passed_its_trial_may_fail(columns: bool) -> None:
    assert on_trial(TRIAL_INFERENCES, columns=columns).failures == []
    assert on_trial(0, columns=columns, trial=False).failures == []


def test_strategies_that_share_a_model_share_its_answer_within_a_tick() -> None:
    model = FakeModel([0.1, 0.1, 0.8])
    first, second = strategy_over(model, min_conf=0.5), strategy_over(model, min_conf=0.9)
    window = window_of(100.0, 101.0)
    assert ask(first, window=window) is not None
    assert ask(second, window=window) is None
    assert model.rows == 1
    assert (first.inferences, second.inferences) == (1, 1)
    window.push(TickRow(1, 9, 102.0))
    ask(second, window=window)
    assert model.rows == 2


def test_a_failure_is_shared_with_nobody() -> None:
    model = FakeModel(RuntimeError("once"))
    first, second = strategy_over(model), strategy_over(model)
    window = window_of(100.0, 101.0)
    assert ask(first, window=window) is None
    model.answer = [0.1, 0.1, 0.8]
    assert ask(second, window=window) is not None


# --------------------------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_the_types_differ_in_name_and_default_features_only(kind: Any, tmp_path: Path) -> None:
    names = DEFAULT_FEATURES[kind.name]
    path = linear_model(tmp_path / "m.onnx", names, bias=(0.0, 0.0, 3.0))
    strategy = kind.build(MLParameters(str(path), position_size=3), BuildContext(Catalog(), OnnxShelf()))
    assert strategy.get_strategy_name() == kind.name
    assert (kind.kind, kind.parameters) == ("ml", MLParameters)
    assert strategy.get_required_history_length() == required_history(names)
    assert strategy.quantity() == 3
    assert strategy.supports_instrument(256265)
    assert len({DEFAULT_FEATURES[other.name] for other in TYPES}) == 3


def test_a_strategy_has_the_capabilities_of_its_kind() -> None:
    strategy = strategy_over(FakeModel([0.1, 0.1, 0.8]))
    assert isinstance(strategy, StrategyProcessor)
    assert isinstance(strategy, MLCapable)
    assert isinstance(strategy, BatchCapable)
    assert not isinstance(strategy, PriceRule)


def test_building_does_not_touch_the_model_file() -> None:
    ML_MOMENTUM.build(MLParameters("/nowhere/m.onnx"), BuildContext(Catalog(), OnnxShelf()))


# ---------------------------------------------------------------------------------------------------------- two speeds


@pytest.fixture(scope="module")
def shelf_and_path(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnnxShelf, str]:
    names = ["ret_1", "ret_5", "vol_5", "z_6", "pos_4"]
    weights = np.random.default_rng(5).normal(0.0, 2.0, (5, 3)).tolist()
    return OnnxShelf(), str(linear_model(tmp_path_factory.mktemp("models") / "m.onnx", names, weights))


def one_by_one(strategy: MLStrategy, prices: list[float]) -> list[tuple[int, float, int]]:
    need = strategy.get_required_history_length()
    window = Window(need)
    answers = []
    for i, price in enumerate(prices):
        window.push(TickRow(1, i, price))
        signal = None
        if window.count >= need:
            signal = strategy.process_tick(window.row(0).market_tick(), window.history(need))
        answers.append((SIDE_CODE[signal.signal_type], signal.confidence, signal.quantity) if signal else (0, 0.0, 0))
    return answers


def in_columns(strategy: MLStrategy, prices: list[float], first: int) -> list[tuple[int, float, int]]:
    sides, confidences, _, quantities = strategy.process_columns(np.array(prices), first)
    columns = zip(sides.tolist(), confidences.tolist(), quantities.tolist(), strict=True)
    return [(side, confidence, quantity) if side else (0, confidence, 0) for side, confidence, quantity in columns]


@settings(max_examples=60, deadline=None)
@given(
    prices=st.lists(st.sampled_from([99.0, 100.0, 100.25]) | st.floats(1.0, 1e6), min_size=1, max_size=40),
    first=st.integers(0, 40),
    min_conf=st.floats(0.0, 1.0),
)
def test_columns_equal_ticks_whatever_the_borders_of_the_block(
    shelf_and_path: tuple[OnnxShelf, str], prices: list[float], first: int, min_conf: float
) -> None:
    shelf, path = shelf_and_path
    first = min(first, len(prices))
    slow, fast = (MLStrategy("ml_momentum", MLParameters(path, min_conf=min_conf), shelf) for _ in range(2))
    expected = one_by_one(slow, prices)
    assert in_columns(fast, prices, first) == expected[first:]
    if first == 0:
        assert fast.inferences == slow.inferences
        assert fast.inference_failures == slow.inference_failures


@pytest.mark.parametrize("batchable", [True, False])
def test_a_row_that_fails_costs_its_neighbours_nothing(batchable: bool) -> None:
    def answer(features: np.ndarray) -> Any:
        if (features > 0.5).any():
            return RuntimeError("no such regime")
        return np.where(features < -0.5, np.float32(NAN), np.float32([[0.1, 0.1, 0.8]]))

    prices = [100.0, 101.0, 400.0, 401.0, 100.0, 101.0]
    slow, fast = (strategy_over(FakeModel(answer, batchable=batchable)) for _ in range(2))
    expected = one_by_one(slow, prices)
    assert [side for side, *_ in expected] == [0, 1, 0, 1, 0, 1]
    assert in_columns(fast, prices, 0) == expected
    assert (fast.inferences, fast.inference_failures) == (slow.inferences, slow.inference_failures) == (5, 2)
    assert fast.last_failure == "RuntimeError: no such regime"


def test_a_model_that_is_not_batchable_gets_its_rows_one_by_one() -> None:
    model = FakeModel([0.1, 0.1, 0.8], batchable=False)
    strategy_over(model).process_columns(np.linspace(1.0, 2.0, 10), 0)
    assert (model.calls, model.rows) == (9, 9)
    model.batchable = True
    strategy_over(model).process_columns(np.linspace(1.0, 2.0, 10), 0)
    assert model.calls == 10


def test_long_columns_are_given_to_the_model_in_bounded_batches(shelf_and_path: tuple[OnnxShelf, str]) -> None:
    model = FakeModel([0.1, 0.1, 0.8])
    sides, *_ = strategy_over(model).process_columns(np.linspace(1.0, 2.0, 10_000), 0)
    assert model.calls == 3
    assert sides.sum() == 9_999


def test_features_at_hand_are_decided_like_columns(shelf_and_path: tuple[OnnxShelf, str]) -> None:
    shelf, path = shelf_and_path
    strategy = MLStrategy("ml_momentum", MLParameters(path, min_conf=0.0), shelf)
    prices = 100.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, 500)))
    rows = FEATURES.feature_set(load_onnx(path).feature_names).matrix(prices)
    sides, confidences = strategy.decide_features(rows)
    whole_sides, whole_confidences, *_ = strategy.process_columns(prices, 5)
    assert sides.tolist() == whole_sides.tolist()
    assert confidences.tolist() == whole_confidences.tolist()
    assert set(sides.tolist()) == {0, 1, 2}
