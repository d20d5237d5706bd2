"""A door lets in the ticks that it knows, does for them what the slow way does, and sends everything else that way."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from anystrat import MarketTick, StrategyRunnerService
from anystrat.adapters import numba_door
from anystrat.domain.compiling import TickShape
from anystrat.domain.tick import TickRow

T0 = datetime(2024, 1, 2, tzinfo=UTC)
ROW = {
    "id": "m",
    "strategy_type": "momentum",
    "parameters": {"lookback_periods": 2, "threshold": 0.01},
    "instruments": [7, 2**62],
}


def tick(second: int, price: str = "100.5", token: Any = 7, **more: Any) -> MarketTick:
    return MarketTick(token, Decimal(price), T0 + timedelta(seconds=second), **more)


def row(second: int, price: Any = 100.5, token: Any = 7, **more: Any) -> TickRow:
    return TickRow(token, int((T0 + timedelta(seconds=second)).timestamp()) * 10**9, price, **more)


class Watched(StrategyRunnerService):
    """Counts the ticks that went past the door."""

    past = 0

    def _past_the_door(self, tick: MarketTick | TickRow) -> Any:
        self.past += 1
        return super()._past_the_door(tick)


@pytest.fixture
def service() -> Watched:
    made = Watched(compiled=True, observers=[])
    made.register_from_config(ROW)
    # The first tick finds the tables, and opens the door.
    made.on_market_tick(tick(0))
    made.past = 0
    return made


@pytest.mark.parametrize("made", [tick(1), row(1), tick(1, token=2**62), tick(1, nanosecond=5)])
def test_a_plain_tick_of_a_watched_instrument_goes_through_the_door(service: Watched, made: Any) -> None:
    assert service.on_market_tick(made) == []
    assert service.past == 0
    assert service.engine.ticks == 2


@pytest.mark.parametrize(
    "made",
    [
        tick(1, token=8),
        tick(1, metadata={"halted": True}),
        tick(1, "100.1234567890123456789"),
        tick(1, "1E+2"),
        tick(1, nanosecond=1_000),
        row(1, halted=True),
        row(1, exact=Decimal("100.5")),
        row(1, token=np.int64(7)),
        row(1, token=True),
        row(1, token=2**63),
        row(1, token=-(2**70)),
        row(1, np.float64(100.5)),
        row(1, 100),
    ],
)
def test_any_other_tick_takes_the_slow_way_with_the_same_end(service: Watched, made: Any) -> None:
    plain = StrategyRunnerService(compiled=False, observers=[])
    plain.register_from_config(ROW)
    plain.on_market_tick(tick(0))
    assert service.on_market_tick(made) == plain.on_market_tick(made)
    assert service.past == 1
    assert (service.engine.ticks, service.engine.tick_drops) == (plain.engine.ticks, plain.engine.tick_drops)


@pytest.mark.parametrize("made", [None, 5, "tick", object()])
def test_what_is_no_tick_raises_as_it_does_without_a_door(service: Watched, made: Any) -> None:
    with pytest.raises(AttributeError):
        service.on_market_tick(made)
    assert service.on_market_tick(tick(1)) == []


def test_a_row_without_a_value_is_an_error_and_no_crash(service: Watched) -> None:
    bare = row(1)
    del bare.price
    with pytest.raises(AttributeError):
        service.on_market_tick(bare)


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_bad_prices_are_dropped_and_counted_behind_the_door(service: Watched, price: str) -> None:
    assert service.on_market_tick(tick(1, price)) == []
    assert service.engine.tick_drops["bad_price"] == 1
    assert service.engine.ticks == 1


def test_signals_come_out_of_the_door_with_the_ids_of_the_slow_way(service: Watched) -> None:
    plain = StrategyRunnerService(compiled=False, observers=[])
    plain.register_from_config(ROW)
    plain.on_market_tick(tick(0))
    prices = ["101", "103", "103", "99.5", "101.7", "101.7"]
    found = [service.on_market_tick(tick(10 * k + 10, price)) for k, price in enumerate(prices)]
    wanted = [plain.on_market_tick(tick(10 * k + 10, price)) for k, price in enumerate(prices)]
    assert found == wanted
    assert any(found)
    assert service.past == 0


def test_the_door_closes_when_another_strategy_is_registered_and_opens_for_both(service: Watched) -> None:
    service.register_from_config({**ROW, "id": "other", "instruments": [7, 9]})
    service.on_market_tick(tick(1))
    assert service.past == 1
    service.on_market_tick(tick(2, token=9))
    assert service.past == 1
    assert [one.counters()["evaluations"] for one in service.executors] == [1, 1]


def test_ticks_that_are_kept_live_as_long_as_the_window_holds_them_and_no_longer(service: Watched) -> None:
    made = [tick(k) for k in range(1, 50)]
    before = [sys.getrefcount(made[k]) for k in range(len(made))]
    for k in range(len(made)):
        service.on_market_tick(made[k])
    held = [sys.getrefcount(made[k]) - before[k] for k in range(len(made))]
    assert held == [0] * (len(made) - 2) + [1, 1]


def test_no_memory_is_lost_in_the_door(service: Watched) -> None:
    some = [tick(k % 7) if k % 3 else tick(0, "0") for k in range(2_000)]
    for one in some:
        service.on_market_tick(one)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(5):
        for one in some:
            service.on_market_tick(one)
    gc.collect()
    assert sys.getallocatedblocks() - before < 200


def test_a_door_that_is_kept_lives_on_without_the_service() -> None:
    made = Watched(compiled=True, observers=[])
    made.register_from_config(ROW)
    push = made.on_market_tick
    assert push(tick(0)) == []
    del made
    gc.collect()
    assert [len(push(tick(10 * k, price))) for k, price in enumerate(["103", "103", "99"], 1)] == [1, 0, 1]


def test_a_method_of_a_subclass_is_not_passed_by() -> None:
    class Counting(StrategyRunnerService):
        calls = 0

        def on_market_tick(self, tick: MarketTick | TickRow) -> Any:
            self.calls += 1
            return super().on_market_tick(tick)

    made = Counting(compiled=True, observers=[])
    made.register_from_config(ROW)
    for k in range(3):
        made.on_market_tick(tick(k))
    assert made.calls == 3
    assert made.engine.ticks == 3


def test_without_the_layout_that_a_door_needs_ticks_take_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_door, "may_be_opened", lambda: False)
    service = Watched(compiled=True, observers=[])
    service.register_from_config(ROW)
    for k in range(3):
        assert service.on_market_tick(tick(k)) == []
    assert (service.past, service.engine.ticks) == (3, 3)


def test_a_class_that_hides_its_values_has_no_door() -> None:
    class Hidden:
        token, ts, price, plain = 10**9, 10**12, 2.5, None

    hidden = TickShape(Hidden(), ("token", "ts", "price"), {"plain": None})
    with pytest.raises(LookupError, match="Hidden does not show where its token is"):
        numba_door.shape_words(hidden)
