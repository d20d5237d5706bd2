"""The check of what the package is made of: a known vulnerability or a missing hash fails it, a silent index does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
spec = importlib.util.spec_from_file_location("supply_chain", ROOT / "tools" / "supply_chain.py")
supply_chain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(supply_chain)


def dependency(name="click", version="8.5.1", **more):
    return {"name": name, "version": version, "vulns": [], **more}


def test_a_known_vulnerability_fails_and_is_named_with_its_mend():
    found = dependency(vulns=[{"id": "CVE-2026-1", "fix_versions": ["8.5.2"], "aliases": [], "description": ""}])
    code, said = supply_chain.verdict({"dependencies": [found, dependency("numpy")]})
    assert code == 1
    assert "click 8.5.1: CVE-2026-1, fixed in 8.5.2" in said


def test_what_nobody_could_be_asked_about_is_said():
    silent = {"name": "click", "skip_reason": "not found"}
    assert supply_chain.verdict({"dependencies": [silent]}) == (
        0, "Skipped: the package index knows no advisories; 1 locked versions were not audited.",
    )  # fmt: skip
    assert supply_chain.verdict({"dependencies": [silent, dependency()]}) == (
        0, "No known vulnerability in 1 locked versions; 1 were not audited.",
    )  # fmt: skip


def test_a_requirement_without_a_hash_is_found():
    lock = "click==8.5.1 \\\n    --hash=sha256:8b\n    # via typer\nnumpy==2.0 ; python_version < '3.12'\n    # via -r run.in\n"
    assert supply_chain.unhashed(lock) == ["numpy==2.0 ; python_version < '3.12'"]
    assert supply_chain.unhashed("git+ssh://example.com/x\n") == ["git+ssh://example.com/x"]


@pytest.mark.parametrize("lock", supply_chain.LOCKS)
def test_every_locked_version_is_pinned_by_hash(lock):
    text = (ROOT / "requirements" / lock).read_text()
    assert "==" in text
    assert supply_chain.unhashed(text) == []
