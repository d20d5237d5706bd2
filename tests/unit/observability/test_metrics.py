"""The metrics are those of the table, say what the service says, and stay bounded."""

from __future__ import annotations

import asyncio
import re
import sys
from decimal import Decimal

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from anystrat.domain.errors import MissingExtra
from anystrat.domain.health import ExecutorTally, HealthReport, Phase
from anystrat.domain.lifecycle import State
from anystrat.domain.measuring import Meter, Stage
from anystrat.domain.outcomes import Dropped, Emitted, Outcome, Reason
from anystrat.domain.signal import EmittedSignal, SignalResult
from anystrat.observability.exposition import OWN_REASONS, Exposition
from anystrat.observability.measurements import Buckets, Measurements
from anystrat.observability.metric_table import METRICS

from .service_fake import TALLIES, Service

#: As the contract has them, by heart.
PROMISED = {
    "signals_total": ("strategy", "kind", "side"),
    "signals_dropped_total": ("strategy", "reason"),
    "ticks_dropped_total": ("reason",),
    "ml_inferences_total": ("strategy",),
    "processor_errors_total": ("strategy",),
    "strategy_state": ("strategy",),
    "latency_seconds": ("stage",),
}


def emitted(strategy: str, side: str) -> Emitted:
    return Emitted(
        EmittedSignal(
            side, 1.0, 1, Decimal(1), "", None, strategy_id=strategy, broker="paper", instrument_token=1, ts_ns=0,
            id_bases=(0, 0), price_bucket=0, dedupe_epoch=0,
        )
    )  # fmt: skip


def exposition(service: Service, measurements: Measurements | None = None, *, process: bool = False) -> Exposition:
    return Exposition(service, measurements or Measurements(), version="1.2.3", process=process)


def text(made: Exposition, accept: str = "") -> str:
    return asyncio.run(made.page(accept))[0].decode()


def values(made: Exposition) -> dict[tuple[str, tuple[str, ...]], float]:
    """(sample, label values in the table's order) -> value, as a Prometheus reads them."""
    return {
        (sample.name, tuple(sample.labels[label] for label in METRICS[sample.name].labels)): sample.value
        for family in text_string_to_metric_families(text(made))
        for sample in family.samples
        if sample.name in METRICS
    }


def test_the_promised_names_have_the_promised_labels() -> None:
    assert {name: METRICS[name].labels for name in PROMISED} == PROMISED


def test_every_metric_of_the_table_is_there_and_nothing_else() -> None:
    measurements = Measurements()
    families = {
        family.name: family for family in text_string_to_metric_families(text(exposition(Service(), measurements)))
    }
    assert set(families) == {name.removesuffix("_total") for name in METRICS}
    for name, metric in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help), name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample.name


def test_counts_of_a_strategys_executors_add_up_and_its_state_is_the_worst() -> None:
    found = values(exposition(Service()))
    assert found["signals_dropped_total", ("a", "duplicate")] == 6
    assert found["signals_dropped_total", ("a", "cooldown")] == 2
    assert found["evaluations_total", ("a",)] == 170
    assert found["processor_errors_total", ("a",)] == 1
    assert found["signals_held_total", ("b",)] == 2
    assert found["strategy_state", ("a",)] == State.PAUSED
    assert found["strategy_state", ("b",)] == State.WARMUP
    assert found["executors", ("PAUSED",)] == 1
    assert found["executors", ("ERROR",)] == 0


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((State.ACTIVE, State.WARMUP), State.WARMUP),
        ((State.PAUSED, State.ACTIVE), State.PAUSED),
        ((State.STOPPED, State.ERROR), State.ERROR),
        ((State.STOPPED, State.PAUSED, State.ACTIVE), State.STOPPED),
        ((State.ACTIVE, State.ACTIVE), State.ACTIVE),
    ],
)
def test_the_worst_state_needs_a_person_most(states: tuple[State, ...], worst: State) -> None:
    tallies = [ExecutorTally("a", str(n), "rules", state, 0, 0, 0, {}, 0, 0) for n, state in enumerate(states)]
    assert values(exposition(Service(tallies=tallies)))["strategy_state", ("a",)] == worst


def test_inferences_are_those_of_strategies_with_a_model() -> None:
    found = values(exposition(Service()))
    assert found["ml_inferences_total", ("b",)] == 29
    assert ("ml_inferences_total", ("a",)) not in found


def test_signals_are_counted_by_side_from_the_outcomes_and_start_at_zero() -> None:
    measurements = Measurements()
    meter: Meter = measurements
    dropped = Dropped(SignalResult("BUY", 1.0, 1, Decimal(1)), Reason.DUPLICATE, "a", "paper", 1, 0)
    outcomes: list[Outcome] = [emitted("a", "BUY"), dropped, emitted("a", "BUY"), emitted("b", "SELL")]
    meter.outcomes(outcomes)
    found = values(exposition(Service(), measurements))
    signals = {labels: value for (name, labels), value in found.items() if name == "signals_total"}
    assert signals == {
        ("a", "rules", "BUY"): 2, ("a", "rules", "SELL"): 0, ("b", "hybrid", "BUY"): 0, ("b", "hybrid", "SELL"): 1,
    }  # fmt: skip


def test_the_rest_of_the_service_is_read_as_it_says() -> None:
    found = values(exposition(Service()))
    expected = {
        ("ticks_total", ("0",)): 100, ("ticks_dropped_total", ("malformed",)): 2, ("ticks_conflated_total", ("0",)): 3,
        ("tick_lag_seconds", ("0",)): 0.25, ("mailbox_depth", ("0",)): 5, ("mailbox_capacity", ("1",)): 4096,
        ("shard_instruments", ("0",)): 2, ("strategy_stalls_total", ("a",)): 1, ("shard_blocked", ("0",)): 0,
        ("strategy_process_state", ("b",)): 1, ("strategy_process_restarts_total", ("b",)): 2,
        ("strategy_process_memory_bytes", ("b",)): 61_000_000,
        ("feed_state", ("ticks",)): 1, ("feed_silent_seconds", ("ticks",)): 0.5, ("feed_ticks_total", ("ticks",)): 145,
        ("feed_duplicates_total", ("ticks",)): 5, ("feed_gaps_total", ("ticks",)): 1,
        ("feed_reconnects_total", ("ticks",)): 2, ("feed_quarantined_total", ("ticks",)): 1,
        ("journal_up", ()): 1, ("journal_waiting", ()): 2,
        ("delivery_signals_total", ("out", "acked")): 10, ("delivery_signals_total", ("out", "dead")): 3,
        ("delivery_signals_total", ("out", "unknown")): 1, ("delivery_retries_total", ("out",)): 7,
        ("delivery_queue_depth", ("out",)): 4, ("delivery_oldest_seconds", ("out",)): 1.5,
        ("delivery_breaker_state", ("out",)): 0, ("service_ready", ()): 1, ("kill_switch", ()): 0,
        ("anystrat_info", ("demo", "1.2.3")): 1,
    }  # fmt: skip
    assert {key: found.get(key) for key in expected} == expected
    assert ("tick_lag_seconds", ("1",)) not in found


def test_a_service_that_only_begins_has_metrics_too() -> None:
    found = values(exposition(Service(HealthReport("demo", Phase.STARTING), ())))
    assert found["service_ready", ()] == 0
    assert not any(name == "journal_up" for name, _ in found)


def test_labels_that_a_validator_makes_up_do_not_grow_the_page() -> None:
    drops = {"duplicate": 1} | {f"own_{n}": 1 for n in range(1000)} | {"killed": 4}
    tally = ExecutorTally("a", "paper", "rules", State.ACTIVE, 0, 0, 0, drops, 0, 0)
    found = {
        k[1]: v for k, v in values(exposition(Service(tallies=[tally]))).items() if k[0] == "signals_dropped_total"
    }
    assert found["a", "duplicate"] == 1
    assert found["a", "killed"] == 4
    assert found["a", "other"] == 1000 - OWN_REASONS
    assert len(found) == OWN_REASONS + 3


def test_durations_fall_into_cumulative_buckets() -> None:
    measurements = Measurements()
    measurements.took(Stage.PROCESS_TICK, 0.000_001)
    measurements.took(Stage.PROCESS_TICK, 0.000_003, 2)
    measurements.took(Stage.PUBLISH, 60.0)
    measurements.committed(0.004, 300, 0)
    families = {
        family.name: family for family in text_string_to_metric_families(text(exposition(Service(), measurements)))
    }
    buckets = {
        (sample.labels["stage"], sample.labels["le"]): sample.value
        for sample in families["latency_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert buckets["process_tick", "1e-06"] == 1
    assert buckets["process_tick", "2.5e-06"] == 1
    assert buckets["process_tick", "5e-06"] == 3
    assert buckets["process_tick", "+Inf"] == 3
    assert (buckets["publish", "10.0"], buckets["publish", "+Inf"]) == (0, 1)
    sums = {
        sample.labels["stage"]: sample.value
        for sample in families["latency_seconds"].samples
        if sample.name.endswith("_sum")
    }
    assert sums["process_tick"] == pytest.approx(0.000_007)
    counts = {
        sample.name: sample.value for sample in families["journal_commit_steps"].samples if "_bucket" not in sample.name
    }
    assert counts == {"journal_commit_steps_count": 1, "journal_commit_steps_sum": 300}


def test_a_value_on_a_bound_counts_below_it_and_one_beyond_all_in_the_last() -> None:
    buckets = Buckets([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        buckets.add(value)
    assert buckets.cumulative() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]


def test_a_symbol_with_quotes_and_line_ends_stays_in_its_label() -> None:
    name = 'a"\n} 1\\\x1b[31m'
    tally = ExecutorTally(name, "paper", "rules", State.ACTIVE, 0, 7, 0, {}, 0, 0)
    assert values(exposition(Service(tallies=[tally])))["evaluations_total", (name,)] == 7


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_a_metric_of_many_strategies_is_written_in_pieces_and_reads_as_one(accept: str) -> None:
    tallies = [ExecutorTally(f"s{n}", "paper", "rules", State.ACTIVE, 0, n, 0, {}, 0, 0) for n in range(500)]
    page = text(exposition(Service(tallies=tallies)), accept)
    assert page.count("# TYPE evaluations") == 1
    parse = openmetrics_families if accept else text_string_to_metric_families
    (family,) = [family for family in parse(page) if family.name == "evaluations"]
    assert [sample.value for sample in family.samples] == list(range(500))


def test_openmetrics_is_given_to_whom_it_is_asked_by() -> None:
    body, content_type = asyncio.run(exposition(Service()).page("application/openmetrics-text; version=1.0.0"))
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in openmetrics_families(body.decode())}
    assert families == {name.removesuffix("_total") for name in METRICS}
    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1


def test_the_process_has_its_own_metrics_beside() -> None:
    names = {family.name for family in text_string_to_metric_families(text(exposition(Service(), process=True)))}
    assert {"python_info", "python_gc_collections", "signals"} <= names


def test_two_services_in_one_process_do_not_meet() -> None:
    one, other = exposition(Service()), exposition(Service(tallies=TALLIES[:1]))
    assert ("evaluations_total", ("b",)) in values(one)
    assert ("evaluations_total", ("b",)) not in values(other)


def test_the_event_loop_has_its_turn_during_a_scrape() -> None:
    async def scrape() -> int:
        turns = 0

        async def ticking() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(ticking())
        await exposition(Service()).page()
        task.cancel()
        return turns

    assert asyncio.run(scrape()) >= len(METRICS)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match=re.escape("metrics needs the extra 'live': pip install 'anystrat[live]'")):
        exposition(Service())
