"""What made-up ticks are made of: who trades how much, and sums of steps by instrument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def popularity(count: int) -> NDArray[np.float64]:
    """Each instrument's share of all ticks, shape (count,): few trade much and many little (Zipf, exponent 0.8)."""
    weight = 1.0 / np.arange(1, count + 1) ** 0.8
    share: NDArray[np.float64] = weight / weight.sum()
    return share


def running_sums(which: NDArray[Any], steps: NDArray[Any]) -> NDArray[Any]:
    """At each place, the sum of the steps so far of its own group `which`, both of shape (n,), its own included."""
    order = np.argsort(which, kind="stable")
    summed = np.cumsum(steps[order])
    first = np.flatnonzero(np.diff(which[order], prepend=-1))
    before = np.repeat(summed[first] - steps[order][first], np.diff(first, append=len(which)))
    sums: NDArray[Any] = np.empty_like(summed)
    sums[order] = summed - before
    return sums
