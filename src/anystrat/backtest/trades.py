"""Round trips from fills: from flat to flat, or to the other side, with all that they cost.

The engine's realised P&L leaves opening fees out, as the specification wants it; a trade here bears them, so that the
profits of all trades and of what is still open add up to what the account earned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anystrat.engine.state import Floats, Ints, table_type, view_of, views

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.protocols import Compiler


class TradeColumns(NamedTuple):
    """A row a round trip. `opened` and `closed` are places of fills; `quantity` is all that was entered, above zero.

    `side` is 1 for long and -1 for short, `entry` and `exit` are average prices, `profit` is net of `fees`, all in the
    currency of the price; `value` is what was entered, in money.
    """

    opened: Ints
    closed: Ints
    slot: Ints
    side: Ints
    quantity: Ints
    entry: Floats
    exit: Floats
    profit: Floats
    fees: Floats
    value: Floats


class OpenTrade(NamedTuple):
    """A row a slot: what is open there, as in `TradeColumns`; `gross` was realised so far, before fees."""

    opened: Ints
    position: Ints
    average: Floats
    entered: Ints
    entered_value: Floats
    left: Ints
    left_value: Floats
    gross: Floats
    fees: Floats


class DealingColumns(NamedTuple):
    """A row an account: what its fills and its round trips came to, in money; sums with what their doubles cannot hold beside them.

    `won` and `lost` are of trades with a profit above and below zero, `duration` is the nanoseconds of all trades.
    """

    fills: Ints
    traded: Floats
    traded_error: Floats
    fees: Floats
    fees_error: Floats
    slippage: Floats
    slippage_error: Floats
    trades: Ints
    wins: Ints
    won: Floats
    won_error: Floats
    losses: Ints
    lost: Floats
    lost_error: Floats
    best: Floats
    worst: Floats
    duration: Ints


def added(total: float, error: float, amount: float) -> tuple[float, float]:
    """(total, error) with `amount` added, and what the double cannot hold kept in the error.

    Sources: Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, ZAMM 54 (1974); the error of a
    sum is that of Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B.
    """
    after = total + amount
    taken = after - total
    return after, error + ((total - (after - taken)) + (amount - taken))


def leave(still: OpenTrade, s: int, signed: int, price: float, fee: float, multiplier: float) -> int:
    """Let a fill reduce what is open on `s`: by how much. The round trip ended where nothing is left."""
    held = still.position[s]
    if held == 0 or (held > 0) == (signed > 0):
        return 0
    ending = min(abs(held), abs(signed))
    move = price - still.average[s] if held > 0 else still.average[s] - price
    still.gross[s] += move * ending * multiplier
    still.fees[s] += fee * ending / abs(signed)
    still.left[s] += ending
    still.left_value[s] += price * ending
    still.position[s] = held + (ending if held < 0 else -ending)
    return ending


def enter(still: OpenTrade, s: int, opened: int, signed: int, entering: int, price: float, fee: float) -> None:
    """Open `entering` units of a fill of `signed` ones on `s`, or add them; on a flip, the fee is shared by quantity."""
    if still.position[s] == 0:
        still.opened[s] = opened
        still.entered[s] = 0
        still.entered_value[s] = 0.0
        still.left[s] = 0
        still.left_value[s] = 0.0
        still.gross[s] = 0.0
        still.fees[s] = 0.0
        still.average[s] = price
    else:
        size = abs(still.position[s])
        still.average[s] = (still.average[s] * size + price * entering) / (size + entering)
    still.position[s] += entering if signed > 0 else -entering
    still.entered[s] += entering
    still.entered_value[s] += price * entering
    still.fees[s] += fee * entering / abs(signed)


def pair_up(
    slot: Ints,
    quantity: Ints,
    price: Floats,
    fee: Floats,
    multiplier: Floats,
    trades: TradeColumns,
    still: OpenTrade,
) -> int:
    """Walk over fills in their order; how many round trips were written to `trades`. What is open stays in `still`."""
    n = 0
    for f in range(len(slot)):
        s = slot[f]
        signed = quantity[f]
        ending = leave(still, s, signed, price[f], fee[f], multiplier[s])
        if ending > 0 and still.position[s] == 0:
            trades.opened[n] = still.opened[s]
            trades.closed[n] = f
            trades.slot[n] = s
            trades.side[n] = -1 if signed > 0 else 1
            trades.quantity[n] = still.entered[s]
            trades.entry[n] = still.entered_value[s] / still.entered[s]
            trades.exit[n] = still.left_value[s] / still.left[s]
            trades.profit[n] = still.gross[s] - still.fees[s]
            trades.fees[n] = still.fees[s]
            trades.value[n] = still.entered_value[s] * multiplier[s]
            n += 1
        entering = abs(signed) - ending
        if entering > 0:
            enter(still, s, f, signed, entering, price[f], fee[f])
    return n


def deal(
    dealings: DealingColumns,
    a: int,
    still: OpenTrade,
    s: int,
    ts: int,
    signed: int,
    price: float,
    fee: float,
    multiplier: float,
    tick_price: float,
) -> None:
    """Count a fill among what account `a` did, and the round trip that it ends. `opened` in `still` are times here."""
    size = abs(signed)
    dealings.fills[a] += 1
    dealings.traded[a], dealings.traded_error[a] = added(
        dealings.traded[a], dealings.traded_error[a], size * price * multiplier
    )
    dealings.fees[a], dealings.fees_error[a] = added(dealings.fees[a], dealings.fees_error[a], fee)
    dealings.slippage[a], dealings.slippage_error[a] = added(
        dealings.slippage[a], dealings.slippage_error[a], signed * (price - tick_price) * multiplier
    )
    ending = leave(still, s, signed, price, fee, multiplier)
    if ending > 0 and still.position[s] == 0:
        profit = still.gross[s] - still.fees[s]
        if dealings.trades[a] == 0:
            dealings.best[a] = dealings.worst[a] = profit
        dealings.trades[a] += 1
        dealings.duration[a] += ts - still.opened[s]
        dealings.best[a] = max(dealings.best[a], profit)
        dealings.worst[a] = min(dealings.worst[a], profit)
        if profit > 0.0:
            dealings.wins[a] += 1
            dealings.won[a], dealings.won_error[a] = added(dealings.won[a], dealings.won_error[a], profit)
        elif profit < 0.0:
            dealings.losses[a] += 1
            dealings.lost[a], dealings.lost_error[a] = added(dealings.lost[a], dealings.lost_error[a], profit)
    if size > ending:
        enter(still, s, ts, signed, size - ending, price, fee)


def trades_of(
    slot: NDArray[np.int64],
    quantity: NDArray[np.int64],
    price: NDArray[np.float64],
    fee: NDArray[np.float64],
    multiplier: NDArray[np.float64],
    compiler: Compiler | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The round trips (a `TradeColumns` table, in the order in which they ended) and what is open (`OpenTrade`, a slot)."""
    trades = np.zeros(len(slot), table_type(TradeColumns))
    still = np.zeros(len(multiplier), table_type(OpenTrade))
    columns: tuple[Any, Any, Any, Any, Any] = (slot, quantity, price, fee, multiplier)
    if compiler is not None:
        tables: Any = (trades, still)
        count = compiler(pair_up)(*columns, *tables)
    else:
        slots, quantities, prices, fees, multipliers = map(view_of, columns)
        made, left = views(TradeColumns, trades), views(OpenTrade, still)
        count = pair_up(slots, quantities, prices, fees, multipliers, made, left)
    return trades[:count], still
