"""The engine's tables as they grow."""

from __future__ import annotations

from anystrat.domain.configuration import PaperCosts, RiskLimits
from anystrat.engine.executor import limits_of
from anystrat.engine.state import State


def test_the_tables_of_many_strategies_move_seldom() -> None:
    moves: list[int] = []
    state = State(lambda: moves.append(1))
    limits = limits_of(RiskLimits(), PaperCosts()) | {"need": 20}
    for n in range(2_000):
        state.add_executor(limits, [(state.add_instrument(), 1.0 + n)])
    assert len(moves) < 100
    assert len(state.tables["slot"]) == state.slots == 2_000
    assert state.book.slot.multiplier[1_999] == 2_000.0
    assert state.tables["slot"]["multiplier"].tolist() == [1.0 + n for n in range(2_000)]
