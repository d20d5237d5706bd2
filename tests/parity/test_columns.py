"""Blocks through columns against the same ticks one by one: every outcome, every account, to the last bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.domain.columns import TickColumns
from anystrat.domain.outcomes import Emitted, Outcome
from anystrat.engine.columns.outcomes import outcomes_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.engine.engine import Engine
from anystrat.engine.snapshot import restore, snapshot
from tests.parity.engine_case import make_engine, summary, tick_rows
from tests.parity.interpreted import examples
from tests.reference.generate import Case, cases

# Shrinking a case of hundreds of ticks takes minutes, and the first difference is shown without it.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def columns_of(case: Case) -> TickColumns:
    """The case's ticks as a file would give them: what is exact beyond its double beside the doubles, no metadata."""
    rows = list(tick_rows(case))

    def flag(name: str) -> Any:
        return np.array([getattr(row, name) for row in rows], np.bool_)

    def number(name: str) -> Any:
        return np.array([math.nan if getattr(row, name) is None else float(getattr(row, name)) for row in rows])

    return TickColumns(
        np.array([row.ts_ns for row in rows], np.int64),
        np.array([row.instrument_token for row in rows], np.int64),
        np.array([row.price for row in rows]),
        [row.exact if row.exact is not None and math.isfinite(row.price) else None for row in rows],
        number("volume"),
        number("bid"),
        number("ask"),
        flag("halted"),
        flag("auction"),
    )


def cut(block: TickColumns, start: int, stop: int) -> TickColumns:
    parts = {name: getattr(block, name) for name in TickColumns.__slots__}
    return TickColumns(**{name: part[start:stop] if part is not None else None for name, part in parts.items()})


def plain(outcome: Outcome) -> str:
    """An outcome as text: NaN equals NaN, decimals by value, ids included, tracebacks aside."""
    text = repr(outcome)
    if isinstance(outcome, Emitted):
        text += outcome.signal.signal_id
    return text.split("traceback=")[0]


@pytest.mark.parametrize("compiled", [False, True], ids=["interpreted", "compiled"])
def test_columns_decide_what_single_ticks_decide(compiled: bool) -> None:
    compiler = numba_compiler() if compiled else None
    assert compiler is not None or not compiled

    @settings(max_examples=examples(80 if compiled else 30), phases=PHASES)
    @given(case=cases(), data=st.data())
    def check(case: Case, data: st.DataObject) -> None:
        block = columns_of(case)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(block)), max_size=4), label="block borders"))
        one_by_one = make_engine(case)
        expected = [plain(outcome) for row in block.rows() for outcome in one_by_one.step(row)]

        engine = make_engine(case)
        runner = BlockRunner(engine, compiler)
        found: list[str] = []
        for start, stop in zip([0, *cuts], [*cuts, len(block)], strict=True):
            if data.draw(st.integers(0, 5), label="how") == 0:
                # Some ticks one by one, on a restored engine, in the middle of it all.
                again = make_engine(case)
                restore(again, snapshot(engine))
                engine, runner = again, BlockRunner(again, compiler)
                found += [plain(outcome) for row in cut(block, start, stop).rows() for outcome in engine.step(row)]
            else:
                result = runner.run(cut(block, start, stop))
                found += [plain(outcome) for outcome in outcomes_of(engine, result, reasons=True)]

        for number, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
            assert ours == theirs, number
        assert len(found) == len(expected)
        assert _accounts(engine) == _accounts(one_by_one)

    check()


def _accounts(engine: Engine) -> Any:
    windows = [[(row.ts_ns, row.price, row.decimal) for row in window.rows()] for window in _windows(engine)]
    return summary(engine), engine.tick_drops, engine.ticks, windows, [e.counters() for e in engine.executors]


def _windows(engine: Engine) -> Any:
    engine.settle()
    return engine.windows
