"""A whole recording for one strategy: what its ticks came to, which settings refused, how close the silent ticks were."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.analysis.explaining.because import no_signal
from anystrat.analysis.explaining.explanation import Ending
from anystrat.analysis.explaining.moments import executors_of
from anystrat.analysis.explaining.voices import hear, model_conditions, policy_of
from anystrat.domain.columns import TickColumns
from anystrat.domain.lifecycle import State
from anystrat.domain.measurement import Condition, Measuring
from anystrat.domain.outcomes import Dropped, Emitted, Held, Outcome, ProcessorFailed, TickDropped
from anystrat.engine.obeying import obeyed
from anystrat.engine.snapshot import restore, snapshot
from anystrat.strategies.hybrid import HybridProcessor
from anystrat.strategies.ml import MLStrategy

if TYPE_CHECKING:
    from anystrat.domain.inputs import Input
    from anystrat.domain.tick import TickRow
    from anystrat.domain.window import Window
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

#: How many of the ticks that came nearest to a signal are kept.
NEAREST: Final = 3


class Miss(msgspec.Struct, frozen=True):
    """A tick without a signal: how far the nearest side was from firing, relative to its limit, and in words."""

    ts_ns: int
    instrument_token: int
    gap: float
    because: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy made of a recording. `endings` counts its ticks by what they came to, `drops` by reason."""

    strategy_id: str
    broker: str
    strategy_type: str
    kind: str
    instruments: tuple[int, ...]
    ticks: int
    endings: dict[str, int]
    drops: dict[str, int]
    tick_drops: dict[str, int]
    nearest: tuple[Miss, ...]
    errors: tuple[str, ...]


def overview(
    engine: Engine,
    inputs: Iterable[Input],
    *,
    strategy: str,
    instrument: int | None = None,
    broker: str | None = None,
) -> Overview:
    """Run `engine` over a recording and count what the ticks of one strategy came to.

    As in `explain`: the engine stands at the recording's beginning before and after; raises `NothingToExplain`.
    """
    chosen = executors_of(engine, strategy, instrument, broker)
    tokens = {token for one in chosen for token in one.tokens} if instrument is None else {instrument}
    start = snapshot(engine)
    tally = _Tally(engine, {token: one for one in chosen for token in one.tokens if token in tokens})
    try:
        for each in inputs:
            if not isinstance(each, TickColumns):
                obeyed(engine, each)
                continue
            for row in each.rows():
                tally.take(row)
    finally:
        restore(engine, start)
    first = chosen[0]
    return Overview(
        strategy_id=first.strategy_id,
        broker=first.broker,
        strategy_type=first.config.strategy_type,
        kind=first.kind,
        instruments=tuple(sorted(tokens)),
        ticks=tally.endings.total(),
        endings={ending.value: tally.endings[ending] for ending in Ending if tally.endings[ending]},
        drops=dict(tally.drops.most_common()),
        tick_drops=dict(tally.tick_drops.most_common()),
        nearest=tuple(miss for _, _, miss in sorted(tally.nearest, key=lambda entry: (-entry[0], entry[1]))),
        errors=tuple(tally.errors),
    )


@dataclass(slots=True)
class _Tally:
    engine: Engine
    watching: dict[int, StrategyExecutor]
    endings: Counter[Ending] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    tick_drops: Counter[str] = field(default_factory=Counter)
    errors: dict[str, None] = field(default_factory=dict)
    #: The nearest misses as a heap with the farthest on top: (-gap, number, miss).
    nearest: list[tuple[float, int, Miss]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)

    def take(self, row: TickRow) -> None:
        executor = self.watching.get(row.instrument_token)
        if executor is None:
            self.engine.step(row)
            return
        evaluations = self.engine.state.book.executor.evaluations
        before = evaluations[executor.row]
        outcomes = self.engine.step(row)
        asked = self.engine.state.book.executor.evaluations[executor.row] != before
        ending = self._ending(outcomes, executor, asked=asked)
        self.endings[ending] += 1
        if ending is Ending.NO_SIGNAL:
            self._measure(row, executor)

    def _ending(self, outcomes: Sequence[Outcome], executor: StrategyExecutor, *, asked: bool) -> Ending:
        key = executor.strategy_id, executor.broker
        for outcome in outcomes:
            if isinstance(outcome, TickDropped):
                self.tick_drops[outcome.reason.value] += 1
                return Ending.TICK_DROPPED
            if isinstance(outcome, Emitted):
                if (outcome.signal.strategy_id, outcome.signal.broker) == key:
                    return Ending.EMITTED
            elif isinstance(outcome, Dropped | Held | ProcessorFailed):
                if (outcome.strategy_id, outcome.broker) != key:
                    continue
                if isinstance(outcome, Dropped):
                    self.drops[str(outcome.reason)] += 1
                    return Ending.DROPPED
                if isinstance(outcome, ProcessorFailed):
                    self.errors[outcome.error] = None
                    return Ending.FAILED
                return Ending.HELD
        if asked:
            return Ending.NO_SIGNAL
        if executor.bars is not None and executor.state is State.ACTIVE:
            return Ending.BETWEEN_BARS
        return Ending.WARMING_UP if executor.state in (State.WARMUP, State.ACTIVE) else Ending.NOT_ACTIVE

    def _measure(self, row: TickRow, executor: StrategyExecutor) -> None:
        if executor.bars is not None:
            row = self._window(row, executor).row(0)  # the bar is what was decided on
        conditions = self._conditions(row, executor)
        gap = gap_of(conditions)
        if gap is None or (len(self.nearest) == NEAREST and gap >= -self.nearest[0][0]):
            return
        miss = Miss(row.ts_ns, row.instrument_token, gap, self._because(row, executor))
        entry = (-gap, next(self._order), miss)
        if len(self.nearest) < NEAREST:
            heapq.heappush(self.nearest, entry)
        else:
            heapq.heapreplace(self.nearest, entry)

    def _conditions(self, row: TickRow, executor: StrategyExecutor) -> Sequence[Condition]:
        """What the rule compares, or the model; of a hybrid what the rules compare on the side that its model is on."""
        processor = executor.processor
        window = self._window(row, executor)
        parts = (processor.rules, processor.ml) if isinstance(processor, HybridProcessor) else (processor,)
        compared: list[Condition] = []
        for voice in reversed(parts):
            if isinstance(voice, MLStrategy):
                # The tick's features and probabilities are in the window's memo: nothing is computed twice.
                history = window.history(voice.get_required_history_length())
                try:
                    compared += model_conditions(voice.reading(row.market_tick(), history), voice.parameters.min_conf)
                except Exception:  # noqa: BLE001  a model that raises is counted, and near to nothing
                    return ()
                finally:
                    window.expire()
            elif isinstance(voice, Measuring):
                sides = {each.leads_to for each in compared}
                measured = voice.measure(window.view, window.end).conditions
                compared += [each for each in measured if not sides or each.leads_to in sides]
        return compared

    def _window(self, row: TickRow, executor: StrategyExecutor) -> Window:
        place = self.engine.state.book.slot.instrument[executor.slots[row.instrument_token]]
        return self.engine.bars.window_of(executor, place)

    def _because(self, row: TickRow, executor: StrategyExecutor) -> str:
        window = self._window(row, executor)
        history = window.history(executor.need)
        try:
            heard = hear(executor.processor, policy_of(executor), row.market_tick(), history)
        finally:
            window.expire()
        return no_signal(heard.votes, heard.verdict)


def gap_of(conditions: Sequence[Condition]) -> float | None:
    """How far the nearest side was from being met, relative to its limits (those that are not 0); None where nothing was compared."""
    sides: dict[str, float] = {}
    for each in conditions:
        missed = 0.0 if each.met else abs(each.limit - each.value) / (abs(each.limit) or 1.0)
        sides[each.leads_to] = max(sides.get(each.leads_to, 0.0), math.inf if math.isnan(missed) else missed)
    return min((gap for gap in sides.values() if gap < math.inf), default=None)
