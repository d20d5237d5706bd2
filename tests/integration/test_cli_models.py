"""Models on the command line: inspected, verified, and every kind of bad one refused with its reason."""

from __future__ import annotations

import json
import os

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.integration.cli_project import GOOD, Project  # noqa: E402

from anystrat.testing.models import linear_model, linear_model_bytes  # noqa: E402

ROW = "  - {id: ml, strategy_type: ml_momentum, parameters: {model_path: m.onnx}, instruments: [1]}\n"


def _external(project: Project) -> None:
    model = onnx.load_model_from_string(linear_model_bytes(["ret_1"]))
    for tensor in model.graph.initializer:  # only raw bytes are ever stored outside
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    (project / "real").mkdir()
    onnx.save_model(
        model, project / "real" / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    os.link(project / "real" / "m.onnx", project / "m.onnx")
    os.link(project / "real" / "weights.bin", project / "weights.bin")


def _with_names(project: Project, names: object) -> None:
    model = onnx.load_model_from_string(linear_model_bytes(["ret_1", "ret_2"]))
    onnx.helper.set_model_props(model, {"features": names if isinstance(names, str) else json.dumps(names)})
    project.write("m.onnx", model.SerializeToString())


def _make(project: Project, kind: str) -> None:
    makers = {
        "missing": lambda: None,
        "empty": lambda: project.write("m.onnx", b""),
        "corrupt": lambda: project.write("m.onnx", b"\x08\x01 this was never a model"),
        "truncated": lambda: project.write("m.onnx", linear_model_bytes(["ret_1"])[:-40]),
        "a directory": (project / "m.onnx").mkdir,
        "external weights through a hard link": lambda: _external(project),
        "an unknown feature": lambda: _with_names(project, ["ret_1", "rett_2"]),
        "more names than inputs": lambda: _with_names(project, ["ret_1", "ret_2", "vol_5"]),
        "names that are no JSON": lambda: _with_names(project, "ret_1, ret_2"),
    }
    makers[kind]()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("empty", "empty"),
        ("corrupt", "expected an ONNX model"),
        ("truncated", "m.onnx: expected"),
        ("a directory", "found a directory"),
        ("external weights through a hard link", "stored outside of it"),
        ("an unknown feature", "did you mean"),
        ("more names than inputs", "expected one float32 input [N, 3]"),
        ("names that are no JSON", "JSON list of feature names"),
    ],
)
def test_a_model_that_is_refused(project: Project, kind: str, message: str):
    _make(project, kind)
    project.config(GOOD + ROW)
    project.ticks([100, 101, 103])
    for command in ("inspect", "verify"):
        project.run("model", command, "m.onnx").refused(3, message)
    checked = project.run("check")
    checked.refused(3, "strategy ml: its model does not load", message)
    assert "1 of 2 strategies cannot run" in checked.out
    assert project.run("check", "--json").json["ok"] is False
    replayed = project.run("replay", "--ticks", "ticks.csv", "--json")
    assert replayed.code == 0
    assert message in replayed.err
    assert replayed.json["strategies"]["mom"]["signals"] == 1
    project.run("replay", "--ticks", "ticks.csv", "--strict").refused(3, message)


def test_a_hybrid_that_goes_on_with_its_rules_is_said(project: Project):
    project.config(
        "strategies:\n  - {id: h, strategy_type: hybrid_momentum, instruments: [1], parameters: "
        "{model_path: m.onnx, on_model_failure: rules_only, lookback_periods: 2, threshold: 0.001}}\n"
    )
    project.ticks([100, 101])
    answer = project.run("replay", "--ticks", "ticks.csv", "--json")
    assert "goes on with its rules alone" in answer.err
    assert answer.json["strategies"]["h"]["signals"] == 1
    project.run("check").refused(3, "m.onnx")
    project.run("replay", "--ticks", "ticks.csv", "--strict").refused(3, "m.onnx")


def test_inspect_shows_the_contract_and_the_card(project: Project):
    linear_model(project / "m.onnx", ["ret_1", "vol_20"])
    facts = project.run("model", "inspect", "m.onnx", "--json").json
    assert facts["features"] == ["ret_1", "vol_20"]
    assert facts["history"] == 21
    assert facts["batchable"] is True
    assert facts["card"] is None
    project.write("m.card.json", json.dumps({"trained_on": "nothing", "sha256": facts["sha256"]}))
    shown = project.run("model", "inspect", "m.onnx")
    assert "21 ticks" in shown.out
    assert "trained on" in shown.out
    assert shown.err == ""
    project.write("m.card.json", json.dumps({"sha256": "0" * 64}))
    assert "the card is of another model" in project.run("model", "inspect", "m.onnx").err
    project.write("m.card.json", "{ no JSON")
    assert "no JSON" in project.run("model", "inspect", "m.onnx").out


def test_verify(project: Project, monkeypatch: pytest.MonkeyPatch):
    linear_model(project / "m.onnx", ["ret_1", "vol_20"])
    assert project.run("model", "verify", "m.onnx", "--rows", "64").code == 0
    assert project.run("model", "verify", "m.onnx", "--rows", "64", "--json").json["batchable"] is True
    project.run("model", "verify", "m.onnx", "--rows", "1").refused(2, "rows")

    from anystrat import bootstrap
    from anystrat.adapters.onnx_batches import BatchReport

    monkeypatch.setattr(bootstrap, "verify_model", lambda _path, rows: BatchReport(rows, (2, 64), 3, 1e-7))
    answer = project.run("model", "verify", "m.onnx")
    assert answer.code == 1
    assert "3 of 2,048 rows differ" in answer.out


def test_without_the_extra_the_install_line_is_said(project: Project, monkeypatch: pytest.MonkeyPatch):
    import sys

    linear_model(project / "m.onnx", ["ret_1"])
    project.config(GOOD + ROW)
    project.ticks([100])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for command in (("model", "inspect", "m.onnx"), ("check",), ("replay", "--ticks", "ticks.csv")):
        project.run(*command).refused(4, "pip install 'anystrat[ml]'")
    doctor = project.run("doctor", "--json")
    assert doctor.json["checks"]["onnx"]["state"] == "missing"
    assert doctor.code == 0
