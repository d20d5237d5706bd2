"""Bar files are ticks at the bars' close, whose open, high, low and volume are known."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import anystrat
from anystrat.adapters.tick_files import open_ticks
from anystrat.adapters.tick_frames import ticks_of
from anystrat.domain.columns import TickColumns, columns_of_ticks, joined
from anystrat.domain.configuration import StrategyConfig
from anystrat.domain.errors import TickFileError
from anystrat.domain.tick import TickRow
from anystrat.engine.engine import Engine

MINUTE = 60_000_000_000
NAMES = ("ts_ns", "instrument_token", "open", "high", "low", "close", "volume")
BARS = [(MINUTE, 1, 100.0, 101.5, 99.5, 101.0, 10.0), (2 * MINUTE, 1, 101.25, 102.0, 100.0, 100.5, 20.0)]
TEXT = ",".join(NAMES) + "\n" + "\n".join(",".join(map(str, bar)) for bar in BARS) + "\n"


def rows_of(path: Path) -> list[TickRow]:
    return [row for block in open_ticks(path) for row in block.rows()]


def written(folder: Path, kind: str) -> Path:
    path = folder / f"bars.{kind}"
    if kind == "csv":
        path.write_text(TEXT)
    else:
        pq.write_table(
            pa.table({name: list(part) for name, part in zip(NAMES, zip(*BARS, strict=True), strict=True)}), path
        )
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_bar_is_a_tick_at_its_close_with_the_rest_in_its_metadata(kind: str, tmp_path: Path) -> None:
    first, second = rows_of(written(tmp_path, kind))
    assert (first.ts_ns, first.instrument_token, first.price, first.volume) == (MINUTE, 1, 101.0, 10.0)
    tick = second.market_tick()
    assert tick.last_price == Decimal("100.5")
    assert tick.metadata == {
        "open": Decimal("101.25"),
        "high": Decimal(102),
        "low": Decimal(100),
        "volume": Decimal(20),
    }


@pytest.mark.parametrize("quoted", [False, True], ids=["at once", "line by line"])
def test_names_may_be_capitals_and_numbers_may_miss(quoted: bool, tmp_path: Path) -> None:
    token = '"1"' if quoted else "1"
    path = tmp_path / "bars.csv"
    path.write_text(f"timestamp,instrument_token,Open,High,Close\n1970-01-01T00:01:00Z,{token},,103,101\n")
    (row,) = rows_of(path)
    assert row.price == 101.0
    assert row.metadata == {"high": Decimal(103)}


def test_a_tick_file_with_an_open_of_its_own_is_none_of_bars(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("ts_ns,instrument_token,price,open,close\n1,1,100,90,80\n")
    (row,) = rows_of(path)
    assert (row.price, row.metadata) == (100.0, None)


def test_a_file_that_says_its_volume_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("ts_ns,instrument_token,close,volume,size\n1,1,100,1,1\n")
    with pytest.raises(TickFileError, match="'size' is there 2 times"):
        open_ticks(path)


def test_a_bars_column_of_another_type_is_named_as_the_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pq.write_table(pa.table({"ts_ns": [1], "instrument_token": [1], "Close": [1.0], "Open": [True]}), path)
    with pytest.raises(TickFileError, match="the column 'Open' has the type bool"):
        open_ticks(path)


def test_bars_and_ticks_merge_and_each_keeps_what_it_knows(tmp_path: Path) -> None:
    ticks = tmp_path / "ticks.csv"
    ticks.write_text(f"ts_ns,instrument_token,price\n{MINUTE + 1},2,50\n")
    rows = [row for block in open_ticks([written(tmp_path, "csv"), ticks]) for row in block.rows()]
    assert [row.metadata is not None and "open" in row.metadata for row in rows] == [True, False, True]


def test_columns_of_bars_survive_being_rows_and_being_cut() -> None:
    block = ticks_of({name: np.array(part) for name, part in zip(NAMES, zip(*BARS, strict=True), strict=True)})
    again = columns_of_ticks(block.rows())
    backwards = block.taken(np.array([1, 0]))
    both = joined([block, backwards])
    for name in ("open", "high", "low"):
        assert getattr(again, name).tolist() == getattr(block, name).tolist()
        assert getattr(both, name)[2:].tolist() == getattr(block, name)[::-1].tolist()


def frame(count: int) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    close = np.round(100 * np.exp(np.cumsum(0.004 * rng.standard_normal(count))), 2)
    return {"ts_ns": MINUTE * np.arange(1, count + 1), "Close": close, "Open": np.round(close + 0.5, 2)}


@pytest.mark.parametrize("speed", ["scalar", "columns", "auto"])
def test_every_speed_fills_at_the_next_bars_open(speed: str) -> None:
    bars = frame(200)
    row = {"strategy_type": "momentum", "parameters": {"lookback_periods": 3, "threshold": 0.005}}
    result = anystrat.backtest(row, bars, instruments=[1], fill="next_open", speed=speed)
    fills = result.fills
    places = np.searchsorted(bars["ts_ns"], fills["ts_ns"])
    assert len(places) > 10
    assert fills["price"].tolist() == bars["Open"][places].tolist()


def test_a_strategy_reads_the_bar() -> None:
    seen = []

    class Reads:
        def get_required_history_length(self) -> int:
            return 1

        def supports_instrument(self, token: int) -> bool:
            return True

        def get_strategy_name(self) -> str:
            return "reads"

        def process_tick(self, tick: anystrat.MarketTick, history: Any) -> None:
            assert tick.metadata is not None
            seen.append((tick.metadata["low"], history[-1].metadata["high"]))

    block = TickColumns(np.array([1]), np.array([1]), np.array([2.0]), high=np.array([3.0]), low=np.array([1.0]))

    engine = Engine()
    engine.register(StrategyConfig("s", "reads", None, (1,)), "paper", Reads())
    for row in block.rows():
        engine.step(row)
    assert seen == [(Decimal(1), Decimal(3))]
