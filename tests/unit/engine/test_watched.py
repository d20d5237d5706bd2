"""An engine that is watched decides what it decides unwatched, and says when it did."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from anystrat import MarketTick, SignalResult, StrategyRunnerService
from anystrat.domain.configuration import StrategyConfig
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Held, ProcessorFailed, TickDropped, Transition
from anystrat.engine.engine import Engine
from anystrat.testing import ticks


class Says:
    def __init__(self, answer: str, history: int = 1) -> None:
        self.answer, self.history = answer, history

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        if self.answer == "raise":
            raise ValueError("no")
        return SignalResult(self.answer, 1.0, 1, tick.last_price, "", None) if self.answer else None

    def get_required_history_length(self) -> int:
        return self.history

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "says"


def engine_of(*processors: Says) -> Engine:
    engine = StrategyRunnerService().engine
    for n, processor in enumerate(processors):
        engine.register(StrategyConfig(f"s{n}", "own", None, (1,)), "paper", processor)
    return engine


@pytest.fixture
def clock() -> Iterator[int]:
    return count(100, 10)


def test_each_evaluation_is_seen_with_its_times_and_its_outcomes_in_order(clock: Iterator[int]) -> None:
    engine = engine_of(Says("BUY"), Says("HOLD"), Says(""), Says("raise"), Says("BUY", history=2))
    _, seen = engine.step_watched(ticks.row(), lambda: next(clock))
    assert [one.executor.strategy_id for one in seen] == ["s0", "s1", "s2", "s3"]
    assert [(one.began, one.answered, one.ended) for one in seen] == [
        (100 + 30 * n, 110 + 30 * n, 120 + 30 * n) for n in range(4)
    ]
    assert [[type(outcome) for outcome in one.outcomes] for one in seen] == [[Emitted], [Held], [], [ProcessorFailed]]


def test_it_decides_the_same_as_unwatched(clock: Iterator[int]) -> None:
    rows = [ticks.row(1, 100 + n % 2, n) for n in range(40)] + [ticks.row(1, "NaN", 50), ticks.row(2, 1, 60)]
    plain, watched = engine_of(Says("BUY"), Says("raise")), engine_of(Says("BUY"), Says("raise"))
    expected = [outcome for row in rows for outcome in plain.step(row)]
    found = [
        outcome
        for n, row in enumerate(rows)
        for outcome in (watched.step(row) if n % 2 else watched.step_watched(row, lambda: next(clock))[0])
    ]
    assert [str(each) for each in found] == [str(each) for each in expected]
    assert {type(each) for each in expected} >= {Emitted, Dropped, Filled, ProcessorFailed, Transition, TickDropped}


def test_nobody_looks_on_afterwards_even_where_a_clock_failed() -> None:
    engine = engine_of(Says("BUY"))

    def broken() -> int:
        raise OSError

    with pytest.raises(OSError):
        engine.step_watched(ticks.row(), broken)
    assert any(isinstance(outcome, Emitted) for outcome in engine.step(ticks.row(1, 100, 10)))


def test_evaluations_are_those_of_all_strategies() -> None:
    engine = engine_of(Says(""), Says("", history=3))
    for n in range(5):
        engine.step(ticks.row(1, 100, n))
    assert engine.evaluations == 5 + 3
