"""Drives one engine: a few ticks one by one, a backlog over columns; what comes out is the same."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from anystrat.domain.outcomes import Outcome
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.obeying import obeyed

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.measuring import StepProbe
    from anystrat.domain.protocols import Compiler
    from anystrat.engine.engine import Engine

#: A block of fewer ticks is over sooner one by one.
WORTH_A_BLOCK: Final = 512


class EngineDriver:
    """Pushes inputs through an engine. Without a compiler everything goes tick by tick.

    `probe`, where there is one, looks at some of the ticks from then on that it is set.
    """

    def __init__(self, engine: Engine, compiler: Compiler | None = None) -> None:
        self.engine = engine
        self.probe: StepProbe | None = None
        self._blocks = BlockRunner(engine, compiler) if compiler is not None else None

    def ticks(self, block: TickColumns) -> list[Outcome]:
        """What a block of ticks leads to, in order. Of a large block without its fills, which nobody here asks for."""
        if self._blocks is not None and len(block) >= WORTH_A_BLOCK and not self.engine.judges_age:
            run = partial(self._blocks.run, block)
            result = run() if self.probe is None else self.probe.block(len(block), run)
            return list(outcomes_of(self.engine, result, reasons=True, fills=False))
        outcomes: list[Outcome] = []
        step = self.engine.step if self.probe is None else self.probe.step
        for row in block.rows():
            outcomes += step(row)
        return outcomes

    def event(self, event: RecordedEvent) -> list[Outcome]:
        """Everything that an event leads to."""
        return obeyed(self.engine, event)
