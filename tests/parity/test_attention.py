"""The compiled look at an instrument's strategies changes nothing but the time that a tick takes."""

from __future__ import annotations

from hypothesis import given, settings

from anystrat.adapters.numba_kernels import numba_compiler
from anystrat.engine import engine as engine_module
from anystrat.engine.snapshot import snapshot
from tests.parity.engine_case import make_engine, tick_rows
from tests.parity.test_columns import PHASES, plain
from tests.reference.generate import Case, cases


@settings(max_examples=200, phases=PHASES)
@given(case=cases())
def test_looking_first_decides_what_asking_everyone_decides(case: Case) -> None:
    compiler = numba_compiler()
    assert compiler is not None
    asking, looking = make_engine(case), make_engine(case)
    looking.use_compiler(compiler)
    worth, engine_module.WORTH_A_CALL = engine_module.WORTH_A_CALL, 1  # type: ignore[misc]  # so that small cases count
    try:
        for row in tick_rows(case):
            assert [plain(one) for one in looking.step(row)] == [plain(one) for one in asking.step(row)]
    finally:
        engine_module.WORTH_A_CALL = worth  # type: ignore[misc]
    assert snapshot(looking) == snapshot(asking)
