"""What a good configuration becomes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from anystrat.config import configuration_from_mapping, load_configuration, row_from_mapping
from anystrat.domain.configuration import FillTiming, Overload, PaperCosts, Session
from anystrat.domain.endpoints import FileSource, JsonlBroker, SqliteJournal
from anystrat.domain.errors import ConfigurationError
from anystrat.strategies.catalog import Part
from anystrat.strategies.hybrid import HybridParameters
from anystrat.strategies.ml import MLParameters
from anystrat.strategies.momentum import MomentumParameters
from anystrat.strategies.policies.majority import MajorityParameters

SECOND = 1_000_000_000


def test_the_example_of_the_contract_loads_with_every_value_in_its_place(load, spec_example, tmp_path) -> None:
    configuration = load(spec_example)

    assert configuration.run.name == "demo"
    assert (configuration.run.rng_seed, configuration.run.shards) == (7, 4)
    assert configuration.run.overload is Overload.BLOCK
    (instrument,) = configuration.instruments
    assert (instrument.token, instrument.symbol, instrument.exchange) == (256265, "NIFTY 50", "NSE")
    assert (instrument.tick_size, instrument.lot_size, instrument.calendar) == (Decimal("0.05"), 75, "XBOM")
    assert configuration.source is not None
    assert configuration.source.type == "file"
    assert configuration.source.options == FileSource((tmp_path / "ticks.parquet",), "max")
    assert configuration.brokers["paper"].costs == PaperCosts(2.0, 1.0, FillTiming.NEXT_TICK)
    assert configuration.brokers["out"].options == JsonlBroker(tmp_path / "signals.jsonl")
    assert configuration.journal is not None
    assert configuration.journal.options == SqliteJournal(tmp_path / "state/journal.db")
    (row,) = configuration.strategies
    assert (row.strategy_id, row.strategy_type) == ("strat-001", "hybrid_momentum")
    assert row.parameters == HybridParameters(
        Part("momentum", MomentumParameters(20, 0.012, 75)),
        Part("ml_momentum", MLParameters(str(tmp_path / "models/momentum.onnx"), 75, 0.6)),
        Part("majority", MajorityParameters(min_conf=0.6)),
    )
    assert (row.instrument_tokens, row.active_brokers, row.enabled) == ((256265,), ("paper",), True)
    assert (row.risk.min_confidence, row.risk.cooldown_ns, row.risk.max_signals_per_min) == (0.55, 60 * SECOND, 6)
    assert configuration.files == (tmp_path / "anystrat.yaml",)
    assert configuration.directory == tmp_path


def test_json_is_read_as_the_yaml_that_it_is(tmp_path, catalog) -> None:
    path = tmp_path / "anystrat.json"
    row = {"id": "a", "strategy_type": "momentum", "instruments": [1]}
    path.write_text(json.dumps({"version": 1, "strategies": [row]}, indent="\t".expandtabs(2)), encoding="utf-8")

    assert load_configuration(path, catalog, environ={}).strategies[0].strategy_id == "a"


def test_the_paper_broker_exists_undeclared_and_is_where_signals_go(load, row_with) -> None:
    configuration = load(row_with(""))

    assert configuration.brokers["paper"].costs == PaperCosts()
    assert configuration.strategies[0].active_brokers == ("paper",)


def test_words_that_older_yaml_takes_for_booleans_and_times_are_text(load) -> None:
    configuration = load(
        "instruments:\n"
        "  - {token: 1, symbol: ON, exchange: NO}\n"
        "  - {token: 2, symbol: 15:30, exchange: 2024-01-02}\n"
        "strategies: []\n"
    )

    assert [(spec.symbol, spec.exchange) for spec in configuration.instruments] == [
        ("ON", "NO"),
        ("15:30", "2024-01-02"),
    ]


@pytest.mark.parametrize(
    ("written", "meant"), [("0.29", "0.29"), ("1", "1"), ('"0.290"', "0.290"), ("1e-3", "0.001"), ("0.1", "0.1")]
)
def test_a_float_stands_for_its_shortest_decimal(load, row_with, written, meant) -> None:
    row = load(row_with(f"risk_multiplier: {written}, risk: {{price_bucket: {written}}}")).strategies[0]

    assert row.risk_multiplier == Decimal(meant)
    assert row.risk.price_bucket == Decimal(meant)


def test_every_limit_becomes_whole_nanoseconds_of_event_time(load, row_with) -> None:
    limits = (
        load(
            row_with(
                "max_position_size: 500, risk_multiplier: 0.5, risk: {min_confidence: 0, max_quantity: 9, max_tick_age_sec: 2.5, "
                "band_pct: 3, slippage_budget: 0.2, min_flip_sec: 1.1, long_only: true, max_exposure: 1000000, max_loss_streak: 3, "
                "resume_after_sec: 0.001, cooldown_sec: 0.29, dedupe_window_sec: 0.5, price_bucket: 0.05, min_signal_interval_ms: 1.5, "
                "max_signals_per_min: 6, pause_on_throttle: true, throttle_pause_sec: 30, allow_sessions: [preopen, closed], "
                "max_errors: 0, error_window_sec: 10, retry_backoff_sec: 0.25, max_retries: 0}"
            )
        )
        .strategies[0]
        .risk
    )

    assert (limits.max_position_size, limits.risk_multiplier) == (Decimal(500), Decimal("0.5"))
    assert (limits.min_confidence, limits.max_quantity, limits.max_tick_age_ns) == (0.0, 9, 2_500_000_000)
    assert (limits.band_pct, limits.slippage_budget, limits.min_flip_ns) == (3.0, 0.2, 1_100_000_000)
    assert (limits.long_only, limits.max_exposure, limits.max_loss_streak) == (True, 1e6, 3)
    assert (limits.resume_after_ns, limits.cooldown_ns, limits.dedupe_window_ns) == (
        1_000_000,
        290_000_000,
        500_000_000,
    )
    assert (limits.price_bucket, limits.min_signal_interval_ns) == (Decimal("0.05"), 1_500_000)
    assert (limits.max_signals_per_min, limits.pause_on_throttle, limits.throttle_pause_ns) == (6, True, 30 * SECOND)
    assert limits.allow_sessions == {Session.PREOPEN, Session.CLOSED}
    assert (limits.max_errors, limits.error_window_ns) == (0, 10 * SECOND)
    assert (limits.retry_backoff_ns, limits.max_retries) == (250_000_000, 0)


def test_what_a_row_says_of_itself_is_kept(load, row_with) -> None:
    row = load(row_with("") + "    enabled: false\n    per_instrument: true\n    name: for people\n").strategies[0]

    assert (row.enabled, row.per_instrument, row.name, row.validator) == (False, True, "for people", "standard")


def test_a_whole_number_does_for_a_number(load, row_with) -> None:
    threshold = load(row_with("threshold: 1")).strategies[0].parameters.threshold

    assert threshold == 1.0
    assert isinstance(threshold, float)


def test_the_validator_may_stand_at_the_top_or_under_parameters(load, row_with, catalog) -> None:
    assert load(row_with("validator: standard")).strategies[0].validator == "standard"
    assert load(row_with("") + "    validator: standard\n").strategies[0].validator == "standard"


def test_a_hybrid_keeps_apart_what_is_written_apart(load, row_with, tmp_path) -> None:
    parameters = (
        load(
            row_with(
                "rules: {type: momentum, lookback_periods: 3}, ml: {type: ml_momentum, model_path: m.onnx, min_conf: 0.4}, "
                "policy: {type: sizer, min_scale: 0.5}, on_model_failure: rules_only, max_position_size: 3",
                "hybrid",
            )
        )
        .strategies[0]
        .parameters
    )

    assert parameters.rules == Part("momentum", MomentumParameters(lookback_periods=3))
    assert parameters.ml == Part("ml_momentum", MLParameters(str(tmp_path / "m.onnx"), min_conf=0.4))
    assert (parameters.policy.type, parameters.policy.parameters.min_scale) == ("sizer", 0.5)
    assert parameters.on_model_failure == "rules_only"


def test_an_inference_deadline_is_the_models_and_what_to_do_then_the_hybrids(load, row_with) -> None:
    flat = "model_path: m.onnx, inference_deadline_ms: 2.5, on_deadline: rules_only"
    nested = (
        "rules: {type: momentum}, ml: {type: ml_momentum, model_path: m.onnx, inference_deadline_ms: 2.5}, "
        "on_deadline: rules_only"
    )
    for text, kind in ((flat, "hybrid_momentum"), (nested, "hybrid")):
        parameters = load(row_with(text, kind)).strategies[0].parameters
        assert parameters.ml.parameters.inference_deadline_ms == 2.5
        assert parameters.on_deadline == "rules_only"
    alone = load(row_with("model_path: m.onnx, inference_deadline_ms: 5", "ml_momentum")).strategies[0].parameters
    assert (alone.inference_deadline_ms, alone.on_deadline) == (5.0, "drop")
    assert load(row_with("model_path: m.onnx", "ml_momentum")).strategies[0].parameters.inference_deadline_ms is None


def test_a_feature_store_stands_at_the_top(load, row_with) -> None:
    assert load(row_with("")).feature_store is None
    made = load("feature_store: {type: memory, size: 7}\n" + row_with("")).feature_store
    assert (made.type, made.options.size) == ("memory", 7)


def test_anchors_and_merge_keys_share_what_rows_have_in_common(load) -> None:
    configuration = load(
        "x-shared: &shared {lookback_periods: 7, threshold: 0.5}\n"
        "strategies:\n"
        "  - {id: a, strategy_type: momentum, instruments: [1], parameters: *shared}\n"
        "  - {id: b, strategy_type: momentum, instruments: [1], parameters: {<<: *shared, threshold: 0.25}}\n"
    )

    assert [row.parameters.threshold for row in configuration.strategies] == [0.5, 0.25]
    assert [row.parameters.lookback_periods for row in configuration.strategies] == [7, 7]


def test_a_file_source_takes_one_path_or_several(load, tmp_path) -> None:
    configuration = load("source: {type: file, path: [a.csv, /b.csv], pace: 10}\nstrategies: []\n")

    assert configuration.source is not None
    assert configuration.source.options == FileSource((tmp_path / "a.csv", Path("/b.csv")), 10.0)


@pytest.mark.parametrize("empty", ["", "~", "null"])
def test_a_key_without_a_value_counts_as_left_out(load, empty) -> None:
    configuration = load(
        f"run: {empty}\ninstruments: {empty}\nsource: {empty}\nbrokers: {empty}\njournal: {empty}\n"
        f"strategies:\n  - id: a\n    strategy_type: momentum\n    instruments: [1]\n    parameters: {empty}\n    brokers: {empty}\n"
    )

    assert configuration.strategies[0].active_brokers == ("paper",)
    assert configuration.source is None


class TestRowFromMapping:
    def test_a_row_of_the_design_document_loads(self, catalog) -> None:
        row = row_from_mapping(
            {
                "id": "rules-momo",
                "strategy_type": "momentum",
                "parameters": {"lookback_periods": 5, "threshold": 0.01, "position_size": 10},
                "brokers": ["paper"],
                "instruments": [123],
                "enabled": True,
            },
            catalog,
        )

        assert row.parameters == MomentumParameters(5, 0.01, 10)
        assert (row.strategy_id, row.instrument_tokens, row.active_brokers) == ("rules-momo", (123,), ("paper",))

    def test_numbers_and_paths_of_python_libraries_are_taken_as_what_they_are(self, catalog, tmp_path) -> None:
        row = row_from_mapping(
            {
                "id": "a",
                "strategy_type": "ml_momentum",
                "instruments": (np.int64(5),),
                "parameters": {
                    "model_path": Path("m.onnx"),
                    "min_conf": np.float32(0.5),
                    "risk_multiplier": Decimal("0.5"),
                    "risk": {"allow_sessions": {"preopen"}},
                },
            },
            catalog,
            base_dir=tmp_path,
        )

        assert row.instrument_tokens == (5,)
        assert type(row.instrument_tokens[0]) is int
        assert row.parameters.model_path == str(tmp_path / "m.onnx")
        assert (row.parameters.min_conf, row.risk_multiplier) == (0.5, Decimal("0.5"))

    def test_its_brokers_are_checked_where_it_is_known_which_there_are(self, catalog) -> None:
        row = {"id": "a", "strategy_type": "momentum", "instruments": [1], "brokers": ["papr"]}

        assert row_from_mapping(row, catalog).active_brokers == ("papr",)
        with pytest.raises(
            ConfigurationError, match=r"brokers\[0\]: unknown broker; found 'papr'.*did you mean 'paper'"
        ):
            row_from_mapping(row, catalog, brokers=["paper", "out"])

    def test_all_of_its_problems_come_at_once(self, catalog) -> None:
        with pytest.raises(ConfigurationError) as refusal:
            row_from_mapping({"id": 5, "strategy_type": "momentm", "parameters": {"risk": {"a": 1}}}, catalog)

        assert {problem.path for problem in refusal.value.problems} == {
            "instruments",
            "id",
            "parameters.risk.a",
            "strategy_type",
        }


def test_a_mapping_loads_as_a_file_does_without_reading_the_environment(catalog, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("ANYSTRAT__RUN__RNG_SEED", "9")
    mapping = {"run": {"rng_seed": 3}, "source": {"type": "file", "path": "t.csv"}, "strategies": []}

    configuration = configuration_from_mapping(mapping, catalog, base_dir=tmp_path)

    assert configuration.run.rng_seed == 3
    assert configuration.source is not None
    assert configuration.source.options.path == (tmp_path / "t.csv",)


def test_loading_reads_no_clock_and_gives_the_same_value_twice(load, spec_example) -> None:
    assert load(spec_example) == load(spec_example)
