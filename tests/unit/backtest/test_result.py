"""The result: figures that add up, tables that agree with each other and with the engine."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.backtest.backtest_case import CONFIG, recorded, ticks

from anystrat.backtest.recorder import Recorder
from anystrat.backtest.replay import Replayed, Speed
from anystrat.backtest.report import replay_report
from anystrat.backtest.result import BacktestResult
from anystrat.backtest.words import cautions
from anystrat.bootstrap import build_engine, default_wiring
from anystrat.config import configuration_from_mapping
from anystrat.domain.outcomes import Dropped, Emitted


def result_of(blocks: Any, config: dict[str, Any] = CONFIG, **options: Any) -> BacktestResult:
    engine, recorder, done = recorded(blocks, config, speed=Speed.COLUMNS, **options)
    return BacktestResult(recorder, replay_report(engine, done))


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return result_of(ticks(count=5_000, ticks_per_day=150))


def test_the_portfolio_is_the_sum_of_the_strategies(result: BacktestResult):
    each = result.strategies.values()
    assert result.stats.profit == pytest.approx(sum(one.profit for one in each))
    for name in ("fills", "trades"):
        assert getattr(result.stats, name) == sum(getattr(one, name) for one in each) > 50
    for name in ("fees", "slippage", "traded", "costs"):
        assert getattr(result.stats, name) == pytest.approx(sum(getattr(one, name) for one in each))


def test_so_are_the_instruments(result: BacktestResult):
    table = result.instruments
    assert table["profit"].sum() == pytest.approx(result.stats.profit)
    assert table["fills"].sum() == result.stats.fills
    assert table["fees"].sum() == pytest.approx(result.stats.fees)
    assert table["trades"].sum() == result.stats.trades
    assert table["symbol"].tolist() == ["AAA", "BBB", "3"]


def test_costs_are_what_was_configured(result: BacktestResult):
    fills = result.fills
    # Decision 4: a fee is on price times quantity, whatever the multiplier; slippage is on what the position is worth.
    assert result.stats.fees == pytest.approx(float(np.sum(np.abs(fills["quantity"]) * fills["price"])) * 2e-4)
    assert result.stats.slippage == pytest.approx(result.stats.traded * 1e-4, rel=1e-3)


def test_days_make_months_and_months_make_the_whole(result: BacktestResult):
    months = result.monthly
    assert months["month"].tolist() == ["2024-01", "2024-02"]
    whole = np.prod(1.0 + months["portfolio"]) - 1.0
    assert whole == pytest.approx(result.stats.total_return)
    assert np.prod(1.0 + months["buy_and_hold"]) - 1.0 == pytest.approx(result.benchmark.total_return)
    assert result.daily["portfolio"][-1] == result.stats.end
    assert (result.stats.marks, result.stats.periods) == (len(result.daily["ts_ns"]), 252)


def test_buy_and_hold_earns_the_mean_of_what_the_instruments_did(result: BacktestResult):
    assert result.benchmark.total_return == pytest.approx(float(np.mean(result.instruments["hold_return"])))


def test_a_fill_belongs_to_the_signal_that_it_fills(result: BacktestResult):
    signals, fills = result.signals, result.fills
    filled = np.flatnonzero(signals["filled_ts_ns"] > 0)
    assert len(filled) == fills.rows
    assert (signals["filled_ts_ns"][filled] >= signals["ts_ns"][filled]).all()
    signed = np.where(signals["signal_type"] == "BUY", 1, -1) * signals["quantity"]
    by_order = sorted(zip(signals["filled_ts_ns"][filled], signals["strategy_id"][filled], signed[filled], strict=True))
    assert by_order == sorted(zip(fills["ts_ns"], fills["strategy_id"], fills["quantity"], strict=True))


def test_signals_have_the_ids_of_the_engine():
    blocks = ticks(count=1_500)
    result = result_of(blocks)
    wiring = default_wiring()
    engine = build_engine(configuration_from_mapping(CONFIG, wiring.catalog), wiring)
    outcomes = [each for block in blocks for row in block.rows() for each in engine.step(row)]
    assert result.signals["signal_id"].tolist() == [
        each.signal.signal_id for each in outcomes if isinstance(each, Emitted)
    ]
    assert int(result.drops["count"].sum()) == sum(isinstance(each, Dropped) for each in outcomes)


def test_a_trade_says_what_opened_it(result: BacktestResult):
    trades = result.trades
    assert trades.rows == result.stats.trades
    assert trades["profit"].sum() == pytest.approx(
        sum(one.expectancy * one.trades for one in result.strategies.values())
    )
    assert (trades["duration_ns"] == trades["closed_ts_ns"] - trades["opened_ts_ns"]).all()
    assert set(trades["side"]) == {"LONG", "SHORT"}
    assert ((trades["confidence"] > 0) & (trades["confidence"] <= 1)).all()


def test_what_is_printed_as_json_is_json_without_nan(result: BacktestResult):
    printed = json.loads(json.dumps(result.to_dict(), allow_nan=True))
    assert printed["schema_version"] == 1
    assert printed["portfolio"]["trades"] == result.stats.trades
    assert set(printed["accounts"]) == {"trend", "fade"}
    assert printed["first_ts_ns"] < printed["last_ts_ns"]
    empty = result_of(ticks(count=3)).stats.to_dict()
    assert (empty["sharpe"], empty["hit_rate"], empty["trades"]) == (None, None, 0)


def test_a_frame_becomes_the_table_of_a_library(result: BacktestResult):
    frame = result.fills
    arrow = frame.to_arrow()
    assert arrow.schema.field("ts_ns").type == pa.timestamp("ns", tz="UTC")
    assert arrow.num_rows == frame.rows
    assert pa.table(frame).equals(arrow)
    pandas = frame.to_pandas()
    assert str(pandas["ts_ns"].dtype) == "datetime64[ns, UTC]"
    assert pandas["price"].tolist() == frame["price"].tolist()
    assert f"{frame.rows:,} rows" in repr(frame)


def test_polars_is_asked_for_where_it_is_missing(result: BacktestResult, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ImportError, match="pip install polars"):
        result.fills.to_polars()


def test_no_tick_and_no_trade_are_results_too():
    engine, recorder, done = recorded([])
    nothing = BacktestResult(recorder, replay_report(engine, done))
    assert nothing.stats.total_return == 0.0
    assert (nothing.fills.rows, nothing.signals.rows, nothing.trades.rows, nothing.drops.rows) == (0, 0, 0, 0)
    assert nothing.monthly.rows == nothing.equity.rows == 0
    assert "BacktestResult" in repr(nothing)


def test_without_a_strategy_there_is_still_a_portfolio():
    wiring = default_wiring()
    engine = build_engine(configuration_from_mapping({"version": 1, "strategies": []}, wiring.catalog), wiring)
    result = BacktestResult(Recorder(engine, cash=500.0), replay_report(engine, Replayed()))
    assert (result.stats.start, result.stats.end) == (500.0, 500.0)


def test_it_says_itself_in_a_notebook_and_escapes_names(result: BacktestResult):
    page = result._repr_html_()
    assert "<svg" in page
    assert f"{result.stats.trades:,}" in page
    assert "profit factor" in repr(result)


def test_the_days_of_a_year_can_be_said():
    engine, recorder, done = recorded(ticks(count=2_000, ticks_per_day=80))
    counts = replay_report(engine, done)
    one, other = (BacktestResult(recorder, counts, periods=periods).stats for periods in (252, 365))
    assert other.volatility / one.volatility == pytest.approx(math.sqrt(365 / 252))


def test_sizes_by_another_capital_than_the_account_s_are_said():
    sizing = {"mode": "equity", "fraction": 0.1, "capital": 50_000}
    row = {**CONFIG["strategies"][0], "parameters": {"lookback_periods": 5, "threshold": 0.00005, "sizing": sizing}}
    blocks = ticks(count=800)
    for cash, said in ((50_000.0, 0), (60_000.0, 1)):
        one = result_of(blocks, {**CONFIG, "strategies": [row]}, cash=cash)
        found = [text for text in cautions(one) if "capital of" in text]
        assert len(found) == said
    assert found[0].startswith("trend sizes its orders by a capital of 50,000, and its account here starts with 60,000")


def test_a_picture_has_the_account_buy_and_hold_and_the_drawdown(result: BacktestResult, tmp_path: Path):
    picture = ET.fromstring(str(result.plot("trend")))
    assert {each.get("class") for each in picture.iter() if each.get("class")} == {
        "head",
        "grid",
        "hold",
        "own",
        "deep",
    }
    assert result.plot().save(tmp_path / "all.svg").read_text(encoding="utf-8") == result.plot()._repr_svg_()
    with pytest.raises(KeyError, match="did you mean 'trend'"):
        result.plot("trnd")


def test_a_picture_keeps_the_lowest_and_the_highest_worth(result: BacktestResult):
    (line,) = [each for each in ET.fromstring(str(result.plot())).iter() if each.get("class") == "own"]
    heights = [float(point.partition(",")[2]) for point in str(line.get("points")).split()]
    curve, hold = result.portfolio.curve, result.buy_and_hold.curve
    low, high = min(curve.low.min(), hold.low.min()), max(curve.high.max(), hold.high.max())
    for worth, at in ((curve.low.min(), max(heights)), (curve.high.max(), min(heights))):
        assert at == pytest.approx(260 - (worth - low) / (high - low) * 230, abs=0.06)
