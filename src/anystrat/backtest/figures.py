"""The figures of one account: what `statistics` makes of its marks and its trades, under one name each."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from anystrat.backtest import statistics

if TYPE_CHECKING:
    from anystrat.backtest.accounts import Account

#: With fewer daily marks than this, a figure that is stretched over a year says more about the stretching.
ENOUGH_MARKS: Final = 20
#: With fewer trades than this, a share of winners is mostly luck.
ENOUGH_TRADES: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One account in figures. Shares are fractions (0.1 is 10 %), money is in the currency of the prices.

    NaN is a figure that is not defined; it is null in JSON. `cagr`, `volatility`, `sharpe`, `sortino` and `calmar` are
    annualised from `marks` daily marks, `periods` of which make a year. `max_drawdown` is over the marks of all ticks. Times and
    durations are in nanoseconds; `longest_drawdown_ns` is the longest time below a peak, still going on unless
    `recovered`. `exposure` is the time-weighted absolute worth of the positions over that of the account, `turnover` what
    was traded over the account's time-weighted worth. `costs` are fees and what fills were worse than their ticks.
    """

    start: float
    end: float
    profit: float
    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    max_drawdown_amount: float
    drawdown_from_ns: int
    drawdown_to_ns: int
    longest_drawdown_ns: int
    longest_from_ns: int
    longest_to_ns: int
    recovered: bool
    time_in_market: float
    exposure: float
    traded: float
    turnover: float
    fees: float
    slippage: float
    costs: float
    fills: int
    trades: int
    hit_rate: float
    profit_factor: float
    average_win: float
    average_loss: float
    best_trade: float
    worst_trade: float
    expectancy: float
    average_trade_ns: float
    marks: int
    periods: int

    def to_dict(self) -> dict[str, Any]:
        """All of them by name, NaN and infinity as None."""
        found = ((name, getattr(self, name)) for name in NAMES)
        return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in found}


NAMES: Final = tuple(each.name for each in fields(Figures))


@dataclass(frozen=True, slots=True)
class Dealings:
    """What an account's fills and round trips came to, in money; `duration` is the nanoseconds of all trades."""

    fills: int = 0
    traded: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    trades: int = 0
    wins: int = 0
    won: float = 0.0
    losses: int = 0
    lost: float = 0.0
    best: float = 0.0
    worst: float = 0.0
    duration: int = 0


def figures_of(account: Account, periods: int) -> Figures:
    """All figures of an account; every formula is in `statistics`."""
    marks, done = len(account.marks), account.dealings
    returns = statistics.returns_of(account.marks, account.start)
    growth = statistics.cagr(account.end, account.start, marks, periods)
    return Figures(
        start=account.start,
        end=account.end,
        profit=account.end - account.start,
        total_return=statistics.total_return(account.end, account.start),
        cagr=growth,
        volatility=statistics.volatility(returns, periods),
        sharpe=statistics.sharpe(returns, periods),
        sortino=statistics.sortino(returns, periods),
        calmar=statistics.calmar(growth, account.drawdown),
        max_drawdown=account.drawdown,
        max_drawdown_amount=account.drawdown_amount,
        drawdown_from_ns=account.drawdown_from,
        drawdown_to_ns=account.drawdown_to,
        longest_drawdown_ns=account.longest,
        longest_from_ns=account.longest_from,
        longest_to_ns=account.longest_to,
        recovered=account.recovered,
        time_in_market=account.time_in_market,
        exposure=account.exposure,
        traded=done.traded,
        turnover=done.traded / account.mean_equity if account.mean_equity > 0.0 else math.nan,
        fees=done.fees,
        slippage=done.slippage,
        costs=done.fees + done.slippage,
        fills=done.fills,
        trades=done.trades,
        hit_rate=statistics.hit_rate(done.wins, done.trades),
        profit_factor=statistics.profit_factor(done.won, done.lost),
        average_win=_mean(done.won, done.wins),
        average_loss=_mean(done.lost, done.losses),
        best_trade=done.best if done.trades else math.nan,
        worst_trade=done.worst if done.trades else math.nan,
        expectancy=_mean(done.won + done.lost, done.trades),
        average_trade_ns=_mean(done.duration, done.trades),
        marks=marks,
        periods=periods,
    )


def _mean(total: float, of: int) -> float:
    return total / of if of else math.nan
