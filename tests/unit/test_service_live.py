"""The service over compiled lanes: the same signals as without, whatever is watched, tick by tick or in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from benchmarks.workloads import rows_of, w2

from anystrat import MarketTick, StrategyRunnerService
from anystrat import service as service_module
from anystrat.domain.columns import TickColumns
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Outcome
from anystrat.domain.tick import datetime_of

TICKS = w2(6_000)


class Notes:
    """An observer of what a person may want to be told of."""

    notes_only = True

    def __init__(self) -> None:
        self.seen: list[Outcome] = []

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        self.seen += outcomes


def service(*, compiled: bool, observers: Sequence[Any] = ()) -> StrategyRunnerService:
    made = StrategyRunnerService(compiled=compiled, observers=list(observers))
    risk = {"risk": {"dedupe_window_sec": 30_000, "max_signals_per_min": 2}}
    rows = [{**row, "parameters": {**row["parameters"], **risk}} for row in rows_of("W2")]
    made.register_from_config({"version": 1, "strategies": rows})
    return made


def market_ticks() -> list[MarketTick]:
    columns = zip(TICKS.token.tolist(), TICKS.price.tolist(), TICKS.ts_ns.tolist(), strict=True)
    return [
        MarketTick(token, Decimal(repr(price)), datetime_of(ts), nanosecond=ts % 1_000) for token, price, ts in columns
    ]


def test_every_way_through_the_lanes_gives_the_signals_and_notes_of_the_plain_one() -> None:
    ticks, columns = market_ticks(), TickColumns(TICKS.ts_ns, TICKS.token, TICKS.price)
    everything: list[Outcome] = []
    plain = service(compiled=False, observers=[everything.extend])
    expected = [signal for tick in ticks for signal in plain.on_market_tick(tick)]
    dropped = [outcome for outcome in everything if isinstance(outcome, Dropped)]
    assert len(expected) > 100
    assert len(dropped) > 10

    seen: list[Outcome] = []
    watched = service(compiled=True, observers=[seen.extend])
    assert [signal for tick in ticks for signal in watched.on_market_tick(tick)] == expected
    assert seen == everything

    notes = Notes()
    noting = service(compiled=True, observers=[notes])
    assert [signal for tick in ticks for signal in noting.on_market_tick(tick)] == expected
    assert [outcome for outcome in notes.seen if isinstance(outcome, Dropped)] == dropped
    assert not any(isinstance(outcome, Emitted | Filled) for outcome in notes.seen)

    rows = service(compiled=True, observers=[Notes()])
    assert [signal for row in columns.rows() for signal in rows.on_market_tick(row)] == expected

    for observers in ([Notes()], [[].extend]):
        backlog = service(compiled=True, observers=observers)
        found = []
        for i in range(0, len(ticks), 64):
            part = slice(i, i + 64)
            signals = backlog.on_market_ticks(TickColumns(TICKS.ts_ns[part], TICKS.token[part], TICKS.price[part]))
            assert len(signals) == len(list(signals))
            found += signals
        assert found == expected
        assert [one.signal_id for one in found] == [one.signal_id for one in expected]


def test_a_service_asks_for_the_compiler_once_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def compiler(_on_cold: Any) -> None:
        asked.append("compiler")

    monkeypatch.setattr(service_module, "kernel_compiler", compiler)
    monkeypatch.setattr(service_module, "_WORTH_COMPILING", 3)
    ticks = market_ticks()[:5]
    made = StrategyRunnerService(observers=[])
    made.register_from_config(rows_of("W2")[0])
    for tick in ticks[:2]:
        made.on_market_tick(tick)
    assert asked == []
    made.on_market_tick(ticks[2])
    made.on_market_tick(ticks[3])
    assert asked == ["compiler"]

    never = StrategyRunnerService(observers=[], compiled=False)
    never.register_from_config(rows_of("W2")[0])
    never.on_market_ticks(TickColumns(TICKS.ts_ns, TICKS.token, TICKS.price))
    assert asked == ["compiler"]


def test_a_signal_that_nobody_looked_at_was_not_made() -> None:
    made = service(compiled=True)
    signals = made.on_market_ticks(TickColumns(TICKS.ts_ns, TICKS.token, TICKS.price))
    assert len(signals) > 0
    assert "_made" not in vars(signals)
    assert signals[0].reasoning
    assert signals[-1] == list(signals)[-1]
