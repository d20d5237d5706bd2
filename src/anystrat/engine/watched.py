"""Decisions with somebody looking on: who was asked, how long it took, what came of it. What is decided is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from anystrat.engine.decision import Decisions

if TYPE_CHECKING:
    from decimal import Decimal

    from anystrat.domain.outcomes import Outcome
    from anystrat.domain.signal import SignalResult
    from anystrat.engine.account import AccountGuard
    from anystrat.engine.decision import Moment
    from anystrat.engine.executor import StrategyExecutor
    from anystrat.engine.state import State
    from anystrat.engine.supervision import Supervision


class Evaluation(NamedTuple):
    """One executor on one tick: asked at `began`, its answer there at `answered`, sized, checked and done by `ended`.

    Times are those of the clock that was handed in. `outcomes` are empty where there was no signal.
    """

    executor: StrategyExecutor
    began: int
    answered: int
    ended: int
    outcomes: tuple[Outcome, ...]


class WatchedDecisions(Decisions):
    """`evaluations` are those since it was made, in order. `clock` is read, and decides nothing."""

    def __init__(
        self, state: State, supervision: Supervision, account: AccountGuard | None, clock: Callable[[], int]
    ) -> None:
        super().__init__(state, supervision, account)
        self.evaluations: list[Evaluation] = []
        self._clock = clock
        self._answered = 0

    def evaluate(self, executor: StrategyExecutor, s: int, moment: Moment, out: list[Outcome]) -> None:
        """As `Decisions.evaluate`."""
        first = len(out)
        began = self._clock()
        super().evaluate(executor, s, moment, out)
        ended = self._clock()
        self.evaluations.append(Evaluation(executor, began, self._answered, ended, tuple(out[first:])))

    def _ask(
        self, executor: StrategyExecutor, moment: Moment
    ) -> tuple[SignalResult | None, int, float, int, Decimal, float]:
        try:
            return super()._ask(executor, moment)
        finally:
            self._answered = self._clock()
