"""A recording of several shards, replayed: each by its own engine, what comes out in one order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from time import perf_counter
from typing import TYPE_CHECKING

from anystrat.backtest.replay import OnOutcomes, OnProgress, Replayed
from anystrat.domain.columns import TickColumns
from anystrat.engine.obeying import obeyed

if TYPE_CHECKING:
    from anystrat.domain.events import RecordedEvent
    from anystrat.domain.outcomes import Outcome
    from anystrat.engine.engine import Engine

_AT_ONCE = 4_096


def replay_shards(
    engines: Sequence[Engine],
    inputs: Sequence[Iterable[TickColumns | RecordedEvent]],
    *,
    on_outcomes: OnOutcomes | None = None,
    on_progress: OnProgress | None = None,
) -> Replayed:
    """Push each shard's inputs through its engine, tick by tick; `on_outcomes` gets what they lead to by the ticks' times.

    Each shard's inputs keep their order; of ticks of the same time, the first shard's come first. An event comes right
    after the tick before it. Memory does not grow with the number of ticks.
    """
    done = Replayed()
    waiting: list[Outcome] = []
    streams = [
        _steps(shard, engine, each, done) for shard, (engine, each) in enumerate(zip(engines, inputs, strict=True))
    ]
    for _, _, outcomes in merge(*streams, key=lambda step: step[:2]):
        waiting += outcomes
        if len(waiting) >= _AT_ONCE:
            _hand_over(waiting, on_outcomes)
            if on_progress is not None:
                on_progress(done.rows)
    _hand_over(waiting, on_outcomes)
    return done


def _steps(
    shard: int, engine: Engine, inputs: Iterable[TickColumns | RecordedEvent], done: Replayed
) -> Iterator[tuple[int, int, list[Outcome]]]:
    """(time, shard, outcomes) of each input; a time is never before that of the one before."""
    latest = 0
    for each in inputs:
        if isinstance(each, TickColumns):
            for row in each.rows():
                start = perf_counter()
                outcomes = engine.step(row)
                done.seconds += perf_counter() - start
                done.rows += 1
                latest = max(latest, row.ts_ns)
                yield latest, shard, outcomes
        else:
            yield latest, shard, obeyed(engine, each)


def _hand_over(waiting: list[Outcome], on_outcomes: OnOutcomes | None) -> None:
    if waiting and on_outcomes is not None:
        on_outcomes(waiting.copy())
    waiting.clear()
