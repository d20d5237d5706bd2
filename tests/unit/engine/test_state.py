"""The engine's tables as they grow."""

from __future__ import annotations

from anystrat.domain.configuration import PaperCosts, RiskLimits
from anystrat.engine.checks import remember
from anystrat.engine.executor import limits_of
from anystrat.engine.recent import has_room, recent_place
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


def test_a_table_of_emissions_that_is_crowded_says_so_until_it_is_wider() -> None:
    """Compiled lanes leave the widening to the engine, which asks again; told that there is room, it was left to it every time."""
    state = State()
    state.add_executor(limits_of(RiskLimits(), PaperCosts()), [(state.add_instrument(), 1.0)])
    limits, book, room, now = state.limits, state.book, state.recent_room, RiskLimits().dedupe_window_ns
    for bucket in range(room // 2):
        ts = now if bucket else 0  # the first one is too old by now
        assert has_room(limits, book, 0, 0, ts)
        remember(limits, book, 0, 0, ts, 1, bucket, recent_place(book, 0, 1, bucket))
    assert [has_room(limits, book, 0, 0, now) for _ in range(2)] == [False, False]
    state.make_room(0, 0, now)
    assert state.recent_room == 2 * room
    kept = [state.book.recent.ts[recent_place(state.book, 0, 1, bucket)] for bucket in range(1, room // 2)]
    assert kept == [now] * (room // 2 - 1)
