"""The checks and the emission gate, in the contract's order; the first that fails names the drop.

Plain numbers in, a reason's number out. Written in the part of Python that Numba compiles unchanged: interpreted, the
columns are memoryviews, compiled they are arrays. Everything that needs exact decimals (sizes, price buckets) or objects
(metadata) is worked out by the caller.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from anystrat.domain.outcomes import REASON_CODE, Reason
from anystrat.engine.state import LONG_AGO

if TYPE_CHECKING:
    from anystrat.engine.state import Book, Limits

EMITTED: Final = 0
KILLED: Final = REASON_CODE[Reason.KILLED]
SESSION_CLOSED: Final = REASON_CODE[Reason.SESSION_CLOSED]
HALTED: Final = REASON_CODE[Reason.HALTED]
AUCTION: Final = REASON_CODE[Reason.AUCTION]
STALE: Final = REASON_CODE[Reason.STALE]
INVALID_CONFIDENCE: Final = REASON_CODE[Reason.INVALID_CONFIDENCE]
INVALID_QUANTITY: Final = REASON_CODE[Reason.INVALID_QUANTITY]
INVALID_PRICE: Final = REASON_CODE[Reason.INVALID_PRICE]
BELOW_MIN_CONFIDENCE: Final = REASON_CODE[Reason.BELOW_MIN_CONFIDENCE]
PRICE_BAND: Final = REASON_CODE[Reason.PRICE_BAND]
SLIPPAGE: Final = REASON_CODE[Reason.SLIPPAGE]
POSITION_GUARD: Final = REASON_CODE[Reason.POSITION_GUARD]
POSITION_LIMIT: Final = REASON_CODE[Reason.POSITION_LIMIT]
EXPOSURE: Final = REASON_CODE[Reason.EXPOSURE]
CIRCUIT_OPEN: Final = REASON_CODE[Reason.CIRCUIT_OPEN]
COOLDOWN: Final = REASON_CODE[Reason.COOLDOWN]
DUPLICATE: Final = REASON_CODE[Reason.DUPLICATE]
MIN_INTERVAL: Final = REASON_CODE[Reason.MIN_INTERVAL]
RATE_LIMITED: Final = REASON_CODE[Reason.RATE_LIMITED]

#: What a tick's market is in, as numbers: `Moment` below is made of them.
REGULAR: Final = 0
PREOPEN: Final = 1
CLOSED: Final = 2

MINUTE_NS: Final = 60_000_000_000


def check_market(limits: Limits, e: int, killed: bool, session: int, halted: bool, auction: bool, age: int) -> int:
    """Checks 1 and 2: the kill switch, the session, halts and auctions, the age of a live tick (0 elsewhere)."""
    if killed:
        return KILLED
    if session == CLOSED and limits.allow_closed[e] == 0:
        return SESSION_CLOSED
    if session == PREOPEN and limits.allow_preopen[e] == 0:
        return SESSION_CLOSED
    if halted:
        return HALTED
    if auction:
        return AUCTION
    if age > limits.max_age[e]:
        return STALE
    return EMITTED


def check_signal(limits: Limits, e: int, confidence: float, quantity: int, price: float) -> int:
    """Check 3: the signal itself. `quantity` is as sized."""
    if not 0.0 <= confidence <= 1.0:
        return INVALID_CONFIDENCE
    if quantity <= 0 or quantity > limits.max_quantity[e]:
        return INVALID_QUANTITY
    if not (0.0 < price < math.inf):
        return INVALID_PRICE
    if confidence < limits.min_confidence[e]:
        return BELOW_MIN_CONFIDENCE
    return EMITTED


def check_prices(limits: Limits, e: int, last: float, opened: float, reference: float) -> int:
    """Checks 4 and 5: the band around the minute's open (NaN: it has none), the distance from the reference price."""
    if abs(last / opened - 1.0) > limits.band[e]:
        return PRICE_BAND
    if abs(last - reference) > limits.slippage_budget[e]:
        return SLIPPAGE
    return EMITTED


def check_position(limits: Limits, book: Book, e: int, s: int, ts: int, signed: int, price: float) -> int:
    """Checks 6 to 9: flips, position, exposure and the loss streak of this executor's paper account."""
    position = book.slot.position[s]
    after = position + signed
    if (position > 0 and after < 0) or (position < 0 and after > 0):
        if ts - book.slot.changed_at[s] < limits.min_flip[e]:
            return POSITION_GUARD
        nearer = False
    else:
        nearer = abs(after) < abs(position)
    if not nearer:
        if abs(after) > limits.max_position[e] or (after < 0 and limits.long_only[e] != 0):
            return POSITION_LIMIT
        if limits.max_exposure[e] < math.inf:
            total = exposure(limits, book, e, s) + signed * price * book.slot.multiplier[s]
            if abs(total) > limits.max_exposure[e]:
                return EXPOSURE
    if book.executor.loss_streak[e] >= limits.max_loss_streak[e]:
        return CIRCUIT_OPEN
    return EMITTED


def exposure(limits: Limits, book: Book, e: int, s: int) -> float:
    """Positions at last prices over the executor's instruments, in its row's order, then what waits on others than `s`."""
    total = 0.0
    for k in range(limits.first_slot[e], limits.last_slot[e]):
        total += book.slot.position[k] * book.instrument.last_price[book.slot.instrument[k]] * book.slot.multiplier[k]
    for k in range(limits.first_slot[e], limits.last_slot[e]):
        if k != s:
            for j in range(k * book.pending_room, k * book.pending_room + book.slot.pending_count[k]):
                total += book.pending.quantity[j] * book.pending.price[j] * book.slot.multiplier[k]
    return total


def check_gate(limits: Limits, book: Book, e: int, s: int, ts: int, side: int, k: int) -> int:
    """Checks 10 to 13: cool-down, duplicates, spacing and rate of what this executor already emitted.

    `k` is the `recent_place` of the signal's side and price bucket.
    """
    if book.slot.last_emit[s] != LONG_AGO and ts - book.slot.last_emit[s] < limits.cooldown[e]:
        return COOLDOWN
    if book.recent.side[k] == side and ts - book.recent.ts[k] < limits.dedupe[e]:
        return DUPLICATE
    if book.executor.last_emit[e] != LONG_AGO and ts - book.executor.last_emit[e] < limits.min_interval[e]:
        return MIN_INTERVAL
    allowed = limits.per_minute[e]
    if allowed > 0 and book.executor.rate_count[e] >= allowed:
        oldest = book.rate_ts[limits.rate_start[e] + book.executor.rate_next[e]]
        if ts - oldest < MINUTE_NS:
            return RATE_LIMITED
    return EMITTED


def remember(limits: Limits, book: Book, e: int, s: int, ts: int, side: int, bucket: int, k: int) -> None:
    """Enter an emission into the gate, at its `recent_place` `k`. The slot's table must have room."""
    book.slot.last_emit[s] = ts
    book.executor.last_emit[e] = ts
    if book.recent.side[k] == 0:
        book.slot.recent_count[s] += 1
        book.recent.side[k] = side
        book.recent.bucket[k] = bucket
    book.recent.ts[k] = ts
    if limits.per_minute[e] > 0:
        remember_rate(limits, book, e, ts)


def remember_rate(limits: Limits, book: Book, e: int, ts: int) -> None:
    """Keep the latest `per_minute` emission times, oldest at `rate_next` once the ring is full.

    An executor of several instruments can meet ticks that are older than its last emission, so that times are put in
    order here: what limits is the n-th latest time, not the n-th last call.
    """
    allowed = limits.per_minute[e]
    start = limits.rate_start[e]
    count = book.executor.rate_count[e]
    place = book.executor.rate_next[e]
    if count == allowed and ts < book.rate_ts[start + place]:
        return
    book.executor.rate_next[e] = (place + 1) % allowed
    if count < allowed:
        book.executor.rate_count[e] = count + 1
    else:
        count -= 1
    while count > 0:
        before = (place - 1) % allowed
        earlier = book.rate_ts[start + before]
        if earlier <= ts:
            break
        book.rate_ts[start + place] = earlier
        place = before
        count -= 1
    book.rate_ts[start + place] = ts
