"""The report: one HTML file with its data, styles and script inside, that asks no network for anything.

Figures and tables are HTML, so that they are read without a script, by a screen reader and on paper; the script draws the
charts over time. Whatever comes from outside (names, symbols, labels) is escaped on its way into HTML and into JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from anystrat.backtest.page.charts import calibration_charts, histogram
from anystrat.backtest.page.data import chart_data
from anystrat.backtest.page.tables import (
    account_table,
    agreement_tables,
    costs_table,
    drops_table,
    header,
    inputs_table,
    instrument_table,
    months_table,
    notes,
    strategy_settings,
    tiles,
    trades_table,
)
from anystrat.backtest.page.why import Chapter, chapters
from anystrat.backtest.words import percent

if TYPE_CHECKING:
    from anystrat.backtest.result import BacktestResult

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page_of(result: BacktestResult, why: Sequence[Chapter] = ()) -> str:
    """The whole page as text; `why` answers for some of the strategies."""
    here = files("anystrat.backtest.page")
    style = here.joinpath("report.css").read_text(encoding="utf-8")
    script = here.joinpath("report.js").read_text(encoding="utf-8")
    data = chart_data(result)
    sections = [section for section in _sections(result, data, why) if section[2]]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="generator" content="anystrat">\n'
        f"<title>{escape(result.facts.name)} · backtest</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">To the figures</a>\n{header(result)}\n'
        f'<nav aria-label="Sections">{links}</nav>\n<main id="main">\n{tiles(result)}\n{notes(result)}\n'
        f"{''.join(text for _, _, text in sections)}\n</main>\n{_footer(result)}\n"
        f'<script type="application/json" id="data">{embedded(data)}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def embedded(value: Any) -> str:
    """JSON that may stand inside a `script` element: nothing in it can end the element, or be taken for markup."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


Section = tuple[str, str, str]


def _sections(result: BacktestResult, data: dict[str, Any], why: Sequence[Chapter]) -> list[Section]:
    several = len(data["accounts"]) > 2
    worth = "What the accounts were worth at every tick." if several else "What the account was worth at every tick."
    confident = (
        "Does a confidence of 0.7 win 70 times in 100? On the dashed line, it does. Bars are 95 % intervals, dots grow "
        "with trades."
    )
    stats = result.stats
    label = (
        f"Equity over time: {percent(stats.total_return, signed=True)} in all, buy-and-hold "
        f"{percent(result.benchmark.total_return, signed=True)}; arrow keys move along it, plus and minus look closer"
    )
    depths = f"Drawdown over time, at most {percent(stats.max_drawdown)}"
    equity = (
        '<div class="bar"><div class="chips" id="equity-legend"></div>'
        '<div class="switch" role="group" aria-label="Unit"><button type="button" data-unit="share" aria-pressed="true">%</button>'
        '<button type="button" data-unit="money" aria-pressed="false">Profit</button></div></div>'
        + _canvas("equity", 300, label)
        + "<h3>Drawdown</h3>"
        + _canvas("drawdown", 120, depths)
        + _canvas("navigator", 44, "Choose a stretch of time", "navigator")
        + '<p class="hint"><span id="equity-hint"></span>Drag across a chart to look closer; double-click, or press 0, to see everything. All charts over '
        "time move together. Every bucket shows its lowest and highest value, so no spike is hidden.</p>"
    )
    price = (
        '<div class="bar"><label>Instrument <select id="instrument"></select></label>'
        '<div class="switch" role="group" aria-label="Scale"><button type="button" data-scale="linear" aria-pressed="true">Linear</button>'
        '<button type="button" data-scale="log" aria-pressed="false">Log</button></div>'
        '<div class="chips" id="price-legend"></div></div>'
        + _canvas("price", 320, "Price with entries, exits and drops")
        + '<p class="hint" id="price-hint"></p>'
    )
    return [
        _section("equity-section", "Equity", worth, equity),
        _section("price-section", "Price and trades", "Where positions were opened and closed, and where signals were dropped.", price),
        _section("accounts-section", "Strategies", "Each strategy with an account of its own.", account_table(result)),
        _section("trades-section", "Trades", "Round trips from flat to flat, after all their fees.", histogram(result) + trades_table(result)),
        _section("months-section", "Months", "Returns by calendar month, UTC.", months_table(result)),
        _section("instruments-section", "Instruments", "What was done in each, and what holding it came to.", instrument_table(result)),
        _section("drops-section", "Drops", "Signals that a check refused, by reason.", _drops(result, data)),
        _section("why-section", "Why", "What the ticks came to, and for some of them everything that led there.", chapters(why)),
        _section("model-section", "Confidence", confident, calibration_charts(result)),
        _section("agreement-section", "Rules and model", "How often the two parts of a hybrid agreed, tick by tick.", agreement_tables(result)),
        _section("costs-section", "Costs", "What trading took away.", costs_table(result)),
        _section("inputs-section", "What was run", "With these inputs and settings, anystrat gives these figures again.", strategy_settings(result) + inputs_table(result)),
    ]  # fmt: skip


def _section(name: str, title: str, lead: str, content: str) -> Section:
    if not content:
        return name, title, ""
    head = f'<header><h2 id="{name}-title">{title}</h2><p>{lead}</p></header>'
    return name, title, f'<section id="{name}" aria-labelledby="{name}-title">{head}{content}</section>\n'


def _canvas(name: str, height: int, label: str, kind: str = "chart") -> str:
    return (
        f'<div class="{kind}"><canvas id="{name}" height="{height}" style="height:{height}px" tabindex="0" role="img" '
        f'aria-label="{label}"></canvas></div>'
    )


def _drops(result: BacktestResult, data: dict[str, Any]) -> str:
    if not data["drops"]["reasons"]:
        return ""
    return (
        '<div class="bar"><div class="chips" id="drops-legend"></div></div>'
        + _canvas("drops", 160, "Dropped signals over time, by reason")
        + drops_table(result)
    )


def _footer(result: BacktestResult) -> str:
    version = escape(result.facts.version)
    return (
        f"<footer><p>Made by anystrat {version}. Past prices, paper fills: a model of costs, not of a market. "
        "Not investment advice.</p></footer>"
    )
