"""The files under `deploy/` name what there is: metrics, labels, the configuration's parts and ports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from anystrat.bootstrap.clustering import part_configuration
from anystrat.config import load_configuration
from anystrat.observability.metric_table import METRICS
from anystrat.strategies.builtin import builtin_catalog

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
_WORDS = {"by", "or", "and", "unless", "on", "ignoring", "without", "vector"}
_ADDED = {"instance", "job", "le"}
_SUFFIXES = ("_bucket", "_count", "_sum")
_SELECTOR = re.compile(r"([a-z_]\w*)\s*(\{[^}]*\})?")


def yaml(name: str) -> Any:
    return YAML(typ="safe").load((DEPLOY / name).read_text(encoding="utf-8"))


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def metric(name: str) -> str:
    """The metric that a series belongs to."""
    for suffix in _SUFFIXES:
        base = name.removesuffix(suffix)
        if base != name and base in METRICS and METRICS[base].kind == "histogram":
            return base
    return name


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_is_one_that_a_service_has(where: str, expression: str):
    grouped = {label for found in re.findall(r"by \(([^)]*)\)", expression) for label in found.split(", ")}
    bare = re.sub(r"by \([^)]*\)|\[\w+\]", "", expression)
    used = []
    for found in _SELECTOR.finditer(re.sub(r'"[^"]*"', '""', bare)):
        name, selected = found[1], found[2] or ""
        if name in _WORDS or bare[found.end() : found.end() + 1] == "(":
            continue
        assert metric(name) in METRICS, f"{where}: no metric is called {name!r}"
        used.append(METRICS[metric(name)])
        for label in re.findall(r"(\w+)\s*[=!]", selected):
            assert label in used[-1].labels, f"{where}: {name} has no label {label!r}"
    assert used, where
    known = _ADDED.union(*(each.labels for each in used))
    assert grouped <= known, f"{where}: {grouped - known}"


def test_every_alarm_of_the_page_is_a_rule():
    page = (ROOT / "docs" / "how-to" / "observe.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(.+?)`", page[page.index("## Worth an alarm") :], re.MULTILINE)
    assert len(listed) > 5
    assert {each.replace("\\|", "|") for each in listed} <= {rule["expr"] for rule in rules()}


def test_legends_and_summaries_name_labels_that_the_expression_keeps():
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            kept = {label for found in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in found.split(", ")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]
    for rule in rules():
        labels = {each for name in METRICS if name in rule["expr"] for each in METRICS[name].labels} | _ADDED
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels, rule["alert"]


def test_the_configuration_loads_and_the_other_files_speak_of_as_many_parts():
    found = load_configuration(DEPLOY / "live.yaml", builtin_catalog(), environ={})
    parts = found.cluster.parts
    ports = [part_configuration(found, part).metrics.port for part in range(parts)]
    (scraped,) = yaml("prometheus/prometheus.yml")["scrape_configs"]
    assert [each["port"] for each in scraped["dns_sd_configs"]] == ports
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert f"partition({parts},1)" in compose
    assert f"< {parts}" in next(rule["expr"] for rule in rules() if rule["alert"] == "PartsMissing")
    services = yaml("compose.yaml")["services"]
    assert scraped["dns_sd_configs"][0]["names"] == ["member"]
    for volume in (
        each for service in services.values() for each in service.get("volumes", []) if each.startswith("./")
    ):
        assert (DEPLOY / volume.partition(":")[0]).exists(), volume
    assert {name for service in services.values() for name in service.get("depends_on", [])} <= services.keys()


def test_the_unit_lets_the_member_drain_its_parts():
    unit = (DEPLOY / "systemd" / "anystrat.service").read_text(encoding="utf-8")
    values = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    assert values["KillMode"] == "mixed"
    drain = float(re.search(r"--drain (\d+)", values["ExecStart"])[1])
    assert float(values["TimeoutStopSec"]) > drain
