"""The results as Markdown tables, for the terminal and for the page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.contest import ACCOUNTS, LIMIT, PEER, agreement, rates, ratios

TITLES = {
    "W1": "W1: one instrument, momentum over 20 ticks",
    "W2": "W2: 100 instruments in turn, ten strategies each (a tick is ten evaluations)",
    "W3": "W3: a backtest of minute bars, means of 10 and 30, with costs and the equity curve",
    "W4": "W4: a sweep of W3, 400 pairs of means over 50,000 bars",
}
#: How far an engine's final equity may be from anystrat's, as a share of it.
NEAR = {"vectorbt, portfolio": 1e-9}
NEAR_OTHERS = 1e-5


def all_of(results: dict[str, Any]) -> str:
    """Every table that there are numbers for."""
    parts = [conditions(results)]
    if "contest" in results:
        parts += [
            f"### {TITLES[workload]}\n\n{(accounts_table if workload in ACCOUNTS else contest_table)(results, workload)}"
            for workload, engines in results["contest"]["runs"].items()
            if engines
        ]
        parts += [f"- {place}: failed ({why})" for place, why in results["contest"]["failures"].items()]
    tables: dict[str, tuple[str, Callable[[Any], str]]] = {
        "latency": ("From a tick to its signals, W1, microseconds", latency_table),
        "ml": ("ML: a linear ONNX model of ten features", ml_table),
        "curves": ("How the cost of a tick grows, microseconds of processor time", curves_table),
        "scale": ("How a backtest of minute bars grows", scale_table),
        "memory": ("Memory", memory_table),
        "durable": ("The durable runner: W2 from Parquet to JSONL, a SQLite journal beneath", durable_table),
        "startup": ("Start-up, seconds", startup_table),
    }
    parts += [
        f"### {title}\n\n{when(results, name)}{table(results[name])}"
        for name, (title, table) in tables.items()
        if results.get(name)
    ]
    return "\n\n".join(part for part in parts if part)


def when(results: dict[str, Any], part: str) -> str:
    """When and how a part was measured that is of a later run than the others."""
    later = results.get("later", {}).get(part)
    return f"{later}\n\n" if later else ""


def conditions(results: dict[str, Any]) -> str:
    """What was measured on, and how quiet that was."""
    machine, load = results["machine"], results["load"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if name != "anystrat")
    lines = [
        "; ".join(
            [
                f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}",
                machine["python"],
                packages,
                machine["date"],
            ]
        )
        + ".",
        f"Load average {load['before']} before and {load['after']} after, with {machine['cores']} cores.",
    ]
    noise = noise_of(results)
    if noise is not None:
        least, middle, most, waiting = noise
        lines.append(
            f"A loop that is always the same took {least:.1f} to {most:.1f} ms of processor time (median {middle:.1f}) and "
            f"{waiting:.2f} times that by the wall clock: differences within that spread are ties."
        )
    for peer, why in results["missing"].items():
        lines.append(f"{peer} was not measured: {why}.")
    return "\n\n".join(lines)


def noise_of(results: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """(least, median, most) milliseconds of the steady loop, and how much longer the wall clock took in the median."""
    steady = results.get("contest", {}).get("steady")
    if not steady:
        return None
    cpu = [1e3 * one["cpu"] for one in steady]
    waiting = statistics.median(one["wall"] / one["cpu"] for one in steady)
    return min(cpu), statistics.median(cpu), max(cpu), waiting


def contest_table(results: dict[str, Any], workload: str) -> str:
    contest, clock = results["contest"], results["options"]["clock"]
    rows = []
    for name in contest["runs"][workload]:
        answers = contest["runs"][workload][name]
        cpu, wall = rates(contest, workload, name, "cpu"), rates(contest, workload, name, "wall")
        rows.append(
            [
                name,
                str(answers[0]["version"]),
                f"{answers[0].get('of_ticks', answers[0]['ticks']):,}",
                rate(statistics.median(cpu)),
                rate(statistics.median(wall)),
                spread(ratios(contest, workload, name, PEER, clock)),
                spread(ratios(contest, workload, LIMIT, name, clock)),
                agreement(contest, workload, name),
                contest["engines"][name]["does"],
            ]
        )
    head = [
        "engine",
        "version",
        "ticks",
        "ticks/s (cpu)",
        "ticks/s (wall)",
        f"to {PEER}",
        "limit is",
        "signals",
        "does",
    ]
    return when(results, workload) + table(head, rows, left=(0, 1, 7, 8))


def accounts_table(results: dict[str, Any], workload: str) -> str:
    """Of W4, the equity is the best pair's, and `apart` the most of all pairs."""
    contest, clock = results["contest"], results["options"]["clock"]
    rows = []
    for name, answers in contest["runs"][workload].items():
        far = max(one["apart"] for one in answers)
        cpu, wall = (rates(contest, workload, name, each) for each in ("cpu", "wall"))
        rows.append(
            [
                name,
                str(answers[0]["version"]),
                f"{answers[0]['ticks']:,}",
                rate(statistics.median(cpu)),
                rate(statistics.median(wall)),
                spread(ratios(contest, workload, "anystrat", name, clock)),
                f"{statistics.median(one['peak_mib'] for one in answers):,.0f}",
                f"{answers[0]['equity']:,.4f}",
                "–" if name == "anystrat" else "none" if far == 0.0 else f"{far:.0e}",
                f"{answers[0]['orders']:,}",
                contest["engines"][name]["does"],
            ]
        )
    head = ["engine", "version", "bars", "bars/s (cpu)", "bars/s (wall)", "anystrat is"]
    head += ["peak MiB", "equity", "apart", "orders", "does"]
    return when(results, workload) + table(head, rows, left=(0, 1, 10))


def scale_table(answers: list[dict[str, Any]]) -> str:
    """How a backtest grows, and what a year of 500 instruments and 20 strategies comes to by that."""
    rows = [
        [
            *(f"{one[name]:,}" for name in ("instruments", "bars", "strategies")),
            f"{one['cpu']:.2f}",
            f"{1e9 * one['cpu'] / (one['instruments'] * one['bars'] * one['strategies']):.0f}",
            f"{one['mib']:,.0f}",
            f"{one['fills']:,}",
            f"{one['mib'] * 1024.0 / one['fills']:.2f}",
        ]
        for one in answers
    ]
    head = [
        "instruments",
        "bars of each",
        "strategies",
        "s (cpu)",
        "ns a bar and strategy",
        "MiB",
        "fills",
        "KiB a fill",
    ]
    largest = max(answers, key=lambda one: one["instruments"] * one["bars"] * one["strategies"])
    times = 500 * 98_280 * 20 / (largest["instruments"] * largest["bars"] * largest["strategies"])
    said = (
        f"By the largest of these, a year of 500 instruments and 20 strategies (983 M evaluations) takes "
        f"{times * largest['cpu'] / 60.0:.1f} minutes of processor time, and {times * largest['mib'] / 1024.0:.1f} GiB, which are "
        f"its {times * largest['fills'] / 1e6:.0f} M fills with their signals: ticks themselves are not kept."
    )
    found = [f"{table(head, rows, left=())}\n\n{said}"]
    found += [
        f"The report of a run over {one['instruments'] * one['bars'] / 1e6:.0f} M ticks with {one['fills']:,} fills is written in "
        f"{one['report_cpu']:.2f} s of processor time, and has {one['report_mb']:.1f} MB."
        for one in answers
        if "report_cpu" in one
    ]
    return "\n\n".join(found)


def latency_table(found: dict[str, list[dict[str, Any]]]) -> str:
    kinds = {
        "call": "anystrat, `on_market_tick`",
        "call_with_signal": "anystrat, calls that gave a signal",
        "between": "from one tick to the next",
    }
    rows = []
    for engine, answers in found.items():
        for kind, words in kinds.items():
            values = [one[kind] for one in answers if one.get(kind)]
            if not values:
                continue
            label = f"{engine}, {words}" if kind == "between" else words
            rows.append([label, *(medians([one[q] for one in values]) for q in ("p50_us", "p99_us", "p99.9_us"))])
    return table(["", "p50", "p99", "p99.9"], rows)


def ml_table(answers: list[dict[str, Any]]) -> str:
    rows = [
        [f"the model alone, batches of {int(size):,}", *_both([one["rows"][size] for one in answers])]
        for size in answers[0]["rows"]
    ]
    same = "same signals" if all(one["replay"]["same"] for one in answers) else "OTHER SIGNALS"
    for kind, words in (("tick", "a replay, tick by tick"), ("columns", f"a replay over columns ({same})")):
        rows.append([words, *_both([one["replay"][kind] for one in answers])])
    return table(["", "rows/s (cpu)", "rows/s (wall)"], rows)


def _both(values: list[dict[str, float]]) -> list[str]:
    return [rate(statistics.median(one[clock] for one in values)) for clock in ("cpu", "wall")]


def curves_table(curves: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    rows = []
    for curve, points in curves.items():
        first: tuple[float, float] | None = None
        for point, answers in points.items():
            if not answers:
                continue
            single, column, made = (
                statistics.median(one[key] for one in answers)
                for key in ("tick_us", "column_tick_us", "registration_us")
            )
            first = first or (single, column)
            rows.append(
                [
                    f"{curve} {int(point):,}",
                    f"{single:.2f}",
                    f"{single / first[0]:.2f}",
                    f"{column:.3f}",
                    f"{column / first[1]:.2f}",
                    f"{made:,.0f}",
                ]
            )
    head = ["", "tick by tick", "× first", "columns", "× first", "to register one"]
    return table(head, rows)


def memory_table(found: dict[str, list[dict[str, Any]]]) -> str:
    words = {"strategy": "a strategy", "instrument": "an instrument with a window of 20 ticks"}
    rows = [
        [words[of], f"{statistics.median(one['kib'] for one in answers):.1f}"]
        for of, answers in found.items()
        if answers
    ]
    return table(["", "KiB"], rows)


def durable_table(answers: list[dict[str, Any]]) -> str:
    def middle(part: str, name: str, at: int | None = None) -> float:
        values = [one[part][name] for one in answers if part in one]
        return statistics.median(value if at is None else value[at] for value in values)

    rows = []
    for part, words in (("file", "one signal in 200 ticks"), ("signals", "one signal in two ticks")):
        if any(part in one for one in answers):
            rows.append(
                [
                    f"a file, {words}",
                    rate(middle(part, "ticks_per_sec")),
                    rate(middle(part, "signals_per_sec")),
                    f"{middle(part, 'signals_a_commit'):,.0f}",
                    f"{middle(part, 'commit_ms', 0):.1f} / {middle(part, 'commit_ms', 1):.1f}",
                    "",
                ]
            )
    if any("latency" in one for one in answers):
        waits = " / ".join(f"{middle('latency', 'ms', k):.2f}" for k in range(3))
        commits = f"{middle('latency', 'commit_ms', 0):.1f} / {middle('latency', 'commit_ms', 1):.1f}"
        rows.append(["an even load of half of that", rate(middle("latency", "ticks_per_sec")), "", "", commits, waits])
    head = [
        "",
        "ticks/s",
        "durable signals/s",
        "signals a commit",
        "commit ms p50 / p99",
        "tick to send ms p50 / p99 / p99.9",
    ]
    return table(head, rows)


def startup_table(answers: list[dict[str, Any]]) -> str:
    rows = [
        [name, f"{middle:.2f}", f"{least:.2f}–{most:.2f}"]
        for name, (middle, least, most) in answers[0]["seconds"].items()
    ]
    return table(["", "median", "spread"], rows)


def disagreements(results: dict[str, Any]) -> list[str]:
    """Where engines that must give the same signals, or come to the same equity, do not. Other engines' counts may differ in the last bit of a z-score."""
    contest = results.get("contest")
    found = []
    if contest:
        for workload, engines in contest["runs"].items():
            for name in engines:
                if workload in ACCOUNTS:
                    far = max(one["apart"] for one in engines[name])
                    if far > NEAR.get(name, NEAR_OTHERS):
                        found.append(f"{workload} {name}: final equity is {far:.1e} of it apart")
                    continue
                words = agreement(contest, workload, name)
                if "OTHER" in words:
                    found.append(f"{workload} {name}: {words}")
    found += ["ML over columns" for one in results.get("ml") or [] if not one["replay"]["same"]]
    return found


# ---------------------------------------------------------------------------------------------------------- formatting


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A Markdown table whose columns stand under each other."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]

    def row(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(w) if k in left else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|".join("-" * (w + 2) if k in left else "-" * (w + 1) + ":" for k, w in enumerate(widths))
    return "\n".join([row(lines[0]), f"|{rule}|", *map(row, lines[1:])])


def rate(value: float) -> str:
    """2.0 M, 417 M, 83 k."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.3g}{unit}"
    return f"{value:.0f}"


def spread(ratio: tuple[float, float, float] | None) -> str:
    if ratio is None:
        return "–"
    middle, least, most = (f"{value:.2g}" if value < 10 else f"{value:,.0f}" for value in ratio)
    return f"{middle}× ({least}–{most})"


def medians(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
