"""`anystrat status`, as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from anystrat.cli.status import show


def test_the_process_of_an_isolated_strategy_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    strategy: dict[str, Any] = {
        "strategy_id": "new",
        "broker": "paper",
        "ticks": 9,
        "evaluations": 8,
        "signals": 7,
        "drops": {},
        "errors": 1,
        "state": "ACTIVE",
    }
    process = {"state": "ready", "resident_bytes": 61_200_000, "restarts": 1, "problem": "it hung"}
    show(
        {
            "strategies": [{**strategy, "process": process}, {**strategy, "strategy_id": "old", "process": None}],
            "running_as": 5,
            "killed": False,
            "balanced": True,
            "ticks": {"received": 9, "processed": 9, "duplicates": 0, "dropped": {}, "shed": 0},
            "brokers": {},
        }
    )
    lines = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert [line[2:] for line in lines if line[:2] == ["process", "of"]] == [
        ["new", "ready, 61 MB, restarted 1 time: it hung"]
    ]
