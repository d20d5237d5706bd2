"""What every feature store does, whatever keeps its vectors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from tests.servers import RedisServer

from anystrat.adapters.feature_memory import FeatureMemory
from anystrat.adapters.redis_features import RedisFeatures
from anystrat.domain.protocols import FeatureStore


def in_redis(url: str, prefix: str | None = None, *, size: int = 64) -> RedisFeatures:
    return RedisFeatures(url, size=size, prefix=prefix or f"{uuid4()}:", ttl_sec=60, timeout_sec=5)


class Forgetful:
    """A store whose memory holds one vector of another key, so that all others come from where they are kept."""

    def __init__(self, store: RedisFeatures) -> None:
        self._store = store
        self.get = store.get

    def put(self, *vector: Any) -> None:
        self._store.put(*vector)
        self._store.put("other", 0, 0, VECTOR)


#: Makes an empty store with room for at least 64 vectors, on this Redis where it needs one.
STORES: dict[str, Callable[[str], FeatureStore]] = {
    "memory": lambda _: FeatureMemory(64),
    "redis": in_redis,
    "redis without its memory": lambda url: Forgetful(in_redis(url, size=1)),
}

VECTOR = np.array([1.5, -0.0, np.nan, np.inf, 1e-40, 3.4e38], np.float32)


@pytest.fixture(
    params=["memory", *(pytest.param(name, marks=pytest.mark.server) for name in STORES if "redis" in name)]
)
def store(request: pytest.FixtureRequest) -> FeatureStore:
    url = request.getfixturevalue("redis_server").url if "redis" in request.param else ""
    return STORES[request.param](url)


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


@pytest.mark.server
def test_what_one_process_put_into_redis_another_one_finds(redis_server: RedisServer) -> None:
    in_redis(redis_server.url, "shared:").put("a", 1, 2, VECTOR)
    found = in_redis(redis_server.url, "shared:").get("a", 1, 2)
    assert found is not None
    assert found.tobytes() == VECTOR.tobytes()
    assert in_redis(redis_server.url, "others:").get("a", 1, 2) is None


@pytest.mark.server
def test_without_its_redis_a_store_holds_what_memory_holds_and_asks_again_later() -> None:
    now = 100.0
    with RedisServer() as server:
        store = RedisFeatures(server.url, size=64, prefix="x:", ttl_sec=60, timeout_sec=1, clock=lambda: now)
        store.put("a", 1, 2, VECTOR)
    assert store.get("b", 1, 2) is None
    assert store.get("b", 1, 2) is None
    store.put("b", 1, 2, VECTOR)
    assert store.failures == 1  # the others were not asked
    assert store.get("a", 1, 2) is not None
    assert store.get("b", 1, 2) is not None
    now += 5
    assert store.get("c", 1, 2) is None
    assert store.failures == 2
