"""Bars: the same at every speed, and what a plain loop makes of the ticks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anystrat
from anystrat.bootstrap import build_engine, default_wiring
from anystrat.config import configuration_from_mapping
from anystrat.domain.outcomes import Emitted
from anystrat.domain.tick import TickRow
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from tests.parity.every_way import same_every_way
from tests.parity.test_columns import PHASES, columns_of
from tests.reference.generate import Case, cases

SECOND = 1_000_000_000
KINDS = st.sampled_from(["1s", "5s", "1m", "1h", {"ticks": 1}, {"ticks": 3}, {"volume": 5}, {"volume": "200"}])


def with_bars(case: Case, data: st.DataObject) -> Case:
    rows = [
        {**row, "bars": data.draw(KINDS, label="bars")} if data.draw(st.booleans(), label="on bars") else row
        for row in case.config["strategies"]
    ]
    return case._replace(config={**case.config, "strategies": rows})


@settings(max_examples=40, phases=PHASES)
@given(case=cases(), data=st.data())
def test_bars_lead_to_the_same_by_ticks_in_lanes_and_over_columns(case: Case, data: st.DataObject) -> None:
    block = columns_of(case)
    case = with_bars(case, data)
    same_every_way(case, block, data)


def engine_of(**row: Any) -> Engine:
    config = {
        "version": 1,
        "strategies": [
            {
                "id": "m",
                "strategy_type": "momentum",
                "parameters": {"lookback_periods": 2, "threshold": 0.0, "risk": {"dedupe_window_sec": 0.001}},
                "instruments": [7],
                **row,
            }
        ],
    }
    wiring = default_wiring()
    return build_engine(configuration_from_mapping(config, wiring.catalog), wiring)


def bars_by_hand(ticks: list[tuple[int, float, float]], kind: str, size: int) -> list[tuple[int, float]]:
    """(end, close) of every bar that closes, from (time, price, volume)."""
    closed: list[tuple[int, float]] = []
    held: list[tuple[int, float, float]] = []
    for ts, price, volume in ticks:
        if kind == "every" and held and ts // size > held[0][0] // size:
            closed.append(((held[0][0] // size + 1) * size, held[-1][1]))
            held = []
        held.append((ts, price, volume))
        total = sum(one[2] for one in held)
        if (kind == "ticks" and len(held) == size) or (kind == "volume" and total >= size):
            closed.append((ts, price))
            held = []
    return closed


@settings(max_examples=30)
@given(
    gaps=st.lists(st.integers(0, 4_000_000_000), min_size=2, max_size=60),
    kind=st.sampled_from([("every", 1), ("every", 3), ("ticks", 1), ("ticks", 4), ("volume", 7)]),
    seed=st.integers(0, 1_000),
)
def test_a_strategy_on_bars_decides_what_it_decides_on_ticks_that_are_the_bars(
    gaps: list[int], kind: tuple[str, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times = (1_700_000_000 * SECOND + np.cumsum(gaps)).tolist()
    prices = np.round(100 + rng.standard_normal(len(times)).cumsum(), 2).tolist()
    volumes = rng.integers(0, 5, len(times)).astype(float).tolist()
    name, size = kind
    spec = f"{size}s" if name == "every" else {name: size}
    on_bars, on_ticks = engine_of(bars=spec), engine_of()
    said = [
        outcome
        for ts, price, volume in zip(times, prices, volumes, strict=True)
        for outcome in on_bars.step(TickRow(7, ts, price, None, volume))
    ]
    ticks = list(zip(times, prices, volumes, strict=True))
    by_hand = bars_by_hand(ticks, name, size * SECOND if name == "every" else size)
    wanted = [outcome for end, close in by_hand for outcome in on_ticks.step(TickRow(7, end, close))]

    def emitted(outcomes: list[Any]) -> list[tuple[Any, ...]]:
        return [
            (one.signal.ts_ns, one.signal.signal_type, one.signal.price, one.signal.signal_id)
            for one in outcomes
            if isinstance(one, Emitted)
        ]

    assert emitted(said) == emitted(wanted)


class Seen:
    """Keeps what it is shown."""

    def __init__(self, need: int = 1) -> None:
        self.need = need
        self.ticks: list[anystrat.MarketTick] = []
        self.histories: list[list[float]] = []

    def get_required_history_length(self) -> int:
        return self.need

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "seen"

    def process_tick(self, tick: anystrat.MarketTick, history: anystrat.History) -> None:
        self.ticks.append(tick)
        self.histories.append(history.prices.tolist())


def watched(spec: Any, need: int = 1) -> tuple[Engine, Seen]:
    from anystrat.config.bars import read_bars
    from anystrat.config.node import Origin, node_from_value
    from anystrat.config.problems import Problems

    engine, seen = Engine(), Seen(need)
    bars = read_bars(node_from_value(spec, Origin("")), (), Problems())
    engine.register(anystrat.StrategyConfig("s", "seen", None, (7,), bars=bars), "paper", seen)
    return engine, seen


def push(engine: Engine, *ticks: tuple[float, float, float]) -> None:
    for seconds, price, volume in ticks:
        engine.step(TickRow(7, int(seconds * SECOND), price, None, volume))


def test_a_bar_is_a_tick_with_open_high_low_and_volume() -> None:
    engine, seen = watched("1m")
    push(engine, (60, 10.0, 1), (70, 12.5, 2), (80, 9.5, 0), (119.9, 11.0, 4))
    assert seen.ticks == []
    push(engine, (120, 50.0, 9))
    (bar,) = seen.ticks
    assert bar.ts_ns == 120 * SECOND
    assert bar.last_price == Decimal("11.0")
    assert bar.metadata == {"open": Decimal("10.0"), "high": Decimal("12.5"), "low": Decimal("9.5"), "volume": 7}
    assert bar.volume == 7


def test_the_tick_that_closes_a_bar_is_the_first_of_the_next_and_empty_bars_are_not_made() -> None:
    engine, seen = watched("1m", need=2)
    push(engine, (60, 10.0, 1), (300, 20.0, 1), (330, 21.0, 1), (360, 30.0, 1))
    assert [tick.ts_ns // SECOND for tick in seen.ticks] == [360]
    assert seen.histories == [[10.0, 21.0]]


def test_a_bar_that_is_full_closes_with_its_last_tick() -> None:
    engine, seen = watched({"ticks": 2})
    push(engine, (1, 10.0, 1), (2, 11.0, 1), (3, 12.0, 1))
    assert [(tick.ts_ns, tick.last_price) for tick in seen.ticks] == [(2 * SECOND, Decimal("11.0"))]
    engine, seen = watched({"volume": 5})
    push(engine, (1, 10.0, 4), (2, 11.0, 4), (3, 12.0, 4), (4, 13.0, 1))
    assert [(tick.ts_ns, tick.volume) for tick in seen.ticks] == [(2 * SECOND, 8), (4 * SECOND, 5)]


def test_an_order_of_a_bar_is_filled_on_the_tick_that_closed_it() -> None:
    engine = engine_of(bars="1s")
    push(engine, (1, 10.0, 1), (2, 11.0, 1))
    said = engine.step(TickRow(7, 3 * SECOND, 12.0))
    assert [type(one).__name__ for one in said] == ["Transition", "Emitted", "Filled"]
    assert said[1].signal.ts_ns == 3 * SECOND  # type: ignore[union-attr]
    assert said[1].signal.price == 11  # type: ignore[union-attr]
    assert said[2].price == 12.0  # type: ignore[union-attr]


def test_a_timer_closes_a_bar_and_a_late_tick_makes_no_second_one_of_that_minute() -> None:
    engine, seen = watched("1m")
    push(engine, (60, 10.0, 1), (110, 11.0, 1))
    assert engine.bars.end_by(120 * SECOND)
    engine.step(anystrat.domain.events.TimerDue(121 * SECOND))
    assert [tick.ts_ns // SECOND for tick in seen.ticks] == [120]
    assert not engine.bars.end_by(10**18)
    push(engine, (119, 12.0, 1), (130, 13.0, 1), (180, 14.0, 1))
    assert [(tick.ts_ns // SECOND, tick.metadata["open"]) for tick in seen.ticks[1:]] == [(180, Decimal("12.0"))]


def test_a_gap_forgets_bars_and_history_makes_them() -> None:
    from anystrat.domain.events import FeedGap, HistoryLoaded

    engine, seen = watched("1s", need=2)
    engine.step(HistoryLoaded(7, (SECOND, 2 * SECOND, 3 * SECOND), ("10", "11", "12")))
    assert engine.executors[0].state.name == "ACTIVE"
    push(engine, (4, 13.0, 1))
    assert seen.histories == [[11.0, 12.0]]
    engine.step(FeedGap(5 * SECOND))
    push(engine, (6, 14.0, 1), (7, 15.0, 1))
    assert len(seen.histories) == 1  # the open bar and the closed ones are gone
    push(engine, (8, 16.0, 1))
    assert seen.histories[1:] == [[14.0, 15.0]]


def test_what_goes_on_after_a_reload_has_its_bars() -> None:
    from anystrat.engine.carrying import carry_over

    old, seen = watched("1m", need=2)
    push(old, (60, 10.0, 1), (120, 11.0, 1), (130, 12.0, 1))
    new, seen = watched("1m", need=2)
    assert carry_over(old, new)
    push(new, (180, 13.0, 1))
    assert seen.histories == [[10.0, 12.0]]


def test_what_is_bound_to_bars_is_not_restored_without_them() -> None:
    on_bars, _ = watched("1m")
    on_others, _ = watched("2m")
    with pytest.raises(anystrat.SnapshotRefused, match="other strategies"):
        restore(on_others, snapshot(on_bars))


def test_explain_says_that_no_bar_closed_and_what_a_bar_came_to() -> None:
    from anystrat.analysis.explaining.explanation import Ending
    from anystrat.analysis.explaining.tick import explain_tick

    engine = engine_of(bars="1s")
    push(engine, (1, 10.0, 1), (2, 11.0, 1), (3, 12.0, 1))
    between = explain_tick(engine, TickRow(7, 3 * SECOND + 1, 12.5))
    assert (between.ending, between.because) == (Ending.BETWEEN_BARS, "no bar of 1s closed on this tick")
    assert between.unit == "bars (1s)"
    closing = explain_tick(engine, TickRow(7, 4 * SECOND, 13.0))
    assert closing.ending is Ending.EMITTED
    assert closing.window == (11.0, 12.0)
