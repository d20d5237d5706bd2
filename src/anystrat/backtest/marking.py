"""Accounts marked to market at every tick, exactly, a block at a time.

An account's equity is the sum of everything that was paid and received and of what its positions are worth. It is kept
as a double and the error of that double (Neumaier's summation), and a position's worth is replaced, never moved by the
difference of two prices: after a million ticks it is still cash + Σ position · price · multiplier, to the last bit or two.
What a fill cost is taken from the fill alone, so that costs of any kind pass through here unseen. Written in the part of
Python that Numba compiles unchanged.

Source: Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, ZAMM 54 (1974).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anystrat.backtest.curves import BucketColumns, CurveColumns, push
from anystrat.engine.state import LONG_AGO, Floats, Ints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DAY_NS: Final = 86_400_000_000_000


class AccountColumns(NamedTuple):
    """A row an account. `equity` + `error` is its worth now, `mark` the same as one double.

    `open` counts its positions, `gross` is their absolute worth. `under_since` is when it fell below its `peak`, or
    `LONG_AGO` at a peak. The `*_time` are integrals over nanoseconds up to `since`.
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
    """A row a slot: one instrument of one executor, and what its position is worth."""

    account: Ints
    multiplier: Floats
    position: Ints
    worth: Floats


class MarketColumns(NamedTuple):
    """A row an instrument: its first and last price, and the buy-and-hold units that were bought at the first."""

    first: Floats
    last: Floats
    first_ts: Ints
    units: Floats
    worth: Floats


class FillsIn(NamedTuple):
    """A block's fills in the order of its ticks."""

    tick: Ints
    slot: Ints
    quantity: Ints
    price: Floats
    fee: Floats


class Clock(NamedTuple):
    """One row: the latest time so far, its UTC day, the days that were written down in this block, buy-and-hold's cash a share."""

    now: Ints
    day: Ints
    days: Ints
    share: Floats


class Books(NamedTuple):
    """All that a block is marked with. The last two accounts are the portfolio and buy-and-hold.

    Curves: one an account, then one an instrument.
    """

    accounts: AccountColumns
    holdings: HoldingColumns
    markets: MarketColumns
    curves: CurveColumns
    buckets: BucketColumns
    fills: FillsIn
    clock: Clock


def mark_block(
    books: Books,
    place: NDArray[Any],
    ts: NDArray[Any],
    price: NDArray[Any],
    watch_start: NDArray[Any],
    watchers: NDArray[Any],
    day_of: NDArray[Any],
    day_marks: NDArray[np.float64],
) -> None:
    """Settle the fills of every accepted tick, and mark the accounts that watch its instrument.

    `place` is each tick's instrument row, below zero where it was dropped. `watchers[watch_start[i]:watch_start[i + 1]]`
    are the slots of instrument row `i`. `day_of` and `day_marks` (days, accounts) take the marks of the UTC days that end
    in this block; there is room for all.
    """
    accounts = len(books.accounts.mark)
    portfolio = accounts - 2
    hold = accounts - 1
    f = 0
    fills = len(books.fills.tick)
    for j in range(len(place)):
        i = place[j]
        if i < 0:
            continue
        now = books.clock.now[0]
        if ts[j] > now:
            now = ts[j]
            books.clock.now[0] = now
        day = now // _DAY_NS
        if day != books.clock.day[0]:
            turn_day(books, day, day_of, day_marks)
        at = price[j]
        changed = False
        first_fill = f
        while f < fills and books.fills.tick[f] == j:
            settle(books, portfolio, f, now)
            changed = True
            f += 1
        for w in range(watch_start[i], watch_start[i + 1]):
            s = watchers[w]
            if books.holdings.position[s] == 0 and books.holdings.worth[s] == 0.0:
                continue
            revalue(books, portfolio, s, at, now)
            take_mark(books, books.holdings.account[s], now)
            changed = True
        for g in range(first_fill, f):  # an account that a fill left flat has paid for it all the same
            if books.holdings.position[books.fills.slot[g]] == 0:
                take_mark(books, books.holdings.account[books.fills.slot[g]], now)
        if changed:
            take_mark(books, portfolio, now)
        hold_on(books, hold, i, at, now)
        take_mark(books, hold, now)
        push(books.curves, books.buckets, accounts + i, now, at, 0.0)


def turn_day(books: Books, day: int, day_of: NDArray[Any], day_marks: NDArray[Any]) -> None:
    """Write down every account at the end of the UTC day that is over; begin every curve on the first."""
    accounts = len(books.accounts.mark)
    if books.clock.day[0] == LONG_AGO:
        for a in range(accounts):
            books.accounts.since[a] = books.clock.now[0]
            push(books.curves, books.buckets, a, books.clock.now[0], books.accounts.mark[a], 0.0)
    else:
        row = books.clock.days[0]
        day_of[row] = books.clock.day[0]
        for a in range(accounts):
            day_marks[row, a] = books.accounts.mark[a]
        books.clock.days[0] = row + 1
    books.clock.day[0] = day


def settle(books: Books, portfolio: int, f: int, now: int) -> None:
    """Pay for fill `f`, and take its units into the position."""
    s = books.fills.slot[f]
    a = books.holdings.account[s]
    quantity = books.fills.quantity[f]
    flow = -quantity * books.fills.price[f] * books.holdings.multiplier[s]
    before = books.holdings.position[s]
    after = before + quantity
    books.holdings.position[s] = after
    change = (1 if after != 0 else 0) - (1 if before != 0 else 0)
    for account in (a, portfolio):
        pass_time(books.accounts, account, now)
        add(books.accounts, account, flow)
        add(books.accounts, account, -books.fills.fee[f])
        books.accounts.open[account] += change


def revalue(books: Books, portfolio: int, s: int, at: float, now: int) -> None:
    """Replace what slot `s` is worth by what it is at price `at`."""
    before = books.holdings.worth[s]
    worth = books.holdings.position[s] * at * books.holdings.multiplier[s]
    books.holdings.worth[s] = worth
    for account in (books.holdings.account[s], portfolio):
        pass_time(books.accounts, account, now)
        add(books.accounts, account, worth)
        add(books.accounts, account, -before)
        gross = books.accounts.gross[account] + abs(worth) - abs(before)
        # Sums of changes end near zero; an account without a position is at zero.
        books.accounts.gross[account] = gross if books.accounts.open[account] > 0 and gross > 0.0 else 0.0


def hold_on(books: Books, hold: int, i: int, at: float, now: int) -> None:
    """Buy the instrument's share at its first price, and hold it."""
    pass_time(books.accounts, hold, now)
    if books.markets.first[i] == 0.0:
        books.markets.first[i] = at
        books.markets.first_ts[i] = now
        books.markets.units[i] = books.clock.share[0] / at
        add(books.accounts, hold, -books.markets.units[i] * at)
        books.accounts.open[hold] += 1
    worth = books.markets.units[i] * at
    add(books.accounts, hold, worth)
    add(books.accounts, hold, -books.markets.worth[i])
    books.accounts.gross[hold] += worth - books.markets.worth[i]
    books.markets.worth[i] = worth
    books.markets.last[i] = at


def pass_time(accounts: AccountColumns, a: int, now: int) -> None:
    """Account for the time since the account last changed."""
    elapsed = now - accounts.since[a]
    if elapsed > 0:
        accounts.gross_time[a] += accounts.gross[a] * elapsed
        accounts.equity_time[a] += accounts.mark[a] * elapsed
        if accounts.open[a] > 0:
            accounts.market_time[a] += elapsed
        accounts.since[a] = now


def add(accounts: AccountColumns, a: int, amount: float) -> None:
    """Add to an account, keeping what the double cannot hold."""
    before = accounts.equity[a]
    after = before + amount
    if abs(before) >= abs(amount):
        accounts.error[a] += (before - after) + amount
    else:
        accounts.error[a] += (amount - after) + before
    accounts.equity[a] = after


def take_mark(books: Books, a: int, now: int) -> None:
    """Take the account's worth as its mark: peak, drawdown, curve."""
    accounts = books.accounts
    worth = accounts.equity[a] + accounts.error[a]
    accounts.mark[a] = worth
    depth = 0.0
    if worth >= accounts.peak[a]:
        if accounts.under_since[a] != LONG_AGO:
            surface(accounts, a, now)
            accounts.under_since[a] = LONG_AGO
        accounts.peak[a] = worth
    else:
        if accounts.under_since[a] == LONG_AGO:
            accounts.under_since[a] = now
        amount = accounts.peak[a] - worth
        if accounts.peak[a] > 0.0:
            depth = amount / accounts.peak[a]
        if depth > accounts.drawdown[a]:
            accounts.drawdown[a] = depth
            accounts.drawdown_from[a] = accounts.under_since[a]
            accounts.drawdown_to[a] = now
        if amount > accounts.drawdown_amount[a]:
            accounts.drawdown_amount[a] = amount
    push(books.curves, books.buckets, a, now, worth, depth)


def surface(accounts: AccountColumns, a: int, now: int) -> None:
    """Keep the time below the last peak if none was longer."""
    if now - accounts.under_since[a] > accounts.longest[a]:
        accounts.longest[a] = now - accounts.under_since[a]
        accounts.longest_from[a] = accounts.under_since[a]
        accounts.longest_to[a] = now
