"""One call: whatever strategies and ticks are handed in, the same run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import anystrat
from anystrat.domain.columns import TickColumns
from anystrat.testing.ticks import START_NS

ROW = {"strategy_type": "momentum", "parameters": {"lookback_periods": 3, "threshold": 0.01, "position_size": 10}}
CONFIG: dict[str, Any] = {
    "version": 1,
    "run": {"name": "given"},
    "instruments": [{"token": 5, "symbol": "FIVE"}],
    "brokers": {"paper": {"type": "paper", "fee_bps": 2}},
    "strategies": [{"id": "momentum", "instruments": [5], **ROW}],
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    prices = np.round(100 + 3 * np.sin(np.arange(600) / 3), 2)
    return pd.DataFrame({"ts_ns": START_NS + 4_000_000_000 * np.arange(600), "instrument_token": 5, "price": prices})


@pytest.fixture(scope="module")
def wanted(frame: pd.DataFrame) -> float:
    end: float = anystrat.backtest(CONFIG, frame).stats.end
    assert end != 1_000_000.0
    return end


def test_strategies_come_as_configurations_rows_types_and_names(frame: pd.DataFrame, wanted: float, tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(__import__("json").dumps(CONFIG))
    wiring = __import__("anystrat.bootstrap", fromlist=["x"]).default_wiring()
    from anystrat.config import load_configuration

    for given in (path, str(path), load_configuration(path, wiring.catalog)):
        assert anystrat.backtest(given, frame).stats.end == wanted
    for given in (ROW, [ROW], [{"id": "mine", **ROW}], {"instruments": [5], **ROW}):
        assert anystrat.backtest(given, frame, fee_bps=2).stats.end == wanted
    assert list(anystrat.backtest(["momentum", "momentum"], frame).strategies) == ["momentum", "momentum-2"]


def test_a_function_is_a_strategy(frame: pd.DataFrame):
    @anystrat.rule(history=2)
    def rising(prices: Any) -> str | None:
        return "BUY" if prices[-1] > prices[0] else None

    result = anystrat.backtest(rising, frame, fee_bps=1)
    assert list(result.strategies) == ["rising"]
    assert result.stats.fills > 10
    assert anystrat.backtest(rising, frame, fee_bps=1).stats.end == result.stats.end


def test_ticks_come_as_frames_columns_arrays_and_files(frame: pd.DataFrame, wanted: float, tmp_path: Path):
    csv = tmp_path / "ticks.csv"
    frame.to_csv(csv, index=False)
    arrays = {name: frame[name].to_numpy() for name in frame.columns}
    block = TickColumns(arrays["ts_ns"], arrays["instrument_token"], arrays["price"])
    for ticks in (frame, arrays, block, [block], csv, str(csv), [csv], frame.drop(columns="instrument_token")):
        assert anystrat.backtest(CONFIG, ticks).stats.end == wanted
    assert anystrat.backtest(CONFIG | {"source": {"type": "file", "path": str(csv)}}).stats.end == wanted


def test_strategies_watch_all_instruments_of_the_ticks_or_those_that_are_named(frame: pd.DataFrame):
    two = pd.concat([frame, frame.assign(instrument_token=6)])
    assert anystrat.backtest(ROW, two).tokens == [5, 6]
    assert anystrat.backtest(ROW, two, instruments=[6]).tokens == [6]


def test_the_run_says_what_it_was_made_of(frame: pd.DataFrame):
    result = anystrat.backtest(CONFIG, frame)
    (what, name, digest), *_ = result.facts.inputs
    assert (what, name, len(digest)) == ("ticks", "600 rows in memory", 64)
    assert result.facts.name == "given"
    other = anystrat.backtest(CONFIG, frame.assign(price=frame["price"] + 1))
    assert other.facts.inputs[-1][2] != digest
    assert result.counts["ticks"] == 600


def test_costs_beside_a_configuration_are_refused(frame: pd.DataFrame):
    with pytest.raises(TypeError, match="fee_bps: the configuration has its own costs"):
        anystrat.backtest(CONFIG, frame, fee_bps=1)


def test_ticks_that_are_not_there_are_said_in_words():
    with pytest.raises(anystrat.TickFileError, match="there are no ticks"):
        anystrat.backtest(CONFIG)


def test_what_a_configuration_refuses_is_refused_here(frame: pd.DataFrame):
    with pytest.raises(anystrat.ConfigurationError, match="did you mean 'threshold'"):
        anystrat.backtest({"strategy_type": "momentum", "parameters": {"treshold": 1}}, frame)


def test_the_report_is_one_call_away(frame: pd.DataFrame, tmp_path: Path):
    path = anystrat.backtest(CONFIG, frame).report(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").count("</section>") > 4


@pytest.mark.parametrize(
    "first",
    [
        "import anystrat",
        "import anystrat.backtest.replay",
        "from anystrat.backtest.statistics import sharpe",
        "import anystrat.backtest.replay as replay; assert replay.Speed",
        "from anystrat import *",
    ],
)
def test_the_name_is_a_function_and_a_package_whichever_is_wanted_first(first: str):
    code = f"{first}\nimport anystrat\nassert callable(anystrat.backtest)\nimport anystrat.backtest.result as r\nassert r.BacktestResult"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_loads_none_of_it():
    code = "import sys, anystrat\nassert 'numpy' not in sys.modules\nassert 'anystrat.backtest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
