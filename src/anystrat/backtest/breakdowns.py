"""The result by instrument, by month, and by what strategies said of their own confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest import statistics
from anystrat.backtest.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anystrat.backtest.accounts import Account, Accounts

_STEPS: Final = 10


def by_instrument(
    books: Accounts,
    symbols: Sequence[str],
    fills: Mapping[str, NDArray[Any]],
    trades: NDArray[Any],
    traded: NDArray[np.float64],
    slippage: NDArray[np.float64],
) -> Frame:
    """A row an instrument: what was done there by all strategies together, and what holding it came to.

    `profit` is what was received less what was paid, less fees, and what is still held at the last price.
    """
    tokens = books.engine.tokens
    size, of_slot = len(tokens), books.instrument_of_slot
    of_fill, of_trade = of_slot[fills["slot"]], of_slot[trades["slot"]]
    flows = -fills["quantity"] * fills["price"] * books.multiplier_of_slot[fills["slot"]]

    def total(values: NDArray[Any], of: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.bincount(of, weights=values, minlength=size).astype(np.float64)

    fees = total(fills["fee"], of_fill)
    ended = np.bincount(of_trade, minlength=size)
    won = total(trades["profit"] > 0.0, of_trade)
    prices = np.array([books.first_and_last(i) for i in range(size)]).reshape(size, 2)
    first, last = prices[:, 0], prices[:, 1]
    return Frame(
        {
            "instrument_token": np.array(tokens, np.int64),
            "symbol": np.array(symbols, np.str_),
            "profit": total(flows, of_fill) - fees + total(books.worths, of_slot),
            "fills": np.bincount(of_fill, minlength=size),
            "traded": total(traded, of_fill),
            "fees": fees,
            "slippage": total(slippage, of_fill),
            "trades": ended,
            "hit_rate": np.divide(won, ended, out=np.full(size, np.nan), where=ended > 0),
            "position": np.bincount(of_slot, weights=books.positions, minlength=size).astype(np.int64),
            "first_price": first,
            "last_price": last,
            "hold_return": np.divide(last, first, out=np.full(size, np.nan), where=first > 0.0) - 1.0,
        }
    )


def by_month(portfolio: Account, hold: Account) -> Frame:
    """Returns by calendar month (UTC), from the last daily mark of each."""
    months = portfolio.days.astype("datetime64[D]").astype("datetime64[M]")
    last = np.ones(len(months), np.bool_)
    last[:-1] = months[1:] != months[:-1]
    return Frame(
        {
            "month": months[last].astype(np.str_),
            "portfolio": statistics.returns_of(portfolio.marks[last], portfolio.start),
            "buy_and_hold": statistics.returns_of(hold.marks[last], hold.start),
        }
    )


def calibrated(
    learned: Sequence[int],
    names: Sequence[str],
    whose: NDArray[np.int64],
    confidence: NDArray[np.float64],
    profit: NDArray[np.float64],
) -> Frame:
    """How often the trades of these accounts won, by tenths of the confidence that they were opened with."""
    rows: list[tuple[Any, ...]] = []
    for a in learned:
        said, earned = confidence[whose == a], profit[whose == a]
        step = np.minimum((said * _STEPS).astype(np.int64), _STEPS - 1)
        for k in np.unique(step).tolist():
            inside = step == k
            won, of = int(np.count_nonzero(earned[inside] > 0.0)), int(np.count_nonzero(inside))
            mean = float(np.mean(said[inside]))
            rows.append((names[a], k / _STEPS, (k + 1) / _STEPS, of, mean, won / of, *statistics.wilson(won, of)))
    titles = ("account", "low", "high", "trades", "confidence", "won", "won_low", "won_high")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(titles)
    return Frame(dict(zip(titles, map(np.array, columns), strict=True)))
