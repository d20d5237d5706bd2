"""What `status` and `kill` say and do where a run is shared out among machines: by the table of leases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from anystrat.domain.configuration import Configuration

SCHEMA_VERSION: Final = 1


def shared_out(config: Path, *, strategies_required: bool = False) -> Configuration | None:
    """The configuration, where its run is shared out; None where it is not. Raises `ConfigurationError`."""
    from anystrat import bootstrap
    from anystrat.config import load_configuration

    found = load_configuration(config, bootstrap.default_catalog(), strategies_required=strategies_required)
    return None if found.cluster is None else found


def report_of(configuration: Configuration) -> dict[str, Any]:
    """One JSON-able object. `whole`: every part runs somewhere. Raises `LeasesUnavailable`."""
    from anystrat.bootstrap.clustering import layout_of, open_leases, parts_of

    with closing(open_leases(configuration)) as leases:
        view = leases.view()
    instruments = Counter(parts_of(configuration).values())
    return {
        "schema_version": SCHEMA_VERSION,
        "run": configuration.run.name,
        "layout": layout_of(configuration),
        "killed": view.killed,
        "whole": all(each.taken and each.state == "running" for each in view.leases),
        "members": [{"member": name, "parts": [each.part for each in view.held_by(name)]} for name in view.members],
        "parts": [
            {
                "part": each.part,
                "instruments": instruments[each.part],
                "owner": each.owner if each.taken else None,
                "state": each.state.value if each.taken else "free",
                "epoch": each.epoch,
                "lease_left_sec": round(max(0.0, each.left_sec), 1) if each.taken else 0.0,
                "problem": each.problem,
            }
            for each in view.leases
        ],
    }


def parts_elsewhere(configuration: Configuration, here: Collection[int], part: int | None) -> list[str]:
    """What is to be said of the parts, or the one, that do not run on this machine."""
    from anystrat.bootstrap.clustering import open_leases

    with closing(open_leases(configuration)) as leases:
        view = leases.view()
    found: dict[str, list[str]] = {}
    for each in view.leases:
        if each.part not in here and part in {None, each.part}:
            found.setdefault(each.owner if each.taken else "", []).append(str(each.part))
    control = configuration.control
    port = "" if control is None else f", port {control.address[1]} + its number"
    reached = f"ask there, or name a part's own address in ANYSTRAT_CONTROL_URL{port}"
    return [
        f"{'part' if len(numbers) == 1 else 'parts'} {', '.join(numbers)} "
        + (f"on {owner.partition('/')[0]}: {reached}" if owner else "nobody has just now")
        for owner, numbers in found.items()
    ]


def show(report: dict[str, Any]) -> None:
    """Print it for people."""
    from anystrat.cli.screen import Column, line, pairs, table

    columns = [Column("part", number=True), Column("instruments", number=True), Column("owner", style="bold")]
    columns += [
        Column("state"),
        Column("epoch", number=True),
        Column("lease", number=True),
        Column("problem", wrap=True),
    ]
    rows = [
        [
            str(each["part"]),
            str(each["instruments"]),
            each["owner"] or "nobody",
            each["state"],
            str(each["epoch"]),
            f"{each['lease_left_sec']:g} s" if each["owner"] else "",
            each["problem"],
        ]
        for each in report["parts"]
    ]
    table(columns, rows)
    members = ", ".join(f"{each['member']} ({len(each['parts'])})" for each in report["members"])
    pairs(
        [
            ("run", f"{report['run']}, {report['layout']}"),
            ("members", members or "none"),
            ("kill switch", "on: nothing is sent" if report["killed"] else "off"),
        ]
    )
    if not report["whole"]:
        line("Not every part runs: what stands still is taken up once its lease is over and a member has room.")


def kill(configuration: Configuration, switch: str) -> dict[str, Any]:
    """Turn the switch of all parts, or look at it; how it is then. Raises `LeasesUnavailable`."""
    from anystrat.bootstrap.clustering import open_leases

    with closing(open_leases(configuration)) as leases:
        view = leases.view()
        if switch != "show":
            leases.set_killed(on=switch == "on")
            view = leases.view()
    return {"on": view.killed, "members": list(view.members)}
