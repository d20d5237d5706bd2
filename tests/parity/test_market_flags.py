"""Halts, auctions, sessions and special dates mean the same in every mode: tick by tick, from every kind of file, over columns, live."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anystrat import MarketTick, StrategyRunnerService, open_ticks
from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.backtest.replay import Speed, replay
from anystrat.bootstrap import build_engine, default_wiring, session_clock
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.inputs import decoded_inputs, encoded_inputs
from anystrat.domain.outcomes import Dropped, Emitted, Filled, Outcome
from anystrat.domain.tick import row_of
from anystrat.engine.engine import Engine
from anystrat.runner.driver import EngineDriver
from anystrat.testing import ticks

CONFIGURATION = {
    "instruments": [{"token": 1, "calendar": "XBOM"}],
    "sessions": {
        "overrides": {
            "XBOM": [
                {"date": "2024-01-06", "preopen": "09:00", "open": "09:15", "close": "10:00"},
                {"date": "2024-01-08", "closed": True},
            ]
        }
    },
    "strategies": [
        {
            "id": "any",
            "strategy_type": "momentum",
            "parameters": {"lookback_periods": 2, "threshold": 0.001},
            "instruments": [1],
        },
        {
            "id": "early",
            "strategy_type": "momentum",
            "parameters": {"lookback_periods": 2, "threshold": 0.001, "risk": {"allow_sessions": ["preopen"]}},
            "instruments": [1],
        },
    ],
}
#: When (UTC), what the tick says of itself, why `any` drops its signal ("" where it emits it).
DAY = [
    ("2024-01-05T10:30:00", {}, "session_closed"),  # the Friday's evening
    ("2024-01-06T03:35:00", {}, "session_closed"),  # a Saturday that trades, before its open
    ("2024-01-06T03:45:00", {}, ""),
    ("2024-01-06T03:46:00", {"halted": True}, "halted"),
    ("2024-01-06T03:47:00", {"auction": True}, "auction"),
    ("2024-01-06T03:48:00", {"halted": True, "auction": True}, "halted"),
    ("2024-01-06T03:49:00", {"halted": False, "auction": False}, ""),
    ("2024-01-06T04:30:00", {}, "session_closed"),
    ("2024-01-08T05:00:00", {}, "session_closed"),  # a Monday that does not trade
    ("2024-01-09T05:00:00", {}, ""),
    ("2024-01-09T10:00:00", {"halted": True}, "session_closed"),  # after the close, whatever the tick says
]


def market_ticks() -> list[MarketTick]:
    first = MarketTick(1, Decimal(100), datetime(2024, 1, 5, 10, 15, tzinfo=UTC))
    prices = [Decimal(102 + 2 * n) for n in range(len(DAY))]
    return [
        first,
        *(
            MarketTick(1, price, datetime.fromisoformat(when).replace(tzinfo=UTC), metadata=flags or None)
            for price, (when, flags, _) in zip(prices, DAY, strict=True)
        ),
    ]


def engine() -> Engine:
    wiring = default_wiring()
    configuration = configuration_from_mapping(CONFIGURATION, wiring.catalog)
    return build_engine(configuration, wiring, sessions=session_clock(configuration))


def columns() -> TickColumns:
    return ticks.columns([row_of(tick) for tick in market_ticks()])


def one_by_one(_: Path) -> Iterable[Outcome]:
    seen: list[Outcome] = []
    service = StrategyRunnerService(observers=[seen.extend])
    service.register_from_config(CONFIGURATION)
    for tick in market_ticks():
        service.on_market_tick(tick)
    return seen


def compiled(_: Path) -> Iterable[Outcome]:
    seen: list[Outcome] = []
    service = StrategyRunnerService(observers=[seen.extend], compiled=True)
    service.register_from_config(CONFIGURATION)
    for tick in market_ticks():
        service.on_market_tick(tick)
    return seen


def _records() -> list[dict[str, Any]]:
    records = []
    for tick in market_ticks():
        flags = tick.metadata or {}
        record = {"ts_ns": tick.ts_ns, "instrument_token": 1, "price": str(tick.last_price)}
        records.append(record | {name: bool(flags.get(name)) for name in ("halted", "auction")})
    return records


def replayed(speed: Speed) -> Callable[[Path], Iterable[Outcome]]:
    def run(path: Path) -> Iterable[Outcome]:
        path = path / "ticks.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in _records()))
        seen: list[Outcome] = []
        replay(engine(), open_ticks([path]), on_outcomes=seen.extend, speed=speed, compiler=lambda: None)
        return seen

    return run


def from_csv(path: Path) -> Iterable[Outcome]:
    path = path / "ticks.csv"
    lines = [",".join(str(value).lower() for value in record.values()) for record in _records()]
    path.write_text("\n".join([",".join(_records()[0]), *lines]) + "\n")
    seen: list[Outcome] = []
    replay(engine(), open_ticks([path]), on_outcomes=seen.extend)
    return seen


def from_parquet(path: Path) -> Iterable[Outcome]:
    path = path / "ticks.parquet"
    pq.write_table(pa.Table.from_pylist(_records()), path)
    seen: list[Outcome] = []
    replay(engine(), open_ticks([path]), on_outcomes=seen.extend)
    return seen


def live(_: Path) -> Iterable[Outcome]:
    """As the runner drives it, after a way through the journal."""
    (block,) = decoded_inputs(encoded_inputs([columns()]))
    assert isinstance(block, TickColumns)
    return EngineDriver(engine()).ticks(block)


MODES = {
    "one by one": one_by_one,
    "compiled": compiled,
    "JSONL": replayed(Speed.SCALAR),
    "columns": replayed(Speed.COLUMNS),
    "CSV": from_csv,
    "Parquet": from_parquet,
    "live": live,
}


def what_became(outcomes: Iterable[Outcome], strategy: str) -> list[str]:
    found = []
    for outcome in outcomes:
        if isinstance(outcome, Dropped) and outcome.strategy_id == strategy:
            found.append(str(outcome.reason))
        elif isinstance(outcome, Emitted) and outcome.signal.strategy_id == strategy:
            found.append("")
    return found


@pytest.mark.parametrize("mode", list(MODES))
def test_a_signal_on_a_tick_of_each_kind_ends_the_same(mode: str, tmp_path: Path) -> None:
    outcomes = list(MODES[mode](tmp_path))
    reasons = [reason for _, _, reason in DAY]
    assert what_became(outcomes, "any") == reasons
    assert what_became(outcomes, "early") == [reasons[0], "", *reasons[2:]]
    # No fill on a halted, auction or closed tick: an order waits for the next that is none.
    fills = [(outcome.strategy_id, outcome.ts_ns) for outcome in outcomes if isinstance(outcome, Filled)]
    at = {when: int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * 10**9 for when, _, _ in DAY}
    assert fills == [
        ("early", at["2024-01-06T03:45:00"]),
        ("any", at["2024-01-06T03:49:00"]),
        ("early", at["2024-01-06T03:49:00"]),
        ("any", at["2024-01-09T05:00:00"]),
        ("early", at["2024-01-09T05:00:00"]),
    ]


def test_compiled_code_is_there_to_be_compared() -> None:
    assert numba_compiler() is not None
