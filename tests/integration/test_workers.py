"""A run in workers comes to what a replay comes to, also where one of them is killed with `kill -9` at a tick."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import anystrat
from anystrat import plugins
from anystrat.__main__ import main
from anystrat.bootstrap import default_catalog
from anystrat.cli.options import Settings
from anystrat.cli.run import Asked
from anystrat.cli.run_workers import run_workers
from anystrat.config import load_configuration

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

CONFIGURATION = """\
version: 1
source: {type: file, path: ticks.jsonl}
brokers: {out: {type: jsonl, path: out.jsonl}}
journal: {type: sqlite, path: journal.db}
log: {level: error}
strategies:
  - id: each
    strategy_type: rising
    per_instrument: true
    instruments: [1, 2, 3, 4, 5, 6]
    brokers: [out]
  - {id: pair, strategy_type: momentum, parameters: {lookback_periods: 3, threshold: 0.001}, instruments: [2, 5], brokers: [out]}
"""
_LAST_PRICE = 123.25


@anystrat.rule(history=2)
def rising(prices):
    """Buys what rises; dies of `kill -9` at one price, once, where the file `armed` is."""
    armed = Path("armed")
    if prices[-1] == _LAST_PRICE and armed.exists():
        armed.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return "BUY" if prices[-1] > prices[-2] else None


def ticks() -> str:
    rows = []
    for k in range(240):
        price = _LAST_PRICE if k == 150 else 100 + (k * k * 7919 % 101 - 50) / 20
        row = {"ts_ns": 1_704_186_900_000_000_000 + k * 10**9, "instrument_token": 1 + k % 7, "price": price}
        rows.append(json.dumps(row if k != 100 else {"price": "?"}))
    return "\n".join(rows) + "\n"


def signals(paths: Sequence[Path]) -> dict[str, str]:
    """What a consumer that honours ids has; an id with two contents is an error."""
    found: dict[str, str] = {}
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            for key in ("reasoning", "metadata"):
                row.pop(key, None)
            assert found.setdefault(row["signal_id"], json.dumps(row)) == json.dumps(row)
    return found


def run_in_workers(workers: int) -> tuple[int, dict[str, Any]]:
    catalog = default_catalog()
    asked = Asked(Path("run.yaml"), Settings(quiet=True), None, "scalar", 10.0, None, False)
    configured = load_configuration(Path("run.yaml"), catalog)
    return run_workers(asked, catalog, configured, None, workers, first_wait_sec=0.01)


@pytest.fixture
def replayed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_registered", list(plugins._registered))
    anystrat.register_strategy(rising)
    (tmp_path / "ticks.jsonl").write_text(ticks())
    (tmp_path / "run.yaml").write_text(CONFIGURATION)
    assert main(["replay", "run.yaml", "--ticks", "ticks.jsonl", "--signals", "replayed.jsonl", "-q"]) == 0
    return signals([tmp_path / "replayed.jsonl"])


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_of_which_one_is_killed_send_what_a_replay_gives(tmp_path, replayed, workers):
    assert len(replayed) > 30
    (tmp_path / "armed").touch()
    code, report = run_in_workers(workers)
    assert code == 0
    assert not (tmp_path / "armed").exists()
    assert signals(sorted(tmp_path.glob("out.worker-*.jsonl"))) == replayed
    # Every row of the file is in the accounts of one worker: what nobody watches and what is no tick, too.
    assert (report["ticks"]["received"], report["ticks"]["dropped"]) == (240, {"malformed": 1, "unrouted": 34})


def test_commands_look_at_all_workers_or_at_the_one_that_is_named(tmp_path, replayed, capsys):
    assert run_in_workers(2)[0] == 0
    assert main(["status", "run.yaml"]) == 0
    assert "240 received" in capsys.readouterr().out
    assert main(["journal", "info", "run.yaml"]) == 2
    assert "every worker has a journal: name one, --part 0 or 1" in capsys.readouterr().err
    codes = [main(["explain", "run.yaml", "--live", "--strategy", "pair", "--part", part]) for part in "01"]
    assert sorted(codes) == [0, 2]
    assert "pair on out, instrument " in capsys.readouterr().out
    assert main(["run", "run.yaml", "-q"]) == 3
    assert "anystrat run --workers 2" in capsys.readouterr().err
