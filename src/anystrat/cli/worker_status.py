"""What `status` says of a run in workers: their reports as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from anystrat.cli.run_workers import ticks_of


def together(reports: Mapping[int | None, dict[str, Any]]) -> dict[str, Any]:
    """One report in the form of a process's, and a row for each worker. `whole`: all of them run, or none does."""
    every = list(reports.values())
    running = [bool(each["running_as"]) for each in every]
    brokers: dict[str, Counter[str]] = {}
    for each in every:
        for broker, fates in each["brokers"].items():
            brokers.setdefault(broker, Counter()).update(fates)
    troubles = {
        f"{what} of worker {worker}": why
        for worker, each in reports.items()
        for what, why in each.get("troubles", {}).items()
    }
    return {
        "schema_version": 1,
        "journal": [each["journal"] for each in every],
        "running_as": [each["running_as"] for each in every if each["running_as"]] or None,
        "whole": all(running) or not any(running),
        "killed": any(each["killed"] for each in every),
        "balanced": all(each["balanced"] for each in every),
        "ticks": ticks_of(every),
        "strategies": [one for each in every for one in each["strategies"]],
        "brokers": {broker: dict(fates) for broker, fates in sorted(brokers.items())},
        **({"troubles": troubles} if troubles else {}),
        "workers": [
            {
                "worker": worker,
                "running_as": each["running_as"],
                "phase": each.get("phase"),
                "killed": each["killed"],
                "control": each.get("control"),
                "received": each["ticks"]["received"],
            }
            for worker, each in reports.items()
        ],
    }


def running(report: Mapping[str, Any]) -> str:
    """`workers 0 and 1 as processes 71 and 72; worker 2 does not`."""
    there = [
        f"worker {each['worker']} as process {each['running_as']}" for each in report["workers"] if each["running_as"]
    ]
    gone = [f"worker {each['worker']}" for each in report["workers"] if not each["running_as"]]
    if not there:
        return "no"
    return "; ".join([f"yes, {', '.join(there)}", *([f"not {', '.join(gone)}"] if gone else [])])
