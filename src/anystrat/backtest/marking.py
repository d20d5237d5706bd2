"""Accounts marked to market at every tick, exactly, a block at a time.

An account's worth is the sum of everything that was paid and received and of what its positions are worth. All of it but
the position of the instrument whose ticks go by is kept as a double and the error of that double (Neumaier's summation), and a
position's worth is replaced, never moved by the difference of two prices: after a million ticks it is still cash +
Σ position · price · multiplier, to the last bit or two. What a fill cost is taken from the fill alone, so that costs of any
kind pass through here unseen. Accounts go through a block one after another, each with its state in local variables: from fill
to fill while one holds nothing, and through a run of one instrument's ticks without a look at anything else. Written in the
part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from anystrat.backtest.curves import BucketColumns, CurveColumns, push
from anystrat.backtest.trades import DealingColumns, OpenTrade, added, deal
from anystrat.engine.raw_signals import FillLog
from anystrat.engine.state import LONG_AGO, Floats, Ints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class AccountColumns(NamedTuple):
    """A row an account. `mark` is its worth now; `rest` + `error` is that without what stake `stake` (-1: none) is worth.

    `open` counts its positions, `gross` is their absolute worth, `rest_gross` that of the other stakes. `under_since` is when it
    fell below its `peak`, or `LONG_AGO` at a peak. The `*_time` are integrals over nanoseconds up to `since`, which is `LONG_AGO` before the first tick.
    """

    rest: Floats
    error: Floats
    mark: Floats
    gross: Floats
    rest_gross: Floats
    stake: Ints
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
    """A row a holding: a position in one instrument, which is part of an account's `stake` there."""

    stake: Ints
    multiplier: Floats
    position: Floats


class StakeColumns(NamedTuple):
    """A row an account's stake in one instrument: all of its holdings there.

    It is worth `units` · price, `gross_units` · price in absolute terms; `worth` and `gross` are that at the latest tick.
    """

    instrument: Ints
    first_holding: Ints
    last_holding: Ints
    units: Floats
    gross_units: Floats
    worth: Floats
    gross: Floats


class TicksIn(NamedTuple):
    """A block's accepted ticks in their order, and, where an account needs them, once more by instrument.

    `row` is the instrument's row, `ts` a tick's own time, and `now` the latest so far, which ascends within each part.
    """

    row: Ints
    ts: Ints
    now: Ints
    price: Floats


class Passes(NamedTuple):
    """A row for each account that goes through a block: its stakes, its fills and the ticks that it cares for, as ranges.

    The holding of slot `s` is `holding_of[first_slot + s]`. With a `share` it buys every instrument for that much at its first tick.
    """

    account: Ints
    share: Floats
    first_slot: Ints
    first_stake: Ints
    last_stake: Ints
    first_fill: Ints
    last_fill: Ints
    first_tick: Ints
    last_tick: Ints


class Books(NamedTuple):
    """All that a block is marked with. Curves: one an account, then one an instrument. `trades` are what is open, a row a holding.

    `fills` are those of each account in the order of its ticks; their `tick` is a place in `ticks`.
    `first` and `last` are each instrument's first and last price, 0 before it has one. `stake_of` is, of an instrument row, the stake of the account that is under way, for `mark_accounts` to fill in: -1 between.
    """

    accounts: AccountColumns
    dealings: DealingColumns
    holdings: HoldingColumns
    trades: OpenTrade
    stakes: StakeColumns
    curves: CurveColumns
    buckets: BucketColumns
    fills: FillLog
    ticks: TicksIn
    passes: Passes
    holding_of: Ints
    stake_of: Ints
    first: Floats
    last: Floats


def mark_accounts(books: Books, midnights: NDArray[Any], day_marks: NDArray[np.float64]) -> None:
    """Settle the fills of the accepted ticks, and mark every account at each tick at which it is worth something else.

    UTC days end at the times `midnights`, each of which has a tick later, and `day_marks` (days, accounts) takes the marks at their ends.
    """
    for r in range(len(books.passes.account)):
        for s in range(books.passes.first_stake[r], books.passes.last_stake[r]):
            books.stake_of[books.stakes.instrument[s]] = s
        deal_all(books, r)
        mark_account(books, r, midnights, day_marks)
        for s in range(books.passes.first_stake[r], books.passes.last_stake[r]):
            books.stake_of[books.stakes.instrument[s]] = -1


def deal_all(books: Books, r: int) -> None:
    """Count what an account's fills come to."""
    fills, a = books.fills, books.passes.account[r]
    for f in range(books.passes.first_fill[r], books.passes.last_fill[r]):
        h = books.holding_of[books.passes.first_slot[r] + fills.slot[f]]
        n = fills.tick[f]
        deal(
            books.dealings,
            a,
            books.trades,
            h,
            books.ticks.ts[n],
            fills.quantity[f],
            fills.price[f],
            fills.fee[f],
            books.holdings.multiplier[h],
            books.ticks.price[n],
        )


def mark_account(  # noqa: C901, PLR0912, PLR0915  what a function of its own would do leaves local variables for memory
    books: Books, r: int, midnights: NDArray[Any], day_marks: NDArray[np.float64]
) -> None:
    """One account through the block."""
    accounts, stakes, fills, ticks, curves, buckets = (
        books.accounts,
        books.stakes,
        books.fills,
        books.ticks,
        books.curves,
        books.buckets,
    )
    a = books.passes.account[r]
    if accounts.since[a] == LONG_AGO:
        accounts.since[a] = ticks.now[0]
        push(curves, buckets, a, ticks.now[0], accounts.mark[a], 0.0)
    rest, error, mark = accounts.rest[a], accounts.error[a], accounts.mark[a]
    gross, rest_gross, stake = accounts.gross[a], accounts.rest_gross[a], accounts.stake[a]
    held, since, market_time = accounts.open[a], accounts.since[a], accounts.market_time[a]
    gross_time, equity_time = accounts.gross_time[a], accounts.equity_time[a]
    peak, under_since = accounts.peak[a], accounts.under_since[a]
    drawdown, amount = accounts.drawdown[a], accounts.drawdown_amount[a]
    f, last_fill = books.passes.first_fill[r], books.passes.last_fill[r]
    p, last_tick = books.passes.first_tick[r], books.passes.last_tick[r]
    share, first_slot = books.passes.share[r], books.passes.first_slot[r]
    k = curves.base[a] + curves.used[a] - 1
    low, high, worst, until = buckets.low[k], buckets.high[k], buckets.worst[k], curves.until[a]
    day, days = 0, len(midnights)
    # What comes before is neither in another bucket nor on another day.
    limit = until if days == 0 else min(until, midnights[0])
    while True:
        next_fill = fills.tick[f] if f < last_fill else last_tick
        if held == 0 and share == 0.0:
            p = next_fill  # without a position nothing changes before it
        if p == last_tick:
            break
        s = books.stake_of[ticks.row[p]]
        buys = share > 0.0 and stakes.units[s] == 0.0
        if p != next_fill and not buys and (s < 0 or stakes.gross_units[s] == 0.0):
            p += 1
            continue
        elapsed = ticks.now[p] - since
        gross_time += gross * elapsed
        equity_time += mark * elapsed
        if held > 0:
            market_time += elapsed
        before_since = since
        since = ticks.now[p]
        if s != stake:
            if stake >= 0:
                rest, error = added(rest, error, stakes.worth[stake])
                rest_gross += stakes.gross[stake]
            rest, error = added(rest, error, -stakes.worth[s])
            rest_gross -= stakes.gross[s]
            stake = s
        if buys:
            held += 1
            stakes.units[s] = stakes.gross_units[s] = share / ticks.price[p]
            rest, error = added(rest, error, -stakes.units[s] * ticks.price[p])
        if p == next_fill:
            while f < last_fill and fills.tick[f] == p:
                h = books.holding_of[first_slot + fills.slot[f]]
                before = books.holdings.position[h]
                after = before + fills.quantity[f]
                books.holdings.position[h] = after
                held += (1 if after != 0 else 0) - (1 if before != 0 else 0)
                rest, error = added(rest, error, -fills.quantity[f] * fills.price[f] * books.holdings.multiplier[h])
                rest, error = added(rest, error, -fills.fee[f])
                f += 1
            weigh(books, s)
            next_fill = fills.tick[f] if f < last_fill else last_tick
        units, gross_units = stakes.units[s], stakes.gross_units[s]
        # Sums of changes end near zero; an account without another position is at zero.
        if rest_gross < 0.0 or held == 0:
            rest_gross = 0.0
        stop = next_fill if gross_units != 0.0 else p + 1
        i, began, worth = ticks.row[p], since, 0.0
        while p < stop and ticks.row[p] == i:
            at, before_mark = ticks.price[p], mark
            elapsed = ticks.now[p] - since
            gross_time += gross * elapsed
            equity_time += mark * elapsed
            if elapsed > 0:
                before_since = since
                since = ticks.now[p]
            worth = units * at
            gross = rest_gross + gross_units * at
            mark = rest + (worth + error)
            fall = peak - mark
            if fall <= 0.0:
                if under_since != LONG_AGO:
                    surface(accounts, a, under_since, since)
                    under_since = LONG_AGO
                peak, fall = mark, 0.0
            elif under_since == LONG_AGO:
                under_since = since
            if since >= limit:
                while day < days and midnights[day] <= since:
                    day_marks[day, a] = before_mark
                    day += 1
                if since >= until:
                    buckets.low[k], buckets.high[k], buckets.worst[k], buckets.last[k] = low, high, worst, before_mark
                    buckets.ts[k] = before_since
                    push(curves, buckets, a, since, mark, 0.0)
                    k = curves.base[a] + curves.used[a] - 1
                    low, high, worst, until = buckets.low[k], buckets.high[k], buckets.worst[k], curves.until[a]
                limit = until if day == days else min(until, midnights[day])
            low, high = min(low, mark), max(high, mark)
            if fall > amount:
                amount = fall
            # A division a tick would be half of all the time: where this does not hold, the quotient is no larger either.
            if fall >= worst * peak and peak > 0.0:
                depth = fall / peak
                worst = max(worst, depth)
                if depth > drawdown:
                    drawdown = depth
                    accounts.drawdown_from[a] = under_since
                    accounts.drawdown_to[a] = since
            p += 1
        if held > 0:
            market_time += since - began
        stakes.worth[s] = worth
        stakes.gross[s] = gross - rest_gross
    buckets.low[k], buckets.high[k], buckets.worst[k], buckets.last[k], buckets.ts[k] = low, high, worst, mark, since
    while day < days:
        day_marks[day, a] = mark
        day += 1
    accounts.rest[a], accounts.error[a], accounts.mark[a] = rest, error, mark
    accounts.gross[a], accounts.rest_gross[a], accounts.stake[a] = gross, rest_gross, stake
    accounts.open[a], accounts.since[a], accounts.market_time[a] = held, since, market_time
    accounts.gross_time[a], accounts.equity_time[a] = gross_time, equity_time
    accounts.peak[a], accounts.under_since[a] = peak, under_since
    accounts.drawdown[a], accounts.drawdown_amount[a] = drawdown, amount


def weigh(books: Books, s: int) -> None:
    """Work out what a stake's holdings are together."""
    units = gross_units = 0.0
    for h in range(books.stakes.first_holding[s], books.stakes.last_holding[s]):
        part = books.holdings.position[h] * books.holdings.multiplier[h]
        units += part
        gross_units += abs(part)
    books.stakes.units[s] = units
    books.stakes.gross_units[s] = gross_units


def push_prices(books: Books, first: int, start: int) -> None:
    """Enter ticks, those from `start` on, into the curves of their instruments, of which `first` is the first.

    Quickest where an instrument's ticks stand together.
    """
    curves, buckets, ticks = books.curves, books.buckets, books.ticks
    n = start
    while n < len(ticks.row):
        i = ticks.row[n]
        c = first + i
        if books.first[i] == 0.0:
            books.first[i] = ticks.price[n]
        push(curves, buckets, c, ticks.now[n], ticks.price[n], 0.0)
        k, until = curves.base[c] + curves.used[c] - 1, curves.until[c]
        low, high = buckets.low[k], buckets.high[k]
        n += 1
        while n < len(ticks.row) and ticks.row[n] == i and ticks.now[n] < until:
            low, high = min(low, ticks.price[n]), max(high, ticks.price[n])
            n += 1
        buckets.low[k], buckets.high[k] = low, high
        buckets.ts[k] = ticks.now[n - 1]
        buckets.last[k] = books.last[i] = ticks.price[n - 1]


def surface(accounts: AccountColumns, a: int, since: int, now: int) -> None:
    """Keep the time below the last peak, `since` until now, if none was longer."""
    if now - since > accounts.longest[a]:
        accounts.longest[a] = now - since
        accounts.longest_from[a] = since
        accounts.longest_to[a] = now
