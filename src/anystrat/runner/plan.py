"""Which shard an instrument belongs to: signals never depend on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.configuration import Sharding
from anystrat.domain.signal_id import mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.configuration import StrategyConfig

_BASE = 0
#: Another one than that of shards: a worker's instruments would leave some of its shards empty otherwise.
_WORKER_BASE = 1


@dataclass(frozen=True, slots=True, eq=False)
class ShardPlan:
    """Every watched instrument's shard. Instruments that one executor watches are in one shard.

    `shard_of` holds the watched tokens; any other has a shard too, which counts it as unrouted.
    """

    count: int
    sharding: Sharding
    shard_of: Mapping[int, int]
    _tokens: NDArray[np.int64] = field(repr=False)
    _shards: NDArray[np.int64] = field(repr=False)

    def of(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The shard of each token, shape (n,)."""
        if self.count == 1:
            return np.zeros(len(tokens), np.int64)
        if not len(self._tokens):
            return _spread(tokens, self.count, self.sharding)
        at = np.minimum(np.searchsorted(self._tokens, tokens), len(self._tokens) - 1)
        found = self._shards[at]
        stranger = self._tokens[at] != tokens
        if stranger.any():
            found[stranger] = _spread(tokens[stranger], self.count, self.sharding)
        return found

    def tokens_of(self, shard: int) -> frozenset[int]:
        """The watched instruments of a shard."""
        return frozenset(token for token, place in self.shard_of.items() if place == shard)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many watched instruments each shard has."""
        counted = Counter(self.shard_of.values())
        return tuple(counted[shard] for shard in range(self.count))

    @property
    def skew(self) -> float:
        """The largest shard's instruments to the mean of all shards: 1.0 is even."""
        sizes = self.sizes
        return max(sizes) * self.count / sum(sizes) if sum(sizes) else 1.0


def plan_shards(
    strategies: Iterable[StrategyConfig], count: int, sharding: Sharding = Sharding.HASH, *, together: bool = False
) -> ShardPlan:
    """Hash each connected component of instruments (by its smallest token) to one of `count` shards.

    Two instruments are connected where one executor watches both; `per_instrument` rows connect nothing.
    With `together`, everything is connected: limits over the whole account have to see all of it. What an isolated
    strategy watches is in the last shard, if there are several, and nothing else is: others need not wait for it.
    """
    rows = [row for row in strategies if row.enabled]
    found = _components(rows)
    tokens, roots = np.array(list(found), np.int64), np.array(list(found.values()), np.int64)
    if together:
        roots[:] = roots[:1]
    apart = {found[token] for row in rows if row.isolation is not None for token in row.instrument_tokens}
    if apart and count > 1 and not together:
        shards = _spread(roots, count - 1, sharding)
        shards[np.isin(roots, list(apart))] = count - 1
    else:
        shards = _spread(roots, count, sharding)
    return ShardPlan(count, sharding, dict(zip(tokens.tolist(), shards.tolist(), strict=True)), tokens, shards)


def spread_over_workers(strategies: Iterable[StrategyConfig], workers: int) -> dict[int, int]:
    """The worker of every instrument that an enabled strategy watches; those that one executor watches are together."""
    found = _components([row for row in strategies if row.enabled])
    return {token: mixed(_WORKER_BASE, (root,)) % workers for token, root in found.items()}


def _components(rows: Sequence[StrategyConfig]) -> dict[int, int]:
    """The smallest token of each one's connected component, in ascending order of tokens."""
    parent: dict[int, int] = {}

    def root(token: int) -> int:
        while parent[token] != token:
            parent[token] = parent[parent[token]]
            token = parent[token]
        return token

    for row in rows:
        for token in row.instrument_tokens:
            parent.setdefault(token, token)
        for token in row.instrument_tokens[1:] if not row.per_instrument else ():
            first, second = sorted((root(row.instrument_tokens[0]), root(token)))
            parent[second] = first
    return {token: root(token) for token in sorted(parent)}


def _spread(tokens: NDArray[np.int64], count: int, sharding: Sharding) -> NDArray[np.int64]:
    if sharding is Sharding.MODULO:
        return tokens % count
    different, places = np.unique(tokens, return_inverse=True)
    hashed = np.array([mixed(_BASE, (token,)) % count for token in different.tolist()], np.int64)
    spread: NDArray[np.int64] = hashed[places]
    return spread


def in_shard(row: StrategyConfig, tokens: frozenset[int]) -> tuple[int, ...]:
    """Which of the row's instruments a shard with these tokens evaluates: all or none, unless `per_instrument`."""
    return tuple(token for token in row.instrument_tokens if token in tokens)


def named_shards(plan: ShardPlan) -> Sequence[str]:
    """Each shard in words, for the log: `0: 12 instruments`."""
    return [f"{shard}: {size} instruments" for shard, size in enumerate(plan.sizes)]
