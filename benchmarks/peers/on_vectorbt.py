"""vectorbt over whole series: the rule of W1 as an indicator, counted; W3 and W4 as portfolios of two means' signals.

W3 ends with the account's worth at every bar, W4 with what every pair came to, as that alone ranks them.
"""

from __future__ import annotations

import warnings
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import vectorbt  # noqa: E402
from numba import njit  # noqa: E402

from benchmarks.timing import arguments, emit, repeated  # noqa: E402
from benchmarks.workloads import (  # noqa: E402
    CASH,
    FAST,
    FASTS,
    FEE_BPS,
    LOOKBACK,
    SLOW,
    SLOWS,
    THRESHOLD,
    UNITS,
    bars_of,
    w1,
)


@njit
def change(close: np.ndarray, lookback: int) -> np.ndarray:
    out = np.full(close.shape, np.nan)
    for column in range(close.shape[1]):
        for i in range(lookback - 1, close.shape[0]):
            start = close[i - lookback + 1, column]
            out[i, column] = (close[i, column] - start) / start
    return out


def counted(ticks: int) -> None:
    factory = vectorbt.IndicatorFactory(
        class_name="Change", short_name="change", input_names=["close"], param_names=["lookback"], output_names=["move"]
    )
    indicator = factory.from_apply_func(change)

    def count(series: pd.Series) -> int:
        found = indicator.run(series, LOOKBACK)
        return int(found.move_above(THRESHOLD).sum()) + int(found.move_below(-THRESHOLD).sum())

    columns = w1(ticks)
    series = pd.Series(columns.price, index=pd.to_datetime(columns.ts_ns, unit="ns"))
    count(series.iloc[:2_000])
    wall, cpu, raw = repeated(lambda: count(series))
    emit(version=vectorbt.__version__, ticks=ticks, wall=wall, cpu=cpu, raw=raw)


def portfolio(close: pd.Series, fast: Any, slow: Any) -> Any:
    means = [vectorbt.MA.run(close, each, short_name=name) for each, name in ((fast, "fast"), (slow, "slow"))]
    return vectorbt.Portfolio.from_signals(
        close,
        means[0].ma_above(means[1]),
        means[0].ma_below(means[1]),
        size=UNITS,
        fees=FEE_BPS / 1e4,
        init_cash=CASH,
        freq="1min",
    )


def with_curve(close: pd.Series) -> dict[str, Any]:
    made = portfolio(close, FAST, SLOW)
    curve = made.value()
    return {"equities": [float(curve.iloc[-1])], "orders": int(made.orders.count())}


def of_all_pairs(close: pd.Series) -> dict[str, Any]:
    pairs = [(fast, slow) for fast in FASTS for slow in SLOWS]
    made = portfolio(close, [fast for fast, _ in pairs], [slow for _, slow in pairs])
    return {"equities": made.final_value().tolist(), "orders": int(made.orders.count().sum())}


def backtested(workload: str, count: int) -> None:
    bars = bars_of(count)
    close = pd.Series(bars.close, index=pd.to_datetime(bars.ts_ns, unit="ns"))
    run = with_curve if workload == "W3" else of_all_pairs
    run(close.iloc[:2_000])
    wall, cpu, answer = repeated(lambda: run(close))
    pairs = 1 if workload == "W3" else len(FASTS) * len(SLOWS)
    emit(version=vectorbt.__version__, ticks=count * pairs, bars=count, wall=wall, cpu=cpu, **answer)


def main() -> None:
    asked = arguments("vectorbt", ["columns"])
    if asked.workload == "W1":
        counted(asked.ticks)
    else:
        backtested(asked.workload, asked.ticks)


main()
