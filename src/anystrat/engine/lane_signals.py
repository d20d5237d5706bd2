"""What a raw signal comes to in a lane: checked, emitted or dropped, its order filled, and all of it written into the logs.

Written in the part of Python that Numba compiles unchanged; checks and fills are the very functions of the other paths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anystrat.engine.checks import (
    CIRCUIT_OPEN,
    CLOSED,
    MINUTE_NS,
    PREOPEN,
    RATE_LIMITED,
    REGULAR,
    check_gate,
    check_market,
    check_position,
    check_prices,
    check_signal,
    remember,
)
from anystrat.engine.columns.grouping import (
    AUCTION_BIT,
    BLOCKED_BITS,
    CLOSED_BIT,
    HALTED_BIT,
    PREOPEN_BIT,
    floor_bucket,
)
from anystrat.engine.fills import enqueue, fill
from anystrat.engine.lane_tables import (
    AFTER_SIGNAL,
    AGE,
    BEFORE_SIGNAL,
    BUCKET,
    BUCKET_DIGITS,
    BUCKET_SCALE,
    BUCKET_TICK,
    DECIMALS,
    FILLS,
    FILLS_UNTOLD,
    KILLED,
    REFUSED,
    SIGNALS,
    TICKS,
    watcher_bit,
)
from anystrat.engine.recent import has_room, recent_place
from anystrat.engine.state import REASON_COLUMNS

if TYPE_CHECKING:
    from anystrat.engine.lane_tables import Lanes
    from anystrat.engine.state import Book, Limits


def conclude(
    limits: Limits,
    book: Book,
    lanes: Lanes,
    k: int,
    i: int,
    ts: int,
    price: float,
    flags: int,
    side: int,
    confidence: float,
    value: float,
    tick: int,
) -> bool:
    """Check a raw signal of watcher `k`, and emit or drop it; True, with nothing done, where the engine has to."""
    e = lanes.watcher.executor[k]
    s = lanes.order.slot[k]
    bucket, sure = bucket_of(lanes, price, lanes.rule.digits[e], lanes.rule.scale[e])
    if not sure or book.slot.pending_count[s] >= book.pending_room or not has_room(limits, book, e, s, ts):
        return True
    quantity = lanes.order.quantity[k]
    signed = quantity if side == 1 else -quantity
    code = checked(limits, book, lanes, e, s, i, ts, price, flags, confidence, quantity, signed)
    place = recent_place(book, s, side, bucket)
    if code == 0:
        code = check_gate(limits, book, e, s, ts, side, place)
    if code == CIRCUIT_OPEN or (code == RATE_LIMITED and limits.pause_on_throttle[e] != 0):
        return True
    book.executor.evaluations[e] += 1
    n = lanes.control[SIGNALS]
    lanes.control[SIGNALS] = n + 1
    lanes.signals.tick[n] = tick
    lanes.signals.executor[n] = e
    lanes.signals.slot[n] = s
    lanes.signals.side[n] = side
    lanes.signals.quantity[n] = quantity
    lanes.signals.bucket[n] = bucket
    lanes.signals.code[n] = code
    lanes.signals.confidence[n] = confidence
    lanes.signals.value[n] = value
    if code != 0:
        lanes.control[REFUSED] += 1
        book.drops[e * REASON_COLUMNS + code] += 1
        return False
    remember(limits, book, e, s, ts, side, bucket, place)
    book.executor.signals[e] += 1
    if limits.same_tick[e] != 0 and flags & BLOCKED_BITS == 0:
        fill_one(limits, book, lanes, e, s, ts, signed, price, tick, AFTER_SIGNAL)
    else:
        enqueue(book, s, ts, signed, price)
        lanes.lane.waiting[i] |= watcher_bit(k - lanes.lane.first[i])
    return False


def bucket_of(lanes: Lanes, price: float, digits: int, scale: int) -> tuple[int, bool]:
    """(the tick's price bucket, whether it is sure); worked out once a tick for all watchers with the same step."""
    control = lanes.control
    if control[BUCKET_TICK] != control[TICKS] or control[BUCKET_DIGITS] != digits or control[BUCKET_SCALE] != scale:
        bucket, sure, places = floor_bucket(price, digits, scale, control[DECIMALS])
        control[DECIMALS] = places
        if not sure:
            return 0, False
        control[BUCKET] = bucket
        control[BUCKET_TICK] = control[TICKS]
        control[BUCKET_DIGITS] = digits
        control[BUCKET_SCALE] = scale
    return control[BUCKET], True


def checked(
    limits: Limits,
    book: Book,
    lanes: Lanes,
    e: int,
    s: int,
    i: int,
    ts: int,
    price: float,
    flags: int,
    confidence: float,
    quantity: int,
    signed: int,
) -> int:
    """Checks 1 to 9: 0, or the reason's number."""
    session = REGULAR
    if flags & CLOSED_BIT != 0:
        session = CLOSED
    elif flags & PREOPEN_BIT != 0:
        session = PREOPEN
    killed = lanes.control[KILLED] != 0
    halted = flags & HALTED_BIT != 0
    code = check_market(limits, e, killed, session, halted, flags & AUCTION_BIT != 0, lanes.control[AGE])
    if code == 0:
        code = check_signal(limits, e, confidence, quantity, price)
    if code == 0:
        opened = book.instrument.minute_open[i] if book.instrument.minute[i] == ts // MINUTE_NS else math.nan
        code = check_prices(limits, e, price, opened, price)
    if code == 0:
        code = check_position(limits, book, e, s, ts, signed, price)
    return code


def fill_waiting(limits: Limits, book: Book, lanes: Lanes, e: int, s: int, ts: int, price: float, tick: int) -> None:
    """Fill every order that waits on slot `s`, in the order of acceptance."""
    waiting = book.slot.pending_count[s]
    book.slot.pending_count[s] = 0
    for j in range(s * book.pending_room, s * book.pending_room + waiting):
        fill_one(limits, book, lanes, e, s, ts, book.pending.quantity[j], price, tick, BEFORE_SIGNAL)


def fill_one(
    limits: Limits,
    book: Book,
    lanes: Lanes,
    e: int,
    s: int,
    ts: int,
    signed: int,
    tick_price: float,
    tick: int,
    stage: int,
) -> None:
    """Fill one order, and write it into the log."""
    price, fee, realised, trip = fill(limits, book, e, s, ts, signed, tick_price)
    if lanes.control[FILLS_UNTOLD] != 0:
        return
    n = lanes.control[FILLS]
    lanes.control[FILLS] = n + 1
    lanes.fills.tick[n] = tick
    lanes.fills.executor[n] = e
    lanes.fills.slot[n] = s
    lanes.fills.stage[n] = stage
    lanes.fills.quantity[n] = signed
    lanes.fills.position[n] = book.slot.position[s]
    lanes.fills.round_trip[n] = trip
    lanes.fills.price[n] = price
    lanes.fills.fee[n] = fee
    lanes.fills.realised[n] = realised
    lanes.fills.average[n] = book.slot.average[s]
