"""The observers of a service are those that its configuration asks for, and change nothing of what it decides."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from anystrat.bootstrap import build_engine, default_wiring
from anystrat.bootstrap.observing import Observation, observation
from anystrat.config import configuration_from_mapping
from anystrat.domain.errors import MissingExtra
from anystrat.domain.health import ExecutorTally, HealthReport, Phase
from anystrat.domain.notices import Listening
from anystrat.domain.outcomes import Outcome
from anystrat.engine.engine import Engine
from anystrat.engine.tally import tally_of
from anystrat.runner.driver import EngineDriver
from anystrat.testing import ticks

ROW = {
    "id": "first",
    "strategy_type": "momentum",
    "parameters": {"lookback_periods": 2, "threshold": 0.001},
    "instruments": [1],
}
BLOCK = ticks.columns([ticks.row(1, 100 + n % 5, n * 10) for n in range(300)])


class Wall:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000


class Reports:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def health(self) -> HealthReport:
        return HealthReport("demo", Phase.RUNNING)

    def executors(self) -> Iterable[ExecutorTally]:
        return [tally_of(one) for one in self.engine.executors]

    def tick_drops(self) -> Mapping[str, int]:
        return self.engine.tick_drops


def observed(sections: Mapping[str, Any], **options: Any) -> tuple[Observation, Engine]:
    wiring = default_wiring()
    configuration = configuration_from_mapping({**sections, "strategies": [ROW]}, wiring.catalog)
    return observation(configuration, clock=Wall(), version="1", **options), build_engine(configuration, wiring)


def driven(sections: Mapping[str, Any]) -> tuple[Observation, Engine, list[Outcome]]:
    made, engine = observed(sections, ids=Random(0))
    driver = EngineDriver(engine)
    if made.probe is not None:
        driver.probe = made.probe(engine)
    outcomes = driver.ticks(BLOCK)
    for observe in made.observers:
        observe(outcomes)
    made.close()
    return made, engine, outcomes


def test_without_sections_there_is_the_log_alone() -> None:
    made, engine = observed({})
    made.close()
    assert (made.meter, made.probe, made.endpoint(Reports(engine))) == (None, None, None)
    assert made.observers == (made.outcome_log,)


def test_what_is_decided_is_the_same_whoever_looks_on(capsys: pytest.CaptureFixture[str]) -> None:
    *_, plain = driven({})
    *_, watched = driven({"metrics": {"sample": 0.3}, "tracing": {"sample": 0.2}})
    assert [str(each) for each in watched] == [str(each) for each in plain]
    assert len(plain) > 100


def test_the_page_tells_of_the_engine_and_of_a_sample_of_its_ticks() -> None:
    made, engine, _ = driven({"metrics": {"sample": 1.0, "port": 0}})

    async def page() -> bytes:
        endpoint = made.endpoint(Reports(engine))
        assert endpoint is not None
        address = await endpoint.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.close()
            await endpoint.stop()

    body = asyncio.run(page()).partition(b"\r\n\r\n")[2].decode()
    samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    counters = engine.executors[0].counters()
    by_name = {sample.name: sample.value for sample in samples}
    assert by_name["evaluations_total"] == counters["evaluations"] == 299
    assert sum(sample.value for sample in samples if sample.name == "signals_total") == counters["signals"] > 0
    timed = {sample.labels["stage"]: sample.value for sample in samples if sample.name == "latency_seconds_count"}
    assert timed["process_tick"] == 299
    assert timed["validate"] >= counters["signals"]


def test_sampling_follows_from_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    def spans(seed: int) -> list[int]:
        driven({"run": {"rng_seed": seed}, "tracing": {"sample": 0.1}, "log": {"level": "error"}})
        records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        return [record["attributes"]["tick.ts_ns"] for record in records if record["name"] == "tick"]

    assert spans(1) == spans(1) != spans(2)
    assert 10 < len(spans(1)) < 60


def test_the_log_is_as_configured_and_json_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for sections, options in (({"log": {"format": "json"}}, {}), ({}, {"json": True})):
        made, _ = observed(sections, **options)
        made.listener(Listening("metrics", "here"))
        made.close()
        assert json.loads(capsys.readouterr().err)["timestamp"] == "2023-11-14T22:13:20Z"
    made, _ = observed({"log": {"level": "warning"}})
    made.listener(Listening("metrics", "here"))
    made.close()
    assert capsys.readouterr().err == ""


def test_libraries_are_heard_until_it_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    made, _ = observed({})
    logging.getLogger("somewhere").warning("odd")
    made.close()
    assert "odd" in capsys.readouterr().err


def test_a_missing_extra_is_named_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "anystrat.observability.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(MissingExtra, match=r"pip install 'anystrat\[otel\]'"):
        observed({"tracing": {}})
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    made, engine = observed({"metrics": {}})
    made.close()
    with pytest.raises(MissingExtra, match=r"pip install 'anystrat\[live\]'"):
        made.endpoint(Reports(engine))
