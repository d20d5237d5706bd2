"""A package of somebody else's, built and installed as such, takes part in every command; a broken one says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from anystrat.testing.models import linear_model

PACKAGE = Path(__file__).parent.parent / "plugin_package"
CONFIGURATION = """
version: 1
strategies:
  - id: fader
    strategy_type: fade
    parameters: {periods: 4, position_size: 7}
    validator: even_lots
    instruments: [1]
  - id: chaser
    strategy_type: chase
    parameters: {least: 0.001, position_size: 1}
    validator: even_lots
    instruments: [1]
  - id: mixed
    strategy_type: hybrid
    parameters:
      rules: {type: fade, periods: 4}
      ml: {type: ml_momentum, model_path: model.onnx, min_conf: 0.4}
      policy: {type: unhurried, veto: 0.6}
    instruments: [1]
"""
PRICES = [100, 101, 102, 103, 99, 98, 98, 105, 104, 106, 97, 96, 110, 100, 100, 100, 101, 90]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel that hatchling built, installed by pip into a directory of its own; no network."""
    folder = tmp_path_factory.mktemp("plugin")
    source, wheels, target = folder / "source", folder / "wheels", folder / "site"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = wheels.glob("anystrat_fade-1.2.3-*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
         "--target", str(target), str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    return target


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A configuration that uses every part of the package, a model on its feature, and ticks."""
    (tmp_path / "anystrat.yaml").write_text(CONFIGURATION, encoding="utf-8")
    # The more of the way was in vain, the surer of a fall.
    weights = [[6.0, 0.0, -6.0], [0.0, 0.0, 0.0]]
    linear_model(tmp_path / "model.onnx", ["wiggle_3", "ret_1"], weights, (-2.0, 0.0, 2.0))
    rows = [f"2024-01-02T09:15:{10 + k * 2:02d}Z,1,{price}" for k, price in enumerate(PRICES)]
    (tmp_path / "ticks.csv").write_text("\n".join(["timestamp,instrument_token,price", *rows]), encoding="utf-8")
    return tmp_path


def run(arguments: Sequence[str], *, site: Path | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site) if site is not None else "", "NO_COLOR": "1", "COLUMNS": "240"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def anystrat(*arguments: str, site: Path | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(["-m", "anystrat", *arguments], site=site, cwd=cwd)


# ------------------------------------------------------------------------------------------------------------ a good one


def test_a_configuration_uses_a_packages_strategies_policy_validator_and_features(
    installed: Path, project: Path
) -> None:
    done = anystrat(
        "replay", "anystrat.yaml", "--ticks", "ticks.csv", "--signals", "signals.jsonl", "--drops", "drops.jsonl",
        "--reasons", "--strict", "--json", site=installed, cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["ticks"] == len(PRICES)
    signals = [json.loads(line) for line in (project / "signals.jsonl").read_text(encoding="utf-8").splitlines()]
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for signal in signals:
        by_strategy.setdefault(signal["strategy_id"], []).append(signal)
    # New extremes of four ticks, worked out by hand: 103 up; 99, 98 down; 105 up; 106 up; 97, 96 down; 110 up; 101 up; 90.
    sides = ["SELL", "BUY", "BUY", "SELL", "SELL", "BUY", "BUY", "SELL", "SELL", "BUY"]
    assert [signal["signal_type"] for signal in by_strategy["fader"]] == sides
    assert {signal["quantity"] for signal in by_strategy["fader"]} == {6}  # seven, made even by the validator
    assert "chaser" not in by_strategy
    drops = [json.loads(line) for line in (project / "drops.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(drop["strategy_id"], drop["reason"]) for drop in drops} == {("chaser", "too_small")}
    # A way of 0, 2/3, 1/5 and 0 in vain: there the model is surer than 0.6 of the other side.
    assert [signal["signal_type"] for signal in by_strategy["mixed"]] == ["BUY", "SELL", "BUY", "BUY", "SELL", "BUY"]
    assert {signal["reasoning"] for signal in by_strategy["mixed"]} == {"an extreme"}


def test_check_and_types_know_a_packages_names(installed: Path, project: Path) -> None:
    assert anystrat("check", "anystrat.yaml", site=installed, cwd=project).returncode == 0
    described = anystrat("types", "fade", site=installed, cwd=project)
    assert described.returncode == 0
    assert "The extremes are those of this many ticks." in described.stdout
    wrong = CONFIGURATION.replace("periods: 4, position_size: 7", "periods: 1, position_size: 7")
    (project / "wrong.yaml").write_text(wrong, encoding="utf-8")
    refused = anystrat("check", "wrong.yaml", site=installed, cwd=project)
    assert refused.returncode == 3
    assert "strategies[0].parameters.periods" in refused.stderr


def test_plugins_list_names_each_part_with_its_package_and_version(installed: Path, tmp_path: Path) -> None:
    done = anystrat("plugins", "list", "--json", site=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        (each["group"], each["name"], each["package"], each["version"], each["error"])
        for each in json.loads(done.stdout)["plugins"]
    }
    assert found == {
        (group, name, "anystrat-fade", "1.2.3", "")
        for group, name in (
            ("anystrat.strategies", "fade"),
            ("anystrat.strategies", "chase"),
            ("anystrat.policies", "unhurried"),
            ("anystrat.validators", "even_lots"),
            ("anystrat.features", "wiggle"),
        )
    }


def test_without_the_package_its_names_are_refused_with_what_is_allowed(project: Path) -> None:
    refused = anystrat("check", "anystrat.yaml", site=None, cwd=project)
    assert refused.returncode == 3
    assert "fade" in refused.stderr
    assert "momentum" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_every_part_of_the_package_keeps_its_contract(installed: Path) -> None:
    done = run(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(PACKAGE / "contract_tests.py")],
        site=installed, cwd=installed,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_service_in_a_program_knows_a_packages_names_however_often_it_is_made(
    installed: Path, project: Path
) -> None:
    program = """
from datetime import datetime, timedelta
from anystrat import MarketTick, StrategyRunnerService
from anystrat.plugins import catalog, installed

for _ in range(3):
    service = StrategyRunnerService.from_file("anystrat.yaml")
    assert "fade" in catalog().strategies
    assert not [each.error for each in installed() if each.error]
start = datetime(2024, 1, 2, 9, 15)
for k, price in enumerate((100, 101, 102, 103)):
    for signal in service.on_market_tick(MarketTick(1, price, start + timedelta(seconds=k))):
        print(signal.strategy_id, signal.signal_type, signal.quantity)
"""
    done = run(["-c", program], site=installed, cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "fader SELL 6"


# ---------------------------------------------------------------------------------------------------------- broken ones

MOMENTUM = """
from dataclasses import dataclass
from anystrat.strategies.catalog import StrategyType
@dataclass(frozen=True)
class P: pass
ENTRY = StrategyType("momentum", "rules", P, lambda parameters, context: None, "Not the real one.")
"""
BROKEN = {
    "an import that fails": ("anystrat.strategies", "import no_such_library", "ModuleNotFoundError: No module named"),
    "a syntax error": ("anystrat.policies", "ENTRY = (", "SyntaxError"),
    "code that raises": ("anystrat.validators", "raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "a name that is not there": ("anystrat.strategies", "OTHER = 1", "AttributeError"),
    "something else": ("anystrat.strategies", "ENTRY = 'fade'", "is str; expected StrategyType"),
    "the wrong kind": (
        "anystrat.policies",
        "from anystrat.strategies.momentum import MOMENTUM as ENTRY",
        "is StrategyType; expected PolicyType",
    ),
    "features that are no function": ("anystrat.features", "ENTRY = 3", "is int; expected a function that registers"),
    "features that raise": ("anystrat.features", "def ENTRY(): raise RuntimeError('too old')", "RuntimeError: too old"),
    "a feature of a taken name": (
        "anystrat.features",
        "from anystrat import register_feature\ndef ENTRY(): register_feature('ret', max, lambda k: k)",
        "'ret' is already registered",
    ),
    "a built-in's name": ("anystrat.strategies", MOMENTUM, "'momentum' is already registered by anystrat"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_named_with_its_entry_point_and_without_a_traceback(case: str, project: Path) -> None:
    group, code, text = BROKEN[case]
    site = project / "site"
    facts = site / "broken_one-0.3.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-one\nVersion: 0.3\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(f"[{group}]\nshaky = broken_one:ENTRY\n", encoding="utf-8")
    (site / "broken_one.py").write_text(code, encoding="utf-8")

    refused = anystrat("check", "anystrat.yaml", site=site, cwd=project)
    listed = anystrat("plugins", "list", site=site, cwd=project)

    assert refused.returncode == 4, refused.stderr
    assert listed.returncode == 1
    for output in (refused.stderr, listed.stdout):
        unfolded = " ".join(output.split())
        assert "shaky" in unfolded
        assert "broken-one" in unfolded
        assert text in unfolded
        assert "Traceback" not in output
