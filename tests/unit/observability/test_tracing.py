"""Spans say who was asked about which tick, how long it took, and what came of it."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from anystrat import MarketTick, SignalResult, StrategyRunnerService
from anystrat.domain.configuration import StrategyConfig, TracingSettings
from anystrat.domain.errors import MissingDriver
from anystrat.engine.engine import Engine
from anystrat.observability.probe import Probe, Sampler
from anystrat.observability.tracing import Tracing
from anystrat.strategies.catalog import Part
from anystrat.strategies.hybrid import HybridParameters
from anystrat.testing import ticks

NOW = 1_700_000_000_000_000_000


class Wall:
    def now_ns(self) -> int:
        return NOW


class Says:
    def __init__(self, *answers: str, history: int = 1) -> None:
        self.answers, self.history = iter(answers), history

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        answer = next(self.answers)
        if answer == "raise":
            raise ValueError("no\r\nidea")
        return SignalResult(answer, 1.0, 1, tick.last_price, "", None) if answer else None

    def get_required_history_length(self) -> int:
        return self.history

    def supports_instrument(self, token: int) -> bool:
        return True

    def get_strategy_name(self) -> str:
        return "says"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def tracing(
    exporter: InMemorySpanExporter | None = None, settings: TracingSettings | None = None, seed: int = 0
) -> Tracing:
    settings = settings or TracingSettings(sample=1.0)
    return Tracing(settings, run="demo", version="1.2", clock=Wall(), random=Random(seed), exporter=exporter)


def engine() -> Engine:
    made = StrategyRunnerService(observers=[]).engine
    hybrid = HybridParameters(Part("momentum", None), Part("ml_momentum", None), Part("sizer", None))
    made.register(StrategyConfig("rules", "own", None, (1,)), "paper", Says("BUY", "BUY", "HOLD", "raise", ""))
    made.register(StrategyConfig("both", "own", hybrid, (1,)), "out", Says("", "", "", history=3), kind="hybrid")
    return made


def driven(traced: Tracing, many: int = 5) -> None:
    times = iter(range(10**9, 10**12, 1000))
    probe = Probe(engine(), [(Sampler(1.0, Random(0)), traced)], clock=lambda: next(times))
    for n in range(many):
        probe.step(ticks.row(1, 100, n))


def test_a_tick_has_a_span_and_each_strategy_that_was_asked_one_below_it(exporter: InMemorySpanExporter) -> None:
    driven(tracing(exporter), 3)
    spans = exporter.get_finished_spans()
    by_parent: dict[Any, list[str]] = {}
    for span in spans:
        by_parent.setdefault(span.parent and span.parent.span_id, []).append(
            str((span.attributes or {}).get("strategy"))
        )
    roots = [span for span in spans if span.parent is None]
    assert [span.name for span in roots] == ["tick"] * 3
    assert [by_parent[root.context.span_id] for root in roots] == [["rules"], ["rules"], ["rules", "both"]]
    assert {span.resource.attributes["service.name"] for span in spans} == {"demo"}
    assert roots[0].attributes == {"instrument": 1, "tick.ts_ns": ticks.row().ts_ns, "tick.price": 100.0}


def strategy_spans(exporter: InMemorySpanExporter, strategy: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if (span.attributes or {}).get("strategy") == strategy]


def test_its_attributes_are_those_of_the_contract_and_what_came_of_it(exporter: InMemorySpanExporter) -> None:
    driven(tracing(exporter))
    both = strategy_spans(exporter, "both")[0]
    assert both.name == "strategy.process_tick"
    assert both.attributes == {
        "strategy": "both", "instrument": 1, "strategy.kind": "hybrid", "history_len": 3, "decision_policy": "sizer",
        "broker": "out", "outcome": "none",
    }  # fmt: skip
    rules = [dict(span.attributes or {}) for span in strategy_spans(exporter, "rules")]
    assert [each["outcome"] for each in rules] == ["signal", "dropped", "hold", "error", "none"]
    assert {each["decision_policy"] for each in rules} == {"none"}
    assert (rules[0]["side"], len(rules[0]["signal_id"]), rules[1]["reason"]) == ("BUY", 32, "duplicate")
    statuses = [span.status.status_code for span in strategy_spans(exporter, "rules")]
    assert statuses == [StatusCode.UNSET] * 3 + [StatusCode.ERROR, StatusCode.UNSET]


def test_times_are_wall_time_and_last_as_long_as_it_took(exporter: InMemorySpanExporter) -> None:
    driven(tracing(exporter), 1)
    strategy, tick = exporter.get_finished_spans()
    assert tick.end_time == NOW
    assert (tick.start_time, strategy.start_time, strategy.end_time) == (NOW - 4000, NOW - 3000, NOW - 1000)
    assert [(event.name, event.timestamp) for event in strategy.events] == [("answered", NOW - 2000)]


def test_a_block_has_one_span(exporter: InMemorySpanExporter) -> None:
    probe = Probe(engine(), [(Sampler(1.0, Random(0)), tracing(exporter))], clock=iter([0, 5000]).__next__)
    probe.block(600, lambda: None)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.attributes) == ("block", {"ticks": 600, "evaluations": 0})
    assert (span.start_time, span.end_time) == (NOW - 5000, NOW)


def test_the_same_seed_gives_the_same_ids() -> None:
    ids = []
    for seed in (1, 1, 2):
        exporter = InMemorySpanExporter()
        driven(tracing(exporter, seed=seed))
        ids.append([(span.context.trace_id, span.context.span_id) for span in exporter.get_finished_spans()])
    assert ids[0] == ids[1] != ids[2]


def test_without_an_endpoint_spans_are_lines_of_json_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    traced = tracing()
    driven(traced, 4)
    traced.close()
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert [record["name"] for record in records].count("tick") == 4
    assert any(record["status"].get("description") == "ValueError: no\r\nidea" for record in records)


def test_an_endpoint_without_its_exporter_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(MissingDriver, match="pip install opentelemetry-exporter-otlp-proto-http"):
        tracing(settings=TracingSettings(endpoint="http://localhost:4318/v1/traces"))


def test_timing_alone_imports_no_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("anystrat.observability", "opentelemetry"))]:
        monkeypatch.delitem(sys.modules, name)
    import anystrat.observability.probe  # noqa: F401

    assert not any(name.startswith("opentelemetry") for name in sys.modules)
