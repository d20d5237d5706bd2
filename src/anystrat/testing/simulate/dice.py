"""Chance that follows from a seed, a name and a count alone: the same on every machine, whatever else was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, TypeVar

T = TypeVar("T")

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15


class Dice:
    """One stream of draws. Streams of other names are not moved by it, so that a fault left out leaves the others alone.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """

    def __init__(self, seed: int, name: str) -> None:
        self._state = int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")

    def word(self) -> int:
        """64 bits."""
        self._state = (self._state + _STEP) & _MASK
        x = self._state
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return x ^ (x >> 31)

    def random(self) -> float:
        """At least 0, below 1."""
        return (self.word() >> 11) * 2.0**-53

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self.random() < probability

    def between(self, low: float, high: float) -> float:
        """Evenly from `low` to `high`."""
        return low + (high - low) * self.random()

    def scale(self, low: float, high: float) -> float:
        """From `low` to `high`, each power of ten as likely as any other."""
        return float(low * (high / low) ** self.random())

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.word() % (high - low + 1)

    def one_of(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.word() % len(choices)]

    def some_of(self, choices: Sequence[T], probability: float) -> list[T]:
        """Each of them with this probability, in order."""
        return [each for each in choices if self.chance(probability)]
