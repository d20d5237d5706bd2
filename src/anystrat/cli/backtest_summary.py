"""The summary of a backtest, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anystrat.backtest.words import NONE, amount, annual, cautions, duration, percent, period, ratio
from anystrat.cli.failures import say
from anystrat.cli.replay_summary import by_reason
from anystrat.cli.screen import Column, count, fitting, heading, line, pairs, rate, seconds, table

if TYPE_CHECKING:
    from anystrat.backtest.figures import Figures
    from anystrat.backtest.result import BacktestResult
    from anystrat.domain.configuration import Configuration

_COLUMNS = (
    Column("account", style="bold"),
    Column("return", number=True),
    Column("P&L", number=True),
    Column("CAGR", number=True),
    Column("Sharpe", number=True),
    Column("drawdown", number=True),
    Column("trades", number=True),
    Column("hit rate", number=True),
    Column("profit factor", number=True),
    Column("exposure", number=True),
    Column("costs", number=True),
)
#: What a narrow terminal leaves out first; the report and `--json` have it all.
_SPARE = ("exposure", "CAGR", "profit factor", "costs", "hit rate")


def summary(result: BacktestResult, configured: Configuration, files: dict[str, Any]) -> None:
    """Print each account's figures, what became of the ticks, what to beware of, and where the files are."""
    stats = result.stats
    first, last = result.to_dict()["first_ts_ns"], result.to_dict()["last_ts_ns"]
    when = period(first, last) if stats.marks else "no ticks"
    heading(f"{configured.run.name}: {when}, {amount(stats.start)} of capital")
    line()
    rows = [_row(name, figures) for name, figures in result.strategies.items()]
    if len(rows) > 1:
        rows.append(_row("portfolio", stats))
    rows.append(_row("buy and hold", result.benchmark))
    kept = [at for at in range(len(_COLUMNS)) if any(row[at] not in {"", NONE} for row in rows)]
    table(*fitting([_COLUMNS[at] for at in kept], [[row[at] for at in kept] for row in rows], _SPARE))
    line()
    pairs([*_facts(result), *_absent(result, configured), *_files(files)])
    for text in cautions(result):
        say(f"note: {text}")


def _row(name: str, figures: Figures) -> list[str]:
    traded = bool(figures.fills)
    return [
        name,
        percent(figures.total_return, signed=True),
        amount(figures.profit, signed=True),
        annual(figures, figures.cagr, percent(figures.cagr, signed=True)),
        annual(figures, figures.sharpe, ratio(figures.sharpe)),
        percent(-figures.max_drawdown),
        count(figures.trades) if traded else "",
        percent(figures.hit_rate, digits=1) if figures.trades else "",
        ratio(figures.profit_factor) if figures.trades else "",
        percent(figures.exposure, digits=1),
        amount(figures.costs) if traded else "",
    ]


def _facts(result: BacktestResult) -> list[tuple[str, str]]:
    stats, counts = result.stats, result.counts
    dropped = counts["ticks_dropped"]
    ticks = count(counts["ticks"])
    found = [("ticks", f"{ticks}, dropped {by_reason(dropped)}" if dropped else ticks)]
    found.append(("signals", f"{count(counts['signals'])}, dropped {by_reason(counts['drops'])}"))
    if stats.longest_drawdown_ns:
        end = "" if stats.recovered else ", not over"
        found.append(("longest drawdown", f"{duration(stats.longest_drawdown_ns)}{end}"))
    if stats.costs:
        found.append(("costs", f"fees {amount(stats.fees)}, slippage {amount(stats.slippage)}"))
    found.append(("a year", f"{stats.periods} daily marks (UTC); this run has {count(stats.marks)}"))
    needed = counts["seconds"]
    if needed > 0:
        found.append(("engine", f"{seconds(needed)} ({rate(counts['ticks'] / needed)} ticks/s)"))
    return found


def _absent(result: BacktestResult, configured: Configuration) -> list[tuple[str, str]]:
    left_out = list(result.facts.left_out)
    disabled = [row.strategy_id for row in configured.strategies if not row.enabled]
    return [(title, ", ".join(names)) for title, names in (("left out", left_out), ("disabled", disabled)) if names]


def _files(files: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, file in files.items():
        size = f"{count(file['rows'])} rows" if "rows" in file else f"{file['bytes'] / 1e6:.1f} MB"
        found.append((name, f"{file['path']} ({size})"))
    return found
