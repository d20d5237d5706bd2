"""One law for everything that an engine can do: whichever way a tick takes, it leads to the same."""

from __future__ import annotations

from hypothesis import strategies as st

from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.domain.columns import TickColumns
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from tests.parity.engine_case import make_engine
from tests.parity.test_columns import cut, plain
from tests.parity.test_live import accounts, compiled_engine
from tests.reference.generate import Case


def same_every_way(case: Case, block: TickColumns, data: st.DataObject) -> tuple[Engine, Engine]:
    """Take `block` through an engine in pieces, each by lanes, tick by tick, over columns, or into a restored engine.

    All outcomes and all accounts are those of an engine that takes it tick by tick; returns the one, and that.
    """
    cuts = sorted(data.draw(st.lists(st.integers(0, len(block)), max_size=4), label="block borders"))
    one_by_one = make_engine(case)
    expected = [plain(outcome) for row in block.rows() for outcome in one_by_one.step(row)]
    engine = compiled_engine(case)
    found: list[str] = []
    for start, stop in zip([0, *cuts], [*cuts, len(block)], strict=True):
        part = cut(block, start, stop)
        how = data.draw(st.sampled_from(["lanes", "ticks", "columns", "restored"]), label="how")
        if how == "restored":
            again = compiled_engine(case)
            restore(again, snapshot(engine))
            engine = again
        if how == "columns":
            outcomes = list(outcomes_of(engine, BlockRunner(engine, numba_compiler()).run(part), reasons=True))
        elif how == "ticks":
            outcomes = [outcome for row in part.rows() for outcome in engine.step(row)]
        else:
            outcomes = engine.step_block(part).outcomes()
        found += [plain(outcome) for outcome in outcomes]
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
        assert ours == theirs, number
    assert len(found) == len(expected)
    assert accounts(engine) == accounts(one_by_one)
    return engine, one_by_one
