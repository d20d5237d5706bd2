"""Fixtures of the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli_project import Project


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty directory, made the working directory, with the environment that counts for the command line cleared."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANYSTRAT_CONFIG", "ANYSTRAT_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path, capsys)
