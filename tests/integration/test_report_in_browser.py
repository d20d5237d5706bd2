"""The report in a real browser: its script runs, and whatever names it shows stay text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.integration.cli_project import GOOD, Project

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=4000",
)  # fmt: skip
EVIL = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def drawn(page: Path, profile: Path, width: int = 1280) -> tuple[str, str]:
    """The document after its script ran, and what the browser's console said."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},900", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_a_report_draws_itself_and_names_stay_text(project: Project, tmp_path_factory: pytest.TempPathFactory):
    name = EVIL.replace('"', "'")
    project.config(GOOD.replace("symbol: AAA", f'symbol: "{name}"').replace("name: test", f'name: "{name}"'))
    project.ticks([100 + at % 7 for at in range(300)])
    assert project.run("-q", "backtest", "--ticks", "ticks.csv", "--report", "report.html").code == 0
    document, console = drawn(project / "report.html", tmp_path_factory.mktemp("profile"))
    assert 'data-ready="true"' in document
    assert console == ""
    title = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    assert title is not None
    assert title[1].startswith("&lt;script&gt;document.title=")
    option = re.search(r"<option[^>]*>(.*?)</option>", document, re.DOTALL)
    assert option is not None
    assert option[1].startswith("&lt;script&gt;")
    assert "<img" not in document
    assert document.count("<script") == 2


@pytest.mark.parametrize("ticks", [[], [100.0]], ids=["none", "one"])
def test_a_report_of_nearly_nothing_raises_no_error(
    project: Project, tmp_path_factory: pytest.TempPathFactory, ticks: list[float]
):
    project.config()
    project.ticks(ticks)
    if not ticks:
        project.write("ticks.csv", "ts_ns,instrument_token,price\n")
    assert project.run("-q", "backtest", "--ticks", "ticks.csv", "--report", "report.html").code == 0
    document, console = drawn(project / "report.html", tmp_path_factory.mktemp("profile"), 390)
    assert 'data-ready="true"' in document
    assert console == ""
