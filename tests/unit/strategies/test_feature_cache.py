"""Features that are dear to compute: looked up first, computed once, and the same bits either way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat import StrategyRunnerService
from anystrat.adapters.feature_memory import FeatureMemory
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.strategies.feature_cache import FeatureCache
from anystrat.strategies.features import FEATURES, FeatureRegistry, FeatureSet, built_in_features
from anystrat.testing.models import linear_model


class Dear:
    """A feature that counts how often it was computed."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, prices: Sequence[float], end: int) -> float:
        self.computed += 1
        return math.log(prices[end - 1] / prices[end - 3]) * 1e39


def features_with(
    dear: Callable[[Sequence[float], int], float], names: Sequence[str] = ("ret_1", "dear")
) -> FeatureSet:
    registry = built_in_features()
    registry.register_feature("dear", dear, 3, cached=True)
    return registry.feature_set(names)


def rows(features: FeatureSet, ticks: Sequence[tuple[int, float]], cache: FeatureCache | None) -> list[bytes]:
    window, found = Window(features.history_length), []
    for ts, price in ticks:
        window.push(TickRow(1, ts, price))
        if window.count >= features.history_length:
            found.append(features.of(window.history(features.history_length), cache=cache).tobytes())
    return found


TICKS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 1.5, 2.0, 250.25])), min_size=3, max_size=30)


@given(first=TICKS, second=TICKS)
def test_a_store_changes_no_bit_whatever_is_in_it(
    first: list[tuple[int, float]], second: list[tuple[int, float]]
) -> None:
    """Ticks of one time, other prices at the same time, another run before: a vector is found for its very prices alone."""
    cache = FeatureCache(FeatureMemory(50), "s")
    for case in (first, second, first):
        ticks = [(10 * place + ts, price) for place, (ts, price) in enumerate(case)]
        assert rows(features_with(Dear()), ticks, cache) == rows(features_with(Dear()), ticks, None)


def test_a_second_run_over_the_same_ticks_computes_nothing() -> None:
    ticks = [(ts, 100.0 + ts % 7) for ts in range(40)]
    store, dear = FeatureMemory(100), Dear()
    expected = rows(features_with(dear), ticks, FeatureCache(store, "s"))
    assert (dear.computed, store.misses, store.hits) == (38, 38, 0)
    assert rows(features_with(dear), ticks, FeatureCache(store, "s")) == expected
    assert (dear.computed, store.hits) == (38, 38)
    rows(features_with(dear), ticks, FeatureCache(store, "another strategy"))
    assert dear.computed == 76


def test_features_that_are_not_declared_are_never_looked_up() -> None:
    store = FeatureMemory(10)
    rows(FEATURES.feature_set(["ret_1", "z_3"]), [(ts, 100.0 + ts) for ts in range(9)], FeatureCache(store, "s"))
    assert (len(store), store.hits, store.misses) == (0, 0, 0)


def test_a_tick_s_feature_is_computed_once_whoever_asks() -> None:
    dear, store = Dear(), FeatureMemory(10)
    features, window = features_with(dear), Window(3)
    for ts in range(3):
        window.push(TickRow(1, ts, 1.0 + ts))
    for strategy in ("a", "b", "c"):
        features.of(window.history(3), cache=FeatureCache(store, strategy))
    assert (dear.computed, store.misses) == (1, 1)


def test_a_vector_of_another_length_is_not_taken_for_ours() -> None:
    cache = FeatureCache(FeatureMemory(10), "s")
    cache.put(("s", 1, 2), [1.0])
    assert cache.get(("s", 1, 2), 2) is None
    assert cache.get(("s", 1, 2), 1) == [1.0]


@pytest.fixture
def dear() -> Iterator[Dear]:
    made = Dear()
    FEATURES.register_feature("dear", made, 3, cached=True)
    yield made
    del FEATURES.fixed["dear"]


def test_a_configuration_names_the_store_and_gets_the_same_signals(dear: Dear, tmp_path: object) -> None:
    path = linear_model(f"{tmp_path}/m.onnx", ["ret_1", "dear"], [[9.0, 0.0, -9.0], [1e-38, 0.0, -1e-38]])
    row = {"strategy_type": "ml_momentum", "parameters": {"model_path": str(path), "min_conf": 0.4}, "instruments": [1]}
    document = {"version": 1, "strategies": [{"id": "one", **row}, {"id": "two", **row}]}
    ticks = [TickRow(1, ts * 10**10, 100.0 + (ts * 7) % 5) for ts in range(60)]
    found = []
    for more in ({}, {"feature_store": {"type": "memory", "size": 20}}):
        service = StrategyRunnerService(observers=[])
        service.register_from_config(document | more)
        found.append([(each.signal_id, each.confidence) for each in service.run(ticks)])
        store = service.wiring.features
        assert (store is None) == (not more)
    assert found[0] == found[1] != []
    assert isinstance(store, FeatureMemory)
    assert (len(store), store.misses, store.evictions) == (20, 58, 38)


def test_a_family_is_declared_as_a_whole() -> None:
    registry = FeatureRegistry()
    registry.register_feature("lag", lambda prices, end, k: prices[end - k], lambda k: k, cached=True)
    assert registry.feature("lag_4").cached
    assert not FEATURES.feature("ret_4").cached
    assert np.isfinite(registry.feature_set(["lag_2"]).row([1.0, 2.0], 2)).all()
