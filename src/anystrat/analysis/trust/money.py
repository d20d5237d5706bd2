"""Costs and luck: at which fee the edge is gone, and what the same trades come to in another order or another draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.analysis.trust.verdict import Verdict, failed, not_applicable, passed
from anystrat.backtest.report import executor_report
from anystrat.backtest.trades import trades_of
from anystrat.domain.configuration import PaperCosts
from anystrat.domain.outcomes import Filled, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.analysis.trust.case import Case
    from anystrat.domain.configuration import BrokerSettings, StrategyConfig
    from anystrat.engine.engine import Engine

COSTS: Final = "costs"
MONTE_CARLO: Final = "monte_carlo"
#: A fee beyond this is no fee.
_MOST_BPS: Final = 1_000.0
_PRECISION_BPS: Final = 0.01
_DRAWS: Final = 5_000
_FEWEST_TRADES: Final = 30
#: The share of draws that may end with a loss.
LUCK: Final = 0.05


def costs(case: Case, row: StrategyConfig) -> Verdict:
    """Raise the paper account's fee until nothing is left: the fee at which that is, against the configured one."""
    configured = _fee(case, row)
    free, fills = _pnl(case, row, 0.0)
    if not fills:
        return not_applicable(COSTS, row.strategy_id, f"it never traded on these {case.unit}")
    if free <= 0.0:
        text = f"it loses without any fee: {free:+,.2f} over {fills:,} fills, slippage included"
        return failed(
            COSTS, row.strategy_id, text, 0.0, configured, f"there is no edge on these {case.unit} that a fee could eat"
        )
    edge = _bisected(case, row, free)
    if edge is None:
        return passed(COSTS, row.strategy_id, f"it earns even at {_MOST_BPS:,.0f} bps a fill", _MOST_BPS, configured)
    text = f"the edge is gone at a fee of {edge:.2f} bps a fill; {configured:g} are configured ({fills:,} fills without a fee)"
    if edge <= configured:
        advice = "trade less often or with larger moves: a cooldown, a higher threshold; or find cheaper fills"
        return failed(COSTS, row.strategy_id, text, edge, configured, advice)
    advice = (
        "" if edge >= 2.0 * configured else "less than twice the configured fee: a worse fill now and then is enough"
    )
    return passed(COSTS, row.strategy_id, text, edge, configured, advice)


def _bisected(case: Case, row: StrategyConfig, free: float) -> float | None:
    """The fee in basis points at which the P&L goes from above zero to below; None beyond the most.

    Where fees decide nothing (no loss streak is limited) the P&L falls in a line: a guess from two points is tried first.
    """
    low, high = 0.0, 1.0
    at_one = _pnl(case, row, high)[0]
    if at_one > 0.0:
        guess = free / (free - at_one) if at_one < free else _MOST_BPS
        low, high = 1.0, min(1.001 * guess, _MOST_BPS)
        if _pnl(case, row, 0.999 * guess)[0] > 0.0:
            low = 0.999 * guess
        while _pnl(case, row, high)[0] > 0.0:
            low, high = high, high * 4.0
            if high > _MOST_BPS:
                return None
    while high - low > _PRECISION_BPS:
        middle = (low + high) / 2.0
        if _pnl(case, row, middle)[0] > 0.0:
            low = middle
        else:
            high = middle
    return high


def _pnl(case: Case, row: StrategyConfig, fee_bps: float) -> tuple[float, int]:
    """(P&L net of all fees, number of fills) of the first broker's executors at this fee."""
    brokers = {name: _at_fee(settings, fee_bps) for name, settings in case.configuration.brokers.items()}
    engine = case.run(case.engine(_one_broker(row), brokers=brokers))
    reports = [executor_report(one) for one in engine.executors]
    return sum(each["pnl"] for each in reports), sum(each["fills"] for each in reports)


def _at_fee(settings: BrokerSettings, fee_bps: float) -> BrokerSettings:
    if settings.costs is None:
        return settings
    return replace(settings, options=replace(settings.costs, fee_bps=fee_bps))


def _one_broker(row: StrategyConfig) -> StrategyConfig:
    return replace(row, active_brokers=row.active_brokers[:1])


def _fee(case: Case, row: StrategyConfig) -> float:
    executors = case.engine(_one_broker(row)).executors
    return executors[0].costs.fee_bps if executors else PaperCosts().fee_bps


def monte_carlo(case: Case, row: StrategyConfig) -> Verdict:
    """Shuffle the trades, and draw as many with replacement: how deep it could have gone, how often it would have lost."""
    profits = _profits(case, row)
    if len(profits) < _FEWEST_TRADES:
        text = f"{len(profits)} round trips: fewer than {_FEWEST_TRADES} say nothing about luck"
        return not_applicable(MONTE_CARLO, row.strategy_id, text, f"more {case.unit}, or more instruments")
    rng = np.random.Generator(np.random.PCG64([case.seed, 11]))
    drawn = rng.choice(profits, (_DRAWS, len(profits)))
    totals = drawn.sum(axis=1)
    lost = float((totals <= 0.0).mean())
    low, high = np.quantile(totals, (0.05, 0.95)).tolist()
    shuffled = np.stack([rng.permutation(profits) for _ in range(_DRAWS)])
    depth = float(np.quantile(_drawdowns(shuffled), 0.95))
    own = float(_drawdowns(profits[None, :])[0])
    text = (
        f"{lost:.1%} of {_DRAWS:,} draws of its {len(profits):,} trades lose (90% end within {low:+,.2f} to {high:+,.2f}); "
        f"in another order the deepest fall is up to {depth:,.2f} (95%), it was {own:,.2f}"
    )
    if lost > LUCK:
        advice = f"the profit may be luck: look at more {case.unit} before you believe it"
        return failed(MONTE_CARLO, row.strategy_id, text, lost, LUCK, advice)
    advice = (
        "" if own * 1.5 >= depth else f"be ready for a fall of {depth:,.2f}: this order of the trades was a kind one"
    )
    return passed(MONTE_CARLO, row.strategy_id, text, lost, LUCK, advice)


def _drawdowns(profits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The deepest fall from a height, of each row of trades: float64[rows], above zero."""
    curve = np.concatenate([np.zeros((len(profits), 1)), np.cumsum(profits, axis=1)], axis=1)
    return np.asarray((np.maximum.accumulate(curve, axis=1) - curve).max(axis=1))


def _profits(case: Case, row: StrategyConfig) -> NDArray[np.float64]:
    """The profit of each round trip, all its fees included, in the order in which they ended."""
    engine = case.engine(_one_broker(row))
    fills: list[Filled] = []

    def take(outcomes: Sequence[Outcome]) -> None:
        fills.extend(each for each in outcomes if isinstance(each, Filled))

    case.run(engine, take)
    if not fills:
        return np.zeros(0)
    tokens = list(dict.fromkeys(each.instrument_token for each in fills))
    trades, _ = trades_of(
        np.array([tokens.index(each.instrument_token) for each in fills], np.int64),
        np.array([each.quantity for each in fills], np.int64),
        np.array([each.price for each in fills]),
        np.array([each.fee for each in fills]),
        np.array([_multiplier(engine, token) for token in tokens]),
    )
    profits: Any = trades["profit"]
    return np.array(profits, np.float64)


def _multiplier(engine: Engine, token: int) -> float:
    spec = engine.instruments.get(token)
    return float(spec.multiplier) if spec is not None else 1.0
