"""Strategies over whole columns against the same strategies tick by tick: the same bits, wherever a block ends.

Prices are chosen to hurt: few values with many ties, grids on which means cross exactly, stretches that stand still,
jumps over hundreds of orders of magnitude, steps of one unit in the last place; and blocks that are longer than the
stretches after which running sums begin anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.domain.exact import to_decimal
from anystrat.domain.protocols import BatchCapable, ColumnRule, Compiler, CompilerAware, SometimesBatchable
from anystrat.domain.signal import SIDE_CODE
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.strategies.breakout import Breakout, BreakoutParameters
from anystrat.strategies.features import FEATURES
from anystrat.strategies.hybrid import HybridProcessor
from anystrat.strategies.mean_reversion import MeanReversion, MeanReversionParameters, possible_scores
from anystrat.strategies.ml import MLParameters, MLStrategy
from anystrat.strategies.momentum import Momentum, MomentumParameters
from anystrat.strategies.policies.confirm import Confirm, ConfirmParameters
from anystrat.strategies.policies.guardrail import Guardrail, GuardrailParameters
from anystrat.strategies.policies.majority import Majority, MajorityParameters
from anystrat.strategies.policies.probability_weighted import ProbabilityWeighted, ProbabilityWeightedParameters
from anystrat.strategies.policies.sizer import Sizer, SizerParameters
from anystrat.strategies.policies.threshold_escalation import ThresholdEscalation, ThresholdEscalationParameters
from anystrat.strategies.price_rule import dense_columns
from anystrat.strategies.sma_crossover import SmaCrossover, SmaCrossoverParameters, possible_crossings

Answer = tuple[int, float, float, int] | None

compiled = numba_compiler()
SPEEDS = pytest.mark.parametrize("compiler", [None, compiled], ids=["interpreted", "compiled"])

# -------------------------------------------------------------------------------------------------------------- prices


@dataclass(frozen=True)
class Path:
    """Prices made from a seed: hypothesis varies their kind and their number, not each of them."""

    kind: int
    seed: int
    count: int

    def prices(self) -> np.ndarray:
        rng = np.random.Generator(np.random.PCG64([self.kind, self.seed]))
        n = self.count
        if self.kind == 0:  # a random walk on a grid of ticks
            prices = (2_000 + np.cumsum(rng.integers(-2, 3, n))) * 5 / 100
        elif self.kind == 1:  # few values: ties everywhere
            prices = rng.choice([1.0, 1.1, 1.2, 0.7, 0.3], n)
        elif self.kind == 2:  # stretches that stand still
            prices = np.repeat(rng.integers(1, 20, n), rng.integers(1, 60, n))[:n] * rng.choice(
                [0.1, 0.05, 1e-9, 1 / 3]
            )
        elif self.kind == 3:  # anything that is a price
            prices = 10.0 ** rng.uniform(-320.0, 308.0, n)
        elif self.kind == 4:  # calm, at the ends of the range
            level = 10.0 ** rng.choice([-300.0, -160.0, -150.0, 150.0, 160.0, 300.0])
            prices = level * (1.0 + np.cumsum(rng.normal(0.0, 0.001, n)) ** 2)
        elif self.kind == 5:  # units in the last place
            prices = 1e6 * (1.0 + np.cumsum(rng.integers(-1, 2, n)) * 2.0**-52)
        else:  # a walk with gaps
            steps = rng.normal(0.0, 0.01, n) + np.where(rng.random(n) < 0.02, rng.normal(0.0, 2.0, n), 0.0)
            prices = 100.0 * np.exp(np.cumsum(steps))
        return np.clip(prices, 5e-324, 1.7e308)


PATHS = st.builds(Path, st.integers(0, 6), st.integers(0, 2**32), st.integers(0, 90) | st.integers(250, 900))
SHORT = st.builds(Path, st.integers(0, 6), st.integers(0, 2**32), st.integers(0, 150))
CUTS = st.lists(st.integers(0, 900), max_size=4)
OLDER = st.integers(0, 40)


def blocks(count: int, cuts: Sequence[int], need: int, older: int) -> Iterator[tuple[int, int, int]]:
    """(start, first, stop): each block's own ticks from `first` on, and before them what their windows need, or more."""
    edges = sorted({0, count, *(cut for cut in cuts if cut < count)})
    for first, stop in pairwise(edges):
        yield max(0, first - (need - 1) - older), first, stop


# ---------------------------------------------------------------------------------------------------------- two speeds


def one_by_one(processor: Any, prices: np.ndarray) -> list[Answer]:
    need = processor.get_required_history_length()
    window = Window(need)
    answers: list[Answer] = []
    for i, price in enumerate(prices.tolist()):
        window.push(TickRow(1, i, price))
        signal = None
        if window.count >= need:
            signal = processor.process_tick(window.row(0).market_tick(), window.history(need))
        if signal is None:
            answers.append(None)
        else:
            value = signal.confidence
            if isinstance(processor, ColumnRule):
                (value,) = (signal.metadata or {}).values()
            answers.append((SIDE_CODE[signal.signal_type], signal.confidence, value, signal.quantity))
    return answers


def in_columns(
    processor: Any, prices: np.ndarray, cuts: Sequence[int], older: int, compiler: Compiler | None
) -> list[Answer]:
    need = processor.get_required_history_length()
    answers: list[Answer] = []
    for start, first, stop in blocks(len(prices), cuts, need, older):
        part = prices[start:stop].copy()
        if isinstance(processor, ColumnRule):
            columns = dense_columns(processor, part, first - start, compiler)
        else:
            columns = processor.process_columns(part, first - start)
        kinds = [column.dtype for column in columns]
        assert kinds == [np.int8, np.float64, np.float64, np.int64]
        for row in zip(*(column.tolist() for column in columns), strict=True):
            answers.append(row if row[0] else None)
    return answers


def bits(answers: Sequence[Answer]) -> list[object]:
    return [each and (each[0], each[1].hex(), each[2].hex(), each[3]) for each in answers]


LOOKBACKS = st.integers(1, 12) | st.integers(1, 70)
RULES = st.one_of(
    st.builds(
        lambda n, threshold: Momentum(MomentumParameters(n, threshold)),
        LOOKBACKS,
        st.sampled_from([0.0, 0.001, 0.1, 1e300]),
    ),
    st.builds(
        lambda n, z: MeanReversion(MeanReversionParameters(n, z)),
        LOOKBACKS,
        # √3 and 1 are reached exactly by windows of 4 and of 2; 1e-160 and 1e200 have no square.
        st.sampled_from([0.0, 1e-160, 0.5, 1.0, 1.0000000000000002, math.sqrt(3.0), 2.0, 1e200]),
    ),
    st.builds(
        lambda n, buffer: Breakout(BreakoutParameters(n, buffer)), LOOKBACKS, st.sampled_from([0.0, 0.001, 0.1, 0.999])
    ),
    st.builds(
        lambda fast, more: SmaCrossover(SmaCrossoverParameters(fast, fast + more)),
        st.integers(1, 20),
        st.integers(1, 40),
    ),
)


@SPEEDS
@given(rule=RULES, path=PATHS, cuts=CUTS, older=OLDER)
def test_rules_over_columns_equal_rules_tick_by_tick(
    compiler: Compiler | None, rule: Any, path: Path, cuts: list[int], older: int
) -> None:
    prices = path.prices()
    assert bits(in_columns(rule, prices, cuts, older, compiler)) == bits(one_by_one(rule, prices))


@given(rule=RULES, path=SHORT)
def test_a_rules_own_columns_are_the_same(rule: Any, path: Path) -> None:
    prices = path.prices()
    whole = [
        row if row[0] else None for row in zip(*(c.tolist() for c in rule.process_columns(prices, 0)), strict=True)
    ]
    assert bits(whole) == bits(one_by_one(rule, prices))


@SPEEDS
@given(path=PATHS, fast=st.integers(1, 10), more=st.integers(1, 20), first=st.integers(0, 50))
def test_without_a_promise_on_decimals_a_crossover_is_settled_where_doubles_cannot_tell(
    compiler: Compiler | None, path: Path, fast: int, more: int, first: int
) -> None:
    rule = SmaCrossover(SmaCrossoverParameters(fast, fast + more))
    prices = path.prices()
    first = min(first, len(prices))
    kernel, arguments = rule.fired()
    room = len(prices) - first
    at, side = np.empty(room, np.int64), np.empty(room, np.int8)
    confidence, value = np.empty(room), np.empty(room)
    run = kernel if compiler is None else compiler(kernel)
    with np.errstate(all="ignore"):  # NumPy's scalars warn where Python's floats do not
        count = run(prices, first, at, side, confidence, value, *arguments)
    found: dict[int, Answer] = {}
    plain = prices.tolist()
    for k in range(count):
        j, chosen = int(at[k]), int(side[k])
        if chosen == -1:
            exact = [to_decimal(price) for price in plain[j - fast - more : j + 1]]
            chosen = rule.settle(plain, j + 1, exact)
            assert chosen == rule.settle(prices, j + 1, None)  # type: ignore[arg-type]  # an array is a sequence here
        if chosen:
            found[j] = (chosen, float(confidence[k]), float(value[k]), 100)
    expected = one_by_one(rule, prices)[first:]
    assert bits([found.get(j) for j in range(first, len(prices))]) == bits(expected)
    assert at[:count].tolist() == sorted(set(at[:count].tolist()))


def test_a_screen_leaves_little_to_the_literal_formula() -> None:
    """What is wrong here is no result, but the speed: a screen that is never sure would pass every test above."""
    assert compiled is not None
    prices = Path(0, 5, 20_000).prices() + 1_000.0
    at = np.empty(len(prices), np.int64)
    scores = compiled(possible_scores)(prices, 0, at, 50, 2.0)
    kernel, arguments = MeanReversion(MeanReversionParameters(50, 2.0)).fired()
    room = len(prices)
    fired = compiled(kernel)(prices, 0, at, np.empty(room, np.int8), np.empty(room), np.empty(room), *arguments)
    assert fired <= scores <= fired + 5
    crossings = compiled(possible_crossings)(prices, 0, at, np.empty(len(prices)), 10, 50, 51)
    assert crossings < len(prices) / 20


@SPEEDS
@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1), (5, 5), (9, 9), (3, 10)])
def test_empty_blocks_and_short_histories(compiler: Compiler | None, first: int, count: int) -> None:
    prices = np.linspace(1.0, 2.0, count)
    for rule in (
        Momentum(MomentumParameters(9)),
        MeanReversion(MeanReversionParameters(9)),
        Breakout(BreakoutParameters(9)),
        SmaCrossover(SmaCrossoverParameters(2, 9)),
    ):
        columns = dense_columns(rule, prices, first, compiler)
        assert [len(column) for column in columns] == [count - first] * 4
        assert bits(in_columns(rule, prices, [first], 0, compiler)) == bits(one_by_one(rule, prices))


# ------------------------------------------------------------------------------------------------------------ features


@SPEEDS
@given(path=PATHS, family=st.sampled_from(["ret", "vol", "z", "pos"]), k=LOOKBACKS)
def test_features_over_columns_equal_features_tick_by_tick(
    compiler: Compiler | None, path: Path, family: str, k: int
) -> None:
    prices = path.prices()
    features = FEATURES.feature_set([f"{family}_{k}"])
    need = features.history_length
    plain = prices.tolist()
    matrix = features.matrix(prices, compiler)
    expected = [features.row(plain[end - need : end], need).tolist() for end in range(need, len(plain) + 1)]
    assert str(matrix.tolist()) == str(expected)  # NaN is not itself, but is written alike
    loop = features.features[0].loop
    if loop is not None and compiler is None and len(matrix):
        out = np.empty(len(matrix))
        with np.errstate(all="ignore"):
            loop[0](prices, out, *loop[1])
            assert str(out.astype(np.float32).tolist()) == str([row[0] for row in expected])


# ------------------------------------------------------------------------------------------------------------------ ML


@dataclass
class Model:
    """Each row by itself, in one order: probabilities that turn with the features, here and there none at all."""

    feature_names: tuple[str, ...]
    seed: int
    fails: bool = False
    batchable: bool = True
    sha256: str = "ab" * 32
    weights: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.Generator(np.random.PCG64(self.seed))
        self.weights = rng.normal(0.0, 3.0, (len(self.feature_names) + 1, 3)).astype(np.float32)

    def predict(self, features: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            scores = np.broadcast_to(self.weights[-1], (len(features), 3)).copy()
            for column in range(features.shape[1]):
                scores += np.clip(features[:, column : column + 1], -9.0, 9.0) * self.weights[column]
            if self.fails and (scores[:, 0] > 5.0).any():
                raise RuntimeError("no such regime")
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares[:, 0:1] + shares[:, 1:2] + shares[:, 2:3]
            # Thirds make ties; three halves are no probabilities.
            shares = np.where(scores[:, :1] > 4.0, np.float32(1 / 3), shares)
            return np.where(scores[:, :1] < -6.0, np.float32(0.5) + shares, shares)


@dataclass
class Shelf:
    serving: Any

    def model(self, path: str) -> Any:
        return self.serving


NAMES = st.lists(
    st.builds("{}_{}".format, st.sampled_from(["ret", "vol", "z", "pos"]), st.integers(1, 25)),
    min_size=1,
    max_size=4,
    unique=True,
).map(tuple)
MODELS = st.builds(Model, NAMES, st.integers(0, 2**32), st.booleans())


def ml(model: Model, min_conf: float, size: int = 100) -> MLStrategy:
    return MLStrategy("ml_momentum", MLParameters("m.onnx", size, min_conf), Shelf(model))


@SPEEDS
@given(model=MODELS, min_conf=st.sampled_from([0.0, 0.4, 0.5, 0.9]), path=SHORT, cuts=CUTS, older=OLDER)
def test_ml_over_columns_equals_ml_tick_by_tick(
    compiler: Compiler | None, model: Model, min_conf: float, path: Path, cuts: list[int], older: int
) -> None:
    slow, fast = ml(model, min_conf), ml(model, min_conf)
    if compiler is not None:
        fast.use_compiler(compiler)
    prices = path.prices()
    assert fast.batchable()
    assert bits(in_columns(fast, prices, cuts, older, compiler)) == bits(one_by_one(slow, prices))
    assert (fast.inferences, fast.inference_failures) == (slow.inferences, slow.inference_failures)


def test_what_is_batchable() -> None:
    model = Model(("ret_1",), 1)
    strategy = ml(model, 0.5)
    for processor in (
        strategy,
        HybridProcessor(Momentum(MomentumParameters()), strategy, Confirm(ConfirmParameters())),
    ):
        assert isinstance(processor, BatchCapable)
        assert isinstance(processor, SometimesBatchable)
        assert isinstance(processor, CompilerAware)
        assert processor.batchable()
        model.batchable = False
        assert not processor.batchable()
        model.batchable = True


def test_a_hybrid_is_as_batchable_as_its_parts() -> None:
    class Nothing:
        def decide(self, rules_signal: Any, ml_signal: Any, context: Any) -> None:
            return None

    class OwnRule:
        def process_tick(self, tick: Any, history: Any) -> None:
            return None

        def get_required_history_length(self) -> int:
            return 1

        def supports_instrument(self, token: int) -> bool:
            return True

        def get_strategy_name(self) -> str:
            return "own"

    class Flags(Momentum):
        """Rules of one's own, whose metadata may hold flags."""

    strategy = ml(Model(("ret_1",), 1), 0.5)
    momentum, crossover = Momentum(MomentumParameters()), SmaCrossover(SmaCrossoverParameters())
    confirm, guardrail = Confirm(ConfirmParameters()), Guardrail(GuardrailParameters())
    assert HybridProcessor(momentum, strategy, guardrail).batchable()
    assert not HybridProcessor(momentum, strategy, Nothing()).batchable()
    assert not HybridProcessor(OwnRule(), strategy, confirm).batchable()
    assert HybridProcessor(Flags(MomentumParameters()), strategy, confirm).batchable()
    assert not HybridProcessor(Flags(MomentumParameters()), strategy, guardrail).batchable()
    # A crossover reads exact prices; columns have doubles.
    assert not HybridProcessor(crossover, strategy, confirm).batchable()
    assert HybridProcessor(crossover, strategy, confirm).batchable(shortest=True)


# ------------------------------------------------------------------------------------------------------------- hybrids

CONFIDENCES = st.sampled_from([0.0, 0.4, 0.55, 0.75, 1.0])
POLICIES = st.one_of(
    st.builds(lambda c: Majority(MajorityParameters(c)), CONFIDENCES),
    st.just(Confirm(ConfirmParameters())),
    st.builds(lambda low: Sizer(SizerParameters(low, 1.0)), st.sampled_from([0.0, 0.004, 0.29])),
    st.builds(
        lambda high, low, n: Guardrail(GuardrailParameters(high, low, n)),
        st.sampled_from([0.0, 50.0, 70.0, 100.0]),
        st.sampled_from([0.0, 30.0, 50.0, 100.0]),
        st.integers(1, 6),
    ),
    st.builds(
        lambda limit, calm, wild: ThresholdEscalation(
            ThresholdEscalationParameters(vol_threshold=limit, min_conf=calm, high_vol_conf=wild)
        ),
        st.sampled_from([0.0, 0.001, 0.01, 1.0]),
        CONFIDENCES,
        CONFIDENCES,
    ),
    st.just(ProbabilityWeighted(ProbabilityWeightedParameters())),
)


@SPEEDS
@given(rule=RULES, model=MODELS, policy=POLICIES, path=SHORT, cuts=CUTS, older=OLDER, size=st.sampled_from([1, 7, 250]))
@settings(max_examples=80)
def test_hybrids_over_columns_equal_hybrids_tick_by_tick(
    compiler: Compiler | None, rule: Any, model: Model, policy: Any, path: Path, cuts: list[int], older: int, size: int
) -> None:
    slow, fast = ml(model, 0.35, size), ml(model, 0.35, size)
    hybrid = HybridProcessor(rule, fast, policy)
    if compiler is not None:
        hybrid.use_compiler(compiler)
    prices = path.prices()
    assert hybrid.batchable(shortest=True)
    expected = one_by_one(HybridProcessor(rule, slow, policy), prices)
    assert bits(in_columns(hybrid, prices, cuts, older, compiler)) == bits(expected)
    assert (fast.inferences, fast.inference_failures) == (slow.inferences, slow.inference_failures)
