"""`anystrat init`: what it writes runs as it stands, and says where its numbers come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.integration.cli_project import Project, clean, process


@pytest.fixture
def demo(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    assert project.run("init", "demo").code == 0
    monkeypatch.chdir(project / "demo")
    return project


def test_it_prints_the_next_steps(project: Project):
    answer = project.run("init", "my demo")
    assert answer.code == 0
    for step in ('cd "my demo"', "anystrat check", "anystrat replay", "python run.py"):
        assert step in answer.out
    assert project.run("init", "-q", "quiet").out == ""


def test_a_directory_that_is_not_empty_is_left_alone_unless_forced(project: Project):
    mine = project.write("demo/anystrat.yaml", "mine")
    project.run("init", "demo").refused(2, "is not empty", "--force")
    assert mine.read_text() == "mine"
    assert [path.name for path in (project / "demo").iterdir()] == ["anystrat.yaml"]
    assert project.run("init", "demo", "--force").code == 0
    assert mine.read_text() != "mine"
    project.write("file", "")
    project.run("init", "file").refused(2, "is a file")


def test_checks_and_replays_at_once(demo: Project):
    pytest.importorskip("onnxruntime")
    assert demo.run("check").code == 0
    answer = demo.run("replay", "--json")
    assert answer.code == 0
    assert answer.err == ""
    assert {name: one["kind"] for name, one in answer.json["strategies"].items()} == {
        "rules": "rules",
        "model": "ml",
        "both": "hybrid",
    }
    assert all(one["signals"] > 10 and one["round_trips"] > 5 for one in answer.json["strategies"].values())


def test_its_own_rule_runs_and_its_tests_pass(demo: Project):
    folder = demo / "demo"
    ran = subprocess.run(
        [sys.executable, "run.py"], cwd=folder, capture_output=True, text=True, check=False, env=clean()
    )
    assert ran.returncode == 0, ran.stderr
    assert "BUY" in ran.stdout
    assert "signals from mine" in ran.stdout
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=clean(),
    )
    assert tested.returncode == 0, tested.stdout
    assert "4 passed" in tested.stdout


def test_installed_the_rule_is_known_to_every_command(demo: Project, monkeypatch: pytest.MonkeyPatch):
    folder = demo / "demo"
    demo.run("check", "with_my_rule.yaml").refused(3, "unknown strategy type", "'my_rule'")
    # What `pip install -e .` leaves behind, as far as entry points go.
    info = folder / "my_strategies-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-strategies\nVersion: 0.1.0\n")
    project_file = (folder / "pyproject.toml").read_text()
    assert 'my_rule = "my_rule:my_rule"' in project_file
    (info / "entry_points.txt").write_text("[anystrat.strategies]\nmy_rule = my_rule:my_rule\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_rule", raising=False)
    answer = demo.run("replay", "with_my_rule.yaml", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["strategies"]["mine"]["signals"] > 0


def test_the_same_ticks_on_every_machine(demo: Project):
    import hashlib

    content = (demo / "demo" / "ticks.csv").read_bytes()
    assert content.count(b"\n") == 15_001
    assert hashlib.sha256(content).hexdigest() == TICKS


TICKS = "2d028442a03e6eaede7744ea0997eef603010d296e843bc9a27dfa6ed379fd38"


def test_the_shipped_model_is_what_train_py_makes(demo: Project):
    onnx = pytest.importorskip("onnx")
    folder = demo / "demo"
    model, card = folder / "models" / "momentum.onnx", folder / "models" / "momentum.card.json"
    shipped, said = onnx.load(model), json.loads(card.read_text())
    ran = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False, env=clean()
    )
    assert ran.returncode == 0, ran.stderr
    again, says = onnx.load(model), json.loads(card.read_text())
    for ours, theirs in zip(shipped.graph.initializer, again.graph.initializer, strict=True):
        # Not to the last bit: NumPy's sums differ between processors.
        np.testing.assert_allclose(
            onnx.numpy_helper.to_array(ours), onnx.numpy_helper.to_array(theirs), rtol=1e-3, atol=1e-3
        )
    assert says["accuracy"] == pytest.approx(said["accuracy"], abs=0.005)
    assert says["accuracy"] > says["accuracy_of_most_frequent_class"] + 0.1
    assert demo.run("model", "inspect", "models/momentum.onnx").err == ""
    assert demo.run("model", "verify", "models/momentum.onnx").code == 0


def test_the_editor_knows_both_configurations(demo: Project):
    folder = demo / "demo"
    schema = json.loads((folder / "anystrat.schema.json").read_text())
    assert "my_rule" in json.dumps(schema)
    for name in ("anystrat.yaml", "with_my_rule.yaml"):
        assert (folder / name).read_text().startswith("# yaml-language-server: $schema=./anystrat.schema.json\n")


def test_it_says_that_nothing_came_from_a_market(demo: Project):
    folder = demo / "demo"
    assert "not market data" in (folder / "README.md").read_text()
    assert "never came from" in (folder / "anystrat.yaml").read_text().lower()
    assert "synthetic" in (folder / "models" / "momentum.card.json").read_text()


def test_into_a_directory_that_cannot_be_made(project: Project):
    project.write("file", "")
    answer = project.run("init", "file/demo")
    answer.refused(1, "file/demo")


def test_from_any_directory_and_in_this_one(tmp_path: Path):
    assert process("init", ".", cwd=tmp_path).returncode == 0
    answer = process("replay", tmp_path / "anystrat.yaml", "--json", cwd="/")
    assert answer.returncode == 0, answer.stderr
