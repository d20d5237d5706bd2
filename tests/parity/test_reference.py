"""The engine against the naive reading of the contract: the same signals, ids, drops, and accounts, to the last bit."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity.engine_case import make_engine, signals_and_drops, summary, tick_rows
from tests.parity.interpreted import examples
from tests.reference import naive
from tests.reference.generate import Case, cases


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return found == expected or (math.isnan(found) and math.isnan(expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_same(found[key], expected[key]) for key in found)
    return bool(found == expected)


def _first_difference(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> str:
    for k in range(max(len(found), len(expected))):
        ours = found[k] if k < len(found) else None
        theirs = expected[k] if k < len(expected) else None
        if not _same(ours, theirs):
            return f"no. {k}:\n  engine    {ours}\n  reference {theirs}"
    return ""


@settings(max_examples=examples(120))
@given(case=cases())
def test_the_engine_decides_what_the_naive_reading_of_the_contract_decides(case: Case) -> None:
    expected = naive.run(case.config, case.ticks, models=case.models, sessions=case.sessions)
    engine = make_engine(case)
    outcomes = [outcome for row in tick_rows(case) for outcome in engine.step(row)]
    signals, drops = signals_and_drops(outcomes)

    assert not _first_difference(signals, expected.signals)
    assert not _first_difference(drops, expected.drops)
    assert Counter(engine.tick_drops) == Counter({str(k): v for k, v in expected.tick_drops.items() if v})
    found = summary(engine)
    theirs = {key: asdict(result) for key, result in expected.executors.items()}
    assert found.keys() == theirs.keys()
    for key in found:
        for field in found[key]:
            assert _same(found[key][field], theirs[key][field]), (key, field, found[key][field], theirs[key][field])


@settings(max_examples=examples(50))
@given(case=cases(), cut=st.floats(0, 1))
def test_a_run_that_is_snapshotted_thrown_away_and_restored_goes_on_identically(case: Case, cut: float) -> None:
    from anystrat.engine.snapshot import restore, snapshot

    rows = list(tick_rows(case))
    at = round(cut * len(rows))
    undisturbed = make_engine(case)
    expected = [undisturbed.step(row) for row in rows]

    first = make_engine(case)
    for row in rows[:at]:
        first.step(row)
    data = snapshot(first)
    second = make_engine(case)
    restore(second, data)

    found = [second.step(row) for row in rows[at:]]
    assert signals_and_drops([o for outs in found for o in outs]) == signals_and_drops(
        [o for outs in expected[at:] for o in outs]
    ) or any(math.isnan(d["confidence"]) for d in signals_and_drops([o for outs in found for o in outs])[1])
    assert snapshot(second) == snapshot(undisturbed)
