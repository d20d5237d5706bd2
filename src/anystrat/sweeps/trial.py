"""One variant of a sweep: its settings, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from anystrat.backtest.figures import Figures
from anystrat.domain.errors import nearest_name
from anystrat.sweeps.space import Settings, SpaceError, key_of

#: Figures of which less is better.
_LOW: Final = frozenset({"volatility", "max_drawdown", "max_drawdown_amount", "fees", "slippage", "costs", "turnover"})
#: Figures that are no merit either way.
_NEITHER: Final = frozenset(
    {"start", "recovered", "marks", "periods", "traded", "fills", "exposure", "time_in_market", "average_trade_ns"}
)
OBJECTIVES: Final = tuple(
    each.name for each in fields(Figures) if each.name not in _NEITHER and not each.name.endswith("_ns")
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A variant and its account: `figures` as of a backtest, and its worth at the end of every day (`marks`).

    `refused` says why it was not run: the configuration does not take these settings together, or a model does not load.
    """

    settings: Settings
    figures: Mapping[str, Any] = field(default_factory=dict)
    marks: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    start: float = 0.0
    refused: str = ""

    @property
    def key(self) -> str:
        """What tells it from every other trial."""
        return key_of(self.settings)

    def figure(self, name: str) -> float:
        """A figure as a number; NaN where it is not defined."""
        value = self.figures.get(name)
        return math.nan if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Objective:
    """The figure by which trials are ranked, and which end of it is better."""

    name: str = "sharpe"

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            nearest = nearest_name(self.name, OBJECTIVES)
            hint = f"; did you mean {nearest}?" if nearest else ""
            raise SpaceError(f"no trial can be ranked by {self.name!r}{hint} (there are: {', '.join(OBJECTIVES)})")

    @property
    def low(self) -> bool:
        """Whether less is better."""
        return self.name in _LOW

    def worth(self, trial: Trial) -> tuple[float, float]:
        """What a trial is worth, more being better; of equal ones, more return is.

        A figure that is not defined is worth minus infinity.
        """
        value, earned = trial.figure(self.name), trial.figure("total_return")
        worth = -math.inf if math.isnan(value) else -value if self.low else value
        return worth, -math.inf if math.isnan(earned) else earned
