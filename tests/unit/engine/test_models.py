"""Versions of models in a run and in its replay: swaps, reverts, restarts, each at its place among the ticks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anystrat.bootstrap import Wiring, build_engine, default_catalog, default_wiring
from anystrat.bootstrap.models import ModelWatch, models_directory
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.errors import ModelRefused, SnapshotRefused
from anystrat.domain.events import ModelKept, ModelReverted, ModelServing, ModelSwapped
from anystrat.domain.inputs import decoded_inputs, encoded_inputs
from anystrat.domain.outcomes import Emitted, Noted, Outcome
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.strategies.catalog import BuildContext
from anystrat.testing.models import linear_model_bytes

SELLS, BUYS, HOLDS = (3.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.0, 3.0, 0.0)
BROKEN = linear_model_bytes(["ret_1", "z_3"], [[0.0, 0.0, 0.0]] * 2, (5.0, 0.0, 0.0), activation="none")


def model(bias: tuple[float, float, float]) -> bytes:
    return linear_model_bytes(["ret_1", "z_3"], [[9.0, 0.0, -9.0], [0.5, 0.0, -0.5]], bias)


class Run:
    """A directory with a model, a store of models, and engines over them."""

    def __init__(self, directory: Path) -> None:
        self.file, self.store = directory / "m.onnx", directory / "state" / "models"
        self.put(model(SELLS))

    def put(self, content: bytes) -> None:
        before = self.file.stat().st_mtime_ns if self.file.exists() else 0
        self.file.write_bytes(content)
        os.utime(self.file, ns=(before + 10**9, before + 10**9))

    def engine(self, *, store: bool = True, path: Path | None = None) -> tuple[Engine, Wiring]:
        parameters = {"model_path": str(path or self.file)}
        rules = {"lookback_periods": 3, "threshold": 0.0001}
        rows = [
            {"id": "ml", "strategy_type": "ml_momentum", "parameters": parameters, "instruments": [1, 2]},
            {"id": "both", "strategy_type": "hybrid_momentum", "parameters": parameters | rules, "instruments": [2]},
            {"id": "rules", "strategy_type": "momentum", "parameters": rules, "instruments": [1]},
        ]
        catalog = default_catalog()
        wiring = default_wiring(catalog, model_store=self.store if store else None)
        configuration = configuration_from_mapping({"version": 1, "strategies": rows}, catalog, base_dir=Path())
        return build_engine(configuration, wiring), wiring


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def ticks(count: int, start: int = 0) -> TickColumns:
    random = np.random.default_rng(11)
    price = np.round(100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, start + count))), 2)[start:]
    ts = np.arange(start, start + count, dtype=np.int64) * 5 * 10**9
    return TickColumns(ts, np.tile([1, 2], start + count)[start : start + count], price)


def texts(outcomes: list[Outcome]) -> list[str]:
    return [repr(each) for each in outcomes]


def sides(outcomes: list[Outcome], strategy: str = "ml") -> set[str]:
    signals = [each.signal for each in outcomes if isinstance(each, Emitted)]
    return {each.signal_type for each in signals if each.strategy_id == strategy}


def stepped(engine: Engine, block: TickColumns) -> list[Outcome]:
    return [outcome for row in block.rows() for outcome in engine.step(row)]


def changes(watch: ModelWatch, ts: int = 0) -> list[Any]:
    watch.look()
    watch.look()
    return watch.events(ts)


def live(run: Run) -> tuple[list[list[Any]], list[Outcome]]:
    """A run in four parts: a model, a better one, one that fails, and the better one again. What was recorded, and said."""
    engine, wiring = run.engine()
    watch = ModelWatch(wiring.models, [engine])
    recorded: list[list[Any]] = []
    said: list[Outcome] = []

    def part(events: list[Any], start: int, count: int) -> None:
        block = ticks(count, start)
        recorded.append([*events, block])
        for event in events:
            said.extend(engine.step(event))
        said.extend(stepped(engine, block))

    part(watch.at_start(0), 0, 30)
    run.put(model(BUYS))
    part(changes(watch, 5), 30, 30)
    run.put(BROKEN)
    part(changes(watch, 6), 60, 3)
    part(changes(watch, 7), 63, 30)
    run.put(b"no model")
    part(changes(watch, 8), 93, 7)
    return recorded, said


def replayed(engine: Engine, recorded: list[list[Any]], *, columns: bool) -> list[Outcome]:
    found: list[Outcome] = []
    runner = BlockRunner(engine, None)
    for inputs in recorded:
        for each in decoded_inputs(encoded_inputs(inputs)):
            if not isinstance(each, TickColumns):
                found += engine.step(each)
            elif columns:
                found += outcomes_of(engine, runner.run(each), reasons=True)
            else:
                found += stepped(engine, each)
    return found


def test_a_run_says_what_served_when(run: Run) -> None:
    recorded, said = live(run)
    kinds = [[type(each) for each in inputs[:-1]] for inputs in recorded]
    assert kinds == [[ModelServing], [ModelSwapped], [ModelSwapped], [ModelReverted], [ModelKept]]
    first, second, third, back = (inputs[0] for inputs in recorded[:4])
    assert {each.strategy_ids for each in (first, second, third, back)} == {("ml", "both")}
    assert len({first.sha256, second.sha256, third.sha256}) == 3
    assert (back.sha256, back.failed_sha256) == (second.sha256, third.sha256)
    assert "expected probabilities within 0..1" in back.why
    notes = [(each.kind, each.ts_ns, each.details.get("sha256")) for each in said if isinstance(each, Noted)]
    assert notes == [
        ("model_swapped", 5, second.sha256),
        ("model_swapped", 6, third.sha256),
        ("model_reverted", 7, second.sha256),
        ("model_refused", 8, None),
    ]


def test_every_signal_that_a_model_had_a_part_in_has_its_hash(run: Run) -> None:
    recorded, said = live(run)
    first, second, *_ = (inputs[0] for inputs in recorded)
    for outcome in said:
        if not isinstance(outcome, Emitted) or outcome.signal.strategy_id == "rules":
            continue
        signal = outcome.signal
        assert signal.metadata is not None
        if "rules say" in signal.reasoning or signal.reasoning.startswith("price"):
            continue
        serving = first if signal.ts_ns < 30 * 5 * 10**9 else second
        assert signal.metadata["model"] == serving.sha256
    assert sides(said) == {"BUY", "SELL"}
    agreed = [each.signal for each in said if isinstance(each, Emitted) and each.signal.reasoning == "rules+ml agree"]
    assert agreed
    assert all(signal.metadata is not None and len(signal.metadata["model"]) == 64 for signal in agreed)


@pytest.mark.parametrize("columns", [False, True], ids=["ticks", "columns"])
def test_a_replay_has_the_right_model_at_the_right_tick_long_after(run: Run, tmp_path: Path, columns: bool) -> None:
    recorded, said = live(run)
    run.put(model(HOLDS))
    engine, _ = run.engine()
    assert texts(replayed(engine, recorded, columns=columns)) == texts(said)
    # Another place, another name: the strategies' ids say whom an event is for.
    elsewhere = tmp_path / "elsewhere.onnx"
    elsewhere.write_bytes(model(HOLDS))
    engine, _ = run.engine(path=elsewhere)
    assert texts(replayed(engine, recorded, columns=columns)) == texts(said)


def test_a_replay_without_the_models_is_refused_before_its_first_tick(run: Run) -> None:
    recorded, _ = live(run)
    run.put(model(HOLDS))
    engine, _ = run.engine(store=False)
    with pytest.raises(ModelRefused) as caught:
        replayed(engine, recorded, columns=False)
    assert str(caught.value).startswith(
        f"{run.file}: expected the version with the hash {recorded[0][0].sha256}, found "
    )
    assert engine.ticks == 0


def test_a_replay_measures_no_trial(run: Run) -> None:
    recorded, _ = live(run)
    engine, wiring = run.engine()
    replayed(engine, recorded[:3], columns=False)
    assert ModelWatch(wiring.models, [engine]).events(0) == []


def test_each_engine_has_a_swap_at_a_place_of_its_own(run: Run) -> None:
    (one, wiring), (block, later) = run.engine(), (ticks(20), ticks(20, 20))
    config, two = one.executors[0].config, Engine()
    made = wiring.catalog.strategy("ml_momentum").build(config.parameters, BuildContext(wiring.catalog, wiring.models))
    two.register(config, "paper", made, kind="ml")
    watch = ModelWatch(wiring.models, [one, two])
    assert [event.strategy_ids for event in watch.at_start(0) if isinstance(event, ModelServing)] == [("ml", "both")]
    run.put(model(BUYS))
    [swap] = changes(watch)
    stepped(one, block)
    stepped(two, block)
    one.step(swap)
    assert (sides(stepped(one, later)), sides(stepped(two, later))) == ({"BUY"}, {"SELL"})
    two.step(swap)
    assert sides(stepped(two, ticks(20, 40))) == {"BUY"}


def test_a_snapshot_goes_on_with_the_model_that_served_and_the_new_one_is_a_swap(run: Run) -> None:
    engine, wiring = run.engine()
    stepped(engine, ticks(20))
    kept, served = snapshot(engine), engine.executors[0].models
    assert served is not None
    run.put(BROKEN)

    again, wiring = run.engine()
    restore(again, kept)
    models = again.executors[0].models
    assert models is not None
    assert models.model_sha256 == served.model_sha256
    assert sides(stepped(again, ticks(5, 20))) == {"SELL"}
    watch = ModelWatch(wiring.models, [again])
    [swap] = watch.at_start(9)
    assert isinstance(swap, ModelSwapped)
    again.step(swap)
    assert sides(stepped(again, ticks(5, 25))) == set()
    [back] = changes(watch)
    assert isinstance(back, ModelReverted)
    assert back.sha256 == served.model_sha256
    again.step(back)
    assert sides(stepped(again, ticks(5, 30))) == {"SELL"}


def test_a_snapshot_whose_model_is_gone_is_refused_and_the_engine_left_as_it_was(run: Run) -> None:
    engine, _ = run.engine(store=False)
    stepped(engine, ticks(20))
    kept = snapshot(engine)
    run.put(model(BUYS))
    again, _ = run.engine(store=False)
    with pytest.raises(
        SnapshotRefused, match=r"ml decided with the version [0-9a-f]{64} of its model; .*put the file with"
    ):
        restore(again, kept)
    assert again.ticks == 0


@pytest.mark.parametrize(
    ("journal", "directory"),
    [
        ({"type": "sqlite", "path": "state/journal.db"}, "state/models"),
        ({"type": "memory"}, None),
        (None, None),
    ],
)
def test_models_are_kept_beside_the_journal(tmp_path: Path, journal: Any, directory: str | None) -> None:
    document = {"version": 1, "strategies": []} | ({"journal": journal} if journal else {})
    configuration = configuration_from_mapping(document, default_catalog(), base_dir=tmp_path)
    assert models_directory(configuration) == (tmp_path / directory if directory else None)
