"""The sequential part of a block: fills, warm-up, timers, checks and emission of every executor, in tick order.

Executors do not see each other, so each walks alone through what happens to it: the ticks on which its strategy fired,
on which an order is filled, on which a timer is due. Between them nothing changes, and evaluations are counted, not made.
Written in the part of Python that Numba compiles unchanged; checks and fills are the very functions of the scalar path.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from anystrat.domain.lifecycle import State, Trigger
from anystrat.engine.checks import (
    CIRCUIT_OPEN,
    RATE_LIMITED,
    remember,
)
from anystrat.engine.columns.grouping import BLOCKED_BITS
from anystrat.engine.fills import enqueue
from anystrat.engine.raw_signals import AFTER_SIGNAL, BEFORE_SIGNAL, fill_and_log, judged
from anystrat.engine.recent import has_room, recent_place
from anystrat.engine.sizing import BY_VOLATILITY, account_quantity
from anystrat.engine.state import NEVER, REASON_COLUMNS
from anystrat.paper.sizing import deviation_of

if TYPE_CHECKING:
    from anystrat.engine.columns.block import Walk
    from anystrat.engine.state import Book, Ints, Limits

_WARMUP: Final = int(State.WARMUP)
_ACTIVE: Final = int(State.ACTIVE)
_PAUSED: Final = int(State.PAUSED)
#: Triggers as numbers: their places in the enumeration.
TRIGGERS: Final = tuple(Trigger)
_WINDOW_FULL: Final = TRIGGERS.index(Trigger.WINDOW_FULL)
_TIMER: Final = TRIGGERS.index(Trigger.TIMER)
_CIRCUIT: Final = TRIGGERS.index(Trigger.CIRCUIT_OPEN)
_THROTTLED: Final = TRIGGERS.index(Trigger.THROTTLED)

NOT_EVALUATED: Final = -1
DONE: Final = 0
NEED_PENDING_ROOM: Final = 1
NEED_RECENT_ROOM: Final = 2
NO_TICK: Final = 2**62


_FILLS: Final = 0
_MOVES: Final = 1
_QUEUED: Final = 2


def run_gate(limits: Limits, book: Book, killed: bool, walk: Walk) -> int:
    """Walk every active executor through the block. `DONE`, or which ring was too small: then nothing here counts."""
    for e in range(len(walk.executors.start)):
        if walk.executors.batched[e] != 0:
            status = run_executor(limits, book, killed, walk, e)
            if status != DONE:
                return status
    return DONE


def run_executor(
    limits: Limits,
    book: Book,
    killed: bool,
    walk: Walk,
    e: int,
) -> int:
    """Walk one executor through the block."""
    walk.sizes[_QUEUED] = 0
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        if book.slot.pending_count[s] > 0:
            i = book.slot.instrument[s]
            expect_fill(walk, s, walk.instruments.first[i], walk.instruments.last[i])
    k = walk.executors.start[e]
    end = walk.executors.end[e]
    due_tick = first_due(limits, book, walk, e, -1)
    full_tick = first_full(limits, book, walk, e) if book.executor.state[e] == _WARMUP else NO_TICK
    active_from = 0
    while True:
        signal_tick = walk.grouped.tick[walk.fired.position[k]] if k < end else NO_TICK
        fill_tick = walk.queue.tick[0] if walk.sizes[_QUEUED] > 0 else NO_TICK
        now = min(signal_tick, fill_tick, due_tick, full_tick)
        if now == NO_TICK:
            break
        if now == fill_tick:
            fill_waiting(limits, book, walk, e)
        if now == full_tick:
            move(book, walk, e, now, ts_at(limits, book, walk, e, now), _ACTIVE, _WINDOW_FULL, BEFORE_SIGNAL)
            active_from = now
            full_tick = NO_TICK
        if now == due_tick:
            resume(limits, book, walk, e, now)
            active_from = now
            due_tick = NO_TICK
        if now == signal_tick:
            walk.fired.code[k] = NOT_EVALUATED
            if book.executor.state[e] == _ACTIVE and (
                limits.sizing[e] != BY_VOLATILITY or long_enough(limits, book, walk, e, k)
            ):
                code = judge(limits, book, killed, walk, e, k)
                if code < NOT_EVALUATED:
                    return -code - 1
                walk.fired.code[k] = code
                if code > 0:
                    book.drops[e * REASON_COLUMNS + code] += 1
                if pause(limits, book, walk, e, now, walk.grouped.ts[walk.fired.position[k]], code):
                    book.executor.evaluations[e] += evaluations_between(limits, book, walk, e, active_from, now)
                    due_tick = first_due(limits, book, walk, e, now)
            k += 1
    if book.executor.state[e] == _ACTIVE:
        book.executor.evaluations[e] += evaluations_between(limits, book, walk, e, active_from, NO_TICK)
    return DONE


def resume(limits: Limits, book: Book, walk: Walk, e: int, now: int) -> None:
    """Run the timer that is due at tick `now`: a paused or failed executor goes on."""
    if book.executor.state[e] == _PAUSED and book.executor.pause_cause[e] == CIRCUIT_OPEN:
        book.executor.loss_streak[e] = 0
    move(book, walk, e, now, ts_at(limits, book, walk, e, now), _ACTIVE, _TIMER, BEFORE_SIGNAL)
    book.executor.due[e] = NEVER


def pause(limits: Limits, book: Book, walk: Walk, e: int, now: int, ts: int, code: int) -> bool:
    """Pause the executor where this drop does: an open circuit, and the rate limit if it is set to."""
    if code == CIRCUIT_OPEN:
        after = limits.resume_after[e]
        move(book, walk, e, now, ts, _PAUSED, _CIRCUIT, AFTER_SIGNAL)
        book.executor.pause_cause[e] = CIRCUIT_OPEN
        book.executor.due[e] = ts + after if after >= 0 else NEVER
        return True
    if code == RATE_LIMITED and limits.pause_on_throttle[e] != 0:
        move(book, walk, e, now, ts, _PAUSED, _THROTTLED, AFTER_SIGNAL)
        book.executor.pause_cause[e] = 0
        book.executor.due[e] = ts + limits.throttle_pause[e]
        return True
    return False


def judge(
    limits: Limits,
    book: Book,
    killed: bool,
    walk: Walk,
    e: int,
    k: int,
) -> int:
    """Check one raw signal and emit it: 0, the reason's number, or minus (1 + which ring is too small)."""
    p = walk.fired.position[k]
    s = walk.fired.slot[k]
    ts = walk.grouped.ts[p]
    price = walk.price[p]
    flags = walk.grouped.market[p]
    side = walk.fired.side[k]
    if limits.sizing[e] != 0:
        size(limits, book, walk, e, k)
    quantity = walk.fired.quantity[k]
    signed = quantity if side == 1 else -quantity
    bucket = walk.fired.bucket[k]
    if limits.max_exposure[e] < math.inf:
        mark_to_market(limits, book, walk, e, walk.grouped.tick[p])
    confidence = walk.fired.confidence[k]
    place = recent_place(book, s, side, bucket)
    code = judged(
        limits, book, e, s, ts, price, flags, walk.grouped.open[p], 0, killed, side, confidence, quantity, place
    )
    if code != 0:
        return code
    if not has_room(limits, book, e, s, ts):
        return -(1 + NEED_RECENT_ROOM)
    now_fill = limits.same_tick[e] != 0 and flags & BLOCKED_BITS == 0
    if not now_fill and book.slot.pending_count[s] >= book.pending_room:
        return -(1 + NEED_PENDING_ROOM)
    remember(limits, book, e, s, ts, side, bucket, recent_place(book, s, side, bucket))
    book.executor.signals[e] += 1
    if now_fill:
        fill_one(limits, book, walk, e, s, p, signed, AFTER_SIGNAL)
    else:
        enqueue(book, s, ts, signed, price)
        if book.slot.pending_count[s] == 1:
            i = book.slot.instrument[s]
            expect_fill(walk, s, p + 1, walk.instruments.last[i])
    return 0


def size(limits: Limits, book: Book, walk: Walk, e: int, k: int) -> None:
    """Let the account say the quantity of a raw signal that has one."""
    if walk.fired.quantity[k] <= 0:
        return
    p = walk.fired.position[k]
    mark_to_market(limits, book, walk, e, walk.grouped.tick[p])
    deviation = 0.0
    if limits.sizing[e] == BY_VOLATILITY:
        deviation = deviation_of(walk.price, p + 1, limits.deviation_periods[e])
    walk.fired.quantity[k] = account_quantity(
        limits, book, e, walk.fired.slot[k], walk.fired.side[k], walk.price[p], deviation
    )


def long_enough(limits: Limits, book: Book, walk: Walk, e: int, k: int) -> bool:
    """Whether the window of a raw signal is full, where sizing needs a longer one than the strategy does."""
    base = walk.instruments.base[book.slot.instrument[walk.fired.slot[k]]]
    return walk.fired.position[k] >= base + limits.need[e] - 1


def expect_fill(walk: Walk, s: int, position: int, last: int) -> None:
    """Enter the first tick at or after `position` that can fill slot `s`'s orders; none in this block: they wait on."""
    while position < last and walk.grouped.market[position] & BLOCKED_BITS != 0:
        position += 1
    if position == last:
        return
    tick = walk.grouped.tick[position]
    k = walk.sizes[_QUEUED]
    walk.sizes[_QUEUED] = k + 1
    while k > 0:
        parent = (k - 1) // 2
        if walk.queue.tick[parent] <= tick:
            break
        walk.queue.tick[k] = walk.queue.tick[parent]
        walk.queue.position[k] = walk.queue.position[parent]
        walk.queue.slot[k] = walk.queue.slot[parent]
        k = parent
    walk.queue.tick[k] = tick
    walk.queue.position[k] = position
    walk.queue.slot[k] = s


def leave_queue(walk: Walk) -> None:
    """Take the earliest entry off the heap."""
    size = walk.sizes[_QUEUED] - 1
    walk.sizes[_QUEUED] = size
    tick = walk.queue.tick[size]
    position = walk.queue.position[size]
    slot = walk.queue.slot[size]
    k = 0
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        if child + 1 < size and walk.queue.tick[child + 1] < walk.queue.tick[child]:
            child += 1
        if walk.queue.tick[child] >= tick:
            break
        walk.queue.tick[k] = walk.queue.tick[child]
        walk.queue.position[k] = walk.queue.position[child]
        walk.queue.slot[k] = walk.queue.slot[child]
        k = child
    walk.queue.tick[k] = tick
    walk.queue.position[k] = position
    walk.queue.slot[k] = slot


def fill_waiting(limits: Limits, book: Book, walk: Walk, e: int) -> None:
    """Fill every order of the slot that is first in the queue, in the order of their acceptance."""
    p = walk.queue.position[0]
    s = walk.queue.slot[0]
    leave_queue(walk)
    waiting = book.slot.pending_count[s]
    book.slot.pending_count[s] = 0
    for j in range(s * book.pending_room, s * book.pending_room + waiting):
        fill_one(limits, book, walk, e, s, p, book.pending.quantity[j], BEFORE_SIGNAL)


def fill_one(limits: Limits, book: Book, walk: Walk, e: int, s: int, p: int, signed: int, stage: int) -> None:
    """Fill one order at the tick at position `p`, and write it into the log."""
    n = walk.sizes[_FILLS]
    walk.sizes[_FILLS] = n + 1
    tick = walk.grouped.tick[p]
    fill_and_log(limits, book, walk.fills, n, e, s, walk.grouped.ts[p], signed, walk.price[p], tick, stage)


def move(book: Book, walk: Walk, e: int, tick: int, ts: int, after: int, trigger: int, stage: int) -> None:
    """Change an executor's state, and write it into the log."""
    n = walk.sizes[_MOVES]
    walk.sizes[_MOVES] = n + 1
    walk.moves.tick[n] = tick
    walk.moves.executor[n] = e
    walk.moves.before[n] = book.executor.state[e]
    walk.moves.after[n] = after
    walk.moves.trigger[n] = trigger
    walk.moves.stage[n] = stage
    book.executor.state[e] = after
    book.executor.since[e] = ts


def first_at(values: Ints, low: int, high: int, wanted: int) -> int:
    """The first place in the ascending `values[low:high]` that is at least `wanted`; `high` if there is none."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def first_due(limits: Limits, book: Book, walk: Walk, e: int, after: int) -> int:
    """The first tick later than tick `after` that this executor watches and that runs its timer."""
    found = NO_TICK
    if book.executor.due[e] == NEVER:
        return found
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot.instrument[s]
        p = first_at(walk.grouped.ts, walk.instruments.first[i], walk.instruments.last[i], book.executor.due[e])
        p = first_at(walk.grouped.tick, p, walk.instruments.last[i], after + 1)
        if p < walk.instruments.last[i]:
            found = min(found, walk.grouped.tick[p])
    return found


def first_full(limits: Limits, book: Book, walk: Walk, e: int) -> int:
    """The first tick on which one of the executor's windows is full."""
    found = NO_TICK
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot.instrument[s]
        p = max(walk.instruments.first[i], walk.instruments.base[i] + limits.need[e] - 1)
        if p < walk.instruments.last[i]:
            found = min(found, walk.grouped.tick[p])
    return found


def evaluations_between(limits: Limits, book: Book, walk: Walk, e: int, start: int, stop: int) -> int:
    """How many ticks within `start..stop`, both included, this executor watches with a full window."""
    total = 0
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot.instrument[s]
        low = max(walk.instruments.first[i], walk.instruments.base[i] + limits.need[e] - 1)
        high = walk.instruments.last[i]
        if low >= high:
            continue
        if start > 0:
            low = first_at(walk.grouped.tick, low, high, start)
        if stop < NO_TICK:
            high = first_at(walk.grouped.tick, low, high, stop + 1)
        total += high - low
    return total


def ts_at(limits: Limits, book: Book, walk: Walk, e: int, tick: int) -> int:
    """The time of a tick that this executor watches."""
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot.instrument[s]
        p = first_at(walk.grouped.tick, walk.instruments.first[i], walk.instruments.last[i], tick)
        if p < walk.instruments.last[i] and walk.grouped.tick[p] == tick:
            return walk.grouped.ts[p]
    return 0


def mark_to_market(limits: Limits, book: Book, walk: Walk, e: int, tick: int) -> None:
    """Set the last prices of the executor's instruments to what they are at `tick`, for its exposure and sizing."""
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot.instrument[s]
        p = first_at(walk.grouped.tick, walk.instruments.first[i], walk.instruments.last[i], tick + 1)
        book.instrument.last_price[i] = (
            walk.price[p - 1] if p > walk.instruments.first[i] else walk.instruments.before[i]
        )
