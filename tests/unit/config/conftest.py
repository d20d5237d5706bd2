"""A place to write configurations to, and to load them from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from anystrat.config import load_configuration
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.catalog import Catalog

Load = Callable[..., Configuration]
Refuse = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def catalog() -> Catalog:
    return builtin_catalog()


@pytest.fixture
def load(tmp_path: Path, catalog: Catalog) -> Load:
    """Write `text` (and other files, by name) and load it."""

    def load_text(
        text: str, environ: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
    ) -> Configuration:
        for name, content in {"anystrat.yaml": text, **(files or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return load_configuration(tmp_path / "anystrat.yaml", catalog, environ=environ or {})

    return load_text


@pytest.fixture
def refuse(load: Load) -> Refuse:
    """Write `text` as `load` does; the problems that it is refused with."""

    def refused(
        text: str, environ: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
    ) -> tuple[Problem, ...]:
        with pytest.raises(ConfigurationError) as refusal:
            load(text, environ, files)
        return refusal.value.problems

    return refused


@pytest.fixture
def spec_example() -> str:
    """The example of the contract, as it stands there."""
    return """\
version: 1
run: {name: demo, rng_seed: 7, shards: 4, overload: block}
instruments:
  - {token: 256265, symbol: "NIFTY 50", exchange: NSE, tick_size: "0.05", lot_size: 75, calendar: XBOM}
source: {type: file, path: ticks.parquet, pace: max}
brokers:
  paper: {type: paper, fee_bps: 2, slippage_bps: 1, fill: next_tick}
  out: {type: jsonl, path: signals.jsonl}
journal: {type: sqlite, path: state/journal.db}
strategies:
  - id: strat-001
    strategy_type: hybrid_momentum
    parameters: {lookback_periods: 20, threshold: 0.012, position_size: 75, model_path: models/momentum.onnx,
                 policy: majority, min_conf: 0.6, risk: {min_confidence: 0.55, cooldown_sec: 60, max_signals_per_min: 6}}
    instruments: [256265]
    brokers: [paper]
    enabled: true
"""


@pytest.fixture
def row_with() -> Callable[[str], str]:
    """A configuration of one momentum row whose parameters are `text`; they are on line 4."""

    def configuration(text: str, kind: str = "momentum") -> str:
        return f"strategies:\n  - id: a\n    strategy_type: {kind}\n    parameters: {{{text}}}\n    instruments: [1]\n"

    return configuration
