"""Settings laid over a configuration: where they go, whom they are for, and what is said where they fit nowhere."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anystrat.config import (
    Applied,
    Changes,
    changes_of,
    configuration_from_mapping,
    configuration_variants,
    load_configuration,
)
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError
from anystrat.strategies.builtin import builtin_catalog

BASE: dict[str, Any] = {
    "version": 1,
    "brokers": {"paper": {"type": "paper", "fee_bps": 1}},
    "strategies": [
        {
            "id": "mom",
            "strategy_type": "momentum",
            "parameters": {"threshold": 0.01, "risk": {"cooldown_sec": 60}},
            "instruments": [1],
        },
        {
            "id": "both",
            "strategy_type": "hybrid_momentum",
            "parameters": {"model_path": "m.onnx", "policy": "sizer"},
            "instruments": [1],
        },
    ],
}


def changed(*settings: str, only: tuple[str, ...] = ()) -> tuple[Configuration, Changes]:
    changes = changes_of(settings, only)
    return configuration_from_mapping(BASE, builtin_catalog(), base_dir="/there", changes=changes), changes


def refused(*settings: str, only: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigurationError) as error:
        changed(*settings, only=only)
    return str(error.value)


def test_a_setting_is_for_every_row_that_takes_it() -> None:
    configuration, changes = changed("parameters.policy=confirm")
    assert configuration.strategies[1].parameters.policy.type == "confirm"
    assert changes.applied == [Applied("both", "parameters.policy", "sizer", "confirm")]


def test_risk_and_sizes_have_short_names_and_what_was_not_set_says_so() -> None:
    configuration, changes = changed("risk.cooldown_sec=2.5", "max_position_size=7")
    assert [row.risk.cooldown_ns for row in configuration.strategies] == [2_500_000_000] * 2
    assert [row.risk.max_position_size for row in configuration.strategies] == [Decimal(7)] * 2
    assert [(each.strategy_id, each.before) for each in changes.applied if "risk" in each.key] == [
        ("mom", 60),
        ("both", None),
    ]


def test_only_the_strategies_that_are_named_are_changed() -> None:
    configuration, _ = changed("parameters.threshold=0.5", only=("both",))
    assert configuration.strategies[0].parameters.threshold == 0.01
    assert configuration.strategies[1].parameters.rules.parameters.threshold == 0.5


def test_values_are_yaml_and_paths_are_as_in_the_row() -> None:
    configuration, _ = changed("parameters.policy={type: guardrail, overbought: 80}", "parameters.model_path=new.onnx")
    policy = configuration.strategies[1].parameters.policy
    assert (policy.type, policy.parameters.overbought) == ("guardrail", 80)
    assert configuration.strategies[1].parameters.ml.parameters.model_path == "/there/new.onnx"


def test_a_part_of_a_name_becomes_a_mapping() -> None:
    configuration, _ = changed("parameters.policy.type=majority", "parameters.policy.min_ml_conf=0.9")
    assert configuration.strategies[1].parameters.policy.parameters.min_ml_conf == 0.9


def test_brokers_and_the_run_are_of_the_configuration_itself() -> None:
    configuration, changes = changed("brokers.paper.fee_bps=5", "run.rng_seed=3")
    costs = configuration.brokers["paper"].costs
    assert costs is not None
    assert costs.fee_bps == 5
    assert configuration.run.rng_seed == 3
    assert changes.applied[0] == Applied("", "brokers.paper.fee_bps", 1, 5)


@pytest.mark.parametrize(
    ("setting", "only", "words"),
    [
        ("parameters.polcy=confirm", (), "found 'polcy'; allowed: .*; did you mean 'policy'"),
        ("parameters.policy=confrm", (), "--set parameters.policy=confrm: .*did you mean 'confirm'"),
        ("parameters.policy=confirm", ("mom",), "unknown key; found 'policy'"),
        ("risk.cooldown=1", (), "did you mean 'cooldown_sec'"),
        ("threshold=1", (), "did you mean 'parameters.threshold'"),
        ("cooldown_sec=1", (), "did you mean 'risk.cooldown_sec'"),
        ("paramters.threshold=1", (), "did you mean 'parameters'"),
        ("parameters.threshold", (), "a setting names a key and its value; found 'parameters.threshold'"),
        ("parameters.=1", (), "a setting names a key and its value"),
        ("parameters.threshold=[1", (), "--set parameters.threshold=.*not valid YAML"),
        ("parameters.threshold=-1", ("mom",), "out of bounds; found -1"),
        ("parameters.threshold=1", ("mum",), "there is no such strategy; found 'mum'; allowed: mom, both"),
        ("brokers.papr.fee_bps=1", (), "brokers.papr"),
    ],
)
def test_a_setting_that_fits_nowhere_is_refused_in_words(setting: str, only: tuple[str, ...], words: str) -> None:
    import re

    assert re.search(words, refused(setting, only=only)), refused(setting, only=only)


def test_every_setting_that_is_wrong_is_said() -> None:
    assert "2 problems" not in refused("a.b=1", "c.d=2")
    assert len(refused("a.b=1", "c.d=2").splitlines()) == 2


def test_included_rows_are_changed_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("strategy_type: momentum\ninstruments: [1]\n")
    (tmp_path / "a.yaml").write_text("version: 1\nstrategies: [{include: mine.yaml}]\n")
    changes = changes_of(["parameters.threshold=0.5"], ["mine"])
    configuration = load_configuration(tmp_path / "a.yaml", builtin_catalog(), environ={}, changes=changes)
    assert configuration.strategies[0].parameters.threshold == 0.5


def test_variants_of_one_source_are_what_each_is_alone(tmp_path: Path):
    file = tmp_path / "here.json"
    file.write_text(json.dumps(BASE), encoding="utf-8")
    for source in (BASE, file):
        variant = configuration_variants(source, builtin_catalog())
        for settings in (["parameters.threshold=0.5"], ["brokers.paper.fee_bps=7"], ["parameters.threshold=0.25"]):
            if isinstance(source, Path):
                alone = load_configuration(source, builtin_catalog(), changes=changes_of(settings))
            else:
                alone = configuration_from_mapping(source, builtin_catalog(), changes=changes_of(settings))
            assert variant(changes_of(settings)) == alone
        with pytest.raises(ConfigurationError):
            variant(changes_of(["parameters.threshold=-1"]))
