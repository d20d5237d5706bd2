"""What is refused, and that the message says where, what was found, what is allowed and what was probably meant."""

from __future__ import annotations

import pytest

from anystrat.domain.parameters import ParameterError


def only(problems):
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


class TestNames:
    @pytest.mark.parametrize(
        ("text", "path", "line", "found", "nearest"),
        [
            ("strategie: []\nstrategies: []\n", "strategie", 1, "'strategie'", "strategies"),
            ("run: {rng_sed: 1}\nstrategies: []\n", "run.rng_sed", 1, "'rng_sed'", "rng_seed"),
            ("strategies: []\nsource:\n  type: fil\n", "source.type", 3, "'fil'", "file"),
            ("strategies: []\njournal:\n  type: sqlight\n", "journal.type", 3, "'sqlight'", "sqlite"),
            ("strategies: []\nbrokers:\n  out:\n    type: jsnl\n", "brokers.out.type", 4, "'jsnl'", "jsonl"),
            ("strategies: []\nbrokers:\n  paper: {fe_bps: 1}\n", "brokers.paper.fe_bps", 3, "'fe_bps'", "fee_bps"),
            (
                "strategies: []\ninstruments:\n- {token: 1, lotsize: 2}\n",
                "instruments[0].lotsize",
                3,
                "'lotsize'",
                "lot_size",
            ),
        ],
    )
    def test_an_unknown_name_outside_the_rows_is_refused_with_the_nearest(
        self, refuse, text, path, line, found, nearest
    ) -> None:
        problem = only(refuse(text))

        assert (problem.path, problem.line, problem.found, problem.nearest) == (path, line, found, nearest)
        assert nearest in problem.allowed
        assert problem.file.endswith("anystrat.yaml")

    @pytest.mark.parametrize(
        ("parameters", "kind", "path", "nearest"),
        [
            ("lookback_period: 3", "momentum", "lookback_period", "lookback_periods"),
            ("risk: {cooldown_secs: 3}", "momentum", "risk.cooldown_secs", "cooldown_sec"),
            ("validator: standrd", "momentum", "validator", "standard"),
            ("model_path: m, policy: majorty", "hybrid_momentum", "policy", "majority"),
            ("model_path: m, policy: {type: majorty}", "hybrid_momentum", "policy.type", "majority"),
            ("model_path: m, policy: {type: majority, min_cnf: 1}", "hybrid_momentum", "policy.min_cnf", "min_conf"),
            ("model_path: m, lookback_period: 3", "hybrid_momentum", "lookback_period", "lookback_periods"),
            ("rules: {type: momentm}, ml: {type: ml_momentum, model_path: m}", "hybrid", "rules.type", "momentum"),
            (
                "rules: {type: momentum, treshold: 1}, ml: {type: ml_momentum, model_path: m}",
                "hybrid",
                "rules.treshold",
                "threshold",
            ),
        ],
    )
    def test_an_unknown_name_in_parameters_is_refused_with_the_nearest(
        self, refuse, row_with, parameters, kind, path, nearest
    ) -> None:
        problem = only(refuse(row_with(parameters, kind)))

        assert (problem.path, problem.line, problem.nearest) == (f"strategies[0].parameters.{path}", 4, nearest)

    def test_an_unknown_strategy_type_is_refused_with_the_nearest(self, refuse, row_with) -> None:
        problem = only(refuse(row_with("", "momentun")))

        assert (problem.path, problem.line, problem.nearest) == ("strategies[0].strategy_type", 3, "momentum")
        assert "sma_crossover" in problem.allowed

    @pytest.mark.parametrize(
        "kind", ["os.system", "os:system", "anystrat.strategies.momentum.Momentum", "../momentum", "__import__"]
    )
    def test_a_dotted_path_is_no_strategy_type_and_imports_nothing(self, refuse, row_with, kind) -> None:
        assert only(refuse(row_with("", kind))).message == "unknown strategy type"

    def test_a_key_that_is_right_elsewhere_is_refused_with_the_place_where_it_goes(self, refuse, row_with) -> None:
        problems = refuse(
            row_with("cooldown_sec: 3, enabled: true, risk: {risk_multiplier: 1}")
            + "    max_quantity: 3\n    risk: {}\n"
        )

        texts = {problem.path.removeprefix("strategies[0]."): problem.message for problem in problems}
        assert texts == {
            "parameters.cooldown_sec": "unknown key (it goes under `parameters.risk`)",
            "parameters.enabled": "unknown key (it goes at the top of the row, beside `parameters`)",
            "parameters.risk.risk_multiplier": "unknown key (it goes beside `risk`, under `parameters`)",
            "max_quantity": "unknown key (it goes under `parameters.risk`)",
            "risk": "unknown key (it goes under `parameters`)",
        }

    def test_a_broker_that_is_not_declared_is_refused_with_the_nearest(self, refuse, row_with) -> None:
        problem = only(refuse("brokers: {out: {type: log}}\n" + row_with("") + "    brokers: [out, papr]\n"))

        assert (problem.path, problem.line, problem.nearest) == ("strategies[0].brokers[1]", 7, "paper")

    def test_a_broker_with_a_problem_of_its_own_still_counts_as_declared(self, refuse, row_with) -> None:
        problem = only(refuse("brokers: {out: {type: jsonl}}\n" + row_with("") + "    brokers: [out]\n"))

        assert problem.path == "brokers.out.path"


class TestValues:
    @pytest.mark.parametrize(
        ("parameters", "path", "found"),
        [
            ('lookback_periods: "20"', "lookback_periods", "the text '20'"),
            ("lookback_periods: 20.5", "lookback_periods", "20.5"),
            ("lookback_periods: 20.0", "lookback_periods", "20.0"),
            ("lookback_periods: true", "lookback_periods", "true"),
            ("lookback_periods: 0", "lookback_periods", "0"),
            ("lookback_periods: [20]", "lookback_periods", "a list"),
            ("lookback_periods: null", "lookback_periods", "nothing"),
            ('threshold: "0.01"', "threshold", "the text '0.01'"),
            ("threshold: true", "threshold", "true"),
            ("threshold: .nan", "threshold", "nan"),
            ("threshold: .inf", "threshold", "inf"),
            ("threshold: 1e999", "threshold", "inf"),
            ("threshold: -0.01", "threshold", "-0.01"),
            ("position_size: -5", "position_size", "-5"),
            ("max_position_size: -1", "max_position_size", "-1"),
            ("max_position_size: .nan", "max_position_size", "nan"),
            ("max_position_size: many", "max_position_size", "the text 'many'"),
            ("risk_multiplier: true", "risk_multiplier", "true"),
            ("risk_multiplier: .inf", "risk_multiplier", "inf"),
            ("risk_multiplier: sNaN", "risk_multiplier", "the text 'sNaN'"),
            ("risk: [1]", "risk", "a list"),
            ("risk: {dedupe_window_sec: 0}", "risk.dedupe_window_sec", "0"),
            ("risk: {dedupe_window_sec: 1e-10}", "risk.dedupe_window_sec", "1e-10"),
            ("risk: {price_bucket: 0}", "risk.price_bucket", "0"),
            ("risk: {cooldown_sec: -1}", "risk.cooldown_sec", "-1"),
            ("risk: {cooldown_sec: 1e30}", "risk.cooldown_sec", "1e+30"),
            ("risk: {min_confidence: 1.1}", "risk.min_confidence", "1.1"),
            ("risk: {max_quantity: 1.5}", "risk.max_quantity", "1.5"),
            ("risk: {long_only: 1}", "risk.long_only", "1"),
            ("risk: {long_only: yes}", "risk.long_only", "the text 'yes'"),
            ("risk: {allow_sessions: preopen}", "risk.allow_sessions", "the text 'preopen'"),
            ("risk: {allow_sessions: [preopn]}", "risk.allow_sessions[0]", "the text 'preopn'"),
            ("risk: {max_exposure: .nan}", "risk.max_exposure", "nan"),
            ("sizing: 5", "sizing", "5"),
        ],
    )
    def test_a_wrong_value_in_parameters_is_refused_by_name(self, refuse, row_with, parameters, path, found) -> None:
        problem = only(refuse(row_with(parameters)))

        assert (problem.path, problem.found, problem.line) == (f"strategies[0].parameters.{path}", found, 4)
        assert problem.allowed
        if path == "sizing":
            assert problem.allowed.startswith("mapping with mode, ")

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("version: 2\nstrategies: []\n", "version"),
            ("version: true\nstrategies: []\n", "version"),
            ("run: {rng_seed: -1}\nstrategies: []\n", "run.rng_seed"),
            ("run: {shards: 0}\nstrategies: []\n", "run.shards"),
            ("run: {overload: drop}\nstrategies: []\n", "run.overload"),
            ("run: [1]\nstrategies: []\n", "run"),
            ("instruments: {token: 1}\nstrategies: []\n", "instruments"),
            ("instruments: [5]\nstrategies: []\n", "instruments[0]"),
            ("instruments: [{symbol: A}]\nstrategies: []\n", "instruments[0].token"),
            ("instruments: [{token: 99999999999999999999}]\nstrategies: []\n", "instruments[0].token"),
            ("instruments: [{token: 1, tick_size: nan}]\nstrategies: []\n", "instruments[0].tick_size"),
            ("instruments: [{token: 1, tick_size: 0}]\nstrategies: []\n", "instruments[0].tick_size"),
            ("instruments: [{token: 1, lot_size: 0}]\nstrategies: []\n", "instruments[0].lot_size"),
            ("instruments: [{token: 1, multiplier: -1}]\nstrategies: []\n", "instruments[0].multiplier"),
            ("source: ticks.parquet\nstrategies: []\n", "source"),
            ("source: {path: t}\nstrategies: []\n", "source.type"),
            ("source: {type: 5}\nstrategies: []\n", "source.type"),
            ("source: {type: file}\nstrategies: []\n", "source.path"),
            ("source: {type: file, path: 5}\nstrategies: []\n", "source.path"),
            ("source: {type: file, path: t, pace: 0}\nstrategies: []\n", "source.pace"),
            ("source: {type: file, path: t, pace: fast}\nstrategies: []\n", "source.pace"),
            ("brokers: [paper]\nstrategies: []\n", "brokers"),
            ("brokers: {out: {path: a}}\nstrategies: []\n", "brokers.out.type"),
            ("brokers: {paper: {fee_bps: -1}}\nstrategies: []\n", "brokers.paper.fee_bps"),
            ("brokers: {paper: {fee_bps: .nan}}\nstrategies: []\n", "brokers.paper.fee_bps"),
            ("brokers: {paper: {slippage_bps: -0.1}}\nstrategies: []\n", "brokers.paper.slippage_bps"),
            ("brokers: {paper: {fill: later}}\nstrategies: []\n", "brokers.paper.fill"),
            ("brokers: {a|b: {type: log}}\nstrategies: []\n", "brokers.a|b"),
            ("brokers: {out: {type: jsonl}}\nstrategies: []\n", "brokers.out.path"),
            ("brokers: {out: {type: kafka, bootstrap_servers: a}}\nstrategies: []\n", "brokers.out.topic"),
            ("brokers: {out: {type: webhook, url: ftp://a}}\nstrategies: []\n", "brokers.out.url"),
            ("journal: {type: postgres}\nstrategies: []\n", "journal.url"),
            ("journal: memory\nstrategies: []\n", "journal"),
            ("run: {name: a}\n", "strategies"),
            ("strategies: 5\n", "strategies"),
            ("strategies: {id: a}\n", "strategies"),
            ("strategies: [5]\n", "strategies[0]"),
        ],
    )
    def test_a_wrong_value_outside_the_rows_is_refused_by_name(self, refuse, text, path) -> None:
        assert only(refuse(text)).path == path

    @pytest.mark.parametrize(
        ("row", "path"),
        [
            ("{strategy_type: momentum, instruments: [1]}", "id"),
            ("{id: '', strategy_type: momentum, instruments: [1]}", "id"),
            ("{id: 5, strategy_type: momentum, instruments: [1]}", "id"),
            ('{id: "a\\nb", strategy_type: momentum, instruments: [1]}', "id"),
            ("{id: a, instruments: [1]}", "strategy_type"),
            ("{id: a, strategy_type: 5, instruments: [1]}", "strategy_type"),
            ("{id: a, strategy_type: momentum}", "instruments"),
            ("{id: a, strategy_type: momentum, instruments: []}", "instruments"),
            ("{id: a, strategy_type: momentum, instruments: 5}", "instruments"),
            ("{id: a, strategy_type: momentum, instruments: ['5']}", "instruments[0]"),
            ("{id: a, strategy_type: momentum, instruments: [-5]}", "instruments[0]"),
            ("{id: a, strategy_type: momentum, instruments: [5, 6, 5]}", "instruments[2]"),
            ("{id: a, strategy_type: momentum, instruments: [1], brokers: []}", "brokers"),
            ("{id: a, strategy_type: momentum, instruments: [1], brokers: paper}", "brokers"),
            ("{id: a, strategy_type: momentum, instruments: [1], brokers: [paper, paper]}", "brokers[1]"),
            ("{id: a, strategy_type: momentum, instruments: [1], enabled: 1}", "enabled"),
            ("{id: a, strategy_type: momentum, instruments: [1], parameters: [1]}", "parameters"),
            ("{id: a, strategy_type: momentum, instruments: [1], name: a, strategy_name: b}", "strategy_name"),
            ("{id: a, strategy_type: momentum, instruments: [1], validator: v}", "validator"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: 1}", "bars"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: 0m}", "bars"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: 400d}", "bars"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {}}", "bars"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {ticks: 2, every: 1m}}", "bars"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {tick: 2}}", "bars.tick"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {ticks: 2.5}}", "bars.ticks"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {ticks: true}}", "bars.ticks"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {volume: -1}}", "bars.volume"),
            ("{id: a, strategy_type: momentum, instruments: [1], bars: {volume: .inf}}", "bars.volume"),
            ("{id: a, strategy_type: momentum, instruments: [1], isolate: true}", "isolate"),
            ("{id: a, strategy_type: momentum, instruments: [1], isolate: thread}", "isolate"),
            ("{id: a, strategy_type: momentum, instruments: [1], isolate: {deadline_ms: 0}}", "isolate.deadline_ms"),
            ("{id: a, strategy_type: momentum, instruments: [1], isolate: {memory: 512}}", "isolate.memory"),
            ("{id: a, strategy_type: ml_momentum, instruments: [1]}", "parameters.model_path"),
            (
                "{id: a, strategy_type: ml_momentum, instruments: [1], parameters: {model_path: 5}}",
                "parameters.model_path",
            ),
            (
                "{id: a, strategy_type: hybrid, instruments: [1], parameters: {ml: {type: ml_momentum, model_path: m}}}",
                "parameters.rules",
            ),
        ],
    )
    def test_a_wrong_row_is_refused_by_name(self, refuse, row, path) -> None:
        assert only(refuse(f"strategies: [{row}]\n")).path == f"strategies[0].{path}"

    def test_values_that_are_impossible_together_name_the_parameter(self, refuse, row_with) -> None:
        problem = only(refuse(row_with("fast_periods: 30, slow_periods: 10", "sma_crossover")))

        assert problem.path.startswith("strategies[0].parameters.")
        assert problem.path.endswith(("fast_periods", "slow_periods"))
        assert problem.line == 4

    def test_a_part_of_a_hybrid_is_checked_where_it_was_written(self, refuse, row_with) -> None:
        problems = refuse(
            row_with(
                "rules: {type: sma_crossover, fast_periods: 9, slow_periods: 3}, ml: {type: ml_momentum, min_conf: 2}, "
                "policy: {type: threshold_escalation}, high_vol_conf: -1, on_model_failure: shrug",
                "hybrid",
            )
        )

        prefix = "strategies[0].parameters."
        assert {problem.path.removeprefix(prefix) for problem in problems} == {
            "rules.fast_periods",
            "ml.min_conf",
            "ml.model_path",
            "policy.vol_threshold",
            "high_vol_conf",
            "on_model_failure",
        }

    def test_a_model_alone_has_no_rules_to_fall_back_on(self, refuse, row_with) -> None:
        problems = refuse(row_with("model_path: m, inference_deadline_ms: 0, on_deadline: rules_only", "ml_momentum"))

        assert {problem.path.rpartition(".")[2]: problem.allowed for problem in problems} == {
            "inference_deadline_ms": "number > 0 (milliseconds)",
            "on_deadline": "drop",
        }

    def test_bars_say_what_they_can_be_and_the_nearest_right_name(self, refuse, row_with) -> None:
        assert only(refuse(row_with("") + "    bars: {volumes: 5}\n")).nearest == "volume"
        assert "{ticks: 100}" in only(refuse(row_with("") + "    bars: often\n")).allowed

    def test_a_parameter_error_of_a_plug_in_maps_to_its_field(self, refuse, row_with, catalog) -> None:
        assert issubclass(ParameterError, ValueError)
        problem = only(
            refuse(row_with("min_scale: 0.9, max_scale: 0.1, model_path: m, policy: sizer", "hybrid_momentum"))
        )

        assert problem.path.removeprefix("strategies[0].parameters.") in {"min_scale", "max_scale"}

    def test_what_is_missing_is_not_said_to_be_found(self, refuse) -> None:
        problem = only(refuse("strategies: []\njournal: {type: sqlite}\n"))

        assert (problem.message, problem.found, problem.allowed) == ("required, and not there", "", "path")


class TestDuplicates:
    def test_two_rows_with_one_id_are_refused_with_both_lines(self, refuse) -> None:
        problem = only(
            refuse(
                "strategies:\n"
                "  - {id: a, strategy_type: momentum, instruments: [1]}\n"
                "  - {id: b, strategy_type: momentum, instruments: [1]}\n"
                "  - {id: a, strategy_type: momentum, instruments: [1]}\n"
            )
        )

        assert (problem.path, problem.line) == ("strategies[2].id", 4)
        assert "line 2" in problem.message

    def test_two_instruments_with_one_token_are_refused_with_both_lines(self, refuse) -> None:
        problem = only(refuse("instruments:\n  - {token: 1}\n  - {token: 1}\nstrategies: []\n"))

        assert (problem.path, problem.line) == ("instruments[1].token", 3)
        assert "line 2" in problem.message


def test_everything_that_is_wrong_is_said_at_once_from_the_top_down(refuse) -> None:
    problems = refuse(
        "version: 3\n"
        "run: {shards: x}\n"
        "source: {type: fil}\n"
        "brokers: {paper: {fee_bps: -1}}\n"
        "strategies:\n"
        "  - {id: a, strategy_type: momentum, instruments: []}\n"
        "  - {id: b, strategy_type: nothing, instruments: [1]}\n"
    )

    assert [problem.line for problem in problems] == [1, 2, 3, 4, 6, 7]


class TestWords:
    def test_a_text_for_a_list_gets_no_hint_that_it_is_the_text(self, refuse, row_with) -> None:
        problem = only(refuse(row_with("risk: {allow_sessions: closed}")))

        assert (problem.message, problem.found, problem.nearest) == ("must be a list", "the text 'closed'", "")
        assert problem.allowed.startswith("list of ")

    def test_in_a_list_the_nearest_text_is_named(self, refuse, row_with) -> None:
        assert only(refuse(row_with("risk: {allow_sessions: [close]}"))).nearest == "closed"

    def test_what_does_not_go_together_is_said_once(self, refuse, row_with) -> None:
        text = row_with("model_path: m, policy: {type: sizer, min_scale: 0.5, max_scale: 0.2}", "hybrid_momentum")
        problem = only(refuse(text))

        assert (problem.message, problem.found) == ("must be at least min_scale (0.5)", "0.2")

    def test_a_default_that_does_not_go_with_what_is_given_is_said_to_be_one(self, refuse, row_with) -> None:
        problem = only(refuse(row_with("slow_periods: 5", "sma_crossover")))

        assert (problem.message, problem.found) == ("must be less than slow_periods (5)", "10, by default")

    def test_the_bounds_of_what_is_in_a_list_are_named(self, refuse) -> None:
        problem = only(refuse("strategies: [{id: a, strategy_type: momentum, instruments: [-1]}]\n"))

        assert (problem.path, problem.found) == ("strategies[0].instruments[0]", "-1")
        assert "whole number ≥ 0" in problem.allowed


class TestBrokersOfOneFile:
    def test_two_brokers_that_append_to_one_file_are_refused_at_the_second(self, refuse) -> None:
        problem = only(
            refuse(
                "strategies: []\nbrokers:\n  first: {type: jsonl, path: out/s.jsonl}\n"
                "  second:\n    type: jsonl\n    path: out/../out/s.jsonl\n"
            )
        )

        assert (problem.path, problem.line) == ("brokers.second.path", 6)
        assert "broker 'first' writes to this file already" in problem.message

    def test_brokers_may_share_what_is_no_file(self, load) -> None:
        load("strategies: []\nbrokers:\n  a: {type: jsonl, path: /dev/null}\n  b: {type: jsonl, path: /dev/null}\n")


@pytest.mark.parametrize(
    ("text", "path", "nearest"),
    [
        (
            "source: {type: websocket, url: 'ws://h', ticks: [{price: p, instument: s}]}",
            "source.ticks[0].instument",
            "instrument",
        ),
        ("brokers: {paper: {charges: [{nme: a}]}}", "brokers.paper.charges[0].nme", "name"),
        ("control: {tls: {certficate: a, key: b}}", "control.tls.certficate", "certificate"),
    ],
)
def test_an_unknown_key_within_a_list_or_a_mapping_of_a_section_has_its_nearest_name(
    refuse, text, path, nearest
) -> None:
    (problem,) = [each for each in refuse(text + "\nstrategies: []\n") if each.message == "unknown key"]
    assert problem.path == path
    assert problem.nearest == nearest
    assert nearest in problem.allowed
    assert not problem.found
