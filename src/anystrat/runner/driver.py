"""Drives one engine: a few ticks one by one, a backlog over columns; what comes out is the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from anystrat.domain.errors import AnystratError
from anystrat.domain.outcomes import Outcome
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.executor import StrategyExecutor
from anystrat.engine.obeying import obeyed

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.measuring import StepProbe
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine

T = TypeVar("T")

#: Where models are asked, a block of at least so many ticks goes over columns: one inference for all its rows.
WORTH_COLUMNS: Final = 512


class StrategyEnds(AnystratError):
    """A strategy raised what is no `Exception`, which nothing contains: it asked for the end of the program.

    The loop must not see such an exception: it would take it for a task that was cancelled, or end with it by itself.
    """


class EngineDriver:
    """Pushes inputs through an engine: a lone tick by itself, a backlog through compiled lanes or over columns.

    Without a compiler everything goes tick by tick. `probe`, where there is one, looks at some of the ticks from then on
    that it is set.
    """

    def __init__(self, engine: Engine, compiler: Compiler | None = None) -> None:
        self.engine = engine
        self.probe: StepProbe | None = None
        self._compiled = compiler is not None
        batched = compiler is not None and any(executor.kind != "rules" for executor in engine.executors)
        self._columns = BlockRunner(engine, compiler) if batched else None

    def ticks(self, block: TickColumns) -> list[Outcome]:
        """What a block of ticks leads to, in order; of several ticks without their fills, which nobody here asks for.

        Raises `StrategyEnds`.
        """
        try:
            return self._ticks(block)
        except Exception:
            raise
        except BaseException as error:
            raise StrategyEnds(_said_by(error)) from error

    def event(self, event: RecordedEvent) -> list[Outcome]:
        """Everything that an event leads to. Raises `StrategyEnds`."""
        try:
            return obeyed(self.engine, event)
        except Exception:
            raise
        except BaseException as error:
            raise StrategyEnds(_said_by(error)) from error

    def _ticks(self, block: TickColumns) -> list[Outcome]:
        engine, size = self.engine, len(block)
        if not self._compiled or size == 1:
            outcomes: list[Outcome] = []
            step = engine.step if self.probe is None else self.probe.step
            for row in block.rows():
                outcomes += step(row)
            return outcomes
        if self._columns is not None and size >= WORTH_COLUMNS and not engine.judges_age:
            result = self._looked_at(size, partial(self._columns.run, block))
            return list(outcomes_of(engine, result, reasons=True, fills=False))
        return self._looked_at(size, partial(engine.step_block, block, fills=False)).outcomes(fills=False)

    def _looked_at(self, ticks: int, run: Callable[[], T]) -> T:
        return run() if self.probe is None else self.probe.block(ticks, run)


def _said_by(error: BaseException) -> str:
    """Which strategy raised what, where that is known."""
    frames, who = error.__traceback__, "a strategy"
    while frames is not None:
        executor = frames.tb_frame.f_locals.get("executor")
        if isinstance(executor, StrategyExecutor):
            who = f"strategy {executor.strategy_id!r}"
        frames = frames.tb_next
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{who} ended the program ({said}), and would again on the same tick; mend or disable it"
