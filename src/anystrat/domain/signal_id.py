"""The permanent id of a signal: integer mixing, so that a million a second cost little.

The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MASK = (1 << 64) - 1


def id_bases(strategy_id: str, broker: str) -> tuple[int, int]:
    """The two 64-bit bases of an executor's ids, from SHA-256 of `strategy_id|broker`."""
    digest = hashlib.sha256(f"{strategy_id}|{broker}".encode()).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")


def mixed(base: int, values: tuple[int, ...]) -> int:
    """One 64-bit half: each value, in two's complement, is mixed into the base."""
    h = base
    for value in values:
        x = ((h ^ (value & _MASK)) + 0x9E3779B97F4A7C15) & _MASK
        x ^= x >> 30
        x = (x * 0xBF58476D1CE4E5B9) & _MASK
        x ^= x >> 27
        x = (x * 0x94D049BB133111EB) & _MASK
        h = x ^ (x >> 31)
    return h


def mixed_columns(bases: NDArray[np.uint64], values: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """`mixed` for many at once: uint64 bases of shape (n, halves), values of shape (n,) each; unsigned columns wrap."""
    h = bases.copy()
    for value in values:
        h ^= value.astype("int64").view("uint64")[:, None]
        h += 0x9E3779B97F4A7C15
        h ^= h >> 30
        h *= 0xBF58476D1CE4E5B9
        h ^= h >> 27
        h *= 0x94D049BB133111EB
        h ^= h >> 31
    return h


def signal_id(bases: tuple[int, int], instrument_token: int, side: int, price_bucket: int, dedupe_epoch: int) -> str:
    """32 hex digits from the executor's bases and the four fields that make a signal unique.

    `side` is 1 for BUY and 2 for SELL, `price_bucket` is `floor(price / bucket)`, `dedupe_epoch` is `ts_ns // w`.
    """
    values = (instrument_token, side, price_bucket, dedupe_epoch)
    return f"{mixed(bases[0], values):016x}{mixed(bases[1], values):016x}"
