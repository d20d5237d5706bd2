"""Trials that Optuna chooses, by what became of earlier ones: its tree-structured Parzen estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Trials that are chosen at once: each of them knows nothing of the others yet.
_AT_ONCE: Final = 8


class _Span(Protocol):
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def step(self) -> float | None: ...
    @property
    def log(self) -> bool: ...
    @property
    def whole(self) -> bool: ...


class _Axis(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def values(self) -> Any: ...


class _Space(Protocol):
    @property
    def axes(self) -> Sequence[Any]: ...


class _Trial(Protocol):
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def refused(self) -> str: ...
    def figure(self, name: str, /) -> float: ...


class OptunaSearch:
    """`trials` trials of a space; with one process, the same seed asks for the same ones.

    `figure` is what is looked for, the lowest of it with `low`. A trial that was refused, or whose figure is not defined,
    teaches nothing. Raises `MissingExtra` without Optuna.
    """

    def __init__(self, space: _Space, trials: int, seed: int, *, low: bool, figure: str) -> None:
        try:
            import optuna
        except ImportError as error:
            raise MissingExtra("a search with Optuna", "sweep") from error
        self._optuna: Any = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study: Any = optuna.create_study(
            direction="minimize" if low else "maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        self._distributions = {axis.key: self._distribution(axis) for axis in space.axes}
        self._left = trials
        self._figure = figure
        self._open: list[tuple[dict[str, Any], Any]] = []

    def ask(self, count: int) -> list[dict[str, Any]]:
        """A few more, while there are any left."""
        found = []
        for _ in range(min(count, _AT_ONCE, self._left)):
            trial = self._study.ask(self._distributions)
            settings = {key: trial.params[key] for key in self._distributions}
            self._open.append((settings, trial))
            found.append(settings)
        self._left -= len(found)
        return found

    def tell(self, trials: Sequence[_Trial]) -> None:
        """Learn from what became of some."""
        for done in trials:
            place = next(at for at, (settings, _) in enumerate(self._open) if settings == done.settings)
            _, trial = self._open.pop(place)
            value = math.nan if done.refused else done.figure(self._figure)
            if math.isfinite(value):
                self._study.tell(trial, value)
            else:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def _distribution(self, axis: _Axis) -> Any:
        kinds = self._optuna.distributions
        if isinstance(axis.values, tuple):
            return kinds.CategoricalDistribution(axis.values)
        span: _Span = axis.values
        if span.whole:
            return kinds.IntDistribution(int(span.low), int(span.high), log=span.log, step=int(span.step or 1))
        return kinds.FloatDistribution(span.low, span.high, log=span.log, step=span.step)
