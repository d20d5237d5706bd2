"""Numbers and moments at the edge of what fits: named or refused, never a crash, the same at both speeds."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anystrat import ConfigurationError, MarketTick, SnapshotRefused, StrategyRunnerService
from anystrat.adapters.kernel_files import private_folder
from anystrat.adapters.numba_cache import DiskCache
from anystrat.adapters.numba_kernels import KernelCompiler
from anystrat.backtest.replay import Speed, replay
from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import InstrumentSpec, PaperCosts, RiskLimits, Session, StrategyConfig
from anystrat.domain.errors import OutsideCalendar
from anystrat.domain.outcomes import Dropped, Emitted, Noted, Outcome, TickDropped
from anystrat.domain.tick import TickRow
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.strategies.momentum import Momentum, MomentumParameters
from anystrat.strategies.sma_crossover import SmaCrossover, SmaCrossoverParameters

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def engine(risk: RiskLimits | None = None, size: int = 1, **options: Any) -> Engine:
    made = Engine(**options)
    parameters = MomentumParameters(lookback_periods=2, threshold=0.0, position_size=size)
    made.register(
        StrategyConfig("m", "momentum", parameters, (1,), risk=risk or RiskLimits()),
        "paper",
        Momentum(parameters),
        costs=PaperCosts(),
    )
    return made


def at_both_speeds(make: Any, ts: list[int], prices: list[float]) -> list[Outcome]:
    one_by_one, blocks = make(), make()
    block = TickColumns(np.array(ts, np.int64), np.ones(len(ts), np.int64), np.array(prices))
    expected = [outcome for row in block.rows() for outcome in one_by_one.step(row)]
    result = BlockRunner(blocks, None).run(block)
    found = list(outcomes_of(blocks, result, reasons=True))
    assert [repr(outcome) for outcome in found] == [repr(outcome) for outcome in expected]
    return expected


class Until2000:
    def session(self, instrument_token: int, ts_ns: int) -> Session:
        if ts_ns >= 946_684_800 * SECOND:
            raise OutsideCalendar("the calendar ends with 1999")
        return Session.REGULAR


def test_a_moment_that_a_calendar_does_not_know_is_closed_and_noted_once() -> None:
    def make() -> Engine:
        return engine(instruments={1: InstrumentSpec(1, calendar="X")}, sessions=Until2000())

    early = 900_000_000 * SECOND
    ts = [early, early + SECOND, START, START + SECOND, START + 2 * SECOND]
    outcomes = at_both_speeds(make, ts, [100.0, 101.0, 102.0, 103.0, 104.0])
    noted = [outcome for outcome in outcomes if isinstance(outcome, Noted)]
    assert [(one.kind, one.ts_ns, one.details["instrument"]) for one in noted] == [("outside_calendar", START, 1)]
    assert [one.reason for one in outcomes if isinstance(one, Dropped)] == ["session_closed"] * 3


def test_a_tick_that_is_dropped_asks_no_calendar() -> None:
    def make() -> Engine:
        return engine(instruments={1: InstrumentSpec(1, calendar="X")}, sessions=Until2000())

    early = 900_000_000 * SECOND
    outcomes = at_both_speeds(make, [early, START, early + SECOND], [100.0, math.nan, 101.0])
    assert not any(isinstance(outcome, Noted) for outcome in outcomes)


@pytest.mark.parametrize("ts", [2**63 - 1, 2**62, -(2**62), -(2**63)])
def test_a_time_beyond_what_sums_can_hold_is_malformed(ts: int) -> None:
    outcomes = at_both_speeds(engine, [START, ts, START + SECOND], [100.0, 101.0, 102.0])
    assert [one.reason for one in outcomes if isinstance(one, TickDropped)] == ["malformed"]
    assert sum(isinstance(one, Emitted) for one in outcomes) == 1


def test_a_size_beyond_exact_doubles_is_an_invalid_quantity() -> None:
    risk = RiskLimits(risk_multiplier=Decimal(5) * 10**16)
    outcomes = at_both_speeds(lambda: engine(risk, size=100), [START, START + SECOND], [100.0, 101.0])
    assert [one.reason for one in outcomes if isinstance(one, Dropped)] == ["invalid_quantity"]


def test_limits_as_large_as_one_likes_are_no_limits() -> None:
    risk = RiskLimits(max_position_size=Decimal("1e30"), max_quantity=10**30, max_loss_streak=10**30)
    outcomes = at_both_speeds(lambda: engine(risk), [START, START + SECOND], [100.0, 101.0])
    assert sum(isinstance(one, Emitted) for one in outcomes) == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), min_size=2, max_size=80), st.integers(1, 30))
def test_a_duplicate_is_one_however_many_signals_lie_between(steps: list[tuple[int, int]], window: int) -> None:
    risk = RiskLimits(dedupe_window_ns=window * SECOND, price_bucket=Decimal(1))
    ts = np.cumsum([gap for gap, _ in steps]) * SECOND + START
    prices = [100.0 + price for _, price in steps]
    outcomes = at_both_speeds(lambda: engine(risk), ts.tolist(), prices)
    emitted: list[tuple[int, str, Decimal]] = []
    for outcome in outcomes:
        if isinstance(outcome, Emitted):
            signal = outcome.signal
            assert not any(
                signal.ts_ns - earlier < window * SECOND and (signal.signal_type, signal.price) == (side, price)
                for earlier, side, price in emitted
            )
            emitted.append((signal.ts_ns, signal.signal_type, signal.price))
        elif isinstance(outcome, Dropped):
            assert any(
                outcome.ts_ns - earlier < window * SECOND
                and (outcome.signal.signal_type, outcome.signal.price) == (side, price)
                for earlier, side, price in emitted
            )


@pytest.mark.parametrize("token", [np.int64(1), np.int32(1)])
def test_a_token_of_another_integer_type_makes_the_same_id(token: Any) -> None:
    found = []
    for each in (1, token):
        service = StrategyRunnerService(observers=[])
        service.register("momentum", instruments=[1], lookback_periods=2, threshold=0)
        signals = [
            signal
            for second, price in enumerate((100, 101))
            for signal in service.on_market_tick(
                MarketTick(each, Decimal(price), datetime.fromtimestamp(1_700_000_000 + second, UTC))
            )
        ]
        found.append([signal.signal_id for signal in signals])
    assert found[0] == found[1] != []


@pytest.mark.parametrize("token", ["1", 1.0, [1], None])
def test_a_token_that_is_no_whole_number_is_refused_where_it_is_made(token: Any) -> None:
    with pytest.raises(TypeError):
        MarketTick(token, Decimal(1), datetime(2024, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("price", [np.float64(0.29), np.float32(0.29), "0.29", 0.29])
def test_a_price_of_any_type_is_its_shortest_decimal(price: Any) -> None:
    assert MarketTick(1, price, datetime(2024, 1, 1, tzinfo=UTC)).last_price == Decimal("0.29")


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "0", "-1"])
def test_any_price_that_is_none_is_counted_and_dropped(price: str) -> None:
    seen: list[Outcome] = []
    service = StrategyRunnerService(observers=[seen.extend])
    service.register("momentum", instruments=[1])
    assert service.on_market_tick(MarketTick(1, Decimal(price), datetime(2024, 1, 1, tzinfo=UTC))) == []
    assert [one.reason for one in seen if isinstance(one, TickDropped)] == ["bad_price"]


def test_a_year_that_no_timestamp_reaches_is_counted_and_dropped() -> None:
    seen: list[Outcome] = []
    service = StrategyRunnerService(observers=[seen.extend])
    service.register("momentum", instruments=[1])
    assert service.on_market_tick(MarketTick(1, Decimal(1), datetime(9999, 1, 1, tzinfo=UTC))) == []
    assert [one.reason for one in seen if isinstance(one, TickDropped)] == ["malformed"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lookback_periods", 10**30),
        ("lookback_periods", 10**9),
        ("position_size", 2**53 + 1),
        ("risk", {"max_signals_per_min": 10**12}),
        ("risk", {"price_bucket": "1e-400"}),
    ],
)
def test_numbers_that_no_run_can_bear_are_refused_at_load(key: str, value: Any) -> None:
    service = StrategyRunnerService(observers=[])
    name = next(iter(value)) if isinstance(value, dict) else key
    with pytest.raises(ConfigurationError, match=name):
        service.register("momentum", instruments=[1], **{key: value})


def test_a_damaged_snapshot_is_refused() -> None:
    service = StrategyRunnerService(observers=[])
    service.register("momentum", instruments=[1])
    data = bytearray(service.snapshot())
    data[len(data) // 2] ^= 1
    with pytest.raises(SnapshotRefused, match="checksum"):
        service.restore(bytes(data))


def test_a_row_of_the_engines_own_at_the_edge_of_time_changes_nothing() -> None:
    made = engine()
    (dropped,) = made.step(TickRow(1, 2**63 - 1, 100.0))
    assert isinstance(dropped, TickDropped)
    assert made.ticks == 0


def test_kernels_without_a_compiler_warn_of_nothing_that_they_answer_rightly() -> None:
    def make() -> Engine:
        made = Engine()
        parameters = SmaCrossoverParameters(1, 2)
        risk = RiskLimits(price_bucket=Decimal("1e300"))
        config = StrategyConfig("c", "sma_crossover", parameters, (1,), risk=risk)
        made.register(config, "paper", SmaCrossover(parameters))
        return made

    # Sums of these are infinite, and infinity less infinity is no number: NumPy's scalars would warn of both.
    prices = [1.7e308, 1.7e308, 1.7e308, 1.0, 1.7e308, 1.7e308, 1.7e308]
    columns_refused: list[object] = []

    def watched() -> Engine:
        engine = make()
        step_row = engine.step_row
        engine.step_row = lambda row: columns_refused.append(row) or step_row(row)  # type: ignore[method-assign]
        return engine

    outcomes = at_both_speeds(watched, [START + k * SECOND for k in range(len(prices))], prices)
    assert any(isinstance(outcome, Emitted) for outcome in outcomes)
    assert not columns_refused


class Needing:
    """A processor that asks for any history."""

    def __init__(self, length: Any) -> None:
        self.length = length

    def get_required_history_length(self) -> Any:
        return self.length

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "needing"

    def process_tick(self, tick: MarketTick, history: Any) -> None:
        return None


@pytest.mark.parametrize("length", [None, "3", 2.5, 3.0, 0, -1, True])
def test_a_history_that_is_no_number_of_ticks_is_refused_at_registration(length: object) -> None:
    made = Engine()
    with pytest.raises(ConfigurationError, match="strategy 'n'") as refusal:
        made.register(StrategyConfig("n", "needing", None, (1,)), "paper", Needing(length))
    assert f"found {length!r} (" in str(refusal.value)
    assert not made.executors
    assert not made.tokens


@pytest.mark.parametrize("length", [1, np.int64(3)])
def test_a_history_may_be_any_whole_number(length: Any) -> None:
    executor = Engine().register(StrategyConfig("n", "needing", None, (1,)), "paper", Needing(length))
    assert (executor.need, type(executor.need)) == (length, int)


def test_the_engines_own_seconds_are_without_those_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    read = (
        DiskCache._read
    )  # what is on disk has to be loaded, at the least; a slow disk takes longer than all else here
    monkeypatch.setattr(DiskCache, "_read", lambda *arguments: (sleep(1.5), read(*arguments))[1])
    fresh = KernelCompiler(private_folder())
    ts = START + SECOND * np.arange(50)
    block = TickColumns(ts, np.ones(50, np.int64), 100.0 + np.arange(50) % 7)
    began = perf_counter()
    done = replay(engine(), [block], speed=Speed.COLUMNS, compiler=lambda: fresh)
    took = perf_counter() - began
    assert done.column_rows == 50
    assert fresh.seconds_compiling > 0.5 * took
    assert 0.0 < done.seconds < took - 0.9 * fresh.seconds_compiling
