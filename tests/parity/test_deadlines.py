"""A live run in which inferences were late, against replays of its recording: the same outcomes, measuring nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from anystrat.bootstrap import Wiring, build_engine, default_catalog
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.events import InferenceMissed
from anystrat.domain.inputs import decoded_inputs, encoded_inputs
from anystrat.domain.outcomes import Emitted, Noted, Outcome
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from anystrat.testing.inference import ScriptedInference
from tests.parity.interpreted import examples


class Model:
    """Buys what rose and sells what fell."""

    sha256 = "cd" * 32
    feature_names = ("ret_2",)
    batchable = True

    def predict(self, rows: Any) -> Any:
        up = np.clip(0.5 + 20.0 * rows, 0.0, 1.0)
        return np.concatenate([1.0 - up, np.zeros_like(up), up], axis=1).astype(np.float32)


class Shelf:
    def model(self, path: str) -> Any:
        return MODEL


MODEL = Model()
ML = {"model_path": "m", "inference_deadline_ms": 1.5}
RULES = {"lookback_periods": 3, "threshold": 0.0001}


def row(id_: str, kind: str, instruments: list[int], **more: Any) -> dict[str, Any]:
    parameters = {key: value for key, value in more.items() if key not in {"brokers", "per_instrument"}}
    others = {key: value for key, value in more.items() if key not in parameters}
    return {"id": id_, "strategy_type": kind, "parameters": parameters, "instruments": instruments, **others}


ROWS = [
    row("prompt", "ml_momentum", [1, 2], **ML, brokers=["paper", "out"]),
    row("apart", "ml_breakout", [1, 2, 3], **ML, per_instrument=True),
    row("either", "hybrid_momentum", [2, 3], **ML, **RULES, on_deadline="rules_only"),
    row("neither", "hybrid_momentum", [1, 3], **ML, **RULES),
    row("rules", "momentum", [1, 2, 3], **RULES),
    # Behind those who may be late: an answer that is there is shared, and cannot be late any more.
    row("patient", "ml_momentum", [1, 2], model_path="m"),
]
DOCUMENT = {"version": 1, "brokers": {"out": {"type": "log"}}, "strategies": ROWS}


def engine() -> Engine:
    catalog = default_catalog()
    configuration = configuration_from_mapping(DOCUMENT, catalog, base_dir=Path())
    return build_engine(configuration, Wiring(catalog, Shelf()))


def ticks(seed: int, count: int) -> TickColumns:
    random = np.random.default_rng(seed)
    price = np.round(100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, count))), 2)
    # Several ticks of an instrument at one time: a miss belongs to one of them.
    ts = np.cumsum(random.integers(0, 2, count)) * 5 * 10**9
    return TickColumns(ts, random.integers(1, 4, count), price)


def live(block: TickColumns, late: Container[int]) -> tuple[list[list[Outcome]], Engine, ScriptedInference]:
    running, port = engine(), ScriptedInference(late)
    running.use_inference(port)
    return [running.step(each) for each in block.rows()], running, port


def recorded(outcomes: Iterable[Outcome]) -> Iterator[InferenceMissed]:
    return (event for outcome in outcomes if (event := InferenceMissed.of(outcome)) is not None)


def texts(outcomes: Iterable[Outcome]) -> list[str]:
    return [repr(each) + (each.signal.signal_id if isinstance(each, Emitted) else "") for each in outcomes]


def counts(running: Engine, *names: str) -> Any:
    parts = [getattr(each.processor, "ml", each.processor) for each in running.executors]
    return [each.counters() for each in running.executors], [[getattr(p, name, 0) for name in names] for p in parts]


# As in test_columns: shrinking takes minutes, and the first difference is shown without it.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
LATE = st.sets(st.integers(0, 400), max_size=60)


@settings(max_examples=examples(20), phases=PHASES)
@given(seed=st.integers(0, 1000), late=LATE)
def test_a_replay_goes_without_on_the_very_same_ticks(seed: int, late: set[int]) -> None:
    block = ticks(seed, 80)
    answers, running, _ = live(block, late)
    replayed = engine()
    found = []
    for tick, outcomes in zip(block.rows(), answers, strict=True):
        for event in recorded(outcomes):
            assert replayed.step(event) == []
        found.append(replayed.step(tick))
    assert [texts(each) for each in found] == [texts(each) for each in answers]
    names = ("inferences", "inference_failures", "deadline_misses")
    assert counts(replayed, *names) == counts(running, *names)
    assert replayed.deadlines.dump() == []


@settings(max_examples=examples(20), phases=PHASES)
@given(seed=st.integers(0, 1000), late=LATE, cuts=st.lists(st.integers(0, 80), max_size=4))
def test_blocks_say_the_same_with_their_misses_before_them(seed: int, late: set[int], cuts: list[int]) -> None:
    block = ticks(seed, 80)
    answers, running, _ = live(block, late)
    replayed = engine()
    runner = BlockRunner(replayed, None)
    found: list[str] = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
        part = block.taken(np.arange(start, stop))
        misses = [event for outcomes in answers[start:stop] for event in recorded(outcomes)]
        # As a journal keeps them.
        *events, ticks_again = decoded_inputs(encoded_inputs([*misses, part]))
        assert events == misses
        for event in events:
            assert isinstance(event, InferenceMissed)
            assert replayed.step(event) == []
        assert isinstance(ticks_again, TickColumns)
        found += texts(outcomes_of(replayed, runner.run(ticks_again), reasons=True))
    assert found == [text for outcomes in answers for text in texts(outcomes)]
    replayed.settle()
    assert counts(replayed, "deadline_misses") == counts(running, "deadline_misses")


def test_all_misses_may_come_before_the_first_tick_and_survive_a_snapshot() -> None:
    block = ticks(3, 80)
    answers, _, _ = live(block, range(0, 300, 7))
    first = engine()
    for event in recorded(outcome for outcomes in answers for outcome in outcomes):
        first.step(event)
    rows = list(block.rows())
    found = [texts(first.step(each)) for each in rows[:30]]
    second = engine()
    restore(second, snapshot(first))
    found += [texts(second.step(each)) for each in rows[30:]]
    assert found == [texts(each) for each in answers]


def test_what_a_miss_says_and_does() -> None:
    block = ticks(5, 60)
    on_time, _, port = live(block, ())
    late, _, port = live(block, range(10**6))
    notes = [each for outcomes in late for each in outcomes if isinstance(each, Noted)]
    assert len(notes) == port.calls > 100
    assert notes[0].kind == "inference_missed"
    instrument = notes[0].details["instrument"]
    assert notes[0].details == {"broker": "paper", "instrument": instrument, "tick": 3, "deadline_ns": 1_500_000}

    def by(outcomes: list[list[Outcome]], strategy: str) -> list[str]:
        return [
            each.signal.reasoning
            for many in outcomes
            for each in many
            if isinstance(each, Emitted) and each.signal.strategy_id == strategy
        ]

    assert by(on_time, "patient") == by(late, "patient") != []
    assert (by(late, "prompt"), by(late, "apart"), by(late, "neither")) == ([], [], [])
    assert (
        {text.split()[0] for text in by(late, "either")} == {text.split()[0] for text in by(late, "rules")} == {"price"}
    )


def test_without_a_port_nothing_is_measured_and_with_one_nobody_is_evaluated_over_columns() -> None:
    block = ticks(8, 40)
    running, port = engine(), ScriptedInference()
    runner = BlockRunner(running, None)
    timed = [executor for executor in running.executors if executor.deadline is not None]
    assert len(timed) == 7
    runner.run(block)
    assert set(timed) <= set(runner.batched)
    running.use_inference(port)
    runner.run(ticks_later(block))
    assert port.calls > 0
    assert set(timed).isdisjoint(runner.batched)
    running.use_inference(None)
    calls = port.calls
    runner.run(ticks_later(block, 2))
    assert port.calls == calls
    assert set(timed) <= set(runner.batched)


def ticks_later(block: TickColumns, times: int = 1) -> TickColumns:
    return TickColumns(block.ts_ns + times * 10**12, block.instrument_token, block.price)


@pytest.mark.parametrize(("instrument", "tick"), [(9, 1), (1, 1)], ids=["nobody's instrument", "a tick that is over"])
def test_a_miss_that_cannot_come_any_more_is_noted(instrument: int, tick: int) -> None:
    running = engine()
    for each in ticks(1, 20).rows():
        running.step(each)
    [note] = running.step(InferenceMissed(7, "prompt", "paper", instrument, tick))
    assert isinstance(note, Noted)
    assert (note.kind, note.strategy_id, note.details["tick"]) == ("misplaced_event", "prompt", tick)
    assert running.deadlines.dump() == []
