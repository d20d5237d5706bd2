from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat import StrategyRunnerService
from anystrat.bootstrap import kernel_compiler
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import StaleHistory
from anystrat.domain.tick import MarketTick, TickRow
from anystrat.domain.window import History, Window, history_of


def filled(capacity: int, prices: Sequence[float]) -> Window:
    window = Window(capacity)
    for i, price in enumerate(prices):
        window.push(TickRow(7, i, price))
    return window


@given(st.integers(1, 9), st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40), st.integers(1, 9))
def test_a_view_is_always_the_last_prices_oldest_first(capacity: int, prices: list[float], length: int):
    window = filled(capacity, prices)
    history = window.history(min(length, capacity))
    expected = prices[-min(length, capacity) :]
    assert history.prices.tolist() == expected
    assert window.view[window.end - len(expected) : window.end].tolist() == expected
    assert [tick.last_price for tick in history] == [Decimal(repr(price)) for price in expected]
    assert [row.price for row in window.rows()] == prices[-capacity:]
    assert window.count == min(len(prices), capacity)


def test_history_is_a_sequence_of_ticks_with_the_current_one_last():
    history = filled(5, [1.0, 2.0, 3.0]).history(5)
    assert isinstance(history, Sequence)
    assert len(history) == 3
    assert history[-1] == history[2] == MarketTick(7, Decimal("3.0"), history[2].timestamp, nanosecond=2)
    assert [tick.last_price for tick in history[1:]] == [2, 3]
    assert [tick.last_price for tick in history[::-1]] == [3, 2, 1]
    assert [tick.last_price for tick in reversed(history)] == [3, 2, 1]
    assert history[-1] is history[-1]
    assert repr(history) == "<History: 3 ticks>"


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_outside_raises(index: int):
    history = filled(5, [1.0, 2.0, 3.0]).history(3)
    with pytest.raises(IndexError, match=f"history holds 3 ticks; index {index} is outside"):
        history[index]


def test_an_index_before_the_view_raises_though_the_window_holds_more():
    history = filled(5, [1.0, 2.0, 3.0]).history(2)
    with pytest.raises(IndexError):
        history[2]
    assert history[0].last_price == 2


def test_the_prices_cannot_be_written():
    history = filled(3, [1.0, 2.0]).history(2)
    with pytest.raises(ValueError, match="read-only"):
        history.prices[0] = 5.0


ACCESSES = {
    "index": lambda history: history[-1],
    "length": len,
    "iteration": list,
    "prices": lambda history: history.prices,
    "exact": lambda history: history.exact_prices(),
    "shorter": lambda history: history.last(1),
    "memo": lambda history: history.memo,
}


@pytest.mark.parametrize("access", list(ACCESSES.values()), ids=list(ACCESSES))
def test_a_history_that_was_kept_is_stale_in_every_way(access):
    window = filled(3, [1.0, 2.0])
    history = window.history(2)
    shorter = history.last(1)
    window.expire()
    for kept in (history, shorter):
        with pytest.raises(StaleHistory, match="copy what you need during the call"):
            access(kept)
    assert repr(history) == "<History: stale>"


def test_what_was_copied_is_kept():
    window = filled(2, [1.0, 2.0])
    history = window.history(2)
    ticks, prices = tuple(history), history.prices.copy()
    window.expire()
    window.push(TickRow(7, 3, 9.0))
    assert [tick.last_price for tick in ticks] == [1, 2]
    assert prices.tolist() == [1.0, 2.0]


def test_a_shorter_history_is_the_end_of_it():
    history = filled(4, [1.0, 2.0, 3.0, 4.0]).history(3)
    assert isinstance(history.last(2), History)
    assert history.last(2).prices.tolist() == [3.0, 4.0]
    assert history.last(3).prices.tolist() == history.prices.tolist()
    assert len(history.last(0)) == 0
    with pytest.raises(IndexError, match="history holds 3 ticks, not 4"):
        history.last(4)
    with pytest.raises(IndexError):
        history.last(-1)


def test_exact_prices_are_the_decimals_where_they_say_more_and_the_shortest_else():
    fine = Decimal("100.00000000000000000000000000001")
    history = history_of([TickRow(7, 0, 100.0, fine), TickRow(7, 1, 100.0), TickRow(7, 2, 0.1), TickRow(7, 3, 0.1)])
    assert history.exact_prices() == [fine, Decimal(100), Decimal("0.1"), Decimal("0.1")]


def test_what_was_computed_for_a_tick_is_shared_until_the_next():
    window = filled(3, [1.0, 2.0])
    window.history(2).memo["vol_20"] = 0.5
    assert window.history(1).memo == {"vol_20": 0.5}
    window.push(TickRow(7, 2, 3.0))
    assert window.history(1).memo == {}


def test_a_cleared_window_holds_nothing_and_starts_anew():
    window = filled(2, [1.0, 2.0, 3.0])
    history = window.history(2)
    window.clear()
    assert (window.count, window.rows()) == (0, [])
    with pytest.raises(StaleHistory):
        history[0]
    with pytest.raises(IndexError, match="the window holds 0 ticks, not 1"):
        window.row(0)
    window.push(TickRow(7, 3, 9.0))
    assert window.history(2).prices.tolist() == [9.0]


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_ticks_that_are_numbers_alone_are_dumped_and_loaded_as_numbers(count):
    service = StrategyRunnerService()
    service.register("momentum", instruments=[1], lookback_periods=4, threshold=0.5)
    engine = service.engine
    engine.use_compiler(kernel_compiler())
    ticks = TickColumns(np.arange(count), np.ones(count, np.int64), 100.0 + np.arange(count))
    engine.step_block(ticks)
    window = engine.windows[0]
    dumped = window.dump()
    other = Window(4, 1)
    other.push(TickRow(1, 0, 7.0))
    assert dumped is not None
    other.load(dumped)
    assert other.rows() == window.rows()
    assert list(other.prices[other.end - other.count : other.end]) == [100.0 + k for k in range(count)][-4:]
    other.push(TickRow(1, 99, 55.0))
    assert [kept.price for kept in other.rows()] == [*(100.0 + k for k in range(count)), 55.0][-4:]


def test_a_window_that_holds_objects_is_not_dumped_as_numbers():
    window = Window(3, 1)
    window.push(TickRow(1, 0, 5.0))
    assert window.dump() is None
