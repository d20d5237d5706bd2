"""Whether a model gives a row the same bits alone and in any batch: only such a model may be batched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.protocols import InferenceModel

# Rows and batch sizes of the check at load: single rows, small remainders, and one size beyond every blocking factor.
PROBE_ROWS = 64
_PROBE_BATCHES = (2, 3, 7, 64)
_PROBE_LARGE = 1024
_VERIFY_BATCHES = (2, 3, 5, 7, 16, 33, 64, 100, 256, 1000, 4096)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How a model's rows, one by one, compare with the same rows in batches.

    `differing` rows had other bits in some batch; `largest_difference` is between probabilities.
    """

    rows: int
    batch_sizes: tuple[int, ...]
    differing: int
    largest_difference: float

    @property
    def batchable(self) -> bool:
        """Whether every row had the same bits in every batch."""
        return self.differing == 0

    @property
    def advice(self) -> str:
        """What to do about a model that is not batchable, which is served a row at a time; empty for one that is."""
        if self.batchable:
            return ""
        # onnxruntime multiplies a single row in another order where an operator holds the weights as an attribute.
        return (
            "its rows depend on their batch, so it is served one row at a time: export a linear classifier as plain "
            "operators (skl2onnx: black_op={'LinearClassifier'}), and leave out whatever reads across rows"
        )


def verify_batching(model: InferenceModel, n: int = 2048) -> BatchReport:
    """Compare `n` seeded rows one by one with the same rows in batches of many sizes, bit for bit."""
    return _compare(model, n, (*(size for size in _VERIFY_BATCHES if size < n), n))


def may_be_batched(model: InferenceModel) -> bool:
    """The quick form of that, for every model that is loaded."""
    return _compare(model, PROBE_ROWS, _PROBE_BATCHES).batchable and _same_in_a_large_batch(model)


def seeded_rows(width: int, count: int) -> NDArray[np.float32]:
    """The same rows each time, float32[count, width]."""
    # Returns and volatilities are hundredths, scores and positions about one: cover both.
    random = np.random.default_rng(20_170)
    scales = 10.0 ** random.uniform(-3.0, 0.5, (count, 1))
    return (random.standard_normal((count, width)) * scales).astype(np.float32)


def _compare(model: InferenceModel, rows: int, sizes: tuple[int, ...]) -> BatchReport:
    features = seeded_rows(len(model.feature_names), rows)
    alone = np.concatenate([model.predict(features[i : i + 1]) for i in range(rows)])
    differs = np.zeros(rows, np.bool_)
    largest = 0.0
    for size in sizes:
        together = np.concatenate([model.predict(features[i : i + size]) for i in range(0, rows, size)])
        changed = (alone.view(np.uint32) != together.view(np.uint32)).any(axis=1)
        if changed.any():
            differs |= changed
            gap = np.abs(alone[changed].astype(np.float64) - together[changed])
            largest = max(largest, float(np.nanmax(gap, initial=0.0)))
    return BatchReport(rows, sizes, int(differs.sum()), largest)


def _same_in_a_large_batch(model: InferenceModel) -> bool:
    features = seeded_rows(len(model.feature_names), PROBE_ROWS)
    times = _PROBE_LARGE // PROBE_ROWS
    once, repeated = model.predict(features), model.predict(np.tile(features, (times, 1)))
    return bool((np.tile(once, (times, 1)).view(np.uint32) == repeated.view(np.uint32)).all())
