"""Features: their formulas, and that a row and a matrix hold the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.domain.errors import UnknownName
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.strategies.features import (
    FEATURES,
    FeatureRegistry,
    built_in_features,
    feature_matrix,
    feature_row,
    required_history,
)

PRICES = [100.0, 101.0, 99.5, 103.25, 103.25, 98.0]


def value(name: str, prices: list[float]) -> float:
    return FEATURES.feature(name).compute(prices, len(prices))


def window_over(prices: list[float]) -> Window:
    window = Window(len(prices))
    for i, price in enumerate(prices):
        window.push(TickRow(1, i, price))
    return window


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def test_ret_is_the_relative_change_over_k_steps() -> None:
    assert value("ret_1", PRICES) == 98.0 / 103.25 - 1.0
    assert value("ret_5", PRICES) == 98.0 / 100.0 - 1.0


def test_vol_is_the_population_deviation_of_the_last_k_returns() -> None:
    steps = [103.25 / 103.25 - 1.0, 98.0 / 103.25 - 1.0]
    centre = sum(steps) / 2
    assert value("vol_2", PRICES) == pytest.approx(math.sqrt(sum((s - centre) ** 2 for s in steps) / 2), rel=1e-15)


def test_vol_of_one_return_is_zero() -> None:
    assert value("vol_1", PRICES) == 0.0


def test_z_counts_the_current_price_in_its_mean() -> None:
    assert value("z_2", [1.0, 3.0]) == 1.0


@pytest.mark.parametrize("price", [0.1, 1 / 3, 98.7, 1e9 / 7])
def test_z_of_flat_prices_is_zero_and_pos_is_a_half(price: float) -> None:
    # 20 equal prices often have a mean that is not that price.
    assert value("z_20", [price] * 20) == 0.0
    assert value("pos_20", [price] * 20) == 0.5


def test_z_1_and_pos_1_are_of_one_price_and_so_flat() -> None:
    assert value("z_1", PRICES) == 0.0
    assert value("pos_1", PRICES) == 0.5


def test_pos_is_zero_at_the_low_and_one_at_the_high() -> None:
    assert value("pos_6", PRICES) == 0.0
    assert value("pos_4", PRICES[:4]) == 1.0
    assert value("pos_3", [1.0, 3.0, 2.0]) == 0.5


@pytest.mark.parametrize(
    ("name", "need"), [("ret_1", 2), ("ret_20", 21), ("vol_20", 21), ("z_20", 20), ("pos_7", 7), ("pos_1", 1)]
)
def test_the_history_needed_follows_from_the_name(name: str, need: int) -> None:
    assert required_history([name]) == need
    prices = np.linspace(1.0, 2.0, need)
    assert feature_matrix(prices, [name]).shape == (1, 1)
    assert feature_matrix(prices[1:], [name]).shape == (0, 1)


def test_a_set_needs_the_longest_history_of_its_features() -> None:
    assert required_history(["z_5", "ret_9", "pos_3"]) == 10


def test_a_row_is_float32_and_cast_once() -> None:
    row = feature_row(PRICES, 6, ["ret_1", "z_6"])
    assert row.dtype == np.float32
    assert row[0] == np.float32(98.0 / 103.25 - 1.0)


def test_a_row_reads_nothing_after_its_end_and_nothing_before_its_history() -> None:
    row = feature_row(PRICES, 4, ["ret_2", "pos_3"])
    assert bits(row) == bits(feature_row([math.nan, *PRICES[1:4], math.nan], 4, ["ret_2", "pos_3"]))


def test_too_few_prices_are_refused_with_the_number_needed() -> None:
    with pytest.raises(ValueError, match="ret_9 need 10 prices; found 6"):
        feature_row(PRICES, 6, ["ret_9"])


def test_a_value_beyond_float32_is_infinite_in_row_and_matrix_alike() -> None:
    prices = np.array([1e-200, 1e200])
    assert feature_row(prices, 2, ["ret_1"]).tolist() == [math.inf]
    assert feature_matrix(prices, ["ret_1"]).tolist() == [[math.inf]]


ANY_NAMES = st.lists(
    st.builds("{}_{}".format, st.sampled_from(["ret", "vol", "z", "pos"]), st.integers(1, 12)), min_size=1, max_size=6
)
# A few levels make flat stretches and ties; free doubles make every rounding.
LEVELS = st.lists(st.sampled_from([0.1, 0.3, 1 / 3, 98.7, 98.75]), min_size=1, max_size=40)
FLAT = st.builds(lambda price, count: [price] * count, st.sampled_from([0.1, 1 / 3, 98.7]), st.integers(1, 40))
FREE = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=40)


@given(prices=LEVELS | FLAT | FREE, names=ANY_NAMES)
def test_matrix_row_and_history_hold_the_same_bits(prices: list[float], names: list[str]) -> None:
    need = required_history(names)
    matrix = feature_matrix(np.array(prices), names)
    assert matrix.shape == (max(0, len(prices) - need + 1), len(names))
    features = FEATURES.feature_set(names)
    for i, row in enumerate(matrix):
        end = i + need
        assert bits(row) == bits(feature_row(prices, end, names))
        assert bits(row) == bits(features.of(window_over(prices[:end]).history(end)))


@given(prices=LEVELS | FLAT | FREE, family=st.sampled_from(["ret", "vol", "z", "pos"]), k=st.integers(1, 12))
def test_a_column_and_its_function_agree_before_the_cast_hides_the_last_bits(
    prices: list[float], family: str, k: int
) -> None:
    feature = FEATURES.feature(f"{family}_{k}")
    assert feature.columns is not None
    one_by_one = [feature.compute(prices, end) for end in range(feature.history_length, len(prices) + 1)]
    assert bits(feature.column(np.array(prices))) == bits(np.array(one_by_one, np.float64))


@pytest.mark.parametrize("compiled", [False, True])
@given(
    prices=st.lists(st.sampled_from([99.0, 100.0, 100.25]) | st.floats(1e-3, 1e9), min_size=30, max_size=70),
    k=st.integers(1, 25),
)
def test_a_compiler_changes_no_bit_of_a_tick_s_features(compiled: bool, prices: list[float], k: int) -> None:
    names = [f"ret_{k}", f"vol_{k}", f"z_{k}", f"pos_{k}"]
    window = window_over(prices)
    compiler = numba_compiler() if compiled else lambda function: function
    row = FEATURES.feature_set(names).of(window.history(len(prices)), compiler)  # type: ignore[arg-type]  # calls are all it needs
    assert bits(row) == bits(feature_row(prices, len(prices), names))
    assert [window.memo[name] for name in names] == [value(name, prices) for name in names]


def test_blocks_of_a_long_matrix_join_without_a_seam() -> None:
    prices = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.0, 0.01, 20_000)))
    names = ["ret_3", "vol_20", "z_9", "pos_33"]
    matrix = feature_matrix(prices, names)
    assert len(matrix) == 20_000 - 32
    for end in (33, 8191 + 33, 8192 + 33, 8193 + 33, 16_384 + 33, 20_000):
        assert bits(matrix[end - 33]) == bits(feature_row(prices, end, names))


def test_a_feature_is_computed_once_per_tick_whoever_asks() -> None:
    calls = []
    registry = built_in_features()

    def last(prices: list[float], end: int) -> float:
        calls.append(end)
        return prices[end - 1]

    registry.register_feature("last", last, 1)
    window = window_over(PRICES)
    for length in (2, 6, 3):
        registry.feature_set(["last", "ret_1"]).of(window.history(length))
    assert len(calls) == 1
    window.push(TickRow(1, 9, 55.0))
    assert registry.feature_set(["last"]).of(window.history(6)).tolist() == [55.0]
    assert len(calls) == 2


def test_a_registered_feature_serves_rows_and_matrices() -> None:
    registry = built_in_features()
    registry.register_feature("double", lambda prices, end: 2.0 * prices[end - 1], 1)
    registry.register_feature("gap", lambda prices, end, k: prices[end - 1] - prices[end - k], lambda k: k)
    names = ["double", "gap_3"]
    assert required_history(names, registry) == 3
    matrix = feature_matrix(np.array(PRICES), names, registry)
    assert matrix[0].tolist() == [199.0, -0.5]
    assert bits(matrix[-1]) == bits(feature_row(PRICES, 6, names, registry))


@pytest.mark.parametrize(
    ("found", "nearest"),
    [("retn_20", "ret_20"), ("ret20", "ret_20"), ("positon_5", "pos_5"), ("ret", "ret_k"), ("ret_0", "ret_k")],
)
def test_an_unknown_name_is_answered_with_the_nearest(found: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown feature '{found}'; did you mean '{nearest}'") as caught:
        required_history([found])
    assert caught.value.nearest == nearest


@pytest.mark.parametrize("name", ["ret_05", "ret_-1", "ret_1.5", "RET_1", "ret_1 ", "", "_1", "ret_" + "9" * 5000])
def test_a_number_has_one_spelling(name: str) -> None:
    with pytest.raises(UnknownName):
        FEATURES.feature(name)


def _first(prices: list[float], end: int) -> float:
    return prices[0]


@pytest.mark.parametrize("name", ["ret_5", "ret", "mine"])
def test_a_taken_name_is_refused(name: str) -> None:
    registry = built_in_features()
    registry.register_feature("mine", _first, 1)
    with pytest.raises(ValueError, match="already registered; choose another name"):
        registry.register_feature(name, _first, 1)


def test_a_family_cannot_take_over_a_fixed_name() -> None:
    registry = FeatureRegistry()
    registry.register_feature("gap_3", _first, 1)
    with pytest.raises(ValueError, match="'gap_3' is already registered"):
        registry.register_feature("gap", lambda prices, end, k: 0.0, lambda k: k)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda r: r.register_feature("No Good", _first, 1), "is no feature name"),
        (lambda r: r.register_feature("fine", _first, 0), "needs a history of at least 1 price; found 0"),
    ],
)
def test_an_impossible_registration_is_refused(register: Callable[[FeatureRegistry], None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register(built_in_features())
