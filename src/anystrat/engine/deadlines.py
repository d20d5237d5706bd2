"""Inference deadlines: live, a port of the driver's says what was late; in a replay, what was recorded does.

The engine itself has no clock. A miss is noted among the outcomes, recorded as `InferenceMissed`, and given back to a
replay before the tick that it happened on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from anystrat.domain.events import INFERENCE_MISSED, InferenceMissed
from anystrat.domain.outcomes import Noted, Outcome
from anystrat.engine.to_come import ToCome

if TYPE_CHECKING:
    from anystrat.domain.protocols import InferencePort
    from anystrat.domain.tick import TickRow
    from anystrat.engine.executor import StrategyExecutor


class Deadlines:
    """What is known of late inferences: whether they are measured now, and which ones are to come in a replay."""

    def __init__(self) -> None:
        self._live: InferencePort | None = None
        self._to_come = ToCome()

    def measure(self, inference: InferencePort | None, executors: Iterable[StrategyExecutor]) -> None:
        """Ask models through this port from now on; None: nothing is measured."""
        self._live = inference
        for executor in executors:
            self.prepare(executor)

    def prepare(self, executor: StrategyExecutor) -> None:
        """Hand the port to an executor that has a deadline."""
        if executor.deadline is not None:
            executor.deadline.use_inference(self._live)

    def expect(self, event: InferenceMissed) -> None:
        """A replay is told of a miss, before the tick that it happened on."""
        self._to_come.tell(event.strategy_id, event.broker, event.instrument_token, event.tick)

    def tick_by_tick(self, executor: StrategyExecutor) -> bool:
        """Whether single ticks of this executor may have to do without their model, so that columns cannot say."""
        if executor.deadline is None:
            return False
        return self._live is not None or self._to_come.any_of(executor)

    def before(self, executor: StrategyExecutor, token: int, tick: int) -> None:
        """An executor with a deadline is about to be asked about the instrument's `tick`-th tick."""
        if self._to_come.take(executor, token, tick) is not None:
            assert executor.deadline is not None
            executor.deadline.miss_next()

    def after(self, executor: StrategyExecutor, row: TickRow, tick: int, out: list[Outcome]) -> None:
        """It was asked: note it where it had to do without its model."""
        deadline = executor.deadline
        if deadline is None or not deadline.missed:
            return
        details = {
            "broker": executor.broker,
            "instrument": row.instrument_token,
            "tick": tick,
            "deadline_ns": deadline.inference_deadline_ns,
        }
        out.append(Noted(INFERENCE_MISSED, row.ts_ns, executor.strategy_id, details))

    def dump(self) -> list[tuple[str, str, int, int]]:
        """What a replay was told and has not come to yet, for a snapshot."""
        return [entry[:4] for entry in self._to_come.dump()]

    def load(self, dumped: Iterable[tuple[str, str, int, int]]) -> None:
        """Take over what `dump` gave."""
        self._to_come.load((*entry, "") for entry in dumped)
