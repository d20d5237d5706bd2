"""Whatever becomes of a configuration file, it loads or is refused; nothing else comes out."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.config import configuration_from_mapping
from anystrat.config.gather import RowGatherer
from anystrat.config.load import ENDPOINTS, _Assembly
from anystrat.config.node import Origin
from anystrat.config.problems import Problems
from anystrat.config.yaml_reader import read_yaml
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError
from anystrat.strategies.builtin import builtin_catalog

CATALOG = builtin_catalog()
VALID = """\
version: 1
run: {name: demo, rng_seed: 7, shards: 4, overload: block}
x-shared: &shared {lookback_periods: 20, threshold: 1e-2}
instruments:
  - {token: 256265, symbol: "NIFTY 50", exchange: NSE, tick_size: "0.05", lot_size: 75, calendar: XBOM}
source: {type: file, path: ticks.parquet, pace: max}
brokers:
  paper: {type: paper, fee_bps: 2, slippage_bps: 1, fill: next_tick}
  hook: {type: webhook, url: "https://${HOST}/", headers: {A: b}, timeout_sec: 2.5}
journal: {type: sqlite, path: state/journal.db}
strategies:
  - id: strat-001
    strategy_type: hybrid_momentum
    parameters: {<<: *shared, model_path: models/momentum.onnx, policy: {type: majority}, min_conf: 0.6,
                 risk: {min_confidence: 0.55, cooldown_sec: 60, allow_sessions: [preopen]}}
    instruments: [256265]
    brokers: [paper, hook]
  - id: strat-002
    strategy_type: hybrid
    parameters:
      rules: {type: sma_crossover, fast_periods: 3, slow_periods: 9}
      ml: {type: ml_breakout, model_path: m.onnx}
      policy: threshold_escalation
      vol_threshold: 0.1
    instruments: [1, 2]
"""
FRAGMENTS = st.sampled_from(
    ["{", "}", "[", "]", ":", ": ", ",", "- ", "&a ", "*a", "*shared", "<<: ", "!!python/name:os.system ", "!!int ", "!x ", "? ", "|\n", ">",
     '"', "'", "\n", "\n  ", "\t", "#", "%YAML 1.1\n", "---\n", "...\n", "${", "${HOST}", "${NO}", "$${", ".nan", "-.inf", "1e999", "-1",
     "0", "null", "true", "~", "\x00", "\x85", "\u2028", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "include", "from", "type", "9" * 30]
)  # fmt: skip


def _outcome(text: str) -> Configuration | None:
    problems = Problems()
    with contextlib.suppress(ConfigurationError):
        root = read_yaml(text, Origin("mutant.yaml", Path("/nonexistent")))
        if root is None:
            return None
        gatherer = RowGatherer({"HOST": "host"}, problems)
        assembly = _Assembly(CATALOG, {"HOST": "host"}, ENDPOINTS, problems, gatherer)
        return assembly.configuration(root, Path("/nonexistent"))
    return None


def test_the_file_that_is_mutated_is_good_to_begin_with() -> None:
    assert _outcome(VALID) is not None


@st.composite
def mutants(draw: st.DrawFn) -> str:
    text = VALID
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from((0, 0, 1, 1, 2, 5, 40)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            text = text[:at] + draw(FRAGMENTS) + text[at + length :]
        elif kind == 1:
            text = text[:at] + text[at + length :]
        elif kind == 2:
            text = text[:at] + draw(st.text(max_size=4)) + text[at:]
        else:
            other = draw(st.integers(0, len(text)))
            text = text[:at] + text[other : other + length] + text[at:]
    return text


@settings(max_examples=2 * settings().max_examples)
@given(mutants())
def test_a_mutated_file_loads_or_is_refused_and_nothing_else(text: str) -> None:
    _outcome(text)


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.decimals(), st.just("${HOST}"), st.just(10**400),
        st.sampled_from(["momentum", "hybrid", "majority", "paper", "file", "max", "standard"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["type", "id", "a", "from", "include", "risk"]), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def _paths(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


MAPPING = json.loads(
    json.dumps(
        {
            "version": 1,
            "run": {"name": "a", "rng_seed": 1, "shards": 1, "overload": "block", "sharding": "hash", "mailbox": 2},
            "instruments": [{"token": 1, "symbol": "A", "calendar": "XBOM", "tick_size": "0.05", "lot_size": 1, "multiplier": 1, "round_to_lot": False}],
            "source": {"type": "synthetic", "ticks": 5, "instruments": [1], "pace": 2.0},
            "brokers": {"paper": {"type": "paper", "fee_bps": 1}, "k": {"type": "kafka", "bootstrap_servers": "a", "topic": "t", "options": {"a": "b"}}},
            "journal": {"type": "postgres", "url": "postgresql://h/d"},
            "sessions": {"overrides": {"XBOM": [{"date": "2026-11-08", "open": "18:00", "close": "19:00"}]}, "preopen_minutes": {"XBOM": 1}},
            "metrics": {"host": "127.0.0.1", "port": 9464, "expose": False, "hosts": ["a"], "sample": 0.5},
            "tracing": {"sample": 0.5, "endpoint": "http://h", "headers": {"a": "b"}},
            "log": {"format": "json", "level": "info"},
            "strategies": [
                {"id": "a", "strategy_type": "momentum", "parameters": {"lookback_periods": 2, "risk": {"cooldown_sec": 1, "allow_sessions": ["closed"]}},
                 "instruments": [1], "brokers": ["paper"], "enabled": True, "name": "n", "validator": "standard", "per_instrument": True},
                {"id": "b", "strategy_type": "hybrid_breakout", "parameters": {"model_path": "m", "policy": {"type": "sizer", "min_scale": 0.1}}, "instruments": [1]},
            ],
        }
    )
)  # fmt: skip


@settings(max_examples=3 * settings().max_examples)
@given(data=st.data())
def test_a_mapping_with_any_value_anywhere_loads_or_is_refused_and_nothing_else(data: st.DataObject) -> None:
    mapping = json.loads(json.dumps(MAPPING))
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from([path for path in _paths(mapping) if path]))
        target = mapping
        for step in parents:
            target = target[step]
        target[last] = data.draw(VALUES)

    with contextlib.suppress(ConfigurationError):
        configuration = configuration_from_mapping(mapping, CATALOG, environ={"HOST": "host"})
        assert all(isinstance(row.risk.price_bucket, Decimal) for row in configuration.strategies)
