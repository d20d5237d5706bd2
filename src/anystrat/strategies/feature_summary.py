"""What a model card keeps of a training set's features: how they were spread, and some rows as they were computed.

Later features are held against both: drift is another spread, skew another value for the same prices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.strategies.features import FeatureSet

#: How a card says what its bins are for.
METHOD: Final = "PSI over these bins: sum of (share - base) * ln(share / base)"
#: A share of nothing counts as this much, so that one value in an empty bin is no infinite drift.
_LEAST: Final = 1e-4


def feature_bins(names: Sequence[str], matrix: NDArray[Any]) -> list[dict[str, Any]]:
    """For each column of a training set [N, F]: its deciles as `edges`, the `shares` between them, and some moments."""
    bins = []
    for column, name in enumerate(names):
        values = np.asarray(matrix[:, column], np.float64)
        edges = np.unique(np.quantile(values, np.linspace(0.1, 0.9, 9)))
        bins.append(
            {
                "feature": name,
                "mean": _rounded(values.mean()),
                "deviation": _rounded(values.std()),
                "min": _rounded(values.min()),
                "max": _rounded(values.max()),
                "edges": [_rounded(edge) for edge in edges],
                "shares": [_rounded(share) for share in _shares(values, edges)],
            }
        )
    return bins


def recorded_rows(features: FeatureSet, prices: NDArray[np.float64], rows: int = 8) -> list[dict[str, Any]]:
    """Some rows of a training set as they were computed: the prices that each needs, and the features by name.

    Spread evenly over `prices`, one instrument's, oldest first.
    """
    need = features.history_length
    matrix = features.matrix(prices)
    places = np.unique(np.linspace(0, len(matrix) - 1, rows).astype(int)).tolist() if len(matrix) else []
    return [
        {
            "prices": prices[place : place + need].tolist(),
            "features": dict(zip(features.names, map(float, matrix[place]), strict=True)),
        }
        for place in places
    ]


def stability_index(bins: Mapping[str, Any], values: NDArray[Any]) -> float:
    """The population stability index of values against a card's bins of a feature; NaN values are left out.

    Siddiqi: "Credit Risk Scorecards", 2006: below 0.1 nothing moved, above 0.25 the population is another one.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return math.inf
    now = _shares(finite, np.array(bins["edges"], np.float64))
    base = np.array(bins["shares"], np.float64)
    now, base = np.maximum(now, _LEAST), np.maximum(base, _LEAST)
    return float(((now - base) * np.log(now / base)).sum())


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return np.asarray(counts / len(values), np.float64)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
