"""vectorbt: the rule of W1 as an indicator over the whole series, its two thresholds as signal columns, counted."""

from __future__ import annotations

import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import vectorbt  # noqa: E402
from numba import njit  # noqa: E402

from benchmarks.timing import arguments, emit, repeated  # noqa: E402
from benchmarks.workloads import LOOKBACK, THRESHOLD, w1  # noqa: E402


@njit
def change(close: np.ndarray, lookback: int) -> np.ndarray:
    out = np.full(close.shape, np.nan)
    for column in range(close.shape[1]):
        for i in range(lookback - 1, close.shape[0]):
            start = close[i - lookback + 1, column]
            out[i, column] = (close[i, column] - start) / start
    return out


def main() -> None:
    asked = arguments("vectorbt", ["columns"])
    factory = vectorbt.IndicatorFactory(
        class_name="Change", short_name="change", input_names=["close"], param_names=["lookback"], output_names=["move"]
    )
    indicator = factory.from_apply_func(change)

    def count(series: pd.Series) -> int:
        found = indicator.run(series, LOOKBACK)
        return int(found.move_above(THRESHOLD).sum()) + int(found.move_below(-THRESHOLD).sum())

    ticks = w1(asked.ticks)
    series = pd.Series(ticks.price, index=pd.to_datetime(ticks.ts_ns, unit="ns"))
    count(series.iloc[:2_000])
    wall, cpu, raw = repeated(lambda: count(series))
    emit(version=vectorbt.__version__, ticks=asked.ticks, wall=wall, cpu=cpu, raw=raw)


main()
