"""Explanations against the engine that they explain: the same ending, the same reason, and not a bit of it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import Phase, given, settings

from anystrat.analysis.explaining.explanation import Ending, Explanation, Status
from anystrat.analysis.explaining.tick import Explainer
from anystrat.domain.outcomes import Dropped, Emitted, Held, Outcome, ProcessorFailed, Reason, TickDropped
from anystrat.engine.executor import StrategyExecutor
from anystrat.engine.snapshot import snapshot
from tests.parity.engine_case import make_engine, tick_rows
from tests.reference.generate import Case, cases

# Shrinking a case of hundreds of ticks takes minutes, and the first difference is shown without it.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
_ENDINGS: dict[type[Any], Ending] = {
    Emitted: Ending.EMITTED,
    Dropped: Ending.DROPPED,
    Held: Ending.HELD,
    ProcessorFailed: Ending.FAILED,
    TickDropped: Ending.TICK_DROPPED,
}
_SILENT = {Ending.NO_SIGNAL, Ending.WARMING_UP, Ending.NOT_ACTIVE}


def what_came(outcomes: Sequence[Outcome], executor: StrategyExecutor) -> Any:
    """The outcome that ends the tick for this executor; None where it ended in silence."""
    for outcome in outcomes:
        if isinstance(outcome, TickDropped):
            return outcome
        if type(outcome) in _ENDINGS:
            whose: Any = outcome.signal if isinstance(outcome, Emitted) else outcome
            if (whose.strategy_id, whose.broker) == (executor.strategy_id, executor.broker):
                return outcome
    return None


def assert_fits(found: Explanation, outcome: Any) -> None:
    if outcome is None:
        assert found.ending in _SILENT, found
        assert found.because
        return
    assert found.ending is _ENDINGS[type(outcome)], (found, outcome)
    if isinstance(outcome, Emitted):
        assert found.signal_id == outcome.signal.signal_id
        assert not [check for check in found.checks if check.status is Status.FAILED], found
    if isinstance(outcome, Dropped):
        assert found.reason == outcome.reason
        failed = [check.reason for check in found.checks if check.status is Status.FAILED]
        assert failed[0] == outcome.reason, found
        assert [check.reason for check in found.checks if check.decisive] == [outcome.reason]
    if isinstance(outcome, Emitted | Dropped):
        assert [check.reason for check in found.checks] == list(Reason)


@settings(max_examples=10, phases=PHASES)
@given(case=cases())
def test_an_explanation_says_what_the_engine_then_does_and_leaves_it_as_it_was(case: Case) -> None:
    engine = make_engine(case)
    explainer = Explainer(engine)
    for row in tick_rows(case):
        watching = [one for one in engine.executors if row.instrument_token in one.slots]
        before = snapshot(engine)
        inferences = [getattr(one.processor, "inferences", None) for one in engine.executors]
        told = [(one, explainer.explain(row, one)) for one in watching]
        assert snapshot(engine) == before
        assert [getattr(one.processor, "inferences", None) for one in engine.executors] == inferences
        outcomes = engine.step(row)
        for executor, found in told:
            assert_fits(found, what_came(outcomes, executor))
