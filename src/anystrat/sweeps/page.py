"""The report of a sweep: one HTML file, without a script, that asks no network for anything."""

from __future__ import annotations

import itertools
import math
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest.page.table import sign_class, signed, table
from anystrat.backtest.words import NONE, amount, percent, ratio

if TYPE_CHECKING:
    from anystrat.sweeps.folds import WalkForward
    from anystrat.sweeps.result import HeatMap, SweepResult
    from anystrat.sweeps.trial import Trial

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_LISTED: Final = 30
_MOST_MAPS: Final = 6
#: More values than that along a side are put into as many groups.
_MOST_CELLS: Final = 40
_BARS: Final = 41
_SHARES: Final = frozenset({"total_return", "cagr", "volatility", "max_drawdown", "hit_rate"})
_STYLE: Final = """
@media (min-width: 46rem) { .tiles { grid-template-columns: repeat(3, 1fr); } }
.heat rect { stroke: var(--card); stroke-width: 1; }
.heat rect.best { stroke: var(--ink); stroke-width: 2; }
.heat rect.none { fill: var(--faint); }
.heat text { fill: var(--quiet); font-size: 10.5px; }
.scale { display: flex; gap: 0.6rem; align-items: center; font-size: 0.78rem; color: var(--quiet); margin-top: 0.3rem; }
.scale i { flex: none; width: 7rem; height: 0.5rem; border-radius: 4px;
  background: linear-gradient(to right, color-mix(in srgb, var(--accent) 6%, var(--card)), var(--accent)); }
.plot .mark { stroke: var(--loss); stroke-width: 2; stroke-dasharray: 5 4; }
.plot .curve { fill: none; stroke: var(--accent); stroke-width: 2; }
.plot .bars { fill: var(--accent); }
"""


def page_of(result: SweepResult, walk: WalkForward | None = None) -> str:
    """The whole page as text."""
    style = files("anystrat.backtest.page").joinpath("report.css").read_text(encoding="utf-8")
    name = escape(result.facts.get("name", "sweep"))
    sections = [
        ("maps", "Heat maps", "The darker, the better. Where other settings vary too, a cell is the best of its trials.", _maps(result)),
        ("luck", "Skill or luck", result.verdict if result.ranked else "", _spread(result)),
        ("walk", "Walk-forward", _walk_lead(walk), _walk(walk)),
        ("best", "Trials", _best_lead(result), _trials(result)),
        ("refused", "Refused", "The configuration does not take these settings together.", _refused(result)),
        ("facts", "What was run", "With these inputs, anystrat gives these figures again.", _facts(result)),
    ]  # fmt: skip
    sections = [each for each in sections if each[3]]
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><header><h2 id="{key}-title">{title}</h2>'
        f"<p>{escape(lead)}</p></header>{content}</section>\n"
        for key, title, lead, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="generator" content="anystrat">\n'
        f"<title>{name} · sweep</title>\n<style>\n{style}{_STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">To the trials</a>\n{_header(result, name)}\n'
        f'<nav aria-label="Sections">{links}</nav>\n<main id="main">\n{_tiles(result, walk)}\n{body}</main>\n'
        f"<footer><p>Made by anystrat {escape(result.facts.get('anystrat', ''))}. The best of many trials looks better than "
        "it is. Not investment advice.</p></footer>\n</body>\n</html>\n"
    )


def _header(result: SweepResult, name: str) -> str:
    many = f"{len(result.ranked):,} trials of {', '.join(result.keys)}"
    lead = f'<p class="lead">{escape(many)}, ranked by {escape(result.objective.name)}; {len(result.days):,} days</p>'
    verdict = ""
    if result.ranked:
        best = result.best
        where = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in best.settings.items())
        gain = best.figure("total_return")
        verdict = (
            f'<p class="verdict">Best: <b>{escape(where)}</b> with '
            f'<b class="{sign_class(gain)}">{percent(gain, signed=True)}</b> after costs.</p>'
        )
    return f'<header class="top"><p class="kicker">Sweep</p><h1>{name}</h1>{lead}{verdict}</header>'


def _tiles(result: SweepResult, walk: WalkForward | None) -> str:
    if not result.ranked:
        return ""
    best = result.best
    deflated = result.deflated(best)
    tiles = [
        ("Trials", f"{len(result.ranked):,}", f"{len(result.refused):,} refused" if result.refused else ""),
        ("Best Sharpe ratio", ratio(best.figure("sharpe")), f"by luck alone {ratio(result.luck)}"),
        ("Deflated", percent(deflated, digits=0), "probability that it is more than luck"),
        ("Its return", percent(best.figure("total_return"), signed=True), f"{int(best.figure('trades')):,} trades"),
        ("Its deepest fall", percent(best.figure("max_drawdown")), "from a peak, at every tick"),
    ]
    if walk is not None:
        tiles.append(("Walk-forward", percent(walk.total_return, signed=True), f"Sharpe ratio {ratio(walk.sharpe)}"))
    else:
        tiles.append(
            ("Its costs", amount(best.figure("costs")), f"{percent(best.figure('hit_rate'), digits=0)} of trades won")
        )
    cells = "".join(
        f'<div class="tile"><dt>{title}</dt><dd>{escape(text)} <span class="small">{escape(small)}</span></dd></div>'
        for title, text, small in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def shown_figure(name: str, value: float) -> str:
    """An objective's value as a person reads it."""
    if not math.isfinite(value):
        return NONE
    if name in _SHARES:
        return percent(value, signed=name in {"total_return", "cagr"})
    return ratio(value) if abs(value) < 1_000.0 else amount(value)


def _best_lead(result: SweepResult) -> str:
    many = len(result.ranked)
    return f"The best {_LISTED} of {many:,}." if many > _LISTED else "All of them, the best first."


def _trials(result: SweepResult) -> str:
    if not result.ranked:
        return ""
    keys = [key.removeprefix("parameters.") for key in result.keys]
    titles = ["#", *keys, "Sharpe", "return", "CAGR", "drawdown", "trades", "hit rate", "costs", "deflated"]
    rows = [_row(result, trial, number) for number, trial in enumerate(result.ranked[:_LISTED], 1)]
    return table(titles, rows, texts=1)


def _row(result: SweepResult, trial: Trial, number: int) -> list[Any]:
    figure = trial.figure
    return [
        str(number),
        *((_sorted_as(trial.settings[key]), str(trial.settings[key])) for key in result.keys),
        (figure("sharpe"), ratio(figure("sharpe"))),
        signed(figure("total_return"), percent(figure("total_return"), signed=True)),
        (figure("cagr"), percent(figure("cagr"), signed=True) if result.annual else NONE),
        (figure("max_drawdown"), percent(figure("max_drawdown"))),
        (figure("trades"), f"{int(figure('trades')):,}"),
        (figure("hit_rate"), percent(figure("hit_rate"), digits=0)),
        (figure("costs"), amount(figure("costs"))),
        (result.deflated(trial), percent(result.deflated(trial), digits=0)),
    ]


def _sorted_as(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


# ----------------------------------------------------------------------------------------------------------- pictures


def _maps(result: SweepResult) -> str:
    pairs = list(itertools.combinations(result.keys, 2))[:_MOST_MAPS]
    drawn = [result.heat_map(x, y) for x, y in pairs]
    shown = [
        heat_map_svg(each, result.objective.name, low=result.objective.low) for each in drawn if each.values.size > 1
    ]
    return f'<div class="figures">{"".join(shown)}</div>' if shown else ""


def heat_map_svg(heat: HeatMap, objective: str, *, low: bool = False) -> str:
    """The map as a figure; a large one in groups of values, of which each shows its best."""
    xs, ys, values = _grouped(heat, low=low)
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    least, most = float(known.min()), float(known.max())
    best = least if low else most
    left, top, cell = 62, 6, max(10.0, min(34.0, 340.0 / max(len(xs), len(ys))))
    width, height = left + cell * len(xs) + 8, top + cell * len(ys) + 36
    parts: list[str] = []
    for row, y in enumerate(ys):
        for column, x in enumerate(xs):
            value = float(values[row, column])
            at = f'x="{left + column * cell:.1f}" y="{top + (len(ys) - 1 - row) * cell:.1f}" width="{cell:.1f}" height="{cell:.1f}"'
            words = escape(f"{heat.x} {x}, {heat.y} {y}: {objective} {shown_figure(objective, value)}")
            if not math.isfinite(value):
                parts.append(f'<rect {at} class="none"><title>{words}</title></rect>')
                continue
            share = (value - least) / (most - least) if most > least else 1.0
            depth = 6.0 + 94.0 * (1.0 - share if low else share)
            kind = ' class="best"' if value == best else ""
            parts.append(
                f'<rect {at}{kind} style="fill:color-mix(in srgb, var(--accent) {depth:.0f}%, var(--card))"><title>{words}</title></rect>'
            )
    for column in _ticks(len(xs), cell):
        middle = left + (column + 0.5) * cell
        parts.append(f'<text x="{middle:.1f}" y="{height - 22:.1f}" text-anchor="middle">{escape(xs[column])}</text>')
    for row in _ticks(len(ys), cell * 2):
        middle = top + (len(ys) - 0.5 - row) * cell + 4
        parts.append(f'<text x="{left - 6}" y="{middle:.1f}" text-anchor="end">{escape(ys[row])}</text>')
    across, up = (escape(key.rpartition(".")[2]) for key in (heat.x, heat.y))
    parts.append(f'<text x="{left + cell * len(xs) / 2:.1f}" y="{height - 5:.1f}" text-anchor="middle">{across}</text>')
    parts.append(
        f'<text transform="translate(11 {top + cell * len(ys) / 2:.1f}) rotate(-90)" text-anchor="middle">{up}</text>'
    )
    label = escape(
        f"{objective} by {heat.x} and {heat.y}, from {shown_figure(objective, least)} to {shown_figure(objective, most)}"
    )
    ends = [shown_figure(objective, each) for each in ((most, least) if low else (least, most))]
    return (
        f"<figure><figcaption><b>{across} × {up}</b> {escape(objective)}</figcaption>"
        f'<svg class="plot heat" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f'<div class="scale"><span>{escape(ends[0])}</span><i></i><span>{escape(ends[1])}</span></div></figure>'
    )


def _grouped(heat: HeatMap, *, low: bool) -> tuple[list[str], list[str], Any]:
    values = np.where(np.isnan(heat.values), math.inf if low else -math.inf, heat.values)
    labels: list[list[str]] = []
    for axis, names in ((1, heat.xs), (0, heat.ys)):
        groups = min(len(names), _MOST_CELLS)
        starts = np.linspace(0, len(names), groups, endpoint=False).astype(int)
        values = (np.minimum if low else np.maximum).reduceat(values, starts, axis=axis)
        labels.append([_label(names[start]) for start in starts.tolist()])
    return labels[0], labels[1], np.where(np.isinf(values), np.nan, values)


def _label(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ticks(many: int, cell: float) -> list[int]:
    """Which of so many cells are labelled: as many as there is room for."""
    step = max(1, math.ceil(34.0 / cell))
    return list(range(0, many, step))


def _spread(result: SweepResult) -> str:
    """How the trials' Sharpe ratios are spread, with what luck alone would reach."""
    found = np.array([trial.figure("sharpe") for trial in result.ranked])
    found = found[np.isfinite(found)]
    if len(found) < 3 or not math.isfinite(result.luck):
        return ""
    low, high = float(min(found.min(), 0.0)), float(max(found.max(), result.luck))
    room = (high - low) * 0.04 or 1.0
    edges = np.linspace(low - room, high + room, _BARS + 1)
    counts, _ = np.histogram(found, edges)
    width, height, base = 820, 150, 18
    step, most = width / _BARS, int(counts.max())
    bars = "".join(
        f'<rect class="bars" x="{k * step + 1:.1f}" y="{height - base - max(1.5, many / most * (height - base - 22)):.1f}" '
        f'width="{step - 2:.1f}" height="{max(1.5, many / most * (height - base - 22)):.1f}" rx="1.5">'
        f"<title>{edges[k]:.2f} to {edges[k + 1]:.2f}: {many:,} trials</title></rect>"
        for k, many in enumerate(counts.tolist())
        if many
    )
    at = (result.luck - edges[0]) / (edges[-1] - edges[0]) * width
    side = "end" if at > width * 0.7 else "start"
    near = -6 if side == "end" else 6
    words = f"{len(found):,} Sharpe ratios from {found.min():.2f} to {found.max():.2f}; the best by luck alone {result.luck:.2f}"
    ends = "".join(f"<span>{value:.2f}</span>" for value in (edges[0], edges[-1]))
    return (
        f'<figure class="wide"><figcaption>Sharpe ratios of all trials</figcaption><svg class="plot" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(words)}">{bars}<line class="grid" x1="0" x2="{width}" y1="{height - base}" y2="{height - base}"/>'
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{height - base}"/>'
        f'<text x="{at + near:.1f}" y="14" text-anchor="{side}">best by luck alone</text></svg><div class="ends">{ends}</div></figure>'
    )


# -------------------------------------------------------------------------------------------------------- walk-forward


def _walk_lead(walk: WalkForward | None) -> str:
    if walk is None:
        return ""
    how = "all days before it" if walk.anchored else "the days before it"
    return (
        f"Each stretch is traded with what was best by {walk.objective} on {how}: {shown_figure(walk.objective, walk.inside)} "
        f"where it was chosen, {shown_figure(walk.objective, walk.outside)} on the days that followed, on average."
    )


def _walk(walk: WalkForward | None) -> str:
    if walk is None:
        return ""
    rows = [
        [
            f"{_day(fold.test[0])} – {_day(fold.test[1])}",
            f"{_day(fold.train[0])} – {_day(fold.train[1])}",
            ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in fold.chosen.settings.items()),
            (fold.inside, shown_figure(walk.objective, fold.inside)),
            (fold.outside, shown_figure(walk.objective, fold.outside)),
            signed(fold.outside_return, percent(fold.outside_return, signed=True)),
        ]
        for fold in walk.folds
    ]
    titles = ["traded", "chosen on", "settings", f"{walk.objective} there", f"{walk.objective} after", "return"]
    return _curve(walk) + table(titles, rows, texts=3)


def _curve(walk: WalkForward) -> str:
    worth = np.concatenate([[1.0], walk.worth])
    if len(worth) < 3:
        return ""
    width, height = 820, 170
    low, high = float(worth.min()), float(worth.max())
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return 10 + (high - value) / span * (height - 20)

    keep = np.unique(np.linspace(0, len(worth) - 1, min(len(worth), width)).astype(int))
    points = " ".join(f"{k / (len(worth) - 1) * width:.1f},{y(float(worth[k])):.1f}" for k in keep.tolist())
    words = f"Worth over {len(walk.days):,} days that nothing was chosen on: {percent(walk.total_return, signed=True)}, deepest fall {percent(walk.max_drawdown)}"
    ends = "".join(f"<span>{_day(int(day))}</span>" for day in (walk.days[0], walk.days[-1]))
    return (
        f'<figure class="wide"><figcaption>{words}</figcaption><svg class="plot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(words)}"><line class="ideal" x1="0" x2="{width}" y1="{y(1.0):.1f}" y2="{y(1.0):.1f}"/>'
        f'<polyline class="curve" points="{points}"/></svg><div class="ends">{ends}</div></figure>'
    )


def _day(day: int) -> str:
    return str(np.datetime64(day, "D"))


# --------------------------------------------------------------------------------------------------------------- facts


def _refused(result: SweepResult) -> str:
    why: dict[str, int] = {}
    for trial in result.refused:
        why[trial.refused] = why.get(trial.refused, 0) + 1
    rows = [[text, (many, f"{many:,}")] for text, many in sorted(why.items(), key=lambda each: -each[1])]
    return table(["why", "trials"], rows) if rows else ""


def _facts(result: SweepResult) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in result.facts.items() if text
    )
    return f'<dl class="items">{items}</dl>'
