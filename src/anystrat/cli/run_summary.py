"""What a run came to, for people and as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anystrat.cli.replay_summary import by_reason, without_empty
from anystrat.cli.screen import Column, count, line, pairs, table

if TYPE_CHECKING:
    from anystrat.runner.runner import Runner

SCHEMA_VERSION: Final = 1
_STRATEGIES: Final = (
    Column("strategy", style="bold"),
    Column("broker"),
    Column("ticks", number=True),
    Column("evaluations", number=True),
    Column("signals", number=True),
    Column("dropped", wrap=True),
    Column("errors", number=True),
    Column("state"),
)
_BROKERS: Final = (
    Column("broker", style="bold"),
    Column("type"),
    Column("delivered", number=True),
    Column("waiting", number=True),
    Column("rejected", number=True),
    Column("expired", number=True),
    Column("dead", number=True),
    Column("unknown", number=True),
    Column("retries", number=True),
)


def report_of(runner: Runner) -> dict[str, Any]:
    """Everything that the summary says; deliveries are counted since this process began."""
    accounts, health = runner.accounts, runner.health()
    return {
        "schema_version": SCHEMA_VERSION,
        "run": health.run,
        "reason": runner.reason,
        **({} if runner.problem is None else {"error": str(runner.problem)}),
        "ticks": {
            "received": accounts.received,
            "processed": accounts.processed,
            "duplicates": accounts.duplicates,
            "dropped": dict(accounts.dropped),
            "shed": accounts.shed,
        },
        "strategies": [
            {
                "strategy_id": one.strategy_id,
                "broker": one.broker,
                "kind": one.kind,
                "state": one.state.name,
                "ticks": one.ticks,
                "evaluations": one.evaluations,
                "signals": one.signals,
                "drops": dict(one.drops),
                "errors": one.errors,
            }
            for one in runner.executors()
        ],
        "brokers": [
            {
                "broker": one.broker,
                "type": one.type,
                "acked": one.acked,
                "queued": one.queued,
                "rejected": one.rejected,
                "expired": one.expired,
                "dead": one.dead,
                "unknown": one.unknown,
                "retries": one.retries,
            }
            for one in health.brokers
        ],
    }


def summary(report: dict[str, Any]) -> None:
    """Print what every strategy did, what became of the signals, and where every tick went."""
    strategies_table(report["strategies"])
    brokers = [
        [one["broker"], one["type"], count(one["acked"]), *(count(one[name]) if one[name] else "" for name in _COUNTS)]
        for one in report["brokers"]
    ]
    if brokers:
        table(*without_empty(_BROKERS, brokers))
        line()
    pairs([("ticks", in_words(report["ticks"])), ("ended", report["reason"])])


def strategies_table(strategies: list[dict[str, Any]]) -> None:
    """A row an executor; nothing where there is none."""
    rows = [
        [
            one["strategy_id"],
            one["broker"],
            count(one["ticks"]),
            count(one["evaluations"]),
            count(one["signals"]),
            by_reason(one["drops"]),
            count(one["errors"]) if one["errors"] else "",
            one["state"],
        ]
        for one in strategies
    ]
    if rows:
        table(*without_empty(_STRATEGIES, rows))
        line()


_COUNTS: Final = ("queued", "rejected", "expired", "dead", "unknown", "retries")


def in_words(ticks: dict[str, Any]) -> str:
    """`1,000 received = 990 processed + 4 duplicates + 6 dropped (bad_price) + 0 shed`."""
    dropped = sum(ticks["dropped"].values())
    why = f" ({', '.join(sorted(ticks['dropped']))})" if dropped else ""
    return (
        f"{count(ticks['received'])} received = {count(ticks['processed'])} processed + {count(ticks['duplicates'])} "
        f"duplicates + {count(dropped)} dropped{why} + {count(ticks['shed'])} shed"
    )
