"""Makes the documentation's page and picture from the numbers: `python -m benchmarks.report [RESULTS]`."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks import tables
from benchmarks.contest import LIMIT, ROOT, rates

KEPT: Final = ROOT / "benchmarks" / "results.json"
PAGE: Final = ROOT / "docs" / "reference" / "benchmarks.md"
PICTURE: Final = ROOT / "docs" / "assets" / "benchmarks.svg"

_INTRODUCTION: Final = """\
# Benchmarks

<!-- Filled by benchmarks/report.py from benchmarks/results.json. -->

How quick anystrat is beside other engines on the same ticks, and beside a loop that was written by hand for just these
rules. `make bench` measures all of it again on your machine; `python -m benchmarks --quick` takes some minutes;
`python -m benchmarks --no-peers` installs nothing.

![Ticks a second of every engine](../assets/benchmarks.svg){ width="760" }

## How it was measured

Every engine runs in a process of its own; the other engines in environments of their own, with pinned versions. A
repetition runs all of them in turn, then the next repetition does: what disturbs the machine disturbs all. Ratios are
taken within a repetition; the median stands before the bracket, the least and the most in it. They are ratios of
PROCESSOR time unless the options say otherwise; every engine evaluates on one thread. `anystrat replay` also writes its
file on a second one, so that its wall clock is shorter than its processor time.

A row says what an engine does beside evaluating the rules. anystrat always does all of it: every tick is checked, orders
are filled on paper, signals pass the checks (the window for duplicates is on, as it is by default) and are kept. In W1 and W2
csp, vectorbt and Polars only count the rules' signals; NautilusTrader also runs each tick through its matching engine.
Installing, loading, compiling and filling the engines with data is not in the times, but for `anystrat replay`, which is the
slope of the whole command's time from a Parquet file of ticks to a Parquet file of signals.

"limit is 5×" says that the hand-written loop that does all that anystrat does is five times as quick. Signals are compared
with those that the loop finds: "same ids" is every signal's id in its order, "same count" their number before the checks.

W3 and W4 are whole calls, `anystrat.backtest(…)` and `anystrat.sweep(…)`, from columns in memory to the figures and, in W3, the
worth of the account at every bar; in W4 the other engine only works out what each pair comes to. "apart" is how far an engine's final
equity is from anystrat's, as a share of it; of W4, the most of all pairs, and "equity" is the best one's. Engines differ in two ways that
would otherwise show, and the bars leave no room for either: a bar opens where the one before closed, so that a fill at
the close is one at the next open; and the first bars fall, since vectorbt and others buy at once where the fast mean is above the slow one when
there first are two, while anystrat waits for it to cross. On bars that begin the other way, that one trade is the whole difference.
"peak MiB" is that of the process, with its libraries and compilers.
"""


def page(results: dict[str, Any]) -> str:
    options = results["options"]
    introduction = _INTRODUCTION.replace("PROCESSOR", "processor" if options["clock"] == "cpu" else "wall-clock")
    form = " The short form was run: fewer ticks and repetitions." if options["quick"] else ""
    count = options["repetitions"]
    times = f"{count} repetition{'s' if count != 1 else ''}.{form}{_busy(results)}"
    body = tables.all_of(results).replace("\n### ", "\n## ")
    return f"{introduction}\n## These numbers\n\n{times}\n\n{body}\n"


def added(kept: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What is kept, with the parts of a later run, and when and how those were measured."""
    contest = new.get("contest", {"runs": {}, "expected": {}, "engines": {}})
    for name in ("runs", "expected", "engines"):
        kept["contest"][name].update(contest[name])
    load, count = new["load"], new["options"]["repetitions"]
    said = (
        f"Measured on {new['machine']['date']}, {count} repetition{'s' if count != 1 else ''}; load average {load['before']} before and "
        f"{load['after']} after, with {new['machine']['cores']} cores.{_busy(new)}"
    )
    parts = {
        name: part for name, part in new.items() if name not in {"contest", "machine", "options", "load", "missing"}
    }
    kept.setdefault("later", {}).update(dict.fromkeys([*contest["runs"], *parts], said))
    return kept | parts


def _busy(results: dict[str, Any]) -> str:
    load, cores = results["load"], results["machine"]["cores"]
    if max(load["before"], load["after"]) <= cores / 2 + 1:
        return ""
    return (
        " **The machine was busy with other work**: times are longer than they would be on a quiet one, by different "
        "amounts; take ratios within their spread, and rates as a lower bound."
    )


# ----------------------------------------------------------------------------------------------------------- the picture

_WIDTH, _LEFT, _RIGHT, _BAR, _STEP = 760, 190, 90, 14, 21


def picture(results: dict[str, Any]) -> str:
    """Bars of ticks a second on a logarithmic scale, a group for each workload."""
    contest, clock = results["contest"], results["options"]["clock"]
    found = {
        workload: {name: statistics.median(rates(contest, workload, name, clock)) for name in engines}
        for workload, engines in contest["runs"].items()
        if engines
    }
    values = [value for engines in found.values() for value in engines.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    scale = (_WIDTH - _LEFT - _RIGHT) / max(1, high - low)
    parts: list[str] = []
    y = 24
    for workload, engines in found.items():
        parts.append(f'<text x="16" y="{y}" class="title">{escape(tables.TITLES[workload])}</text>')
        y += 12
        height = _STEP * len(engines) + 4
        for power in range(low, high + 1):
            x = _LEFT + (power - low) * scale
            parts.append(f'<path d="M{x:.1f} {y}v{height}" class="grid"/>')
            label = tables.rate(10.0**power).replace(" ", "")
            parts.append(f'<text x="{x:.1f}" y="{y + height + 12}" class="scale">{label}</text>')
        for name, value in engines.items():
            y += _STEP
            width = max(1.0, (math.log10(value) - low) * scale)
            kind = "own" if name.startswith("anystrat") else "loop" if name.startswith(LIMIT[:4]) else "other"
            parts += [
                f'<text x="{_LEFT - 8}" y="{y - 4}" class="name">{escape(name)}</text>',
                f'<rect x="{_LEFT}" y="{y - _BAR - 1}" width="{width:.1f}" height="{_BAR}" rx="2" class="{kind}"/>',
                f'<text x="{_LEFT + width + 6:.1f}" y="{y - 4}" class="value">{tables.rate(value)}</text>',
            ]
        y += 52
    words = "ticks a second of processor time" if clock == "cpu" else "ticks a second"
    parts.append(f'<text x="{_LEFT}" y="{y - 14}" class="value">{words}, logarithmic</text>')
    style = (
        "text{font:12px system-ui,sans-serif;fill:#1f2937}.title{font-weight:600;font-size:13px}"
        ".name{text-anchor:end}.scale{text-anchor:middle;fill:#6b7280;font-size:10px}.value{fill:#4b5563;font-size:11px}"
        ".grid{stroke:#e5e7eb}.own{fill:#0d9488}.other{fill:#94a3b8}.loop{fill:#d6a756}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" '
        f'aria-label="Ticks a second of every engine"><style>{style}</style>'
        f'<rect width="{_WIDTH}" height="{y}" rx="8" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "results", nargs="?", type=Path, default=KEPT, help="the JSON of a run; it is kept beside this file"
    )
    parser.add_argument("--add", action="store_true", help="keep the parts that this run does not have")
    asked = parser.parse_args()
    results = json.loads(asked.results.read_text(encoding="utf-8"))
    if asked.add:
        results = added(json.loads(KEPT.read_text(encoding="utf-8")), results)
    if asked.results.resolve() != KEPT:
        KEPT.write_text(json.dumps(results, separators=(",", ":")) + "\n", encoding="utf-8")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(results), encoding="utf-8")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture(results), encoding="utf-8")
    print(
        f"{PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)} are written; {KEPT.relative_to(ROOT)} has their numbers"
    )


if __name__ == "__main__":
    main()
