"""Walk-forward: choose on one stretch of days what is then held against the next, again and again.

A trial runs once over all ticks; a fold is cut from its daily marks. So no fold begins with a warm-up, and a position that
is open where one choice takes over from another is taken to be that of the choice: to change over costs nothing here.

Source: Pardo, The Evaluation and Optimization of Trading Strategies, 2nd ed. (2008), ch. 11.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.backtest import statistics
from anystrat.sweeps.space import SpaceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.sweeps.trial import Objective, Trial

#: What a fold can be ranked by: figures that follow from daily marks.
FOLD_OBJECTIVES: Final = ("sharpe", "sortino", "calmar", "cagr", "total_return", "volatility", "max_drawdown")


@dataclass(frozen=True, slots=True)
class Fold:
    """Days `train` (first, last) on which `chosen` was best, and days `test` after them. Days since 1970, both included.

    `inside` and `outside` are the objective on either stretch, `outside_return` what the choice earned on the second.
    """

    train: tuple[int, int]
    test: tuple[int, int]
    chosen: Trial
    inside: float
    outside: float
    outside_return: float


@dataclass(frozen=True, slots=True)
class WalkForward:
    """All folds, and their test stretches behind each other as one curve: `days`, and `worth` from 1 on, shape (n,)."""

    objective: str
    anchored: bool
    folds: tuple[Fold, ...]
    days: NDArray[np.int64]
    worth: NDArray[np.float64]
    sharpe: float
    total_return: float
    max_drawdown: float

    @property
    def inside(self) -> float:
        """The mean of the objective where trials were chosen."""
        return _mean([fold.inside for fold in self.folds])

    @property
    def outside(self) -> float:
        """The mean of the objective where the choices were held against new days."""
        return _mean([fold.outside for fold in self.folds])


def walk_forward(
    trials: Sequence[Trial],
    days: NDArray[np.int64],
    objective: Objective,
    periods: int,
    *,
    train: int,
    test: int,
    anchored: bool = False,
) -> WalkForward:
    """Walk over `days` (UTC days with ticks, ascending): `train` days to choose on, the next `test` days to see.

    Then `test` days further on; `anchored` keeps the first day, so that the stretch to choose on grows. The last fold may
    have fewer days to see. Raises `SpaceError` where there are too few days, or the objective needs more than days.
    """
    if objective.name not in FOLD_OBJECTIVES:
        raise SpaceError(
            f"folds have daily marks alone: rank them by one of {', '.join(FOLD_OBJECTIVES)}, not {objective.name}"
        )
    if train < 2 or test < 1:
        raise SpaceError(f"found {train} days to choose on and {test} to see; at least 2 and 1 are needed")
    if len(days) <= train:
        raise SpaceError(f"the ticks are of {len(days)} days: too few to choose on {train} and see what comes after")
    ran = [trial for trial in trials if not trial.refused]
    returns = np.array([statistics.returns_of(trial.marks, trial.start) for trial in ran])
    folds: list[Fold] = []
    stitched: list[NDArray[np.float64]] = []
    for cut in range(train, len(days), test):
        first, stop = 0 if anchored else cut - train, min(cut + test, len(days))
        inside = [_value(objective.name, each[first:cut], periods) for each in returns]
        ranks = [_rank(value, low=objective.low) for value in inside]
        best = ranks.index(max(ranks))
        seen = returns[best][cut:stop]
        folds.append(
            Fold(
                (int(days[first]), int(days[cut - 1])),
                (int(days[cut]), int(days[stop - 1])),
                ran[best],
                inside[best],
                _value(objective.name, seen, periods),
                float(np.prod(1.0 + seen) - 1.0),
            )
        )
        stitched.append(seen)
    after = np.concatenate(stitched)
    worth: NDArray[np.float64] = np.multiply.accumulate(1.0 + after)
    return WalkForward(
        objective.name,
        anchored,
        tuple(folds),
        days[train:],
        worth,
        statistics.sharpe(after, periods),
        float(worth[-1] - 1.0),
        float(np.max(statistics.drawdowns(worth, 1.0))),
    )


def _value(name: str, returns: NDArray[np.float64], periods: int) -> float:
    worth: NDArray[np.float64] = np.multiply.accumulate(1.0 + returns)
    end, fall = float(worth[-1]), float(np.max(statistics.drawdowns(worth, 1.0)))
    growth = statistics.cagr(end, 1.0, len(returns), periods)
    values = {
        "sharpe": lambda: statistics.sharpe(returns, periods),
        "sortino": lambda: statistics.sortino(returns, periods),
        "calmar": lambda: statistics.calmar(growth, fall),
        "cagr": lambda: growth,
        "total_return": lambda: end - 1.0,
        "volatility": lambda: statistics.volatility(returns, periods),
        "max_drawdown": lambda: fall,
    }
    return values[name]()


def _rank(value: float, *, low: bool) -> float:
    if math.isnan(value):
        return -math.inf
    return -value if low else value


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan
