"""What a raw signal comes to in a lane: checked, emitted or dropped, its order filled, and all of it written into the logs.

Written in the part of Python that Numba compiles unchanged; checks and fills are the very functions of the other paths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anystrat.engine.checks import (
    CIRCUIT_OPEN,
    MINUTE_NS,
    RATE_LIMITED,
    remember,
)
from anystrat.engine.columns.grouping import (
    BLOCKED_BITS,
    floor_bucket,
)
from anystrat.engine.fills import enqueue
from anystrat.engine.lane_tables import (
    AGE,
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
from anystrat.engine.raw_signals import AFTER_SIGNAL, BEFORE_SIGNAL, fill_and_log, judged
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
    place = recent_place(book, s, side, bucket)
    opened = book.instrument.minute_open[i] if book.instrument.minute[i] == ts // MINUTE_NS else math.nan
    killed = lanes.control[KILLED] != 0
    age = lanes.control[AGE]
    code = judged(limits, book, e, s, ts, price, flags, opened, age, killed, side, confidence, quantity, place)
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
    """Fill one order, and write it into the log if somebody wants to be told."""
    n = -1
    if lanes.control[FILLS_UNTOLD] == 0:
        n = lanes.control[FILLS]
        lanes.control[FILLS] = n + 1
    fill_and_log(limits, book, lanes.fills, n, e, s, ts, signed, tick_price, tick, stage)
