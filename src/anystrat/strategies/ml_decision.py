"""From three probabilities to a side: one tick at a time, or many rows, with the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.protocols import Compiler

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How far outside 0..1 a probability may lie before the prediction counts as failed: a float32 softmax rounds.
TOLERANCE = 1e-3


def decide_probabilities(sell: float, hold: float, buy: float, min_conf: float) -> tuple[int, float]:
    """(side 1 BUY or 2 SELL, confidence); side 0 is no signal.

    The largest probability decides; where two are the largest, or HOLD is, or the largest is below `min_conf`, there is
    no signal. The confidence is that probability, at most 1. NaN among them gives no signal. Compiles as it stands.
    """
    if buy > sell and buy > hold:
        side = 1
        confidence = buy
    elif sell > buy and sell > hold:
        side = 2
        confidence = sell
    else:
        return 0, 0.0
    if not confidence >= min_conf:
        return 0, 0.0
    # Within the tolerance a probability may exceed 1; a confidence may not.
    if confidence > 1.0:
        confidence = 1.0
    return side, confidence


def are_probabilities(sell: float, hold: float, buy: float) -> bool:
    """Whether each lies within 0..1, give or take `TOLERANCE`. NaN does not."""
    low = -TOLERANCE
    high = 1.0 + TOLERANCE
    return low <= sell <= high and low <= hold <= high and low <= buy <= high


def decide_loop(
    probabilities: NDArray[np.float32],
    min_conf: float,
    sides: NDArray[np.int8],
    confidences: NDArray[np.float64],
    failed: NDArray[np.bool_],
) -> None:
    """`decide_rows` as one loop for a compiler, into the last three."""
    for i in range(len(probabilities)):
        # Doubles of the float32: as exact as they are, and what the decision compares.
        sell, hold, buy = float(probabilities[i, 0]), float(probabilities[i, 1]), float(probabilities[i, 2])
        sides[i] = 0
        confidences[i] = 0.0
        failed[i] = not are_probabilities(sell, hold, buy)
        if not failed[i]:
            sides[i], confidences[i] = decide_probabilities(sell, hold, buy, min_conf)


def decide_rows(
    probabilities: NDArray[np.float32], min_conf: float, compiler: Compiler | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.bool_]]:
    """Sides int8[N], confidences float64[N] and failures bool[N] for probabilities [N, 3], columns SELL, HOLD, BUY.

    Row by row the same as `are_probabilities`, then `decide_probabilities`; a failed row has side 0.
    """
    if compiler is not None:
        count = len(probabilities)
        sides, confidences, failed = np.empty(count, np.int8), np.empty(count), np.empty(count, np.bool_)
        compiler(decide_loop)(probabilities, min_conf, sides, confidences, failed)
        return sides, confidences, failed
    wide = probabilities.astype(np.float64)
    sell, hold, buy = wide[:, 0], wide[:, 1], wide[:, 2]
    # Comparisons with NaN are false: such a row fails.
    failed = np.logical_not(np.all((wide >= -TOLERANCE) & (wide <= 1.0 + TOLERANCE), axis=1))
    is_buy = (buy > sell) & (buy > hold) & (buy >= min_conf) & ~failed
    is_sell = (sell > buy) & (sell > hold) & (sell >= min_conf) & ~failed
    sides = np.where(is_buy, 1, np.where(is_sell, 2, 0)).astype(np.int8)
    confidences = np.minimum(np.where(is_buy, buy, np.where(is_sell, sell, 0.0)), 1.0)
    return sides, confidences, failed
