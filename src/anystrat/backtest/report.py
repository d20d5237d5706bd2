"""What a replay came to, per strategy and in all: the numbers behind the summary table and `--json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from anystrat.engine.engine import Engine

if TYPE_CHECKING:
    from anystrat.backtest.replay import Replayed
    from anystrat.engine.executor import StrategyExecutor

SCHEMA_VERSION: Final = 1
_SUMMED: Final = ("ticks", "evaluations", "signals", "holds", "errors", "fills", "round_trips")


def replay_report(engine: Engine | Sequence[Engine], replayed: Replayed, *, malformed: int = 0) -> dict[str, Any]:
    """One JSON-able object.

    `ticks` is every row of the input, dropped ones included; `ticks_dropped` says how many and why. `seconds` is the
    engine's own time. `strategies` maps a strategy's id to its sums over brokers (and instruments, with
    `per_instrument`); `executors` has each of them, with its state and its paper account. Several engines are the shards
    of one run.
    """
    engines = [engine] if isinstance(engine, Engine) else engine
    executors = [executor_report(executor) for one in engines for executor in one.executors]
    dropped: dict[str, int] = dict(sum((one.tick_drops for one in engines), Counter()))
    if malformed:
        dropped = {"malformed": malformed} | dropped
    return {
        "schema_version": SCHEMA_VERSION,
        "ticks": replayed.rows + malformed,
        "ticks_dropped": dropped,
        **_sums(executors, ("evaluations", "signals", "holds", "errors", "fills", "round_trips")),
        "drops": _drops(executors),
        "pnl": sum(one["pnl"] for one in executors),
        "seconds": replayed.seconds,
        "strategies": {
            strategy_id: _strategy([one for one in executors if one["strategy_id"] == strategy_id])
            for strategy_id in dict.fromkeys(one["strategy_id"] for one in executors)
        },
        "executors": executors,
    }


def executor_report(executor: StrategyExecutor) -> dict[str, Any]:
    """One executor: what it did, where it stands, what its paper account came to."""
    portfolio = executor.portfolio
    unrealised = executor.unrealised
    # Fees of fills that only open or add are in no realised P&L, but they were paid.
    pnl = portfolio.cash + executor.market_value
    return {
        "strategy_id": executor.strategy_id,
        "broker": executor.broker,
        "kind": executor.kind,
        "instruments": list(executor.tokens),
        "state": executor.state.name,
        **executor.counters(),
        "pnl": pnl,
        "realised": portfolio.realised,
        "unrealised": unrealised,
        "fees": portfolio.fees,
        "positions": {str(token): quantity for token, quantity in portfolio.positions.items()},
    }


def _strategy(executors: list[dict[str, Any]]) -> dict[str, Any]:
    states = list(dict.fromkeys(one["state"] for one in executors))
    return {
        "kind": executors[0]["kind"],
        "state": states[0] if len(states) == 1 else states,
        **_sums(executors, _SUMMED),
        "drops": _drops(executors),
        **{key: sum(one[key] for one in executors) for key in ("pnl", "realised", "unrealised", "fees")},
    }


def _sums(executors: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, int]:
    return {key: sum(one[key] for one in executors) for key in keys}


def _drops(executors: list[dict[str, Any]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in executors:
        total.update(one["drops"])
    return dict(total)
