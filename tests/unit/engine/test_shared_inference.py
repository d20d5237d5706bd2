"""Over columns a model is asked once for the rows of all instruments and strategies of a block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anystrat.bootstrap import Wiring, build_engine, default_catalog
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.engine.tally import tally_of
from anystrat.strategies.ml import MLStrategy


class Model:
    """Buys what rose and sells what fell; counts calls and rows. Raises on a change beyond 30%."""

    sha256 = "cd" * 32
    feature_names = ("ret_2",)
    batchable = True

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, rows: Any) -> Any:
        self.calls.append(len(rows))
        if (np.abs(rows) > 0.3).any():
            raise RuntimeError("no such market")
        up = np.clip(0.5 + 20.0 * rows, 0.0, 1.0)
        return np.concatenate([1.0 - up, np.zeros_like(up), up], axis=1).astype(np.float32)


class Shelf:
    def __init__(self, model: Model) -> None:
        self.serving = model

    def model(self, path: str) -> Any:
        return self.serving


def engine_over(model: Model) -> Engine:
    rows = [
        {"id": "all", "strategy_type": "ml_momentum", "parameters": {"model_path": "m"}, "instruments": [1, 2, 3]},
        {"id": "sure", "strategy_type": "ml_breakout", "parameters": {"model_path": "m", "min_conf": 0.9}, "instruments": [2, 3]},
        {
            "id": "both",
            "strategy_type": "hybrid_momentum",
            "parameters": {"model_path": "m", "lookback_periods": 4, "threshold": 0.0001},
            "instruments": [1, 3],
        },
    ]  # fmt: skip
    catalog = default_catalog()
    configuration = configuration_from_mapping({"version": 1, "strategies": rows}, catalog, base_dir=Path())
    return build_engine(configuration, Wiring(catalog, Shelf(model)))


def ticks(count: int, *, jump: int | None = None) -> TickColumns:
    random = np.random.default_rng(4)
    price = np.round(100.0 * np.exp(np.cumsum(random.normal(0.0, 0.004, count))), 2)
    if jump is not None:
        price[jump:] *= 2.0
    return TickColumns(np.arange(count, dtype=np.int64) * 10**10, random.integers(1, 4, count), price)


def both_ways(count: int, **options: Any) -> tuple[Model, list[str], list[str], Engine, Engine]:
    block = ticks(count, **options)
    slow, model = engine_over(Model()), Model()
    expected = [repr(outcome) for row in block.rows() for outcome in slow.step(row)]
    fast = engine_over(model)
    model.calls.clear()
    runner = BlockRunner(fast, None)
    cut = count // 2
    result = [runner.run(block.taken(np.arange(cut)))]
    found = [repr(outcome) for outcome in outcomes_of(fast, result[0])]
    assert model.calls == [model.calls[0]], "one call for all instruments and strategies"
    found += [repr(outcome) for outcome in outcomes_of(fast, runner.run(block.taken(np.arange(cut, count))))]
    return model, found, expected, fast, slow


def without_reasons(texts: list[str]) -> list[str]:
    return [text.split("reasoning=")[0] + text.split("strategy_id=")[-1] for text in texts]


def counts(engine: Engine) -> list[tuple[int, int, str]]:
    strategies: list[MLStrategy] = [getattr(each.processor, "ml", each.processor) for each in engine.executors]
    return [(each.inferences, each.inference_failures, each.last_failure) for each in strategies]


def test_one_call_a_block_and_the_signals_of_single_ticks() -> None:
    model, found, expected, fast, slow = both_ways(600)
    assert len(model.calls) == 2
    assert len(expected) > 100
    assert without_reasons(found) == without_reasons(expected)
    assert counts(fast) == counts(slow)


def test_a_row_that_fails_costs_no_other_instrument_its_answer() -> None:
    model, found, expected, fast, slow = both_ways(600, jump=450)
    assert len(model.calls) > 100
    assert without_reasons(found) == without_reasons(expected)
    assert counts(fast) == counts(slow)
    assert all(failures for _, failures, _ in counts(slow))


def test_each_run_of_the_model_counts_once_whoever_shares_its_answer() -> None:
    row = {"strategy_type": "ml_momentum", "parameters": {"model_path": "m"}, "instruments": [1, 2]}
    rows = [{"id": "two", **row, "brokers": ["paper", "out"]}, {"id": "same", **row}]
    catalog, block = default_catalog(), ticks(200)
    for columns in (False, True):
        model = Model()
        top = {"version": 1, "strategies": rows, "brokers": {"out": {"type": "log"}}}
        configuration = configuration_from_mapping(top, catalog, base_dir=Path())
        engine = build_engine(configuration, Wiring(catalog, Shelf(model)))
        model.calls.clear()
        if columns:
            BlockRunner(engine, None).run(block)
        else:
            for each in block.rows():
                engine.step(each)
        found = [(each.strategy_id, tally_of(each).inferences) for each in engine.executors]
        assert sum(count for _, count in found) == sum(model.calls) > 100
        assert [count for name, count in found if name == "same"] == [0]
