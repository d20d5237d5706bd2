"""The report's figures and tables, as HTML that needs no script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest.figures import ENOUGH_MARKS
from anystrat.backtest.page.table import sign_class, signed, table
from anystrat.backtest.words import (
    NONE,
    amount,
    annual,
    cautions,
    duration,
    moment,
    percent,
    period,
    ratio,
)
from anystrat.domain.configuration import EnvironmentText, RiskLimits, Secret
from anystrat.domain.exact import plain_text
from anystrat.strategies.catalog import Part

if TYPE_CHECKING:
    from anystrat.backtest.figures import Figures
    from anystrat.backtest.result import BacktestResult
    from anystrat.domain.configuration import PaperCosts

_SIDES: Final = ("no signal", "BUY", "SELL")
_MOST_ROWS: Final = 500
_LISTED_TRADES: Final = 12
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: A month of so much is drawn in full colour.
_FULL_COLOUR: Final = 0.10


def header(result: BacktestResult) -> str:
    """The name, what was run, and the verdict in a sentence."""
    stats, hold, counts = result.stats, result.benchmark, result.counts
    curve = result.buy_and_hold.curve
    when = period(int(curve.first[0]), int(curve.ts[-1])) if len(curve.ts) else "no ticks"
    many = len(result.strategies)
    strategies = "1 strategy" if many == 1 else f"{many} strategies"
    tokens = len(result.tokens)
    instruments = "1 instrument" if tokens == 1 else f"{tokens} instruments"
    verdict = ""
    if stats.fills:
        ahead = stats.total_return - hold.total_return
        side = "ahead of" if ahead > 0 else "behind" if ahead < 0 else "level with"
        verdict = (
            f'<p class="verdict"><b class="{sign_class(stats.profit)}">{percent(stats.total_return, signed=True)}</b> after costs, '
            f"{side} buy-and-hold at {percent(hold.total_return, signed=True)}, with a deepest fall of "
            f"{percent(stats.max_drawdown)}.</p>"
        )
    return (
        f'<header class="top"><p class="kicker">Backtest</p><h1>{escape(result.facts.name)}</h1>'
        f'<p class="lead">{escape(when)} UTC · {counts["ticks"]:,} ticks · {strategies} · {instruments}</p>{verdict}</header>'
    )


def tiles(result: BacktestResult) -> str:
    """The figures that say most."""
    stats, hold = result.stats, result.benchmark
    end = "" if stats.recovered else ", not over"
    under = (
        f"longest below a peak {duration(stats.longest_drawdown_ns)}{end}" if stats.longest_drawdown_ns else "no fall"
    )
    yearly = [
        (
            "Sharpe",
            ratio(stats.sharpe),
            f"Sortino {ratio(stats.sortino)}, Calmar {ratio(stats.calmar)}",
            "",
        ),
        ("CAGR", percent(stats.cagr, signed=True), f"volatility {percent(stats.volatility)} a year", ""),
    ]
    if stats.marks < ENOUGH_MARKS:
        yearly = [
            ("Costs", amount(stats.costs), f"fees {amount(stats.fees)}, slippage {amount(stats.slippage)}", ""),
            (
                "Best trade",
                amount(stats.best_trade, signed=True),
                f"worst {amount(stats.worst_trade, signed=True)}",
                sign_class(stats.best_trade),
            ),
        ]
    rows = [
        ("Profit", amount(stats.profit, signed=True), f"on {amount(stats.start)} of capital", sign_class(stats.profit)),
        ("Buy and hold", percent(hold.total_return, signed=True), f"deepest fall {percent(hold.max_drawdown)}", ""),
        ("Max drawdown", percent(-stats.max_drawdown), under, ""),
        *yearly,
        ("Hit rate", percent(stats.hit_rate, digits=1), f"of {stats.trades:,} trades", ""),
        (
            "Profit factor",
            ratio(stats.profit_factor),
            f"mean win {amount(stats.average_win)}, loss {amount(stats.average_loss)}",
            "",
        ),
        ("Exposure", percent(stats.exposure, digits=1), f"in the market {percent(stats.time_in_market, digits=1)} of the time", ""),
    ]  # fmt: skip
    cells = "".join(
        f'<div class="tile"><dt>{title}</dt><dd class="{kind}">{escape(value)}</dd><dd class="small">{escape(below)}</dd></div>'
        for title, value, below, kind in rows
    )
    basis = (
        f"Returns are between daily marks, at the end of each UTC day with ticks: {stats.marks:,} here, {stats.periods} to a year. "
        "The drawdown is over the marks of all ticks."
    )
    return f'<dl class="tiles">{cells}</dl><p class="hint basis">{basis}</p>'


def notes(result: BacktestResult) -> str:
    """What a reader should know before believing the figures."""
    found = "".join(f"<li>{escape(text)}</li>" for text in cautions(result))
    return (
        f'<aside class="notes" aria-label="Before you believe this"><h2>Before you believe this</h2><ul>{found}</ul></aside>'
        if found
        else ""
    )


def account_table(result: BacktestResult) -> str:
    """A row a strategy, the portfolio and buy-and-hold below."""
    titles = ("Strategy", "Return", "P&L", "CAGR", "Sharpe", "Sortino", "Drawdown", "Longest", "Trades", "Hit rate",
              "Profit factor", "Exposure", "Turnover", "Costs")  # fmt: skip
    rows = [_account_row(name, figures) for name, figures in list(result.strategies.items())[:_MOST_ROWS]]
    foot = [_account_row("Portfolio", result.stats)] if len(rows) > 1 else []
    foot.append(_account_row("Buy and hold", result.benchmark, held=True))
    below = '<p class="hint">Drawdown: the deepest fall from a peak. Longest: the longest time below one; + is still below it.</p>'
    return table(titles, rows, foot=foot, sortable=True) + below


def _account_row(name: str, one: Figures, *, held: bool = False) -> list[Any]:
    dealt = not held and one.fills > 0
    end = "" if one.recovered else " +"
    return [
        name,
        signed(one.total_return, percent(one.total_return, signed=True)),
        signed(one.profit, amount(one.profit, signed=True)),
        (one.cagr, annual(one, one.cagr, percent(one.cagr, signed=True))),
        (one.sharpe, annual(one, one.sharpe, ratio(one.sharpe))),
        (one.sortino, annual(one, one.sortino, ratio(one.sortino))),
        (-one.max_drawdown, percent(-one.max_drawdown)),
        (one.longest_drawdown_ns, duration(one.longest_drawdown_ns) + end if one.longest_drawdown_ns else NONE),
        (one.trades, f"{one.trades:,}" if dealt else NONE),
        (one.hit_rate, percent(one.hit_rate, digits=1)),
        (one.profit_factor, ratio(one.profit_factor)),
        (one.exposure, percent(one.exposure, digits=1)),
        (one.turnover, f"{one.turnover:,.1f}×" if dealt and math.isfinite(one.turnover) else NONE),
        (one.costs, amount(one.costs) if dealt else NONE),
    ]


def instrument_table(result: BacktestResult) -> str:
    """A row an instrument."""
    titles = (
        "Instrument",
        "P&L",
        "Holding it",
        "Trades",
        "Hit rate",
        "Fills",
        "Traded",
        "Fees",
        "Slippage",
        "Open position",
    )
    found = result.instruments
    order = np.argsort(-found["fills"], kind="stable")[:_MOST_ROWS].tolist()
    rows = []
    for i in order:
        row = {name: column[i].item() for name, column in found.items()}
        rows.append(
            [
                row["symbol"],
                signed(row["profit"], amount(row["profit"], signed=True)),
                signed(row["hold_return"], percent(row["hold_return"], signed=True)),
                (row["trades"], f"{row['trades']:,}"),
                (row["hit_rate"], percent(row["hit_rate"], digits=1)),
                (row["fills"], f"{row['fills']:,}"),
                (row["traded"], amount(row["traded"])),
                (row["fees"], amount(row["fees"])),
                (row["slippage"], amount(row["slippage"])),
                (row["position"], f"{row['position']:,}"),
            ]
        )
    more = (
        f'<p class="hint">The {_MOST_ROWS} of {len(result.tokens):,} that were traded most.</p>'
        if len(result.tokens) > _MOST_ROWS
        else ""
    )
    return table(titles, rows, sortable=True) + more


def trades_table(result: BacktestResult) -> str:
    """The best and the worst trades."""
    trades = result.trades
    if not trades.rows:
        return ""
    order = np.argsort(-trades["profit"], kind="stable")
    half = _LISTED_TRADES // 2
    chosen = order.tolist() if len(order) <= _LISTED_TRADES else [*order[:half].tolist(), *order[-half:].tolist()]
    titles = ("Strategy", "Instrument", "Side", "Opened (UTC)", "Held", "Quantity", "In", "Out", "Profit", "Of value")
    rows = []
    for k in chosen:
        one = {name: column[k].item() for name, column in trades.items()}
        rows.append(
            [
                one["strategy_id"],
                one["symbol"],
                one["side"].lower(),
                (one["opened_ts_ns"], moment(one["opened_ts_ns"])),
                (one["duration_ns"], duration(one["duration_ns"])),
                (one["quantity"], f"{one['quantity']:,}"),
                (one["entry_price"], _price(one["entry_price"])),
                (one["exit_price"], _price(one["exit_price"])),
                signed(one["profit"], amount(one["profit"], signed=True)),
                signed(one["profit_share"], percent(one["profit_share"], signed=True)),
            ]
        )
    head = "" if len(order) <= _LISTED_TRADES else f"<h3>The {half} best and the {half} worst of {len(order):,}</h3>"
    return head + table(titles, rows, texts=4, sortable=True)


def months_table(result: BacktestResult) -> str:
    """Years by months, coloured by the return; nothing for a run within one month."""
    found = result.monthly
    if found.rows < 2:
        return ""
    years: dict[str, list[str]] = {}
    total: dict[str, list[float]] = {}
    for month, mine, hold in zip(*(column.tolist() for column in found.values()), strict=True):
        year, number = month.split("-")
        cells = years.setdefault(year, ["<td></td>"] * 12)
        strength = min(1.0, abs(mine) / _FULL_COLOUR) * 100
        title = f"{_MONTHS[int(number) - 1]} {year}: {percent(mine, signed=True)}, buy and hold {percent(hold, signed=True)}"
        cells[int(number) - 1] = (
            f'<td class="heat {sign_class(mine)}" style="--s:{strength:.0f}%" title="{title}">{percent(mine, signed=True, digits=1)}</td>'
        )
        sums = total.setdefault(year, [1.0, 1.0])
        sums[0] *= 1.0 + mine
        sums[1] *= 1.0 + hold
    head = "".join(f'<th scope="col">{name}</th>' for name in (*_MONTHS, "Year", "Holding"))
    body = "".join(
        f'<tr><th scope="row">{year}</th>{"".join(cells)}'
        f'<td class="{sign_class(total[year][0] - 1)}"><b>{percent(total[year][0] - 1, signed=True, digits=1)}</b></td>'
        f"<td>{percent(total[year][1] - 1, signed=True, digits=1)}</td></tr>"
        for year, cells in years.items()
    )
    return f'<div class="scroll"><table class="months"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def drops_table(result: BacktestResult) -> str:
    """Drops by strategy and reason."""
    drops = result.drops
    if not drops.rows:
        return ""
    names, of = np.unique(drops["strategy_id"], return_inverse=True)
    reasons, why = np.unique(drops["reason"], return_inverse=True)
    grid = np.zeros((len(names), len(reasons)), np.int64)
    np.add.at(grid, (of, why), drops["count"])
    order = np.argsort(-grid.sum(axis=0), kind="stable").tolist()
    rows = [
        [str(names[k]), *((int(grid[k, at]), f"{grid[k, at]:,}" if grid[k, at] else NONE) for at in order)]
        for k in range(min(len(names), _MOST_ROWS))
    ]
    return table(("Strategy", *(str(reasons[at]).replace("_", " ") for at in order)), rows, sortable=True)


def agreement_tables(result: BacktestResult) -> str:
    """A matrix a hybrid: rules by row, model by column."""
    parts = []
    for name, counted in list(result.agreement.items())[:24]:
        total = int(counted.sum())
        if not total:
            continue
        loud = int(counted[1:, 1:].sum())
        agreed = int(counted[1, 1] + counted[2, 2])
        said = (
            f"both spoke on {loud:,} ticks and agreed on {percent(agreed / loud, digits=1)}"
            if loud
            else "never spoke together"
        )
        head = "".join(f'<th scope="col">{side}</th>' for side in _SIDES)
        body = "".join(
            f'<tr><th scope="row">{side}</th>'
            + "".join(_agreement_cell(int(counted[row, column]), total, row, column) for column in range(3))
            + "</tr>"
            for row, side in enumerate(_SIDES)
        )
        parts.append(
            f'<figure><figcaption><b>{escape(name)}</b> {said}</figcaption><table class="matrix"><thead><tr><td class="corner">rules ↓ model →</td>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></figure>"
        )
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def _agreement_cell(count: int, total: int, row: int, column: int) -> str:
    kind = "agree" if row == column and row else "differ" if row and column else "one"
    return f'<td class="{kind}" style="--s:{100 * math.sqrt(count / total):.0f}%">{count:,}<small>{percent(count / total, digits=1) if count else "&nbsp;"}</small></td>'


def costs_table(result: BacktestResult) -> str:
    """Fees and slippage, in money and beside what was traded and earned."""
    stats = result.stats
    if not stats.fills:
        return ""
    before = stats.profit + stats.costs
    rates = {_rates(one.costs) for one in result.executors}
    items = [
        ("Fees", amount(stats.fees)),
        ("Slippage", amount(stats.slippage)),
        ("Together", f"{amount(stats.costs)} ({ratio(stats.costs / stats.traded * 1e4)} bp of what was traded)"),
        ("Traded", f"{amount(stats.traded)} ({stats.turnover:,.1f}× the capital)"),
        ("Profit before costs", amount(before, signed=True)),
        ("Profit after costs", amount(stats.profit, signed=True)),
        ("Paper fills", "; ".join(sorted(rates))),
    ]
    return _items(items)


def _rates(costs: PaperCosts) -> str:
    said = [f"{_number(costs.fee_bps)} bp fee", f"{_number(costs.slippage_bps)} bp slippage"]
    if costs.impact_bps:
        said.append(f"{_number(costs.impact_bps)} bp impact of a tick's whole volume")
    if costs.schedule is not None:
        said.append(f"charges of {costs.schedule.value}")
    if costs.charges:
        said.append(f"{len(costs.charges)} charge{'s' * (len(costs.charges) > 1)} of its own")
    at = "the quote of " if costs.fill_at == "quote" else ""
    later = f", {costs.latency_ms:,} ms later at least" if costs.latency_ms else ""
    return ", ".join([*said, f"filled at {at}the {costs.fill.value.replace('_', ' ')}{later}"])


def strategy_settings(result: BacktestResult) -> str:
    """Each row's type, parameters and risk settings as they took effect."""
    seen: dict[str, str] = {}
    for one in result.executors:
        config = one.config
        if config.strategy_id in seen:
            continue
        settings = {**_described(config.parameters), **_risk(config.risk)}
        words = ", ".join(f"{key} {_text(value)}" for key, value in settings.items())
        symbols = ", ".join(result.symbol(token) for token in config.instrument_tokens[:12])
        more = f" and {len(config.instrument_tokens) - 12} more" if len(config.instrument_tokens) > 12 else ""
        seen[config.strategy_id] = (
            f'<tr><th scope="row">{escape(config.strategy_id)}</th><td>{escape(config.strategy_type)}</td>'
            f"<td>{escape(symbols + more)}</td><td>{escape(words)}</td></tr>"
        )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Strategy", "Type", "Instruments", "Settings"))
    rows = "".join(list(seen.values())[:_MOST_ROWS])
    return (
        f'<div class="scroll"><table class="settings"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def inputs_table(result: BacktestResult) -> str:
    """Inputs with their digests, the seed, the versions."""
    facts = result.facts
    cells = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(name)} <code>{escape(digest)}</code></dd></div>"
        for what, name, digest in facts.inputs[:_MOST_ROWS]
    )
    more = [("seed", str(facts.rng_seed)), ("anystrat", facts.version)]
    if facts.left_out:
        more.append(("left out", ", ".join(facts.left_out)))
    rest = "".join(f"<div><dt>{title}</dt><dd>{escape(text)}</dd></div>" for title, text in more if text)
    return f'<h3>Inputs (SHA-256)</h3><dl class="items">{cells}{rest}</dl>'


def _items(items: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<div><dt>{escape(title)}</dt><dd>{escape(text)}</dd></div>" for title, text in items)
    return f'<dl class="items">{cells}</dl>'


def _price(value: float) -> str:
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:,.6g}"


def _number(value: float) -> str:
    return f"{value:g}"


def _described(parameters: Any) -> dict[str, Any]:
    if isinstance(parameters, Part):
        return {"type": parameters.type, **_described(parameters.parameters)}
    if not is_dataclass(parameters):
        return dict(parameters) if isinstance(parameters, dict) else {}
    return {each.name: getattr(parameters, each.name) for each in fields(parameters)}


def _risk(risk: RiskLimits) -> dict[str, Any]:
    """The risk settings that were changed; durations read as time."""
    usual, found = RiskLimits(), {}
    for each in fields(risk):
        value = getattr(risk, each.name)
        if value != getattr(usual, each.name):
            found[each.name.removesuffix("_ns")] = duration(value) if each.name.endswith("_ns") else value
    return found


def _text(value: Any) -> str:
    """A setting as it would be written in a file; what came from the environment stays hidden, a path keeps its name."""
    if isinstance(value, Secret | EnvironmentText):
        return "***"
    if isinstance(value, Decimal):
        return plain_text(value)
    if isinstance(value, bool | Enum):
        return str(value.value if isinstance(value, Enum) else value).lower()
    if isinstance(value, Part):
        return "{" + ", ".join(f"{key} {_text(part)}" for key, part in _described(value).items()) + "}"
    if isinstance(value, frozenset | list | tuple):
        return "[" + ", ".join(sorted(map(_text, value)) if isinstance(value, frozenset) else map(_text, value)) + "]"
    if isinstance(value, PurePath) or (isinstance(value, str) and "/" in value):
        return PurePath(value).name
    return str(value)
