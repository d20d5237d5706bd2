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


def pair_up(
    slot: Ints,
    quantity: Ints,
    price: Floats,
    fee: Floats,
    multiplier: Floats,
    trades: TradeColumns,
    still: OpenTrade,
) -> int:
    """Walk over fills in their order; how many round trips were written to `trades`. What is open stays in `still`.

    On a flip, the fee is shared between the trade that ends and the one that begins, by quantity.
    """
    n = 0
    for f in range(len(slot)):
        s = slot[f]
        signed = quantity[f]
        held = still.position[s]
        ending = 0
        if (held > 0 and signed < 0) or (held < 0 and signed > 0):
            ending = min(abs(held), abs(signed))
            move = price[f] - still.average[s] if held > 0 else still.average[s] - price[f]
            still.gross[s] += move * ending * multiplier[s]
            still.fees[s] += fee[f] * ending / abs(signed)
            still.left[s] += ending
            still.left_value[s] += price[f] * ending
            still.position[s] = held + (ending if held < 0 else -ending)
            if still.position[s] == 0:
                trades.opened[n] = still.opened[s]
                trades.closed[n] = f
                trades.slot[n] = s
                trades.side[n] = 1 if held > 0 else -1
                trades.quantity[n] = still.entered[s]
                trades.entry[n] = still.entered_value[s] / still.entered[s]
                trades.exit[n] = still.left_value[s] / still.left[s]
                trades.profit[n] = still.gross[s] - still.fees[s]
                trades.fees[n] = still.fees[s]
                trades.value[n] = still.entered_value[s] * multiplier[s]
                n += 1
        entering = abs(signed) - ending
        if entering == 0:
            continue
        if still.position[s] == 0:
            still.opened[s] = f
            still.entered[s] = 0
            still.entered_value[s] = 0.0
            still.left[s] = 0
            still.left_value[s] = 0.0
            still.gross[s] = 0.0
            still.fees[s] = 0.0
            still.average[s] = price[f]
        else:
            size = abs(still.position[s])
            still.average[s] = (still.average[s] * size + price[f] * entering) / (size + entering)
        still.position[s] += entering if signed > 0 else -entering
        still.entered[s] += entering
        still.entered_value[s] += price[f] * entering
        still.fees[s] += fee[f] * entering / abs(signed)
    return n


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
