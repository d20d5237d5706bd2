"""A replay at either speed: the very same files, the very same counts, the same words on standard error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.cli_project import SECOND_NS, START_NS, Project

from anystrat.testing.models import linear_model

TICKS = 2_800
CONFIG = """\
version: 1
run: {name: speeds, rng_seed: 7}
instruments:
  - {token: 1, symbol: AAA}
  - {token: 2, symbol: BBB, lot_size: 5, round_to_lot: true}
  - {token: 3, symbol: CCC}
strategies:
  - id: mom
    strategy_type: momentum
    parameters: {lookback_periods: 5, threshold: 0.001, position_size: 12, risk: {cooldown_sec: 20}}
    instruments: [1, 2, 3]
  - id: twin
    strategy_type: momentum
    parameters: {lookback_periods: 5, threshold: 0.001, position_size: 7, risk_multiplier: 0.5}
    instruments: [1, 2]
    brokers: [paper, out]
  - id: rev
    strategy_type: mean_reversion
    parameters: {lookback_periods: 20, z_entry: 1.5, position_size: 10, risk: {min_confidence: 0.6}}
    instruments: [2]
  - id: cross
    strategy_type: sma_crossover
    parameters: {fast_periods: 4, slow_periods: 9, position_size: 3, risk: {max_signals_per_min: 4}}
    instruments: [1, 3]
  - id: model
    strategy_type: ml_momentum
    parameters: {model_path: m.onnx, min_conf: 0.4, position_size: 2, risk: {max_loss_streak: 3, resume_after_sec: 100}}
    instruments: [1, 2]
  - id: both
    strategy_type: hybrid_momentum
    parameters: {lookback_periods: 5, threshold: 0.001, position_size: 4, model_path: m.onnx, policy: majority, min_conf: 0.4}
    instruments: [3]
brokers:
  out: {type: log}
"""  # fmt: skip


def prices(count: int, kind: str) -> Any:
    walk = (
        100 * np.exp(np.cumsum(1e-3 * np.random.default_rng(5).standard_normal((count, 4)), axis=0)).reshape(-1)[:count]
    )
    if kind == "wide":
        return walk  # sixteen and seventeen digits: rows that are more than whole numbers of some power of ten
    rounded = np.round(walk, 2)
    rounded[::9] = np.round(rounded[::9])
    return rounded


def recording(folder: Path, kind: str) -> Path:
    at = np.arange(TICKS, dtype=np.int64)
    price = prices(TICKS, kind)
    price[100] = math.nan
    price[101:104] = -1
    ts = START_NS + at * SECOND_NS
    ts[500] -= 60 * SECOND_NS
    columns = {"ts_ns": ts, "instrument_token": at % 4 + 1, "price": price}  # nobody watches 4
    if kind == "decimals":
        texts = [f"{value:.25f}" if value > 0 else "1.5" for value in price]
        columns["price"] = pa.array(texts)
    if kind == "flags":
        columns["halted"] = at % 700 > 680
        columns["auction"] = at % 900 > 890
    target = folder / "ticks.parquet"
    pq.write_table(pa.table(columns), target)
    return target


@pytest.mark.parametrize("reasons", [False, True], ids=["plain", "reasons"])
@pytest.mark.parametrize("kind", ["cents", "wide", "decimals", "flags"])
def test_both_speeds_write_the_same_files(project: Project, kind: str, reasons: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("anystrat.engine.columns.runner.BlockRunner._tick_by_tick", None)  # no block falls back
    if not reasons:
        monkeypatch.setattr("anystrat.backtest.replay.outcomes_of", None)  # nor is any signal made an object
    ramp = [[30.0, 0.0, -30.0], [0.0, 0.5, 0.0], [-9.0, 0.0, 9.0]]
    linear_model(project / "m.onnx", ("ret_1", "vol_10", "z_20"), ramp)
    project.config(CONFIG)
    recording(project.path, kind)
    reports, said = {}, {}
    for speed in ("scalar", "columns"):
        for suffix in ("jsonl", "parquet"):
            answer = project.run(
                "replay", "anystrat.yaml", "--ticks", "ticks.parquet", "--speed", speed, "--json",
                "--signals", f"{speed}.{suffix}", "--drops", f"{speed}-drops.{suffix}",
                *(["--reasons"] if reasons else []),
            )  # fmt: skip
            assert answer.code == 0, answer
            report = answer.json
            del report["seconds"], report["files"]
            reports[speed], said[speed] = report, [line for line in answer.err.splitlines() if "tick" in line]
    assert reports["scalar"] == reports["columns"]
    assert said["scalar"] == said["columns"] != []
    assert len(reports["scalar"]["drops"]) >= 3
    assert all(strategy["signals"] for strategy in reports["scalar"]["strategies"].values())
    for name in ("", "-drops"):
        lines = (project / f"scalar{name}.jsonl").read_bytes()
        assert lines == (project / f"columns{name}.jsonl").read_bytes() != b""
        one, other = (pq.read_table(project / f"{speed}{name}.parquet") for speed in ("scalar", "columns"))
        assert one.equals(other)
        assert len(one) == lines.count(b"\n") > 50
        assert (project / f"scalar{name}.parquet").read_bytes() == (project / f"columns{name}.parquet").read_bytes()


def test_a_short_recording_goes_over_columns_without_a_compiler_too(project: Project, monkeypatch: pytest.MonkeyPatch):
    """`auto`, in pieces: the files of the scalar path; and tick by tick as soon as one strategy cannot be asked otherwise."""
    monkeypatch.setattr("anystrat.backtest.replay._ROWS_AS_THEY_STAND", 700)
    linear_model(
        project / "m.onnx", ("ret_1", "vol_10", "z_20"), [[30.0, 0.0, -30.0], [0.0, 0.5, 0.0], [-9.0, 0.0, 9.0]]
    )
    project.config(CONFIG)
    recording(project.path, "flags")
    files = {}
    for speed in ("scalar", "auto"):
        with monkeypatch.context() as patch:
            if speed == "auto":
                patch.setattr("anystrat.backtest.replay._Drive.one_by_one", None)
                patch.setattr("anystrat.bootstrap.kernel_compiler", None)
            answer = project.run("replay", "--ticks", "ticks.parquet", "--speed", speed, "--signals", f"{speed}.jsonl")
        assert answer.code == 0, answer
        files[speed] = (project / f"{speed}.jsonl").read_bytes()
    assert files["auto"] == files["scalar"] != b""
    project.config(CONFIG.replace("  - id: rev\n", "  - id: rev\n    bars: 2s\n"))
    with monkeypatch.context() as patch:
        patch.setattr("anystrat.engine.columns.runner.BlockRunner.run", None)
        assert project.run("replay", "--ticks", "ticks.parquet").code == 0
