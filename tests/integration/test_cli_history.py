from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli_project import GOOD, Project


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


def test_with_a_history_the_first_tick_is_evaluated(project):
    whole = [100, 101, 99, 102, 100, 103]
    project.ticks(whole, "whole.csv")
    project.ticks(whole, "today.csv")
    today = project.path / "today.csv"
    lines = today.read_text().splitlines(keepends=True)
    today.write_text("".join([lines[0], *lines[4:]]))
    source = "source: {type: file, path: today.csv}\n"

    without = project.run("run", project.config(GOOD + source), "--json").json
    history = "history: {type: file, path: whole.csv}\n"
    filled = project.run("run", project.config(GOOD + source + history), "--json").json

    assert [each["strategies"][0]["evaluations"] for each in (without, filled)] == [1, 3]


def test_a_history_that_is_not_there_ends_the_run_in_words(project):
    project.ticks([1, 2], "today.csv")
    config = project.config(GOOD + "source: {type: file, path: today.csv}\nhistory: {type: file, path: gone.csv}\n")
    project.run("run", config).refused(2, "gone.csv: there is no such file")
