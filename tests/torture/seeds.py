"""What is lived through by seed, beside real kills: power cuts of every kind of file, and simulated histories."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anystrat.testing.simulate import history
from tests.torture.power.file_cuts import KINDS, cut_power
from tests.torture.power.journal_cuts import Run

#: Calls of a journal in one story, and at how many of its moments the power is cut.
_CALLS, _CUTS = 25, 65


@dataclass
class Count:
    """How much was lived through, and what was not as it has to be."""

    number: int
    wrong: list[str]

    def __add__(self, other: Count) -> Count:
        return Count(self.number + other.number, self.wrong + other.wrong)


def counts(first_seed: int, *, cuts: int, histories: int, seconds: float | None) -> dict[str, Count]:
    """So many power cuts of the journal, as many of files, and histories; or, of each, what fits into a third of the time."""
    wanted: dict[str, tuple[int, Callable[[int], dict[str, Count]]]] = {
        "power cuts of the journal": (cuts, _journal),
        "power cuts of other files": (cuts, _files),
        "simulated histories": (histories, _histories),
    }
    found: dict[str, Count] = {}
    for name, (number, live) in wanted.items():
        found[name] = Count(0, [])
        deadline = None if seconds is None else time.monotonic() + seconds / len(wanted)
        for seed in _seeds(first_seed, deadline):
            for each, count in live(seed).items():
                found[each] = found[each] + count if each in found else count
            if found[name].number >= number or found[name].wrong:
                break
    return found


def table(found: Mapping[str, Count]) -> str:
    """A line each, as Markdown."""
    rows = [(name, f"{each.number:,}", f"{len(each.wrong):,}") for name, each in found.items()]
    head = ("by seed", "lived through", "wrong")
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(3)]
    lines = [f"| {a.ljust(widths[0])} | {b.rjust(widths[1])} | {c.rjust(widths[2])} |" for a, b, c in [head, *rows]]
    rule = f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 1)}:|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _seeds(first: int, deadline: float | None) -> Iterator[int]:
    seed = first
    while seed == first or deadline is None or time.monotonic() < deadline:
        yield seed
        seed += 1


def _journal(seed: int) -> dict[str, Count]:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), seed, _CALLS, most=_CUTS).run()
    return {"power cuts of the journal": Count(run.cuts, run.lost)}


def _files(seed: int) -> dict[str, Count]:
    found = Count(0, [])
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            found += Count(*cut_power(Path(folder).resolve(), kind, seed))
    return {"power cuts of other files": found}


def _histories(seed: int) -> dict[str, Count]:
    found = history(seed)
    wrong = [f"seed {seed}: {each}" for each in found.violations]
    return {"simulated histories": Count(1, wrong), "crashes in them": Count(found.crashes, [])}
