"""The example notebook runs from its first cell to its last, and shows what it promises."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "backtest.ipynb"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """IPython in this process, a kernel of which takes as long to start as the notebook to run."""
    pytest.importorskip("numba")
    ipython = pytest.importorskip("IPython.core.interactiveshell")
    config = pytest.importorskip("traitlets.config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for module in ("__main__", "builtins"):
        monkeypatch.setitem(sys.modules, module, sys.modules[module])
    monkeypatch.setattr(sys, "displayhook", sys.displayhook)
    settings = config.Config()
    settings.HistoryManager.enabled = False
    yield ipython.InteractiveShell.instance(config=settings)
    ipython.InteractiveShell.clear_instance()


def test_the_notebook_runs_and_shows_figures_pictures_and_frames(shell: Any, tmp_path: Path):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # what it shows is made anew, and never stale
    shown = []
    for cell in cells:
        if cell["cell_type"] == "code":
            done = shell.run_cell("".join(cell["source"]))
            done.raise_error()
            if done.result is not None:
                shown.append(shell.display_formatter.format(done.result)[0])
    kinds = [kind for forms in shown for kind in forms]
    assert kinds.count("text/html") == 3  # the result, a frame of pandas, a frame of Polars
    (picture,) = [forms["image/svg+xml"] for forms in shown if "image/svg+xml" in forms]
    assert "buy and hold" in picture
    assert (tmp_path / "backtest.html").stat().st_size > 50_000
