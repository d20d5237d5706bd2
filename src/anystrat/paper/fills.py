"""A paper fill in plain numbers: its price, its fee, and the position after it.

Written in the part of Python that Numba compiles unchanged, so that each formula stands here once for both speeds.
All prices are doubles; quantities are whole units, signed (below zero for a SELL) where the name says so.
"""

from __future__ import annotations

import math


def fill_price(price: float, signed_quantity: int, slippage_bps: float) -> float:
    """The tick's price, moved against the order: `p * (1 + bps/10^4)` for a BUY, `p * (1 - bps/10^4)` for a SELL."""
    if signed_quantity > 0:
        return price * (1.0 + slippage_bps / 10_000.0)
    return price * (1.0 - slippage_bps / 10_000.0)


def opening_price(price: float, opened: float) -> float:
    """Where the tick is a bar, what it opened at; the price where that is no positive number (NaN: there is none)."""
    return opened if 0.0 < opened < math.inf else price


def quoted_price(price: float, signed_quantity: int, bid: float, ask: float) -> float:
    """The ask for a BUY, the bid for a SELL; the price where that is no positive number (NaN: there is none)."""
    quote = ask if signed_quantity > 0 else bid
    return quote if 0.0 < quote < math.inf else price


def impacted_price(price: float, signed_quantity: int, volume: float, impact_bps: float) -> float:
    """The price moved against the order by `impact_bps` times the square of its share of the tick's volume, at most 1.

    The square is that of Zipline's `VolumeShareSlippage`. Without a positive volume (NaN: there is none) nothing moves.
    """
    if not volume > 0.0:
        return price
    share = min(1.0, abs(signed_quantity) / volume)
    return fill_price(price, signed_quantity, impact_bps * share * share)


def fill_fee(price: float, quantity: int, fee_bps: float) -> float:
    """`price * quantity * fee_bps / 10^4`, of the whole fill, in the currency of the price."""
    return price * quantity * fee_bps / 10_000.0


def position_after(
    position: int, average: float, signed_quantity: int, price: float, fee: float, multiplier: float
) -> tuple[int, float, float, bool, bool]:
    """(position, average price, realised P&L net of `fee`, whether P&L was realised, whether a round trip ended).

    Opening from flat and flipping set the average to the fill price; adding averages by quantity; reducing keeps it.
    A fill that reduces, closes or flips realises P&L, net of that fill's whole fee; opening fees are not carried.
    """
    after = position + signed_quantity
    if position == 0:
        return after, price, 0.0, False, False
    if (position > 0) == (signed_quantity > 0):
        held = abs(position)
        added = abs(signed_quantity)
        return after, (average * held + price * added) / (held + added), 0.0, False, False
    closed = min(abs(position), abs(signed_quantity))
    move = price - average if position > 0 else average - price
    realised = move * closed * multiplier - fee
    if after == 0:
        return 0, 0.0, realised, True, True
    if (after > 0) == (position > 0):
        return after, average, realised, True, False
    return after, price, realised, True, True
