"""The result of a sweep: every trial, the best of them, and what to make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest import statistics
from anystrat.backtest.figures import ENOUGH_MARKS
from anystrat.backtest.frame import Frame
from anystrat.sweeps.folds import WalkForward, walk_forward
from anystrat.sweeps.page import page_of
from anystrat.sweeps.space import SpaceError
from anystrat.sweeps.trial import OBJECTIVES, Objective, Trial

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

#: From here on a deflated Sharpe ratio is more than luck: one in twenty would be as good without any skill.
SURE: Final = 0.95
_COLUMNS: Final = (*OBJECTIVES, "fills", "exposure")


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """The objective over two settings: `values` has a row a value of `y`, NaN where no trial was run.

    Where other settings vary too, a cell is the best of its trials.
    """

    x: str
    y: str
    xs: tuple[Any, ...]
    ys: tuple[Any, ...]
    values: NDArray[np.float64]


class SweepResult:
    """Every trial of a sweep: `.best`, `.trials`, `.deflated(trial)`, `.heat_map(x, y)`, `.walk_forward(…)`, `.report(path)`.

    `days` are the UTC days with a tick (whole days since 1970), which all trials' `marks` are of; `periods` of them make a
    year. `facts` are what was run: name, ticks, configuration.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        days: NDArray[np.int64],
        periods: int,
        objective: Objective,
        keys: Sequence[str],
        facts: Mapping[str, str],
    ) -> None:
        self.all = tuple(trials)
        self.days = days
        self.periods = periods
        self.objective = objective
        self.keys = tuple(keys)
        self.facts = dict(facts)

    @cached_property
    def ranked(self) -> list[Trial]:
        """The trials that were run, the best first; those of equal worth in the order in which they were made."""
        return sorted((trial for trial in self.all if not trial.refused), key=self.objective.worth, reverse=True)

    @property
    def refused(self) -> list[Trial]:
        """Those that the configuration does not take."""
        return [trial for trial in self.all if trial.refused]

    @property
    def annual(self) -> bool:
        """Whether there are days enough for figures that are stretched over a year."""
        return len(self.days) >= ENOUGH_MARKS

    @property
    def best(self) -> Trial:
        """The best trial. Raises `SpaceError` where none was run."""
        if not self.ranked:
            raise SpaceError("no trial was run")
        return self.ranked[0]

    @cached_property
    def luck(self) -> float:
        """The annual Sharpe ratio that the best of so many trials is expected to have without any skill."""
        return statistics.best_by_luck(np.array([trial.figure("sharpe") for trial in self.ranked]))

    def deflated(self, trial: Trial) -> float:
        """How likely it is that a trial has more than that: its deflated Sharpe ratio."""
        returns = statistics.returns_of(trial.marks, trial.start)
        return statistics.deflated_sharpe(returns, self.luck / math.sqrt(self.periods))

    @property
    def verdict(self) -> str:
        """What the best trial's Sharpe ratio is worth, in a sentence or two."""
        many, best = len(self.ranked), self.best
        sharpe, deflated = best.figure("sharpe"), self.deflated(best)
        if math.isnan(deflated):
            days = len(self.days)
            few = (
                f"The ticks are of {days} day{'s' if days != 1 else ''}: too few"
                if days < 3
                else "Its returns vary too little"
            )
            return f"{few} to say whether the best trial is more than luck."
        lucky = f"Without any skill, the best of {many:,} such trials would be expected to reach a Sharpe ratio of {self.luck:.2f}"
        if many == 1:
            lucky = "One trial alone was run"
        said = (
            f"{lucky}; this one has {sharpe:.2f}, which is beyond luck with a probability of {deflated * 100.0:.0f} %."
        )
        if deflated >= SURE:
            return said + " That is more than luck."
        return said + " That is not enough to tell it from luck."

    # -- tables ---------------------------------------------------------------------------------------------------

    @cached_property
    def trials(self) -> Frame:
        """A row a trial that was run, the best first: its settings, its figures, and `deflated_sharpe`."""
        ran = self.ranked
        columns: dict[str, NDArray[Any]] = {
            key: _column([trial.settings.get(key) for trial in ran]) for key in self.keys
        }
        columns |= {name: np.array([trial.figure(name) for trial in ran]) for name in _COLUMNS}
        columns["deflated_sharpe"] = np.array([self.deflated(trial) for trial in ran])
        return Frame(columns)

    def values(self, key: str) -> tuple[Any, ...]:
        """The values of a setting that trials were run with, in ascending order."""
        found = dict.fromkeys(trial.settings[key] for trial in self.ranked)
        return tuple(sorted(found, key=_order))

    def heat_map(self, x: str, y: str) -> HeatMap:
        """The objective over two of the settings. Raises `SpaceError` for one that was not varied."""
        for key in (x, y):
            if key not in self.keys:
                raise SpaceError(f"{key} was not varied (there are: {', '.join(self.keys)})")
        xs, ys = self.values(x), self.values(y)
        values = np.full((len(ys), len(xs)), np.nan)
        across, down = ({value: at for at, value in enumerate(each)} for each in (xs, ys))
        for trial in reversed(self.ranked):  # the best of a cell comes last
            values[down[trial.settings[y]], across[trial.settings[x]]] = trial.figure(self.objective.name)
        return HeatMap(x, y, xs, ys, values)

    def walk_forward(self, *, train: int, test: int, anchored: bool = False) -> WalkForward:
        """Choose on `train` days, see on the next `test`, and so on: see `folds`. Raises `SpaceError`."""
        if not self.ranked:
            raise SpaceError("no trial was run")
        return walk_forward(
            self.ranked, self.days, self.objective, self.periods, train=train, test=test, anchored=anchored
        )

    def to_dict(self, walk: WalkForward | None = None) -> dict[str, Any]:
        """One JSON-able object: what was run, every trial, and the verdict."""
        found = self.trials
        rows = [
            dict(zip(found, row, strict=True))
            for row in zip(*(column.tolist() for column in found.values()), strict=True)
        ]
        return {
            "facts": self.facts,
            "objective": self.objective.name,
            "periods": self.periods,
            "days": len(self.days),
            "ran": len(self.ranked),
            "refused": [{"settings": trial.settings, "why": trial.refused} for trial in self.refused],
            "sharpe_by_luck": self.luck,
            "best": rows[0] if rows else None,
            "verdict": self.verdict if rows else "",
            "trials": rows,
            "walk_forward": _walked(walk) if walk is not None else None,
        }

    # -- for people -----------------------------------------------------------------------------------------------

    def report(self, path: str | os.PathLike[str], walk: WalkForward | None = None) -> Path:
        """Write the report as one HTML file that needs nothing else; where it is. Raises `OSError`."""
        target = Path(path)
        target.write_text(page_of(self, walk), encoding="utf-8")
        return target

    def __repr__(self) -> str:
        if not self.ranked:
            return f"<sweep: none of {len(self.all):,} trials was run>"
        best = ", ".join(f"{key}={value}" for key, value in self.best.settings.items())
        worth = self.best.figure(self.objective.name)
        return f"<sweep of {len(self.ranked):,} trials: {self.objective.name} {worth:.4g} at {best}>\n{self.verdict}"


def _walked(walk: WalkForward) -> dict[str, Any]:
    return {
        "anchored": walk.anchored,
        "inside": walk.inside,
        "outside": walk.outside,
        "sharpe": walk.sharpe,
        "total_return": walk.total_return,
        "max_drawdown": walk.max_drawdown,
        "folds": [
            {
                "train_days": list(fold.train),
                "test_days": list(fold.test),
                "settings": fold.chosen.settings,
                "inside": fold.inside,
                "outside": fold.outside,
                "outside_return": fold.outside_return,
            }
            for fold in walk.folds
        ],
    }


def _column(values: list[Any]) -> NDArray[Any]:
    """Numbers as numbers, anything else as text."""
    if all(isinstance(value, int | float) for value in values):
        return np.array(values)
    return np.array(["" if value is None else str(value) for value in values], np.str_)


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)
