"""backtesting.py: the rule of W3 as a strategy, filled at the next bar's open; its run makes its statistics, too."""

from __future__ import annotations

import os

os.environ["TQDM_DISABLE"] = "1"

import warnings

warnings.filterwarnings("ignore")

import backtesting  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from backtesting import Backtest, Strategy  # noqa: E402

from benchmarks.timing import arguments, emit, repeated  # noqa: E402
from benchmarks.workloads import CASH, FAST, FEE_BPS, SLOW, UNITS, bars_of  # noqa: E402


def mean(closes: np.ndarray, periods: int) -> pd.Series:
    return pd.Series(closes).rolling(periods).mean()


class Crossover(Strategy):
    """Long while the fast mean is above the slow one."""

    def init(self) -> None:
        self.fast = self.I(mean, self.data.Close, FAST)
        self.slow = self.I(mean, self.data.Close, SLOW)

    def next(self) -> None:
        if self.fast[-1] > self.slow[-1]:
            if not self.position:
                self.buy(size=UNITS)
        elif self.position:
            self.position.close()


def prepared(count: int) -> Backtest:
    bars = bars_of(count)
    frame = pd.DataFrame(
        {"Open": bars.open, "High": bars.high, "Low": bars.low, "Close": bars.close},
        index=pd.to_datetime(bars.ts_ns, unit="ns"),
    )
    return Backtest(frame, Crossover, cash=CASH, commission=FEE_BPS / 1e4)


def main() -> None:
    asked = arguments("backtesting.py")
    prepared(2_000).run()
    test = prepared(asked.ticks)
    wall, cpu, found = repeated(test.run)
    emit(
        version=backtesting.__version__,
        ticks=asked.ticks,
        bars=asked.ticks,
        wall=wall,
        cpu=cpu,
        equities=[float(found["Equity Final [$]"])],
        orders=2 * len(found["_trades"]) + len(found["_strategy"].trades),
    )


main()
