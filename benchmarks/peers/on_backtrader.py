"""backtrader: the rule of W3 as a strategy over a feed from memory, filled at the next bar's open; no observers."""

from __future__ import annotations

from typing import Any

import backtrader

from benchmarks.timing import Clock, arguments, emit
from benchmarks.workloads import CASH, FAST, FEE_BPS, SLOW, UNITS, bars_of


class Feed(backtrader.feed.DataBase):
    """Bars that are rows already."""

    params = (("rows", None),)

    def start(self) -> None:
        super().start()
        self.left = iter(self.p.rows)

    def _load(self) -> bool:
        row = next(self.left, None)
        if row is None:
            return False
        lines = self.lines
        lines.datetime[0], lines.open[0], lines.high[0], lines.low[0], lines.close[0] = row
        lines.volume[0] = lines.openinterest[0] = 0.0
        return True


class Crossover(backtrader.Strategy):
    """Long while the fast mean is above the slow one; the account's worth is kept at every bar."""

    def __init__(self) -> None:
        self.fast = backtrader.indicators.SMA(self.data.close, period=FAST)
        self.slow = backtrader.indicators.SMA(self.data.close, period=SLOW)
        self.equity: list[float] = []
        self.orders = 0

    def notify_order(self, order: Any) -> None:
        self.orders += order.status == order.Completed

    def next(self) -> None:
        self.equity.append(self.broker.getvalue())
        if self.fast[0] > self.slow[0]:
            if not self.position:
                self.buy(size=UNITS)
        elif self.position:
            self.close()


def run(count: int) -> tuple[Clock, float, int]:
    bars = bars_of(count)
    days = 719_163.0 + bars.ts_ns / 86_400e9  # days since the year 1, as backtrader counts them
    columns = (days, bars.open, bars.high, bars.low, bars.close)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    cerebro = backtrader.Cerebro(stdstats=False, maxcpus=1)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=FEE_BPS / 1e4)
    cerebro.adddata(Feed(rows=rows, timeframe=backtrader.TimeFrame.Minutes))
    cerebro.addstrategy(Crossover)
    with Clock() as clock:
        strategy = cerebro.run()[0]
    return clock, float(cerebro.broker.getvalue()), strategy.orders


def main() -> None:
    asked = arguments("backtrader")
    run(2_000)
    clock, equity, orders = run(asked.ticks)
    emit(
        version=backtrader.__version__,
        ticks=asked.ticks,
        bars=asked.ticks,
        wall=clock.wall,
        cpu=clock.cpu,
        equities=[equity],
        orders=orders,
    )


main()
