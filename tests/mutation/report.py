"""The documentation's page of the numbers: `python -m tests.mutation.report [RESULTS]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.kept_results import ROOT, fill_page

PAGE = ROOT / "docs" / "reference" / "mutation.md"

_INTRODUCTION = """\
# Mutants

<!-- Filled by tests/mutation/report.py from tests/mutation/results.json. -->

A test that never fails proves nothing. `make mutate` puts one small mistake after another into the modules on which it depends that nothing is lost and nothing is
decided otherwise: a comparison that takes in its bound or leaves it out, plus for minus, `and` for `or`, a condition turned round, a number that is one more, a call
left out, an answer that is nothing. One at which no test fails *lives*: a hole in the tests, or code that may as well be otherwise.

Each such *mutant* has a process of its own, a fork of one in which everything is imported and the module's tests are collected, and is put into the functions that
are there. It meets those tests alone that come past its line, the quickest first, as many as take three seconds of a processor together, until one fails; one that hangs, or takes a
gigabyte of memory, is found too. Kernels run interpreted, so that a mistake in one counts. Which tests are a module's is said in `tests/mutation/subjects.py`: its
unit tests; for the kernels, which exist to do what the engine does, also those that compare both, and for journals those of their contract. The simulator is not
asked: what lives here may well die there. Of a module with many mutants some are tried, chosen at random.
"""


def table(modules: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a module, as Markdown."""
    rows = [
        (name, str(each["mutants"]), str(each["tried"]), str(each["found"]), _share(each))
        for name, each in modules.items()
    ]
    whole = {key: sum(each[key] for each in modules.values()) for key in ("mutants", "tried", "found")}
    rows.append(("all", str(whole["mutants"]), str(whole["tried"]), str(whole["found"]), _share(whole)))
    head = ("", "mutants", "tried", "found", "share")
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([_line(head, widths), rule, *(_line(row, widths) for row in rows)])


def page(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores; {machine['python']}; {machine['date']}; {results['seconds'] / 60:,.0f} minutes."
    left = [
        f"- `{name}:{each['line']}`: `{each['what']}`{_where(each)}" + (f" ({each['why']})" if each["why"] else "")
        for name, module in results["modules"].items()
        for each in module["left"]
    ]
    return "\n".join(
        [
            _INTRODUCTION,
            "## These numbers\n",
            table(results["modules"]),
            f"\n{where}\n",
            "## Those that live\n",
            *left,
            "",
        ]
    )


def _where(mutant: Mapping[str, Any]) -> str:
    """The line that it is in, where what it is does not say so."""
    return (
        f" in `{mutant['text']}`"
        if mutant["what"].split(":")[0] not in mutant["text"] or " is " in mutant["what"]
        else ""
    )


def _share(each: Mapping[str, Any]) -> str:
    return f"{100 * each['found'] / each['tried']:.0f} %" if each["tried"] else ""


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"


if __name__ == "__main__":
    fill_page(__file__, PAGE, page)
