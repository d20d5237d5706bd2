"""The feature store in memory: bounded, and what was used last stays."""

from __future__ import annotations

import numpy as np
import pytest

from anystrat.adapters.feature_memory import FeatureMemory

VECTOR = np.zeros(2, np.float32)


def test_the_least_recently_used_vector_goes_first() -> None:
    store = FeatureMemory(2)
    store.put("a", 1, 1, VECTOR)
    store.put("a", 1, 2, VECTOR)
    assert store.get("a", 1, 1) is not None
    store.put("a", 1, 3, VECTOR)
    assert [store.get("a", 1, ts) is not None for ts in (1, 2, 3)] == [True, False, True]
    assert (len(store), store.hits, store.misses, store.evictions) == (2, 3, 1, 1)


def test_putting_a_key_again_makes_it_recent_and_takes_no_room() -> None:
    store = FeatureMemory(2)
    for ts in (1, 2, 1, 3):
        store.put("a", 1, ts, VECTOR)
    assert [store.get("a", 1, ts) is not None for ts in (1, 2, 3)] == [True, False, True]
    assert store.evictions == 1


def test_a_store_without_room_is_none() -> None:
    with pytest.raises(ValueError, match="room for at least 1 vector; found 0"):
        FeatureMemory(0)
