"""Ticks through compiled lanes against the same ticks through the engine's own steps: every outcome, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.domain.columns import SignalColumns
from anystrat.domain.outcomes import REASONS, Dropped, Emitted, Outcome
from anystrat.engine import live_blocks
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from tests.parity.engine_case import make_engine, summary, tick_rows
from tests.parity.interpreted import Interpreter, examples
from tests.parity.test_columns import PHASES, columns_of, cut, plain
from tests.reference.generate import Case, cases


def compiled_engine(case: Case) -> Engine:
    engine = make_engine(case)
    engine.use_compiler(numba_compiler() or Interpreter())
    return engine


def accounts(engine: Engine) -> Any:
    engine.settle()
    windows = [[(row.ts_ns, row.price, row.decimal, row.halted) for row in window.rows()] for window in engine.windows]
    return summary(engine), engine.tick_drops, engine.ticks, windows, [e.counters() for e in engine.executors]


def assert_columns_say(columns: SignalColumns, outcomes: list[Outcome]) -> None:
    """Every signal with its id and every drop with its reason, in their order, and nothing else."""
    said = [one for one in outcomes if isinstance(one, Emitted | Dropped)]
    names = [REASONS[code] for code in columns.code.tolist()]
    assert names == [None if isinstance(one, Emitted) else one.reason for one in said]
    ids = columns.ids().tolist()
    emitted = [(k, one.signal) for k, one in enumerate(said) if isinstance(one, Emitted)]
    assert ["".join(f"{half:016x}" for half in ids[k]) for k, _ in emitted] == [one.signal_id for _, one in emitted]
    assert [(columns.confidence[k], columns.quantity[k]) for k in range(len(said))] == [
        (one.signal.confidence, one.signal.quantity) for one in said
    ]


@settings(max_examples=examples(60), phases=PHASES)
@given(case=cases())
def test_a_tick_through_the_lanes_leads_to_what_the_engines_own_steps_lead_to(case: Case) -> None:
    stepping, compiled = make_engine(case), compiled_engine(case)
    for row in tick_rows(case):
        assert [plain(one) for one in compiled.step(row)] == [plain(one) for one in stepping.step(row)]
    assert accounts(compiled) == accounts(stepping)


@settings(max_examples=examples(60), phases=PHASES)
@given(case=cases(), data=st.data())
def test_blocks_through_the_lanes_lead_to_what_single_ticks_lead_to(case: Case, data: st.DataObject) -> None:
    # Blocks go through in pieces: of a few ticks here.
    with patch.object(live_blocks, "_ROOM", data.draw(st.sampled_from([3, 2_048]), label="a piece")):
        blocks_lead_to_what_single_ticks_lead_to(case, data)


def blocks_lead_to_what_single_ticks_lead_to(case: Case, data: st.DataObject) -> None:
    block = columns_of(case)
    bare = data.draw(st.booleans(), label="numbers alone")
    if bare:
        block = replace(block, exact=None, volume=None, bid=None, ask=None)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(block)), max_size=6), label="block borders"))
    stepping, compiled = make_engine(case), compiled_engine(case)
    expected = [plain(outcome) for row in block.rows() for outcome in stepping.step(row)]
    found: list[str] = []
    signals: list[Any] = []
    for start, stop in zip([0, *cuts], [*cuts, len(block)], strict=True):
        part = cut(block, start, stop)
        how = data.draw(st.sampled_from(["block", "block", "ticks", "steps", "restored", "columns"]), label="how")
        if how == "restored":
            data_of = snapshot(compiled)
            compiled = compiled_engine(case)
            restore(compiled, data_of)
        if how == "columns":
            outcomes = list(outcomes_of(compiled, BlockRunner(compiled, numba_compiler()).run(part), reasons=True))
        elif how == "ticks":
            outcomes = [outcome for row in part.rows() for outcome in compiled.step(row)]
        elif how == "steps":
            compiled.settle()
            outcomes = [outcome for row in part.rows() for outcome in compiled.step_row(row)]
        else:
            whole = compiled.in_lanes(part)
            taken = compiled.step_block(part)
            outcomes = taken.outcomes()
            if whole:
                assert_columns_say(taken.columns(), outcomes)
            assert list(taken.signals()) == [one.signal for one in outcomes if isinstance(one, Emitted)]
            assert len(taken.signals()) == len(list(taken.signals()))
        found += [plain(outcome) for outcome in outcomes]
        signals += [one.signal.signal_id for one in outcomes if isinstance(one, Emitted)]
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
        assert ours == theirs, number
    assert len(found) == len(expected)
    assert accounts(compiled) == accounts(stepping)
