"""The quickstart's data and model: real, in order, free of leakage, and made by the script that is beside them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from anystrat.adapters.model_shelf import OnnxShelf
from anystrat.strategies.ml import DEFAULT_FEATURES, MLParameters, MLStrategy

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"
MODEL = QUICKSTART / "models" / "momentum.onnx"

pytest.importorskip("bokeh_sampledata")


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(QUICKSTART))
    return pytest.importorskip("data")


def test_ticks_come_in_order_at_the_close_of_new_york(data: ModuleType) -> None:
    ticks = data.tick_columns()
    assert len(ticks) == 3 * 3270 + 2148
    assert (np.diff(ticks.ts_ns) >= 0).all()
    same_time = np.diff(ticks.ts_ns) == 0
    assert (np.diff(ticks.instrument_token)[same_time] > 0).all()
    assert (ticks.price > 0.0).all()
    winter, summer = date(2009, 1, 2), date(2009, 7, 1)
    assert data.close_ns(winter) == int(datetime(2009, 1, 2, 21, tzinfo=UTC).timestamp()) * 10**9
    assert data.close_ns(summer) == int(datetime(2009, 7, 1, 20, tzinfo=UTC).timestamp()) * 10**9


def test_a_range_of_days_holds_both_its_ends(data: ModuleType) -> None:
    ticks = data.tick_columns(date(2009, 1, 2), date(2009, 1, 5))
    assert sorted(set(ticks.ts_ns.tolist())) == [data.close_ns(date(2009, 1, 2)), data.close_ns(date(2009, 1, 5))]
    assert len(ticks) == 8


def test_splits_leave_no_jump_in_adjusted_prices(data: ModuleType) -> None:
    apple = data.daily_prices()[0]
    # Two for one on 2005-02-28: the unadjusted close went from 88.99 to 44.86.
    day = apple.days.index(date(2005, 2, 28))
    assert 1.0 < apple.price[day] / apple.price[day - 1] < 1.02


def test_the_model_serves_with_the_default_features_and_its_card_is_of_these_bytes() -> None:
    facts = json.loads(MODEL.with_name("momentum.card.json").read_text())
    assert facts["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert tuple(facts["features"]) == DEFAULT_FEATURES["ml_momentum"]
    assert facts["split"]["train"]["last"] < facts["split"]["date"] <= facts["split"]["test"]["first"]
    assert all(abs(sum(bins["shares"]) - 1.0) < 1e-4 for bins in facts["drift"]["bins"])
    strategy = MLStrategy("ml_momentum", MLParameters(str(MODEL), min_conf=0.4), OnnxShelf())
    assert strategy.load_model()
    assert strategy.get_required_history_length() == facts["history"] == 21
    assert strategy.model is not None
    assert strategy.model.batchable


def test_the_model_makes_buy_and_sell_signals_out_of_sample(data: ModuleType) -> None:
    strategy = MLStrategy("ml_momentum", MLParameters(str(MODEL), min_conf=0.4), OnnxShelf())
    apple = data.daily_prices()[0]
    first = apple.days.index(date(2009, 1, 2))
    sides, *_ = strategy.process_columns(apple.price, first)
    assert set(sides.tolist()) == {0, 1, 2}
    assert strategy.inference_failures == 0


@pytest.mark.slow
def test_no_training_label_looks_at_a_day_of_the_test(data: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skl2onnx")
    train = pytest.importorskip("train")
    series = data.daily_prices()
    before, after = train.samples(series)
    for one in series:
        one.price[[day >= train.SPLIT for day in one.days]] = 1.0
    again, _ = train.samples(series)
    assert again.features.tobytes() == before.features.tobytes()
    assert again.label.tobytes() == before.label.tobytes()
    assert before.last < train.SPLIT <= after.first


@pytest.mark.slow
def test_training_again_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    # With these seeds of `hash`, a set of what the model imports has both its orders.
    for name, seed in (("a", "0"), ("b", "116")):
        command = [sys.executable, str(QUICKSTART / "train.py"), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed})
    for file in ("momentum.onnx", "momentum.card.json", "momentum.card.md"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
