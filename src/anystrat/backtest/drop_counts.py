"""How many signals were dropped, when, whose, and why: counts a bucket of time, in bounded room however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from anystrat.domain.outcomes import REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST_BUCKETS: Final = 1_024
_MOST_ROWS: Final = 200_000
_DENSE: Final = 1 << 22


class DropRows(NamedTuple):
    """Counts as columns of shape (n,), by time; `reason` is a place in `DropCounts.reasons`. A bucket begins at `ts_ns`."""

    ts_ns: NDArray[np.int64]
    slot: NDArray[np.int64]
    reason: NDArray[np.int64]
    dropped: NDArray[np.int64]


class DropCounts:
    """Takes drops as they come; where too many different ones were seen, buckets of time are merged, two into one.

    `reasons` has the engine's own at their codes, and after them the labels of validators, in the order of appearance.
    """

    def __init__(self) -> None:
        self.reasons: list[str] = ["" if reason is None else reason.value for reason in REASONS]
        self._shift = 0
        self._bucket = np.zeros(0, np.int64)
        self._slot = np.zeros(0, np.int64)
        self._reason = np.zeros(0, np.int64)
        self._count = np.zeros(0, np.int64)

    def code(self, label: str) -> int:
        """The number of a reason, which is a new one where the label was not seen before."""
        try:
            return self.reasons.index(label)
        except ValueError:
            self.reasons.append(label)
            return len(self.reasons) - 1

    def add(self, ts_ns: NDArray[np.int64], slot: NDArray[np.int64], reason: NDArray[np.int64]) -> None:
        """Count these, one each."""
        if len(ts_ns):
            self._merge(ts_ns >> self._shift, slot, reason, np.ones(len(ts_ns), np.int64))

    @property
    def bucket_ns(self) -> int:
        """How long a bucket is, in nanoseconds."""
        return 1 << self._shift

    def rows(self) -> DropRows:
        """All counts so far."""
        return DropRows(self._bucket << self._shift, self._slot, self._reason, self._count)

    def _merge(
        self, bucket: NDArray[np.int64], slot: NDArray[np.int64], reason: NDArray[np.int64], count: NDArray[np.int64]
    ) -> None:
        # The new ones alone first: they are many, and mostly the same.
        bucket, slot, reason, count = self._counted(bucket, slot, reason, count)
        columns = ((self._bucket, bucket), (self._slot, slot), (self._reason, reason), (self._count, count))
        both = [np.concatenate(pair) for pair in columns]
        while True:
            both = list(self._counted(*both))
            buckets = len(np.unique(both[0]))
            if buckets <= _MOST_BUCKETS and (len(both[0]) <= _MOST_ROWS or buckets == 1):
                break
            self._shift += 1
            both[0] >>= 1
        self._bucket, self._slot, self._reason, self._count = both

    def _counted(
        self, bucket: NDArray[np.int64], slot: NDArray[np.int64], reason: NDArray[np.int64], count: NDArray[np.int64]
    ) -> Sequence[NDArray[np.int64]]:
        reasons, slots = len(self.reasons), int(slot.max()) + 1
        first, last = int(bucket.min()), int(bucket.max())
        while (last - first + 1) * slots * reasons >= 1 << 62:
            # Wider apart than a number holds: nobody will look at buckets that fine.
            self._shift += 1
            self._bucket = self._bucket >> 1
            bucket = bucket >> 1
            first, last = first >> 1, last >> 1
        key = ((bucket - first) * slots + slot) * reasons + reason
        size = (last - first + 1) * slots * reasons
        if size <= min(_DENSE, 4 * len(key)):
            total = np.bincount(key, weights=count, minlength=size)
            found = np.flatnonzero(total)
            summed = total[found].astype(np.int64)
        else:
            found, where = np.unique(key, return_inverse=True)
            summed = np.bincount(where, weights=count).astype(np.int64)
        rest, of = np.divmod(found, reasons)
        at, whose = np.divmod(rest, slots)
        return at + first, whose, of, summed
