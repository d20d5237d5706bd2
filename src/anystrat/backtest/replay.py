"""Replay: a recording through the engine, in bounded memory, with the engine's own time measured apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from anystrat.domain.outcomes import Outcome

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.engine.engine import Engine

OnOutcomes = Callable[[Sequence[Outcome]], None]
OnProgress = Callable[[int], None]


@dataclass(slots=True)
class Replayed:
    """What a replay took in, and how long the engine alone needed for it."""

    rows: int = 0
    seconds: float = 0.0


def replay(
    engine: Engine,
    blocks: Iterable[TickColumns],
    *,
    on_outcomes: OnOutcomes | None = None,
    on_progress: OnProgress | None = None,
) -> Replayed:
    """Push every tick of `blocks` through `engine`, in order.

    `on_outcomes` gets the outcomes in order, a block's at a time; what it raises ends the replay. `on_progress` gets the
    number of rows so far after each block. Memory does not grow with the number of ticks.
    """
    done = Replayed()
    step = engine.step
    for block in blocks:
        outcomes: list[Outcome] = []
        start = perf_counter()
        for row in block.rows():
            outcomes += step(row)
        done.seconds += perf_counter() - start
        done.rows += len(block)
        if on_outcomes is not None and outcomes:
            on_outcomes(outcomes)
        if on_progress is not None:
            on_progress(done.rows)
    return done
