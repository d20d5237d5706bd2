"""Waiting orders and their paper fills, in the columns of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anystrat.paper.charges import charge, within
from anystrat.paper.fills import fill_fee, fill_price, position_after

if TYPE_CHECKING:
    from anystrat.engine.state import Book, Limits


def enqueue(book: Book, s: int, ts: int, signed: int, price: float) -> None:
    """Let a signal that was accepted at `ts` wait for its fill. The slot's ring must have room."""
    k = s * book.pending_room + book.slot.pending_count[s]
    book.pending.quantity[k] = signed
    book.pending.price[k] = price
    book.pending.ts[k] = ts
    book.slot.pending_count[s] += 1


def fill(
    limits: Limits, book: Book, e: int, s: int, ts: int, signed: int, tick_price: float
) -> tuple[float, float, float, bool]:
    """Fill `signed` units at the tick's price with slippage and fee: (price, fee, realised P&L, round trip ended)."""
    multiplier = book.slot.multiplier[s]
    price = fill_price(tick_price, signed, limits.slippage_bps[e])
    fee = fill_fee(price, abs(signed), limits.fee_bps[e])
    if limits.last_charge[e] > limits.first_charge[e]:
        fee += charged(limits, book, e, signed, price, multiplier)
    position, average, realised, closing, round_trip = position_after(
        book.slot.position[s], book.slot.average[s], signed, price, fee, multiplier
    )
    book.slot.position[s] = position
    book.slot.average[s] = average
    book.slot.changed_at[s] = ts
    book.executor.cash[e] = book.executor.cash[e] - signed * price * multiplier - fee
    book.executor.fees[e] += fee
    book.executor.fills[e] += 1
    if closing:
        book.executor.realised[e] += realised
        book.slot.realised[s] += realised
        if realised < 0.0:
            book.executor.loss_streak[e] += 1
        elif realised > 0.0:
            book.executor.loss_streak[e] = 0
    if round_trip:
        book.executor.round_trips[e] += 1
    return price, fee, realised, round_trip


def charged(limits: Limits, book: Book, e: int, signed: int, price: float, multiplier: float) -> float:
    """What executor `e` is charged for a fill, part by part in their order; each part's `amount` is written down."""
    first = limits.first_charge[e]
    side = 1 if signed > 0 else 2
    quantity = abs(signed)
    turnover = price * quantity * multiplier
    total = 0.0
    for k in range(first, limits.last_charge[e]):
        amount = 0.0
        if book.charges.side[k] & side != 0:
            amount = charge(
                turnover, quantity, book.charges.per_trade[k], book.charges.per_unit[k], book.charges.bps[k]
            )
            for j in range(first, k):
                if book.charges.of[k] & (1 << (j - first)) != 0:
                    amount += book.charges.share[k] * book.charges.amount[j]
            amount = within(amount, turnover, book.charges.minimum[k], book.charges.maximum[k], book.charges.max_bps[k])
        book.charges.amount[k] = amount
        total += amount
    return total
