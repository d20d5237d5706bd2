"""`explain` over a recording: the engine is left where it stood, events count, and the first broker is meant."""

from __future__ import annotations

from typing import Any

import pytest

from anystrat import StrategyRunnerService
from anystrat.analysis import Moments, explain
from anystrat.analysis.explaining.explanation import Ending
from anystrat.analysis.explaining.overview import gap_of
from anystrat.domain.events import Command, Operation
from anystrat.domain.inputs import decoded_inputs, encoded_inputs
from anystrat.domain.measurement import Condition
from anystrat.engine.snapshot import restore, snapshot
from anystrat.testing.ticks import START_NS, columns, row

PRICES = (100.0, 100.0, 100.0, 102.0, 103.0, 103.0, 104.0, 103.0)


def service(**more: Any) -> StrategyRunnerService:
    made = StrategyRunnerService(observers=[])
    made.register("momentum", instruments=[1], id="mom", lookback_periods=3, threshold=0.01, **more)
    return made


def block(*prices: float, start: int = 0) -> Any:
    return columns([row(1, price, start + at) for at, price in enumerate(prices)])


def test_the_engine_stands_where_it_stood() -> None:
    made = service()
    list(made.run([block(100.0, 100.0)]))
    before = snapshot(made.engine)
    found = explain(made.engine, [block(*PRICES, start=2)], Moments(last=2), strategy="mom")
    assert snapshot(made.engine) == before
    assert found.meant == 2
    assert len(found.explanations) == 2


def test_a_journal_s_checkpoint_and_its_inputs_are_explained_as_the_run_was() -> None:
    made = service()
    list(made.run([block(*PRICES[:3])]))
    checkpoint = snapshot(made.engine)
    pause = Command(Operation.PAUSE, START_NS + 5, "mom")
    kept = encoded_inputs([block(*PRICES[3:5], start=3), pause, block(*PRICES[5:], start=5)])

    restored = service()
    restore(restored.engine, checkpoint)
    found = explain(restored.engine, list(decoded_inputs(kept)), Moments(), strategy="mom")
    endings = [each.ending for each in found.explanations]
    assert endings == [Ending.EMITTED, Ending.EMITTED, *[Ending.NOT_ACTIVE] * 3]
    assert "an operator paused it;" in found.explanations[-1].because


def test_of_too_many_the_last_are_explained() -> None:
    found = explain(service().engine, [block(*PRICES)], Moments(), strategy="mom", most=2)
    assert found.meant == 8
    assert [each.price for each in found.explanations] == ["104", "103"]


def test_the_first_broker_is_meant_unless_one_is_named() -> None:
    made = StrategyRunnerService(observers=[])
    made.register_from_config(
        {
            "version": 1,
            "brokers": {"out": {"type": "log"}},
            "strategies": [
                {
                    "id": "mom",
                    "strategy_type": "momentum",
                    "parameters": {"lookback_periods": 3},
                    "instruments": [1],
                    "brokers": ["out", "paper"],
                }
            ],
        }
    )
    for broker, meant in ((None, "out"), ("paper", "paper")):
        found = explain(made.engine, [block(*PRICES)], Moments(last=1), strategy="mom", broker=broker)
        assert [each.broker for each in found.explanations] == [meant]


@pytest.mark.parametrize(
    ("conditions", "gap"),
    [
        ((), None),
        ((Condition("x", 0.9, ">", 1.0, "BUY"), Condition("x", 0.9, "<", -1.0, "SELL")), 0.1),
        ((Condition("x", 0.9, ">", 1.0, "BUY"), Condition("y", 2.0, ">", 4.0, "BUY")), 0.5),
        ((Condition("x", 0.25, "<", 0.0, "SELL"),), 0.25),
        ((Condition("x", float("nan"), "<", 1.0, "SELL"),), None),
    ],
)
def test_a_gap_is_the_nearest_side_s_farthest_comparison(conditions: tuple[Condition, ...], gap: float | None) -> None:
    assert gap_of(conditions) == (None if gap is None else pytest.approx(gap))
