"""`explain`: the ticks of a recording that somebody asks about, each explained as it is met."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.analysis.explaining.tick import Explainer, NothingToExplain
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import nearest_name
from anystrat.domain.outcomes import Dropped, Outcome, Transition
from anystrat.engine.obeying import obeyed
from anystrat.engine.snapshot import restore, snapshot

if TYPE_CHECKING:
    from anystrat.analysis.explaining.explanation import Explanation
    from anystrat.domain.inputs import Input
    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor

#: More explanations than this are not made unless they are asked for.
MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Moments:
    """Which ticks are meant. Times are UTC nanoseconds, both ends included.

    `at_ns`: of each instrument the last tick at or before that time. `last`: the last so many of those that the rest
    selects. `drops`: only ticks on which a signal was dropped for this reason.
    """

    at_ns: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    last: int | None = None
    drops: str | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanations in the order of the ticks, and how many ticks were meant: perhaps more than were explained."""

    explanations: tuple[Explanation, ...]
    meant: int


def explain(
    engine: Engine,
    inputs: Iterable[Input],
    moments: Moments,
    *,
    strategy: str,
    instrument: int | None = None,
    broker: str | None = None,
    most: int = MOST,
) -> Explained:
    """Run `engine` over a recording and explain the ticks that `moments` mean, for one strategy.

    `inputs` are blocks of ticks, and events between them where there were any: a `TickReader`, a list, whatever can be
    iterated twice. The engine stands where the recording begins, and stands there again afterwards. Where a strategy has
    several brokers and none is named, its first is meant. Of more than `most` ticks the last are explained.

    Raises `NothingToExplain` for a strategy, a broker or an instrument that is not there.
    """
    chosen = executors_of(engine, strategy, instrument, broker)
    tokens = {token for one in chosen for token in one.tokens} if instrument is None else {instrument}
    start = snapshot(engine)
    try:
        numbers = _numbers(engine, inputs, moments, chosen, tokens)
        restore(engine, start)
        meant = len(numbers)
        wanted = frozenset(numbers[-most:])
        return Explained(tuple(_explained(engine, inputs, wanted, chosen)), meant)
    finally:
        restore(engine, start)


def executors_of(
    engine: Engine, strategy: str, instrument: int | None = None, broker: str | None = None
) -> list[StrategyExecutor]:
    """The executors of a strategy on one broker. Raises `NothingToExplain`, which says what there is."""
    named = [one for one in engine.executors if one.strategy_id == strategy]
    if not named:
        ids = list(dict.fromkeys(one.strategy_id for one in engine.executors))
        raise NothingToExplain(_absent("strategy", strategy, ids))
    brokers = list(dict.fromkeys(one.broker for one in named))
    if broker is not None and broker not in brokers:
        raise NothingToExplain(f"{_absent('broker', broker, brokers)} for strategy {strategy!r}")
    there = [one for one in named if one.broker == (broker or brokers[0])]
    chosen = [one for one in there if instrument is None or instrument in one.slots]
    if not chosen:
        watched = ", ".join(str(token) for one in there for token in one.tokens)
        raise NothingToExplain(f"strategy {strategy!r} does not watch instrument {instrument} (it watches {watched})")
    return chosen


@dataclass(slots=True)
class Moves:
    """The last transition of each executor, by its place, from the outcomes that it is shown."""

    engine: Engine
    last: dict[int, Transition] = field(default_factory=dict)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Remember the transitions among these."""
        for outcome in outcomes:
            if isinstance(outcome, Transition):
                whose = outcome.strategy_id, outcome.broker
                self.last |= {
                    place: outcome
                    for place, one in enumerate(self.engine.executors)
                    if (one.strategy_id, one.broker) == whose
                    and (outcome.instrument_token is None or outcome.instrument_token in one.slots)
                }


def _absent(what: str, name: str, there: Sequence[str]) -> str:
    nearest = nearest_name(name, there)
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    return f"there is no {what} {name!r}{hint} (there are: {', '.join(there) or 'none'})"


def _numbers(
    engine: Engine, inputs: Iterable[Input], moments: Moments, chosen: list[StrategyExecutor], tokens: set[int]
) -> list[int]:
    """The numbers, within the recording, of the ticks that are meant."""
    if moments.drops is not None:
        reason = moments.drops
        found = _dropped(engine, inputs, moments, chosen, reason)
    else:
        found = _watched(inputs, moments, tokens)
    if moments.at_ns is not None:
        latest = {token: number for number, token in found}
        return sorted(latest.values())
    if moments.last is not None:
        return [number for number, _ in deque(found, maxlen=moments.last)]
    return [number for number, _ in found]


def _watched(inputs: Iterable[Input], moments: Moments, tokens: set[int]) -> Iterator[tuple[int, int]]:
    """(number, token) of the ticks of these instruments within the time that is meant."""
    first = 0
    wanted = np.array(sorted(tokens), np.int64)
    low, high = _bounds(moments)
    for block in inputs:
        if not isinstance(block, TickColumns):
            continue
        mask = np.isin(block.instrument_token, wanted) & (block.ts_ns >= low) & (block.ts_ns <= high)
        for place in np.flatnonzero(mask).tolist():
            yield first + place, int(block.instrument_token[place])
        first += len(block)


def _dropped(
    engine: Engine, inputs: Iterable[Input], moments: Moments, chosen: list[StrategyExecutor], reason: str
) -> Iterator[tuple[int, int]]:
    """(number, token) of the ticks on which a signal of these executors was dropped for this reason."""
    low, high = _bounds(moments)
    keys = {(one.strategy_id, one.broker) for one in chosen}
    watched = {token for one in chosen for token in one.tokens}
    number = -1
    for each in inputs:
        if not isinstance(each, TickColumns):
            obeyed(engine, each)
            continue
        for row in each.rows():
            number += 1
            outcomes = engine.step(row)
            if low <= row.ts_ns <= high and row.instrument_token in watched:
                for outcome in outcomes:
                    if (
                        isinstance(outcome, Dropped)
                        and outcome.reason == reason
                        and (outcome.strategy_id, outcome.broker) in keys
                    ):
                        yield number, row.instrument_token


def _bounds(moments: Moments) -> tuple[int, int]:
    low = -(2**63) if moments.from_ns is None else moments.from_ns
    high = 2**63 - 1 if moments.to_ns is None else moments.to_ns
    return low, high if moments.at_ns is None else min(high, moments.at_ns)


def _explained(
    engine: Engine, inputs: Iterable[Input], wanted: frozenset[int], chosen: list[StrategyExecutor]
) -> Iterator[Explanation]:
    moves = Moves(engine)
    explainer = Explainer(engine, moves=moves.last)
    left, number = len(wanted), -1
    for each in inputs:
        if not left:
            return
        if not isinstance(each, TickColumns):
            moves.take(obeyed(engine, each))
            continue
        for row in each.rows():
            number += 1
            if number in wanted:
                for executor in chosen:
                    if row.instrument_token in executor.slots:
                        yield explainer.explain(row, executor)
                left -= 1
                if not left:
                    return
            moves.take(engine.step(row))
