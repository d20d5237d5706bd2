"""Replay: a recording through the engine, in bounded memory, with the engine's own time measured apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from anystrat.domain.columns import TickColumns
from anystrat.domain.outcomes import Dropped, Emitted, Outcome
from anystrat.engine.columns.evaluation import can_batch
from anystrat.engine.columns.outcomes import notes_of, outcomes_of, signals_of
from anystrat.engine.columns.runner import BlockResult, BlockRunner
from anystrat.engine.obeying import obeyed

if TYPE_CHECKING:
    from anystrat.backtest.recorder import Recorder
    from anystrat.domain.columns import SignalColumns
    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine

T = TypeVar("T")
OnOutcomes = Callable[[Sequence[Outcome]], None]
OnSignals = Callable[["SignalColumns"], None]
OnProgress = Callable[[int], None]

#: Fewer rows than this are over before a compiler would be loaded.
WORTH_COMPILING: Final = 100_000
#: Until then columns are evaluated as they stand, so many rows at a time: what is in work when a replay is interrupted.
_ROWS_AS_THEY_STAND: Final = 4_096


class Speed(StrEnum):
    """How ticks are evaluated; what comes out is the same."""

    AUTO = "auto"
    SCALAR = "scalar"
    COLUMNS = "columns"


@dataclass(slots=True)
class Replayed:
    """What a replay took in, how long the engine alone needed for it, and how many rows went over columns.

    `seconds` are without reading, without writing, and without what a compiler with `seconds_compiling` (as that of the
    extra `fast`) spent on making or loading machine code: what is left is the same with a cold cache of kernels as with a warm one.
    """

    rows: int = 0
    seconds: float = 0.0
    column_rows: int = 0


@dataclass(slots=True)
class _Drive:
    engine: Engine
    on_outcomes: OnOutcomes | None
    on_signals: OnSignals | None
    reasons: bool
    recorder: Recorder | None
    done: Replayed
    speed: Speed
    compiler: Compiler | None = None
    _runner: BlockRunner | None = None
    #: Whether every strategy can go over columns, once that was asked.
    _batchable: bool | None = None

    def use_compiler(self, compiler: Compiler | None) -> None:
        self.compiler = compiler
        self._runner = None
        self.engine.use_compiler(compiler)
        if self.recorder is not None:
            self.recorder.use_compiler(compiler)

    @property
    def seconds_compiling(self) -> float:
        return float(getattr(self.compiler, "seconds_compiling", 0.0))

    def take(self, block: TickColumns) -> None:
        """A block, in the quickest of the ways, which all lead to the same: lanes, columns, or tick by tick."""
        asked_for = self.speed is Speed.COLUMNS or self.compiler is not None
        if not asked_for and not self._columns_pay_as_they_stand():
            self.one_by_one(block)
        elif self.recorder is None and self.engine.in_lanes(block):
            # A recorder reads what the columns were laid out to.
            self._through_lanes(block)
        elif asked_for or len(block) <= _ROWS_AS_THEY_STAND:
            self._over_columns(block)
        else:
            for start in range(0, len(block), _ROWS_AS_THEY_STAND):
                end = min(start + _ROWS_AS_THEY_STAND, len(block))
                self._over_columns(block.taken(np.arange(start, end)))

    def _columns_pay_as_they_stand(self) -> bool:
        """Whether columns without a compiler are quicker than ticks: where every strategy can, and none has to say why."""
        if self.speed is Speed.SCALAR or (self.reasons and self.on_outcomes is not None):
            return False
        if self._batchable is None:
            self._batchable = all(map(can_batch, self.engine.executors))
        return self._batchable

    def one_by_one(self, block: TickColumns) -> None:
        found: list[tuple[int, list[Outcome]]] = []
        step = self.engine.step
        start = perf_counter()
        try:
            for k, row in enumerate(block.rows()):
                outcomes = step(row)
                if outcomes:
                    found.append((k, outcomes))
        finally:
            # Whatever ends a block early, what was decided before it is not lost.
            self.done.seconds += perf_counter() - start
            if self.on_outcomes is not None and found:
                self.on_outcomes([outcome for _, outcomes in found for outcome in outcomes])
        if self.recorder is not None:
            self.recorder.stepped(block, found)

    def event(self, event: RecordedEvent) -> None:
        outcomes = obeyed(self.engine, event)
        self._batchable = None  # another model may serve now
        if self.on_outcomes is not None and outcomes:
            self.on_outcomes(outcomes)

    def _through_lanes(self, block: TickColumns) -> None:
        everything = self.on_outcomes is not None and (self.on_signals is None or self.reasons)
        taken = self._timed(lambda: self.engine.step_block(block, fills=everything))
        self.done.column_rows += len(block)
        if self.on_outcomes is None:
            return
        if everything or self.on_signals is None:
            self.on_outcomes(taken.outcomes())
            return
        columns = taken.columns()
        if len(columns.ts_ns):
            self.on_signals(columns)
        notes = taken.notes()
        if notes:
            self.on_outcomes(notes)

    def _over_columns(self, block: TickColumns) -> None:
        if self._runner is None:
            self._runner = BlockRunner(self.engine, self.compiler)
        runner = self._runner
        result = self._timed(lambda: runner.run(block))
        self.done.column_rows += len(block)
        if self.recorder is not None:
            self.recorder.columns(result)
        if self.on_outcomes is None:
            return
        if self.on_signals is None or self.reasons or _signals_one_by_one(result):
            self.on_outcomes(list(outcomes_of(self.engine, result, reasons=self.reasons)))
            return
        if len(result.order):
            self.on_signals(signals_of(self.engine, result))
        notes = list(notes_of(self.engine, result))
        if notes:
            self.on_outcomes(notes)

    def _timed(self, run: Callable[[], T]) -> T:
        start, compiling = perf_counter(), self.seconds_compiling
        result = run()
        self.done.seconds += perf_counter() - start - (self.seconds_compiling - compiling)
        return result


def replay(
    engine: Engine,
    inputs: Iterable[TickColumns | RecordedEvent],
    *,
    on_outcomes: OnOutcomes | None = None,
    on_signals: OnSignals | None = None,
    on_progress: OnProgress | None = None,
    speed: Speed = Speed.SCALAR,
    compiler: Callable[[], Compiler | None] | None = None,
    expected_rows: int | None = None,
    reasons: bool = True,
    recorder: Recorder | None = None,
) -> Replayed:
    """Push every tick and every event through `engine`, in order. Plain tick files have ticks alone, in blocks.

    `on_outcomes` gets the outcomes in order, a block's at a time; what it raises ends the replay. With `on_signals`,
    a block that was evaluated as columns hands its signals and drops there, as columns, and `on_outcomes` gets the
    rest of what a person may want to know (fills are counted in the engine, and not made objects). `on_progress` gets
    the number of rows so far after each block. Memory does not grow with the number of ticks.

    With `Speed.AUTO`, columns are compiled once the rows (those seen, or `expected_rows`) are worth a compiler, where
    `compiler()` gives one. Before that they are evaluated as they stand, 4,096 rows at a time, or tick by tick where a
    strategy cannot be or `reasons` are wanted. `reasons` says whether signals must say why at column speed, as they always do one by one.
    A `recorder` reads every block once it is done; its own time is not the engine's.
    """
    done = Replayed()
    drive = _Drive(engine, on_outcomes, on_signals, reasons, recorder, done, speed)
    undecided = speed is Speed.AUTO and compiler is not None
    if speed is Speed.COLUMNS and compiler is not None:
        drive.use_compiler(compiler())
    for block in inputs:
        if not isinstance(block, TickColumns):
            drive.event(block)
            continue
        if undecided and max(done.rows, expected_rows or 0) >= WORTH_COMPILING:
            undecided = False
            drive.use_compiler(compiler() if compiler is not None else None)
        drive.take(block)
        done.rows += len(block)
        if on_progress is not None:
            on_progress(done.rows)
    return done


def _signals_one_by_one(result: BlockResult) -> bool:
    return any(isinstance(outcome, Emitted | Dropped) for _, outcomes in result.scalar for outcome in outcomes)
