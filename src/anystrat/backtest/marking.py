"""Accounts marked to market at every tick, exactly, a block at a time.

An account's equity is the sum of everything that was paid and received and of what its positions are worth. It is kept
as a double and the error of that double (Neumaier's summation), and a position's worth is replaced, never moved by the
difference of two prices: after a million ticks it is still cash + Σ position · price · multiplier, to the last bit or two.
What a fill cost is taken from the fill alone, so that costs of any kind pass through here unseen. Accounts go through a block
one after another, each with its state in local variables, and while one holds nothing it goes from fill to fill. Written in
the part of Python that Numba compiles unchanged.

Sources: Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, ZAMM 54 (1974); the error of a sum
is that of Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from anystrat.backtest.curves import BucketColumns, CurveColumns, push
from anystrat.engine.state import LONG_AGO, Floats, Ints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class AccountColumns(NamedTuple):
    """A row an account. `equity` + `error` is its worth now, `mark` the same as one double.

    `open` counts its positions, `gross` is their absolute worth. `under_since` is when it fell below its `peak`, or
    `LONG_AGO` at a peak. The `*_time` are integrals over nanoseconds up to `since`, which is `LONG_AGO` before the first tick.
    """

    equity: Floats
    error: Floats
    mark: Floats
    gross: Floats
    open: Ints
    peak: Floats
    under_since: Ints
    drawdown: Floats
    drawdown_amount: Floats
    drawdown_from: Ints
    drawdown_to: Ints
    longest: Ints
    longest_from: Ints
    longest_to: Ints
    since: Ints
    gross_time: Floats
    market_time: Ints
    equity_time: Floats


class HoldingColumns(NamedTuple):
    """A row a holding: a position in one instrument, and what it is worth."""

    multiplier: Floats
    position: Floats
    worth: Floats


class FillsIn(NamedTuple):
    """A block's fills, those of each account in the order of its ticks; `tick` counts the accepted ticks."""

    tick: Ints
    holding: Ints
    quantity: Floats
    price: Floats
    fee: Floats


class Passes(NamedTuple):
    """A row for each account that goes through a block: its holdings, its fills and the ticks that it may care for, as ranges.

    `whole` is whether those are all ticks; otherwise they are `places.order[first_tick:last_tick]`.
    """

    account: Ints
    first_holding: Ints
    last_holding: Ints
    first_fill: Ints
    last_fill: Ints
    first_tick: Ints
    last_tick: Ints
    whole: Ints


class Books(NamedTuple):
    """All that a block is marked with. Curves: one an account, then one an instrument."""

    accounts: AccountColumns
    holdings: HoldingColumns
    curves: CurveColumns
    buckets: BucketColumns
    fills: FillsIn
    passes: Passes


class Places(NamedTuple):
    """Where things are; every column of shape (n,).

    Of a holding: its `instrument`; an account has its holdings in ascending order of these. Of an instrument: its `first` and
    `last` holding of the account that is under way, for `mark_accounts` to fill in. `order` lists the accepted ticks by instrument.
    """

    instrument: Ints
    first: Ints
    last: Ints
    order: Ints


def mark_accounts(
    books: Books,
    places: Places,
    row: NDArray[Any],
    now: NDArray[Any],
    price: NDArray[Any],
    turns: NDArray[Any],
    day_marks: NDArray[np.float64],
) -> None:
    """Settle the fills of the accepted ticks, and mark every account at each tick at which it is worth something else.

    `row`, `now` and `price` are the accepted ticks: instrument rows, ascending times, prices. A UTC day ends before each of the
    ticks `turns`, and `day_marks` (days, accounts) takes the marks at its end.
    """
    for r in range(len(books.passes.account)):
        for h in range(books.passes.first_holding[r], books.passes.last_holding[r]):
            i = places.instrument[h]
            if places.last[i] == 0:
                places.first[i] = h
            places.last[i] = h + 1
        mark_account(books, places, r, row, now, price, turns, day_marks)
        for h in range(books.passes.first_holding[r], books.passes.last_holding[r]):
            i = places.instrument[h]
            places.first[i] = places.last[i] = 0


def mark_account(  # noqa: C901, PLR0912, PLR0915  what a function of its own would do leaves local variables for memory
    books: Books,
    places: Places,
    r: int,
    row: NDArray[Any],
    now: NDArray[Any],
    price: NDArray[Any],
    turns: NDArray[Any],
    day_marks: NDArray[np.float64],
) -> None:
    """One account through the block."""
    accounts, holdings, fills, curves, buckets = (
        books.accounts,
        books.holdings,
        books.fills,
        books.curves,
        books.buckets,
    )
    a = books.passes.account[r]
    if accounts.since[a] == LONG_AGO:
        accounts.since[a] = now[0]
        push(curves, buckets, a, now[0], accounts.mark[a], 0.0)
    equity, error, mark = accounts.equity[a], accounts.error[a], accounts.mark[a]
    gross, held, since = accounts.gross[a], accounts.open[a], accounts.since[a]
    gross_time, equity_time, market_time = accounts.gross_time[a], accounts.equity_time[a], accounts.market_time[a]
    peak, under_since = accounts.peak[a], accounts.under_since[a]
    drawdown, amount = accounts.drawdown[a], accounts.drawdown_amount[a]
    f, last_fill = books.passes.first_fill[r], books.passes.last_fill[r]
    p, last_tick = books.passes.first_tick[r], books.passes.last_tick[r]
    whole = books.passes.whole[r] != 0
    k = curves.base[a] + curves.used[a] - 1
    low, high, worst, until = buckets.low[k], buckets.high[k], buckets.worst[k], curves.until[a]
    day = 0
    while True:
        if held == 0:
            if f == last_fill:
                break
            # Without a position nothing changes before the next fill.
            if whole:
                p = fills.tick[f]
            while not whole and places.order[p] < fills.tick[f]:
                p += 1
        if p == last_tick:
            break
        n = p if whole else places.order[p]
        p += 1
        while day < len(turns) and turns[day] <= n:
            day_marks[day, a] = mark
            day += 1
        elapsed = now[n] - since
        at = price[n]
        changed = False
        before_gross, before_mark, before_since, was_held = gross, mark, since, held
        while f < last_fill and fills.tick[f] == n:
            h = fills.holding[f]
            before = holdings.position[h]
            after = before + fills.quantity[f]
            holdings.position[h] = after
            held += (1 if after != 0 else 0) - (1 if before != 0 else 0)
            equity, error = added(equity, error, -fills.quantity[f] * fills.price[f] * holdings.multiplier[h])
            equity, error = added(equity, error, -fills.fee[f])
            changed = True
            f += 1
        i = row[n]
        for h in range(places.first[i], places.last[i]):
            before_worth = holdings.worth[h]
            if holdings.position[h] == 0 and before_worth == 0.0:
                continue
            worth = holdings.position[h] * at * holdings.multiplier[h]
            holdings.worth[h] = worth
            equity, error = added(equity, error, worth)
            equity, error = added(equity, error, -before_worth)
            gross += abs(worth) - abs(before_worth)
            changed = True
        if not changed:
            continue
        if elapsed > 0:
            gross_time += before_gross * elapsed
            equity_time += before_mark * elapsed
            if was_held > 0:
                market_time += elapsed
            since = now[n]
        # Sums of changes end near zero; an account without a position is at zero.
        if held == 0 or gross < 0.0:
            gross = 0.0
        mark = equity + error
        depth = 0.0
        if mark >= peak:
            if under_since != LONG_AGO:
                surface(accounts, a, under_since, now[n])
                under_since = LONG_AGO
            peak = mark
        else:
            if under_since == LONG_AGO:
                under_since = now[n]
            if peak > 0.0:
                depth = (peak - mark) / peak
            if depth > drawdown:
                drawdown = depth
                accounts.drawdown_from[a] = under_since
                accounts.drawdown_to[a] = now[n]
            amount = max(amount, peak - mark)
        if since < until:
            low, high, worst = min(low, mark), max(high, mark), max(worst, depth)
        else:
            buckets.low[k], buckets.high[k], buckets.worst[k], buckets.last[k] = low, high, worst, before_mark
            buckets.ts[k] = before_since
            push(curves, buckets, a, since, mark, depth)
            k = curves.base[a] + curves.used[a] - 1
            low, high, worst, until = buckets.low[k], buckets.high[k], buckets.worst[k], curves.until[a]
    buckets.low[k], buckets.high[k], buckets.worst[k], buckets.last[k], buckets.ts[k] = low, high, worst, mark, since
    while day < len(turns):
        day_marks[day, a] = mark
        day += 1
    accounts.equity[a], accounts.error[a], accounts.mark[a] = equity, error, mark
    accounts.gross[a], accounts.open[a], accounts.since[a] = gross, held, since
    accounts.gross_time[a], accounts.equity_time[a], accounts.market_time[a] = gross_time, equity_time, market_time
    accounts.peak[a], accounts.under_since[a] = peak, under_since
    accounts.drawdown[a], accounts.drawdown_amount[a] = drawdown, amount


def push_prices(
    curves: CurveColumns,
    buckets: BucketColumns,
    first: int,
    last: NDArray[Any],
    row: NDArray[Any],
    now: NDArray[Any],
    price: NDArray[Any],
) -> None:
    """Enter the accepted ticks into the curves of their instruments, of which `first` is the first; `last` is each one's price."""
    for n in range(len(row)):
        push(curves, buckets, first + row[n], now[n], price[n], 0.0)
        last[row[n]] = price[n]


def added(total: float, error: float, amount: float) -> tuple[float, float]:
    """(total, error) with `amount` added, and what the double cannot hold kept in the error."""
    after = total + amount
    taken = after - total
    return after, error + ((total - (after - taken)) + (amount - taken))


def surface(accounts: AccountColumns, a: int, since: int, now: int) -> None:
    """Keep the time below the last peak, `since` until now, if none was longer."""
    if now - since > accounts.longest[a]:
        accounts.longest[a] = now - since
        accounts.longest_from[a] = since
        accounts.longest_to[a] = now
