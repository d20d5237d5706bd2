"""What every feature store does, whatever keeps its vectors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

from anystrat.adapters.feature_memory import FeatureMemory
from anystrat.domain.protocols import FeatureStore

#: Makes an empty store with room for at least 64 vectors.
STORES: dict[str, Callable[[], FeatureStore]] = {"memory": lambda: FeatureMemory(64)}

VECTOR = np.array([1.5, -0.0, np.nan, np.inf, 1e-40, 3.4e38], np.float32)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> FeatureStore:
    return STORES[request.param]()


def test_what_was_never_put_is_not_there(store: FeatureStore) -> None:
    assert store.get("a", 1, 2) is None


def test_a_vector_comes_back_bit_for_bit(store: FeatureStore) -> None:
    store.put("a", 1, 2, VECTOR)
    found = store.get("a", 1, 2)
    assert found is not None
    assert (found.dtype, found.shape) == (np.float32, VECTOR.shape)
    assert found.tobytes() == VECTOR.tobytes()


def test_every_part_of_the_key_tells_vectors_apart(store: FeatureStore) -> None:
    keys = [("a", 1, 2), ("b", 1, 2), ("a", 3, 2), ("a", 1, 4), ("a:1", 2, 4), ("ä/€:x", 2**62, -1)]
    for number, key in enumerate(keys):
        store.put(*key, np.array([number], np.float32))
    found = [store.get(*key) for key in keys]
    assert [float(each[0]) if each is not None else None for each in found] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_last_vector_put_under_a_key_is_the_one(store: FeatureStore) -> None:
    store.put("a", 1, 2, np.array([1.0], np.float32))
    store.put("a", 1, 2, np.array([2.0, 3.0], np.float32))
    found = store.get("a", 1, 2)
    assert found is not None
    assert found.tolist() == [2.0, 3.0]


def test_what_is_done_to_an_array_afterwards_does_not_reach_the_store(store: FeatureStore) -> None:
    mine = np.array([1.0, 2.0], np.float32)
    store.put("a", 1, 2, mine)
    mine[0] = 9.0
    found = store.get("a", 1, 2)
    assert found is not None
    with suppress(ValueError):  # it cannot be written to, or it is a copy
        found[1] = 9.0
    again = store.get("a", 1, 2)
    assert again is not None
    assert again.tolist() == [1.0, 2.0]
