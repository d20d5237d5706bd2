"""Figures in words: how numbers, shares, times and durations are written, and what a reader should be warned of."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from anystrat.backtest.figures import ENOUGH_MARKS, ENOUGH_TRADES

if TYPE_CHECKING:
    from anystrat.backtest.figures import Figures
    from anystrat.backtest.result import BacktestResult

NONE: Final = "–"
_UNITS: Final = (("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("min", 60_000_000_000), ("s", 1_000_000_000))
_BARELY: Final = 0.02


def percent(share: float, *, signed: bool = False, digits: int = 2) -> str:
    """`12.34%`, with its sign if asked; more digits where two would show nothing."""
    if not math.isfinite(share):
        return NONE
    if digits == 2 and share and abs(share) < 0.5 * 10 ** -(digits + 2):
        digits = 4
    rounded = round(share * 100.0, digits) or 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}%"


def amount(value: float, *, signed: bool = False) -> str:
    """Money: whole where it is large, two decimals below a thousand."""
    if not math.isfinite(value):
        return NONE
    digits = 0 if abs(value) >= 1_000.0 else 2
    return f"{value:{'+' if signed and value else ''},.{digits}f}"


def ratio(value: float) -> str:
    """A ratio with two decimals."""
    return f"{value:,.2f}" if math.isfinite(value) else NONE


def duration(ns: float) -> str:
    """A length of time in its two largest units: `3 d 4 h`, `12 min 5 s`, `850 ms`."""
    if not math.isfinite(ns):
        return NONE
    whole = round(ns)
    if whole < 1_000_000_000:
        return f"{whole / 1e6:.0f} ms" if whole else "0 s"
    parts: list[str] = []
    for name, size in _UNITS:
        number, whole = divmod(whole, size)
        if number or parts:
            parts.append(f"{number:,} {name}")
        if len(parts) == 2 or number >= 100:
            break
    return " ".join(part for at, part in enumerate(parts) if at == 0 or not part.startswith("0 "))


def moment(ts_ns: int, *, seconds: bool = True) -> str:
    """A time in UTC, to the second or the day."""
    return str(np.datetime64(ts_ns, "ns").astype("datetime64[s]" if seconds else "datetime64[D]")).replace("T", " ")


def period(first_ns: int, last_ns: int) -> str:
    """From when to when, as exactly as the distance asks for."""
    if last_ns - first_ns >= 3 * 86_400_000_000_000:
        return f"{moment(first_ns, seconds=False)} to {moment(last_ns, seconds=False)}"
    start, end = moment(first_ns)[:16], moment(last_ns)[:16]
    return f"{start} to {end[11:] if end[:10] == start[:10] else end}"


def annual(figures: Figures, value: float, text: str) -> str:
    """An annualised figure's text; nothing where too few days would be stretched over a year."""
    return text if figures.marks >= ENOUGH_MARKS and math.isfinite(value) else NONE


def cautions(result: BacktestResult) -> list[str]:
    """What a reader should know before believing the figures, in sentences."""
    stats, found = result.stats, []
    if not result.counts["ticks"] or not stats.marks:
        return ["There was no tick that any strategy watches: nothing was tested."]
    if not stats.fills:
        return ["No order was filled: there is nothing to judge. The drops below say what stood in the way."]
    if stats.marks < ENOUGH_MARKS:
        days = "one day" if stats.marks == 1 else f"{stats.marks} days"
        found.append(
            f"The run covers {days}. Annualised figures (CAGR, volatility, Sharpe, Sortino, Calmar) are not shown below "
            f"{ENOUGH_MARKS} days: they would say more about the stretching than about the strategies."
        )
    if stats.trades < ENOUGH_TRADES:
        trades = "One closed trade is" if stats.trades == 1 else f"{stats.trades or 'No'} closed trades are"
        found.append(f"{trades} too few to tell skill from luck; {ENOUGH_TRADES} are a modest beginning.")
    if math.isfinite(stats.exposure) and stats.exposure < _BARELY:
        found.append(
            f"On average {percent(stats.exposure)} of the capital was at work, so returns are small beside "
            "buy-and-hold, which invests all of it. Set the capital with --cash."
        )
    found += _other_capital(result)
    if stats.costs > 0.0 and stats.profit <= 0.0 < stats.profit + stats.costs:
        found.append(f"Before costs of {amount(stats.costs)} this was a profit; after them it is a loss.")
    if not stats.costs:
        found.append(
            "No costs are configured: real fills are never free (brokers: paper: fee_bps, slippage_bps, schedule, charges)."
        )
    unseen = [result.symbol(token) for token, first in _firsts(result) if not first]
    if unseen:
        found.append(f"No ticks for {', '.join(unseen[:5])}: their share of buy-and-hold stays cash.")
    return found


def _other_capital(result: BacktestResult) -> list[str]:
    """Whose sizes are shares of another account than the one that is judged."""
    found = []
    for name, account in zip(result.strategies, result.accounts, strict=False):
        capitals = {one.risk.sizing.capital for one in result.executors_of(name) if one.risk.sizing is not None}
        found += [
            f"{name} sizes its orders by a capital of {amount(capital)}, and its account here starts with "
            f"{amount(account.start)}: give sizing: capital: and --cash (cash=) the same amount."
            for capital in sorted(capitals - {account.start})
        ]
    return found


def _firsts(result: BacktestResult) -> list[tuple[int, float]]:
    table = result.instruments
    return list(zip(table["instrument_token"].tolist(), table["first_price"].tolist(), strict=True))


def headline(result: BacktestResult) -> list[tuple[str, str]]:
    """The figures that say most, as (title, text)."""
    stats, hold = result.stats, result.benchmark
    return [
        ("return", f"{percent(stats.total_return, signed=True)} ({amount(stats.profit, signed=True)})"),
        ("buy and hold", percent(hold.total_return, signed=True)),
        ("Sharpe", annual(stats, stats.sharpe, ratio(stats.sharpe))),
        ("max drawdown", percent(-stats.max_drawdown)),
        ("trades", f"{stats.trades:,}"),
        ("hit rate", percent(stats.hit_rate, digits=1)),
        ("profit factor", ratio(stats.profit_factor)),
        ("costs", amount(stats.costs)),
    ]


def summary_text(result: BacktestResult) -> str:
    """The result in a few aligned lines."""
    rows = headline(result)
    width = max(len(title) for title, _ in rows)
    books = result.equity["ts_ns"]
    when = f", {period(int(books.min()), int(books.max()))}" if len(books) else ""
    head = f"<BacktestResult {result.facts.name}: {result.counts['ticks']:,} ticks{when}>"
    return "\n".join([head, *(f"  {title:<{width}}  {text}" for title, text in rows)])


def summary_html(result: BacktestResult) -> str:
    """The result for a notebook: the figures in a table, and a line of equity. Names are escaped."""
    cells = "".join(
        f'<tr><th style="text-align:left;font-weight:400;opacity:.7">{escape(title)}</th>'
        f'<td style="text-align:right">{escape(text)}</td></tr>'
        for title, text in headline(result)
    )
    notes = "".join(f"<li>{escape(text)}</li>" for text in cautions(result))
    return (
        f"<div><strong>{escape(result.facts.name)}</strong>{_sparkline(result)}<table>{cells}</table>"
        f'<ul style="opacity:.7">{notes}</ul></div>'
    )


def _sparkline(result: BacktestResult, width: int = 360, height: int = 64, points: int = 240) -> str:
    curve = result.portfolio.curve
    if len(curve.ts) < 2:
        return ""
    at = np.unique(np.linspace(0, len(curve.ts) - 1, points).astype(np.int64))
    ts, worth = curve.ts[at].astype(np.float64), curve.last[at]
    x = (ts - ts[0]) / max(1.0, ts[-1] - ts[0]) * (width - 2) + 1
    low, high = float(worth.min()), float(worth.max())
    y = height - 3 - (worth - low) / ((high - low) or 1.0) * (height - 6)
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="Equity" '
        f'style="display:block;margin:.5em 0"><polyline points="{path}" fill="none" stroke="#0f766e" '
        'stroke-width="1.5" stroke-linejoin="round"/></svg>'
    )
