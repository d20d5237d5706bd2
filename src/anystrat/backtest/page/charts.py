"""The charts that do not run over time, as SVG that needs no script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.backtest.words import amount, percent

if TYPE_CHECKING:
    from anystrat.backtest.result import BacktestResult

_BARS: Final = 41
_SIZE: Final = 300
_EDGE: Final = 34
_MOST: Final = 12


def calibration_charts(result: BacktestResult) -> str:
    """A chart a learned strategy: the share that won against the confidence, with its 95 % interval; on the line is right."""
    found = result.calibration
    accounts = list(dict.fromkeys(found["account"].tolist()))[:_MOST] if found.rows else []
    return f'<div class="figures">{"".join(_calibration(result, name) for name in accounts)}</div>' if accounts else ""


def _calibration(result: BacktestResult, name: str) -> str:
    found = result.calibration
    mine = np.flatnonzero(found["account"] == name).tolist()
    inner = _SIZE - _EDGE - 10

    def x(share: float) -> float:
        return _EDGE + share * inner

    def y(share: float) -> float:
        return _SIZE - _EDGE - share * inner

    grid = "".join(
        f'<line x1="{x(0):.1f}" x2="{x(1):.1f}" y1="{y(step):.1f}" y2="{y(step):.1f}" class="grid"/>'
        f'<text x="{x(0) - 6:.1f}" y="{y(step) + 4:.1f}" text-anchor="end">{step * 100:.0f}</text>'
        f'<text x="{x(step):.1f}" y="{y(0) + 16:.1f}" text-anchor="middle">{step:.2g}</text>'
        for step in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    most = max(found["trades"][mine].tolist())
    dots, rows = [], []
    for k in mine:
        one = {key: column[k].item() for key, column in found.items()}
        words = (
            f"confidence {one['confidence']:.2f}: {one['trades']} trades, {percent(one['won'], digits=0)} won "
            f"({percent(one['won_low'], digits=0)} to {percent(one['won_high'], digits=0)})"
        )
        size = 3.0 + 5.0 * (one["trades"] / most) ** 0.5
        dots.append(
            f'<g><title>{words}</title><line x1="{x(one["confidence"]):.1f}" x2="{x(one["confidence"]):.1f}" '
            f'y1="{y(one["won_low"]):.1f}" y2="{y(one["won_high"]):.1f}" class="range"/>'
            f'<circle cx="{x(one["confidence"]):.1f}" cy="{y(one["won"]):.1f}" r="{size:.1f}"/></g>'
        )
        rows.append(words)
    total = int(np.sum(found["trades"][mine]))
    return (
        f'<figure><figcaption><b>{escape(name)}</b> {total:,} trades</figcaption><svg class="plot" viewBox="0 0 {_SIZE} {_SIZE}" role="img" '
        f'aria-label="{escape("; ".join(rows))}">{grid}<line x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}" class="ideal"/>'
        f'{"".join(dots)}<text x="{x(0.5):.1f}" y="{_SIZE - 4}" text-anchor="middle">confidence of the opening signal</text>'
        f'<text transform="translate(9 {y(0.5):.1f}) rotate(-90)" text-anchor="middle">% won after costs</text></svg></figure>'
    )


def histogram(result: BacktestResult) -> str:
    """How the profits of trades are spread; the outermost bars hold all that is further out."""
    profits = result.trades["profit"]
    if len(profits) < 2:
        return ""
    reach = float(np.quantile(np.abs(profits), 0.98)) or 1.0
    edges = np.linspace(-reach, reach, _BARS + 1)
    counts, _ = np.histogram(np.clip(profits, -reach, reach), edges)
    width, height, base = 820, 140, 4
    step, most = width / _BARS, int(counts.max())
    bars = []
    for k, count in enumerate(counts.tolist()):
        if not count:
            continue
        tall = max(1.5, count / most * (height - base - 8))
        middle = (edges[k] + edges[k + 1]) / 2
        kind = "even" if abs(middle) < (edges[1] - edges[0]) / 2 else "gain" if middle > 0 else "loss"
        words = (
            f"{amount(float(edges[k]), signed=True)} to {amount(float(edges[k + 1]), signed=True)}: {count:,} trades"
        )
        bars.append(
            f'<rect x="{k * step + 1:.1f}" y="{height - base - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}" rx="1.5" '
            f'class="{kind}"><title>{words}</title></rect>'
        )
    ends = "".join(f"<span>{amount(value, signed=True)}</span>" for value in (-reach, 0.0, reach))
    stats = result.stats
    words = f"{stats.trades:,} trades, {percent(stats.hit_rate, digits=1)} won, mean {amount(stats.expectancy, signed=True)}"
    return (
        f'<figure class="wide"><figcaption>Profit a trade: {escape(words)}</figcaption><svg class="plot" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(words)}">{"".join(bars)}'
        f'<line x1="0" x2="{width}" y1="{height - base}" y2="{height - base}" class="grid"/></svg><div class="ends">{ends}</div></figure>'
    )
