"""What a raw signal comes to, in numbers, whoever found it: judged by every check, and its order's fill written down.

The lanes and the gate of the columns are both made of this. Written in the part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from anystrat.engine.checks import (
    CLOSED,
    PREOPEN,
    REGULAR,
    check_gate,
    check_market,
    check_position,
    check_prices,
    check_signal,
)
from anystrat.engine.columns.grouping import AUCTION_BIT, CLOSED_BIT, HALTED_BIT, PREOPEN_BIT
from anystrat.engine.fills import fill
from anystrat.engine.state import Floats, Ints

if TYPE_CHECKING:
    from anystrat.engine.state import Book, Limits

#: The order of things within an executor's tick.
BEFORE_SIGNAL: Final = 0
AFTER_SIGNAL: Final = 1


class FillLog(NamedTuple):
    """Paper fills, in the order in which they were made; `stage` says whether before or after the executor's signal."""

    tick: Ints
    executor: Ints
    slot: Ints
    stage: Ints
    quantity: Ints
    position: Ints
    round_trip: Ints
    price: Floats
    fee: Floats
    realised: Floats
    average: Floats


def judged(
    limits: Limits,
    book: Book,
    e: int,
    s: int,
    ts: int,
    price: float,
    flags: int,
    opened: float,
    age: int,
    killed: bool,
    side: int,
    confidence: float,
    quantity: int,
    place: int,
) -> int:
    """All checks of a signal at its tick's `price`, in their order: 0, or the number of the reason that it fails for.

    `flags` are the market's bits (see `columns.grouping`), `opened` is the open of the tick's minute (NaN: it has none),
    `place` the `recent_place` of its side and price bucket.
    """
    session = REGULAR
    if flags & CLOSED_BIT != 0:
        session = CLOSED
    elif flags & PREOPEN_BIT != 0:
        session = PREOPEN
    code = check_market(limits, e, killed, session, flags & HALTED_BIT != 0, flags & AUCTION_BIT != 0, age)
    if code == 0:
        code = check_signal(limits, e, confidence, quantity, price)
    if code == 0:
        code = check_prices(limits, e, price, opened, price)
    if code == 0:
        code = check_position(limits, book, e, s, ts, quantity if side == 1 else -quantity, price)
    if code == 0:
        code = check_gate(limits, book, e, s, ts, side, place)
    return code


def fill_and_log(
    limits: Limits,
    book: Book,
    log: FillLog,
    n: int,
    e: int,
    s: int,
    ts: int,
    signed: int,
    tick_price: float,
    tick: int,
    stage: int,
) -> None:
    """Fill `signed` units at the tick's price, and write that down as entry `n` of the log; below 0 it is not written."""
    price, fee, realised, trip = fill(limits, book, e, s, ts, signed, tick_price)
    if n < 0:
        return
    log.tick[n] = tick
    log.executor[n] = e
    log.slot[n] = s
    log.stage[n] = stage
    log.quantity[n] = signed
    log.position[n] = book.slot.position[s]
    log.round_trip[n] = trip
    log.price[n] = price
    log.fee[n] = fee
    log.realised[n] = realised
    log.average[n] = book.slot.average[s]
