"""What came of a run under kills, counted against an undisturbed replay of the same ticks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Tally:
    """`lost` and `invented` signals against the replay; `repeated` ids in the sink; `conflicts`: one id, two contents.

    `ticks_off`: how far the ticks that the run accounts for are from those that there were. `sent_again`: copies that were
    seen on their way to the sink and left out there by their ids; no fault, and where nothing is seen, 0.
    """

    kills: int
    restarts: int
    ticks: int
    ticks_off: int
    expected: int
    delivered: int
    sent_again: int
    lost: int
    invented: int
    repeated: int
    conflicts: int
    out_of_order: int
    seconds: float

    @property
    def clean(self) -> bool:
        return not any((self.ticks_off, self.lost, self.invented, self.repeated, self.conflicts, self.out_of_order))

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def counted(
    expected: Iterable[Row],
    sink: Sequence[Row],
    seen: Iterable[Row] = (),
    *,
    kills: int,
    restarts: int,
    ticks: int,
    accounted: int,
    seconds: float,
) -> Tally:
    """Compare what is in the sink, in its order, with what a replay gives; `seen` are the copies on their way there."""
    right = {row["signal_id"]: row for row in expected}
    delivered: dict[str, Row] = {}
    repeated = conflicts = out_of_order = 0
    latest: dict[tuple[str, int], int] = {}
    for row in sink:
        key = row["signal_id"]
        repeated += key in delivered
        conflicts += right.get(key, row) != row
        delivered[key] = row
        place = (row["strategy_id"], row["instrument_token"])
        out_of_order += row["ts_ns"] < latest.get(place, row["ts_ns"])
        latest[place] = row["ts_ns"]
    copies = list(seen)
    conflicts += sum(delivered.get(row["signal_id"], row) != row for row in copies)
    return Tally(
        kills=kills,
        restarts=restarts,
        ticks=ticks,
        ticks_off=abs(ticks - accounted),
        expected=len(right),
        delivered=len(delivered),
        sent_again=len(copies) - len({row["signal_id"] for row in copies}),
        lost=len(right.keys() - delivered.keys()),
        invented=len(delivered.keys() - right.keys()),
        repeated=repeated,
        conflicts=conflicts,
        out_of_order=out_of_order,
        seconds=seconds,
    )


#: What each count is called, for people.
LABELS = {
    "kills": "kills of the runner (SIGKILL)",
    "restarts": "restarts of the server",
    "ticks": "ticks",
    "ticks_off": "ticks not accounted for",
    "expected": "expected: signals of an undisturbed replay",
    "delivered": "delivered",
    "sent_again": "copies sent again, left out by their ids",
    "lost": "lost",
    "invented": "invented",
    "repeated": "repeated",
    "conflicts": "conflicts: one id, two contents",
    "out_of_order": "out of order",
    "seconds": "seconds",
}


def table(tallies: Mapping[str, Tally]) -> str:
    """One column a path from source to sink, as Markdown, with as much space as a terminal needs."""
    head = ["", *tallies]
    body = [[label, *(f"{getattr(tally, name):,.0f}" for tally in tallies.values())] for name, label in LABELS.items()]
    widths = [max(len(row[at]) for row in [head, *body]) for at in range(len(head))]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([_line(head, widths), rule, *(_line(row, widths) for row in body)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"
