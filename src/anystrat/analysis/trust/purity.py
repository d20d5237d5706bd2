"""Purity: the same ticks give the same outcomes, however they are cut, restarted, or run beside others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.analysis.parity import Difference, first_difference, rows_of
from anystrat.analysis.trust.verdict import Verdict, failed, not_applicable, passed
from anystrat.backtest.replay import Speed, replay
from anystrat.domain.errors import SnapshotRefused
from anystrat.domain.outcomes import Dropped, Emitted, Outcome
from anystrat.engine.snapshot import restore, snapshot

if TYPE_CHECKING:
    from anystrat.analysis.trust.case import Case
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.configuration import StrategyConfig
    from anystrat.engine.engine import Engine

CHECK: Final = "purity"
#: Ticks that each way is run over; a restart lies within them.
TICKS: Final = 100_000
_BLOCKS: Final = (97, 4_096)
_KEEP_NOTHING = "keep nothing between calls, in the strategy or beside it: compute from the history that is handed in"


@dataclass(frozen=True, slots=True)
class Way:
    """One more way to run the same ticks, which must come to the same."""

    name: str
    run: Callable[[], list[Outcome]]
    advice: str


def purity(case: Case, row: StrategyConfig) -> Verdict:
    """Run a strategy again, over columns with several block borders, with restarts, and beside a second of its kind."""
    ticks = list(_first(case.ticks, TICKS))
    engine = case.engine(row)
    expected = _scalar(engine, ticks)
    asked = sum(one.counters()["evaluations"] for one in engine.executors)
    if not asked:
        return not_applicable(
            CHECK, row.strategy_id, f"it was never asked: the {case.unit} end before its window is full"
        )
    for way in _ways(case, row, ticks):
        try:
            found = way.run()
        except SnapshotRefused as error:
            return failed(CHECK, row.strategy_id, f"{way.name}: {error}", 1.0, 0.0, way.advice)
        difference = first_difference(_judged(expected), _judged(found))
        if difference is not None:
            return failed(CHECK, row.strategy_id, f"{way.name}: {_told(difference)}", 1.0, 0.0, way.advice)
    many = sum(isinstance(each, Emitted | Dropped) for each in expected)
    text = f"{len(list(_ways(case, row, ticks)))} ways of running {_count(ticks):,} {case.unit} give the same {many:,} signals and drops"
    return passed(CHECK, row.strategy_id, text, 0.0, 0.0)


def _ways(case: Case, row: StrategyConfig, ticks: Sequence[TickColumns]) -> Iterator[Way]:
    clock = "decide from the history alone: no clock, no randomness but from set_seed, no file that changes"
    yield Way("a second run", lambda: _scalar(case.engine(row), ticks), clock)
    rng = np.random.Generator(np.random.PCG64([case.seed, 7]))
    total = _count(ticks)
    for cut in sorted(rng.integers(1, max(2, total), 2).tolist()):
        after = f"a restart after {cut:,} {case.unit}"
        yield Way(after, lambda cut=cut: _restarted(case, row, ticks, cut), _KEEP_NOTHING)  # type: ignore[misc]
    yield Way("beside a second instance of it", lambda: _beside(case, row, ticks), _KEEP_NOTHING)
    columns = "process_columns and fired must decide each tick as process_tick does, whatever else is in the block"
    for size in _BLOCKS:
        yield Way(
            f"over columns, {size:,} {case.unit} a block",
            lambda size=size: _columns(case, row, _cut(ticks, size)),  # type: ignore[misc]
            columns,
        )


def _scalar(engine: Engine, ticks: Iterable[TickColumns]) -> list[Outcome]:
    found: list[Outcome] = []
    replay(engine, ticks, on_outcomes=found.extend)
    return found


def _columns(case: Case, row: StrategyConfig, ticks: Iterable[TickColumns]) -> list[Outcome]:
    found: list[Outcome] = []
    replay(
        case.engine(row), ticks, on_outcomes=found.extend, speed=Speed.COLUMNS, compiler=case.compiler, reasons=False
    )
    return found


def _restarted(case: Case, row: StrategyConfig, ticks: Sequence[TickColumns], cut: int) -> list[Outcome]:
    first, second = case.engine(row), case.engine(row)
    found: list[Outcome] = []
    engine, number = first, 0
    for block in ticks:
        for tick in block.rows():
            if number == cut:
                restore(second, snapshot(first))
                engine = second
            found += engine.step(tick)
            number += 1
    return found


def _beside(case: Case, row: StrategyConfig, ticks: Sequence[TickColumns]) -> list[Outcome]:
    """One engine on the ticks as they are, another on dearer ones of the same times, in turns."""
    one, other = case.engine(row), case.engine(row)
    found: list[Outcome] = []
    for block in ticks:
        for mine, theirs in zip(block.rows(), block.rows(), strict=True):
            theirs.price, theirs.exact = theirs.price * 1.5, None
            other.step(theirs)
            found += one.step(mine)
    return found


def _judged(outcomes: Iterable[Outcome]) -> Iterator[dict[str, object]]:
    return rows_of(outcomes, Emitted, Dropped)


def _told(difference: Difference) -> str:
    return (
        difference.text.replace("on the left", "in a plain run")
        .replace("on the right", "in this one")
        .replace("the left", "a plain run")
        .replace("the right", "this one")
    )


def _count(ticks: Iterable[TickColumns]) -> int:
    return sum(len(block) for block in ticks)


def _first(ticks: Iterable[TickColumns], most: int) -> Iterator[TickColumns]:
    left = most
    for block in ticks:
        if left <= 0:
            return
        yield block if len(block) <= left else block.taken(np.arange(left))
        left -= len(block)


def _cut(ticks: Iterable[TickColumns], size: int) -> Iterator[TickColumns]:
    for block in ticks:
        for start in range(0, len(block), size):
            yield block.taken(np.arange(start, min(start + size, len(block))))
