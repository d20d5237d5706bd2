"""Pages of the documentation that are filled from the results of a long run, which are kept beside their report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def fill_page(report: str, page_file: Path, page: Callable[[dict[str, Any]], str]) -> None:
    """Write a page from the JSON that the command line names, or from what was kept of the last one.

    `report` is the file whose program this is; `results.json` beside it keeps the numbers.
    """
    kept = Path(report).with_name("results.json")
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.{kept.parent.name}.report", description=f"Fills {page_file.name}."
    )
    parser.add_argument("results", nargs="?", type=Path, default=kept, help="the JSON of a run; it is kept")
    text = parser.parse_args().results.read_text(encoding="utf-8")
    kept.write_text(text, encoding="utf-8")
    page_file.write_text(page(json.loads(text)), encoding="utf-8")
    print(f"{page_file.relative_to(ROOT)} is written; {kept.relative_to(ROOT)} has its numbers")
