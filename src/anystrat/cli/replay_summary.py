"""The summary of a replay, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anystrat.cli.screen import Column, count, line, money, pairs, rate, seconds, table

if TYPE_CHECKING:
    from anystrat.domain.configuration import Configuration

_COLUMNS = (
    Column("strategy", style="bold"),
    Column("kind"),
    Column("ticks", number=True),
    Column("evaluations", number=True),
    Column("signals", number=True),
    Column("dropped", wrap=True),
    Column("errors", number=True),
    Column("round trips", number=True),
    Column("P&L", number=True),
    Column("state"),
)


def summary(report: dict[str, Any], configured: Configuration) -> None:
    """Print what every strategy did, what became of the ticks, how long it took and where the files are."""
    strategies: dict[str, dict[str, Any]] = report["strategies"]
    if strategies:
        columns, rows = without_empty(_COLUMNS, [_row(name, one) for name, one in strategies.items()])
        table(columns, rows)
    else:
        line("No strategy took part.")
    line()
    pairs([*_ticks(report), *_absent(report, configured), *_files(report)])


def _row(name: str, one: dict[str, Any]) -> list[str]:
    states = one["state"]
    return [
        name,
        one["kind"],
        count(one["ticks"]),
        count(one["evaluations"]),
        count(one["signals"]),
        by_reason(one["drops"]),
        count(one["errors"]) if one["errors"] else "",
        count(one["round_trips"]),
        money(one["pnl"]),
        states if isinstance(states, str) else ", ".join(states),
    ]


def by_reason(drops: dict[str, int]) -> str:
    """`30: cooldown 25, duplicate 5`; the number alone where there is one reason."""
    if not drops:
        return "0"
    parts = ", ".join(f"{reason} {count(number)}" for reason, number in sorted(drops.items(), key=lambda kv: -kv[1]))
    return parts if len(drops) == 1 else f"{count(sum(drops.values()))}: {parts}"


def without_empty(columns: tuple[Column, ...], rows: list[list[str]]) -> tuple[list[Column], list[list[str]]]:
    """Leave out columns in which nothing stands: a summary without errors needs no column for them."""
    kept = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    return [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _ticks(report: dict[str, Any]) -> list[tuple[str, str]]:
    dropped = report["ticks_dropped"]
    ticks = count(report["ticks"])
    found = [("ticks", f"{ticks}, dropped {by_reason(dropped)}" if dropped else ticks)]
    needed = report["seconds"]
    if needed > 0:
        per_second = rate(report["ticks"] / needed)
        found.append(
            (
                "engine",
                f"{seconds(needed)} ({per_second} ticks/s, {rate(report['evaluations'] / needed)} evaluations/s)",
            )
        )
    return found


def _absent(report: dict[str, Any], configured: Configuration) -> list[tuple[str, str]]:
    found = []
    if report["left_out"]:
        found.append(("left out", ", ".join(report["left_out"])))
    disabled = [row.strategy_id for row in configured.strategies if not row.enabled]
    if disabled:
        found.append(("disabled", ", ".join(disabled)))
    return found


def _files(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [("written", f"{file['path']} ({count(file['rows'])} {name})") for name, file in report["files"].items()]
