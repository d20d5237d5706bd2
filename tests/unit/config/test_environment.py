"""Values from the environment: found, checked, and never shown."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import pytest

from anystrat.config import EndpointTypes, load_configuration, row_from_mapping
from anystrat.domain.configuration import EnvironmentText, Secret
from anystrat.domain.endpoints import NatsSource
from anystrat.domain.errors import ConfigurationError
from anystrat.domain.parameters import ParameterError

CANARY = "hunter2-canary"


def only(problems):
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


class TestReferences:
    def test_a_variable_is_replaced_wherever_text_stands(self, load, tmp_path) -> None:
        configuration = load(
            "run: {name: 'run-${NAME}'}\nsource: {type: file, path: '${DIR}/t.csv'}\nstrategies: []\n",
            {"NAME": "x", "DIR": "data"},
        )

        assert configuration.run.name == "run-x"
        assert configuration.source is not None
        assert configuration.source.options.path == (tmp_path / "data/t.csv",)

    def test_a_number_may_come_from_a_variable(self, load) -> None:
        configuration = load(
            "run: {rng_seed: '${SEED}'}\nbrokers: {paper: {fee_bps: '${FEE}'}}\nstrategies: []\n",
            {"SEED": "9", "FEE": "2.5"},
        )

        assert configuration.run.rng_seed == 9
        assert configuration.brokers["paper"].costs is not None
        assert configuration.brokers["paper"].costs.fee_bps == 2.5

    @pytest.mark.parametrize(
        ("written", "environ", "name"),
        [
            ("${NAME:-fallback}", {}, "fallback"),
            ("${NAME:-fallback}", {"NAME": ""}, "fallback"),
            ("${NAME:-fallback}", {"NAME": "given"}, "given"),
            ("${NAME:-}", {}, ""),
            ("$${NAME}", {"NAME": "given"}, "${NAME}"),
            ("$NAME", {"NAME": "given"}, "$NAME"),
            ("${A}${B}", {"A": "1", "B": "2"}, "12"),
            ("${A}", {"A": "${B}", "B": "2"}, "${B}"),
        ],
    )
    def test_defaults_and_escapes_are_as_in_a_shell(self, load, written, environ, name) -> None:
        assert load(f"run: {{name: '{written}'}}\nstrategies: []\n", environ).run.name == name

    def test_a_variable_that_is_not_set_is_a_problem_with_its_name_and_line(self, refuse) -> None:
        problem = only(refuse("strategies: []\nrun:\n  name: ${ANYSTRAT_NAM}\n", {"ANYSTRAT_NAME": "x"}))

        assert (problem.path, problem.line, problem.nearest) == ("run.name", 3, "ANYSTRAT_NAME")
        assert "ANYSTRAT_NAM is not set" in problem.message

    @pytest.mark.parametrize("written", ["${", "${}", "${1A}", "${A B}", "${A-b}"])
    def test_a_reference_that_is_none_is_a_problem(self, refuse, written) -> None:
        assert (
            "must begin a reference"
            in only(refuse(f"run: {{name: '{written}'}}\nstrategies: []\n", {"A": "x"})).message
        )

    def test_a_row_in_python_reads_no_environment_unless_it_is_given_one(self, catalog) -> None:
        row = {"id": "${NAME}", "strategy_type": "momentum", "instruments": [1]}

        assert row_from_mapping(row, catalog, environ={"NAME": "a"}).strategy_id == "a"
        with pytest.raises(ConfigurationError, match="NAME is not set"):
            row_from_mapping(row, catalog)


class TestSecrets:
    WEBHOOK = "brokers: {hook: {type: webhook, url: 'https://host/?user=${USER}&key=${PW}', token: '${PW}', headers: {X-Key: '${PW}'}}}\nstrategies: []\n"

    def test_what_may_be_a_secret_is_revealed_only_on_demand(self, load) -> None:
        options = load(self.WEBHOOK, {"PW": CANARY, "USER": "me"}).brokers["hook"].options

        assert options.url.reveal() == f"https://host/?user=me&key={CANARY}"
        assert options.token.reveal() == CANARY
        assert options.headers["X-Key"].reveal() == CANARY

    def test_no_repr_text_or_dump_of_a_configuration_shows_one(self, load) -> None:
        configuration = load(
            self.WEBHOOK + "journal: {type: postgres, url: 'postgresql://u:${PW}@h/d'}\nrun: {name: '${PW}'}\n",
            {"PW": CANARY, "USER": "me"},
        )

        assert CANARY not in repr(configuration)
        assert CANARY not in str(configuration)
        assert CANARY not in repr(dataclasses.asdict(configuration))
        assert (
            CANARY
            not in f"{configuration.brokers['hook'].options.token} {configuration.brokers['hook'].options.token!r:>30}"
        )
        with pytest.raises(TypeError):
            json.dumps(configuration.brokers["hook"].options.token)

    @pytest.mark.parametrize(
        "text",
        [
            "run: {rng_seed: '${PW}'}\nstrategies: []\n",
            "run: {overload: '${PW}'}\nstrategies: []\n",
            "source: {type: '${PW}'}\nstrategies: []\n",
            "brokers: {hook: {type: webhook, url: '${PW}'}}\nstrategies: []\n",
            "strategies: {include: '${PW}'}\n",
            "strategies: {from: '${PW}'}\n",
            "strategies: {from: 'sqlite:///${PW}.db'}\n",
            "strategies: {from: 'postgresql://u:${PW}@127.0.0.1:1/d'}\n",
            "strategies: ['${PW}']\n",
            "strategies: [{id: a, strategy_type: '${PW}', instruments: [1], brokers: ['${PW}'], validator: '${PW}'}]\n",
            "strategies: [{id: '${PW}', strategy_type: momentum, instruments: [1]}, {id: '${PW}', strategy_type: momentum, instruments: [1]}]\n",
            "strategies: [{id: a, strategy_type: hybrid_momentum, instruments: [1], parameters: {policy: '${PW}', model_path: m}}]\n",
            "strategies: [{id: a, strategy_type: hybrid, instruments: [1], parameters: {rules: '${PW}', ml: {type: '${PW}'}}}]\n",
            "strategies: [{id: a, strategy_type: momentum, instruments: [1], parameters: {threshold: '${PW}', risk: {cooldown_sec: '${PW}'}}}]\n",
        ],
    )
    def test_no_problem_repeats_what_came_from_the_environment(self, refuse, text) -> None:
        problems = refuse(text, {"PW": CANARY})

        assert problems
        assert CANARY not in "\n".join(map(str, problems))
        assert CANARY not in repr(problems)

    def test_a_literal_secret_is_not_repeated_either(self, refuse) -> None:
        problems = refuse(
            f"brokers: {{hook: {{type: webhook, url: 'ftp://{CANARY}'}}, n: {{type: nats, url: 987654321, token: [{CANARY}]}}}}\nstrategies: []\n"
        )

        assert {problem.path for problem in problems} >= {"brokers.hook.url", "brokers.n.url", "brokers.n.token"}
        shown = "\n".join(map(str, problems))
        assert CANARY not in shown
        assert "987654321" not in shown

    def test_a_secret_may_be_kept_in_a_file(self, load) -> None:
        configuration = load(
            "brokers: {n: {type: nats, url_file: secrets/url, password_file: secrets/pw}}\nstrategies: []\n",
            files={"secrets/url": "nats://host\n", "secrets/pw": f"{CANARY}\n"},
        )

        assert configuration.brokers["n"].options.url.reveal() == "nats://host"
        assert configuration.brokers["n"].options.password.reveal() == CANARY
        assert CANARY not in repr(configuration)

    def test_a_secret_file_is_refused_when_it_is_missing_or_beside_the_secret_itself(self, refuse) -> None:
        problems = refuse(
            "brokers: {n: {type: nats, url: u, url_file: f, token_file: nowhere, user_file: 5}}\nstrategies: []\n"
        )

        assert {problem.path: problem.message for problem in problems} == {
            "brokers.n.url_file": "`url` and `url_file` are both given; keep one of them",
            "brokers.n.token_file": "the file cannot be read: No such file or directory",
            "brokers.n.user_file": "must be a path",
        }

    def test_two_secrets_are_equal_when_their_texts_are(self) -> None:
        assert Secret("a") == Secret("a") != Secret("b")
        assert len({Secret("a"), Secret("a")}) == 1
        assert Secret("a") != "a"

    def test_text_from_the_environment_is_text_with_a_masked_repr(self) -> None:
        text = EnvironmentText("abc")

        assert (text, repr(text), text + "d") == ("abc", "'***'", "abcd")


@dataclass(frozen=True)
class TalkativeOptions:
    key: Secret

    def __post_init__(self) -> None:
        raise ParameterError("key", f"{self.key.reveal()} is not a key")


class TestPlugIns:
    """Brokers that somebody else brings, with a class for their options or without."""

    def load(self, text, catalog, tmp_path, endpoints, environ=None):
        (tmp_path / "secret").write_text(CANARY + "\n", encoding="utf-8")
        (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
        return load_configuration(tmp_path / "c.yaml", catalog, environ=environ or {}, endpoints=endpoints)

    def test_options_of_an_unknown_shape_come_as_they_are_with_secrets_sealed(self, catalog, tmp_path) -> None:
        text = "brokers: {k: {type: kite, api_key_file: secret, limits: [1, '${PW}'], symbol: plain}}\nstrategies: []\n"
        configuration = self.load(text, catalog, tmp_path, EndpointTypes().with_broker("kite"), {"PW": "other-canary"})

        options = configuration.brokers["k"].options
        assert (options["symbol"], options["limits"][0]) == ("plain", 1)
        assert (options["api_key"], options["limits"][1]) == (Secret(CANARY), Secret("other-canary"))
        assert "canary" not in repr(configuration)

    @pytest.mark.parametrize("given", ["key_file: secret", "key: '${PW}'"])
    def test_a_message_that_repeats_a_secret_is_masked(self, catalog, tmp_path, given) -> None:
        endpoints = EndpointTypes().with_broker("kite", TalkativeOptions)

        with pytest.raises(ConfigurationError, match=r"brokers\.k\.key: \*\*\* is not a key"):
            self.load(
                f"brokers: {{k: {{type: kite, {given}}}}}\nstrategies: []\n",
                catalog,
                tmp_path,
                endpoints,
                {"PW": CANARY},
            )

    def test_a_source_and_its_class_can_be_added_too(self, catalog, tmp_path) -> None:
        endpoints = EndpointTypes().with_source("nats2", NatsSource)
        configuration = self.load(
            "source: {type: nats2, url: nats://h}\nstrategies: []\n", catalog, tmp_path, endpoints
        )

        assert configuration.source is not None
        assert configuration.source.options == NatsSource(Secret("nats://h"))


class TestOverrides:
    TEXT = "run: {rng_seed: 3}\nbrokers: {Out: {type: jsonl, path: a.jsonl}}\nstrategies: []\n"

    def test_a_variable_overrides_a_key_of_a_section(self, load, tmp_path) -> None:
        configuration = load(
            self.TEXT,
            {
                "ANYSTRAT__RUN__RNG_SEED": "9",
                "ANYSTRAT__RUN__NAME": "12",
                "ANYSTRAT__BROKERS__PAPER__FEE_BPS": "3",
                "ANYSTRAT__BROKERS__OUT__PATH": "b.jsonl",
                "ANYSTRAT__JOURNAL__TYPE": "memory",
                "ANYSTRAT_CONFIG": "elsewhere",
            },
        )

        assert (configuration.run.rng_seed, configuration.run.name) == (9, "12")
        assert configuration.brokers["paper"].costs is not None
        assert configuration.brokers["paper"].costs.fee_bps == 3.0
        assert configuration.brokers["Out"].options.path == tmp_path / "b.jsonl"
        assert configuration.journal is not None
        assert configuration.journal.type == "memory"

    @pytest.mark.parametrize(
        ("variable", "nearest"),
        [
            ("ANYSTRAT__RUN__RNG_SED", "rng_seed"),
            ("ANYSTRAT__RNU__RNG_SEED", "run"),
            ("ANYSTRAT__BROKERS__PAPR__FEE_BPS", "paper"),
            ("ANYSTRAT__BROKERS__PAPER__FEE_BP", "fee_bps"),
            ("ANYSTRAT__STRATEGIES", ""),
            ("ANYSTRAT__RUN", ""),
            ("ANYSTRAT__", ""),
            ("ANYSTRAT__RUN__", ""),
        ],
    )
    def test_a_variable_that_overrides_nothing_is_a_problem_with_its_name(self, refuse, variable, nearest) -> None:
        problem = only(refuse(self.TEXT, {variable: CANARY}))

        assert problem.file == f"environment variable {variable}"
        assert problem.nearest == nearest
        assert CANARY not in str(problem)

    def test_a_wrong_value_is_a_problem_with_the_variable_and_without_the_value(self, refuse) -> None:
        problem = only(refuse(self.TEXT, {"ANYSTRAT__RUN__RNG_SEED": CANARY}))

        assert (problem.file, problem.path, problem.found) == (
            "environment variable ANYSTRAT__RUN__RNG_SEED",
            "run.rng_seed",
            "***",
        )

    def test_the_process_environment_is_read_unless_another_is_given(self, tmp_path, catalog, monkeypatch) -> None:
        path = tmp_path / "a.yaml"
        path.write_text("strategies: []\n", encoding="utf-8")
        monkeypatch.setenv("ANYSTRAT__RUN__NAME", "from-process")

        assert load_configuration(path, catalog).run.name == "from-process"
        assert load_configuration(path, catalog, environ={}).run.name == "anystrat"
