"""Real daily prices for the quickstart: AAPL, IBM, MSFT and GOOG, 2000 (GOOG: August 2004) to March 2013.

They come with the package `bokeh-sampledata` (Quandl WIKI prices, public domain). Prices are closes adjusted for splits
and dividends: an unadjusted series falls by half on the day of a split, and a model would learn that. The adjustment
knows the future (a dividend of 2012 scales the prices of 2003), but it scales a whole stretch by one factor, so returns,
volatilities, z-scores and positions in the range are what they were at the time.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from anystrat.domain.columns import TickColumns

#: Instrument tokens of the example, in the order in which ties of time are merged.
TOKENS = {"AAPL": 1, "IBM": 2, "MSFT": 3, "GOOG": 4}

# The exchange's regular close; half days, a handful a year, are stamped like the others.
_CLOSE = time(16, 0, tzinfo=ZoneInfo("America/New_York"))
_NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DailyPrices:
    """One instrument's days, oldest first: `ts_ns` is the close in UTC nanoseconds, `price` the adjusted close."""

    symbol: str
    token: int
    days: tuple[date, ...]
    ts_ns: NDArray[np.int64]
    price: NDArray[np.float64]


def daily_prices() -> list[DailyPrices]:
    """The four instruments, in the order of their tokens. Raises `SystemExit` with the install line without the data."""
    found: dict[str, list[tuple[date, float]]] = {symbol: [] for symbol in TOKENS}
    with gzip.open(_data_file(), "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            days = found.get(row["Ticker"])
            if days is not None:
                days.append((date.fromisoformat(row["Date"]), float(row["Adj Close"])))
    return [_series(symbol, token, sorted(found[symbol])) for symbol, token in TOKENS.items()]


def tick_columns(first: date = date.min, last: date = date.max) -> TickColumns:
    """All closes from `first` to `last` as ticks, in the order of time, then of tokens."""
    series = daily_prices()
    ts_ns = np.concatenate([one.ts_ns for one in series])
    token = np.concatenate([np.full(len(one.days), one.token, np.int64) for one in series])
    price = np.concatenate([one.price for one in series])
    within = np.concatenate([[first <= day <= last for day in one.days] for one in series])
    order = np.lexsort((token, ts_ns))
    order = order[within[order]]
    return TickColumns(ts_ns[order], token[order], price[order])


def write_csv(path: Path, ticks: TickColumns) -> None:
    """The ticks as a file that every command takes."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("ts_ns,instrument_token,price\n")
        file.writelines(f"{row.ts_ns},{row.instrument_token},{row.decimal}\n" for row in ticks.rows())


def close_ns(day: date) -> int:
    """The close of a trading day, 16:00 in New York, in nanoseconds since 1970 UTC."""
    return int(datetime.combine(day, _CLOSE).astimezone(UTC).timestamp()) * _NANOS


def _series(symbol: str, token: int, rows: list[tuple[date, float]]) -> DailyPrices:
    days = tuple(day for day, _ in rows)
    ts_ns = np.array([close_ns(day) for day in days], np.int64)
    return DailyPrices(symbol, token, days, ts_ns, np.array([price for _, price in rows]))


def _data_file() -> Path:
    package = importlib.util.find_spec("bokeh_sampledata")
    if package is None or package.origin is None:
        raise SystemExit("the quickstart's prices come with a package: pip install bokeh-sampledata")
    return Path(package.origin).parent / "_data" / "stocks.csv.gz"
