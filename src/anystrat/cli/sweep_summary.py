"""The summary of a sweep, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anystrat.backtest.words import NONE, amount, percent, ratio
from anystrat.cli.screen import Column, count, fitting, heading, line, pairs, table
from anystrat.sweeps.page import shown_figure

if TYPE_CHECKING:
    from anystrat.sweeps.folds import WalkForward
    from anystrat.sweeps.result import SweepResult
    from anystrat.sweeps.trial import Trial

#: What a narrow terminal leaves out first; the report and `--json` have it all.
_SPARE: Final = ("costs", "hit rate", "CAGR", "deflated")


def summary(result: SweepResult, walk: WalkForward | None, files: dict[str, Any], top: int) -> None:
    """Print the best trials, what they are worth, how the choice fared later, and where the files are."""
    keys, days = ", ".join(result.keys), len(result.days)
    heading(
        f"{result.facts['name']}: {count(len(result.ranked))} trials of {keys} over {count(days)} day{'s' if days != 1 else ''}"
    )
    line()
    if result.ranked:
        by = result.objective.name
        columns = [Column("#", number=True)]
        columns += [Column(key.rpartition(".")[2], number=True, style="bold") for key in result.keys]
        columns += [] if by in {"sharpe", "total_return", "cagr", "max_drawdown"} else [Column(by, number=True)]
        columns += [Column(title, number=True) for title in ("Sharpe", "return", "CAGR", "drawdown", "trades")]
        columns += [Column(title, number=True) for title in ("hit rate", "costs", "deflated")]
        own = len(columns) > len(result.keys) + 9
        rows = [_row(result, trial, number, own=own) for number, trial in enumerate(result.ranked[:top], 1)]
        kept = [at for at in range(len(columns)) if any(row[at] != NONE for row in rows)]
        table(*fitting([columns[at] for at in kept], [[row[at] for at in kept] for row in rows], _SPARE))
        line()
        line(result.verdict)
    facts = [*_refused(result), *_walked(walk), *_files(files)]
    if facts:
        line()
        pairs(facts)


def _row(result: SweepResult, trial: Trial, number: int, *, own: bool) -> list[str]:
    figure, by = trial.figure, result.objective.name
    return [
        str(number),
        *(f"{value:.6g}" if isinstance(value, float) else str(value) for value in trial.settings.values()),
        *([shown_figure(by, figure(by))] if own else []),
        ratio(figure("sharpe")),
        percent(figure("total_return"), signed=True),
        percent(figure("cagr"), signed=True) if result.annual else NONE,
        percent(figure("max_drawdown")),
        count(figure("trades")),
        percent(figure("hit_rate"), digits=0),
        amount(figure("costs")),
        percent(result.deflated(trial), digits=0),
    ]


def _refused(result: SweepResult) -> list[tuple[str, str]]:
    if not result.refused:
        return []
    first = result.refused[0]
    where = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in first.settings.items())
    return [("refused", f"{count(len(result.refused))}, such as {where}: {first.refused}")]


def _walked(walk: WalkForward | None) -> list[tuple[str, str]]:
    if walk is None:
        return []
    inside, outside = (shown_figure(walk.objective, value) for value in (walk.inside, walk.outside))
    how = "anchored" if walk.anchored else "rolling"
    chosen = (
        f"{len(walk.folds)} {how} folds: {walk.objective} {inside} where it was chosen, {outside} on the days after"
    )
    earned = f"{percent(walk.total_return, signed=True)} in all, deepest fall {percent(walk.max_drawdown)}"
    return [("walk-forward", f"{chosen}; {earned}")]


def _files(files: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, f"{each['path']} ({count(each['rows'])} rows)" if "rows" in each else each["path"])
        for name, each in files.items()
    ]
