"""The sequential part of a block: fills, warm-up, timers, checks and emission of every executor, in tick order.

Executors do not see each other, so each walks alone through what happens to it: the ticks on which its strategy fired,
on which an order is filled, on which a timer is due. Between them nothing changes, and evaluations are counted, not made.
Written in the part of Python that Numba compiles unchanged; checks and fills are the very functions of the scalar path.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anystrat.domain.lifecycle import State, Trigger
from anystrat.engine.checks import (
    CIRCUIT_OPEN,
    CLOSED,
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
from anystrat.engine.columns.grouping import AUCTION_BIT, BLOCKED_BITS, CLOSED_BIT, HALTED_BIT, PREOPEN_BIT
from anystrat.engine.fills import enqueue, fill
from anystrat.engine.state import NEVER, REASON_COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.engine.state import Book, Limits

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


class Fired(NamedTuple):
    """Raw signals, grouped by executor: those of executor `e` at `start[e]:end[e]`, in tick order."""

    start: NDArray[Any]
    end: NDArray[Any]
    position: NDArray[Any]
    slot: NDArray[Any]
    side: NDArray[Any]
    confidence: NDArray[Any]
    quantity: NDArray[Any]
    bucket: NDArray[Any]
    code: NDArray[Any]


class Grouped(NamedTuple):
    """The block by instrument: row `i` has history at `base[i]:first[i]` and its new ticks at `first[i]:last[i]`."""

    base: NDArray[Any]
    first: NDArray[Any]
    last: NDArray[Any]
    before: NDArray[Any]
    tick: NDArray[Any]
    ts: NDArray[Any]
    price: NDArray[Any]
    flags: NDArray[Any]
    open: NDArray[Any]


class Settings(NamedTuple):
    """What the gate needs of an executor beside its limits: history, and pauses (-1: until an operator)."""

    need: NDArray[Any]
    resume_after: NDArray[Any]
    pause_on_throttle: NDArray[Any]
    throttle_pause: NDArray[Any]
    active: NDArray[Any]


class Log(NamedTuple):
    """What the gate did, in the order in which it did it. `counts` holds the numbers of fills and of moves."""

    counts: NDArray[Any]
    fill_tick: NDArray[Any]
    fill_executor: NDArray[Any]
    fill_slot: NDArray[Any]
    fill_quantity: NDArray[Any]
    fill_price: NDArray[Any]
    fill_fee: NDArray[Any]
    fill_realised: NDArray[Any]
    fill_position: NDArray[Any]
    fill_average: NDArray[Any]
    fill_trip: NDArray[Any]
    fill_stage: NDArray[Any]
    move_tick: NDArray[Any]
    move_executor: NDArray[Any]
    move_before: NDArray[Any]
    move_after: NDArray[Any]
    move_trigger: NDArray[Any]
    move_stage: NDArray[Any]


class Queue(NamedTuple):
    """Room for the orders that wait within the block: a heap of (tick, position, slot); `size` has one entry."""

    size: NDArray[Any]
    tick: NDArray[Any]
    position: NDArray[Any]
    slot: NDArray[Any]


#: The order of things within an executor's tick.
BEFORE_SIGNAL: Final = 0
AFTER_SIGNAL: Final = 1


def run_gate(
    limits: Limits, book: Book, killed: bool, settings: Settings, fired: Fired, grouped: Grouped, log: Log, queue: Queue
) -> int:
    """Walk every active executor through the block. `DONE`, or which ring was too small: then nothing here counts."""
    for e in range(len(settings.need)):
        if settings.active[e]:
            status = run_executor(limits, book, killed, settings, fired, grouped, log, queue, e)
            if status != DONE:
                return status
    return DONE


def run_executor(
    limits: Limits,
    book: Book,
    killed: bool,
    settings: Settings,
    fired: Fired,
    grouped: Grouped,
    log: Log,
    queue: Queue,
    e: int,
) -> int:
    """Walk one executor through the block."""
    queue.size[0] = 0
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        if book.pending_count[s] > 0:
            i = book.slot_instrument[s]
            expect_fill(grouped, queue, s, grouped.first[i], grouped.last[i])
    k = fired.start[e]
    end = fired.end[e]
    due_tick = first_due(limits, book, grouped, e, -1)
    full_tick = first_full(limits, book, settings, grouped, e) if book.state[e] == _WARMUP else NO_TICK
    active_from = 0
    while True:
        signal_tick = grouped.tick[fired.position[k]] if k < end else NO_TICK
        fill_tick = queue.tick[0] if queue.size[0] > 0 else NO_TICK
        now = min(min(signal_tick, fill_tick), min(due_tick, full_tick))
        if now == NO_TICK:
            break
        if now == fill_tick:
            fill_waiting(limits, book, grouped, log, queue, e)
        if now == full_tick:
            move(book, log, e, now, ts_at(limits, book, grouped, e, now), _ACTIVE, _WINDOW_FULL, BEFORE_SIGNAL)
            active_from = now
            full_tick = NO_TICK
        if now == due_tick:
            if book.state[e] == _PAUSED and book.pause_cause[e] == CIRCUIT_OPEN:
                book.loss_streak[e] = 0
            move(book, log, e, now, ts_at(limits, book, grouped, e, now), _ACTIVE, _TIMER, BEFORE_SIGNAL)
            book.due[e] = NEVER
            active_from = now
            due_tick = NO_TICK
        if now == signal_tick:
            fired.code[k] = NOT_EVALUATED
            if book.state[e] == _ACTIVE:
                code = judge(limits, book, killed, fired, grouped, log, queue, e, k)
                if code < NOT_EVALUATED:
                    return -code - 1
                fired.code[k] = code
                if code > 0:
                    book.drops[e * REASON_COLUMNS + code] += 1
                ts = grouped.ts[fired.position[k]]
                pausing = False
                if code == CIRCUIT_OPEN:
                    pausing = True
                    resume = settings.resume_after[e]
                    move(book, log, e, now, ts, _PAUSED, _CIRCUIT, AFTER_SIGNAL)
                    book.pause_cause[e] = CIRCUIT_OPEN
                    book.due[e] = ts + resume if resume >= 0 else NEVER
                elif code == RATE_LIMITED and settings.pause_on_throttle[e]:
                    pausing = True
                    move(book, log, e, now, ts, _PAUSED, _THROTTLED, AFTER_SIGNAL)
                    book.pause_cause[e] = 0
                    book.due[e] = ts + settings.throttle_pause[e]
                if pausing:
                    book.evaluations[e] += evaluations_between(limits, book, settings, grouped, e, active_from, now)
                    due_tick = first_due(limits, book, grouped, e, now)
            k += 1
    if book.state[e] == _ACTIVE:
        book.evaluations[e] += evaluations_between(limits, book, settings, grouped, e, active_from, NO_TICK)
    return DONE


def judge(
    limits: Limits,
    book: Book,
    killed: bool,
    fired: Fired,
    grouped: Grouped,
    log: Log,
    queue: Queue,
    e: int,
    k: int,
) -> int:
    """Check one raw signal and emit it: 0, the reason's number, or minus (1 + which ring is too small)."""
    p = fired.position[k]
    s = fired.slot[k]
    ts = grouped.ts[p]
    price = grouped.price[p]
    flags = grouped.flags[p]
    side = fired.side[k]
    quantity = fired.quantity[k]
    signed = quantity if side == 1 else -quantity
    session = REGULAR
    if flags & CLOSED_BIT:
        session = CLOSED
    elif flags & PREOPEN_BIT:
        session = PREOPEN
    code = check_market(limits, e, killed, session, flags & HALTED_BIT != 0, flags & AUCTION_BIT != 0, 0)
    if code == 0:
        code = check_signal(limits, e, fired.confidence[k], quantity, price)
    if code == 0:
        code = check_prices(limits, e, price, grouped.open[p], price)
    if code == 0:
        if limits.max_exposure[e] < math.inf:
            mark_to_market(limits, book, grouped, e, grouped.tick[p])
        code = check_position(limits, book, e, s, ts, signed, price)
    if code == 0:
        code = check_gate(limits, book, e, s, ts, side, fired.bucket[k])
    if code != 0:
        return code
    if book.recent_count[s] >= book.recent_room:
        return -(1 + NEED_RECENT_ROOM)
    now_fill = limits.same_tick[e] != 0 and flags & BLOCKED_BITS == 0
    if not now_fill and book.pending_count[s] >= book.pending_room:
        return -(1 + NEED_PENDING_ROOM)
    remember(limits, book, e, s, ts, side, fired.bucket[k])
    book.signals[e] += 1
    if now_fill:
        fill_one(limits, book, grouped, log, e, s, p, signed, AFTER_SIGNAL)
    else:
        enqueue(book, s, signed, price)
        if book.pending_count[s] == 1:
            i = book.slot_instrument[s]
            expect_fill(grouped, queue, s, p + 1, grouped.last[i])
    return 0


def expect_fill(grouped: Grouped, queue: Queue, s: int, position: int, last: int) -> None:
    """Enter the first tick at or after `position` that can fill slot `s`'s orders; none in this block: they wait on."""
    while position < last and grouped.flags[position] & BLOCKED_BITS != 0:
        position += 1
    if position == last:
        return
    tick = grouped.tick[position]
    k = queue.size[0]
    queue.size[0] = k + 1
    while k > 0:
        parent = (k - 1) // 2
        if queue.tick[parent] <= tick:
            break
        queue.tick[k] = queue.tick[parent]
        queue.position[k] = queue.position[parent]
        queue.slot[k] = queue.slot[parent]
        k = parent
    queue.tick[k] = tick
    queue.position[k] = position
    queue.slot[k] = s


def leave_queue(queue: Queue) -> None:
    """Take the earliest entry off the heap."""
    size = queue.size[0] - 1
    queue.size[0] = size
    tick = queue.tick[size]
    position = queue.position[size]
    slot = queue.slot[size]
    k = 0
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        if child + 1 < size and queue.tick[child + 1] < queue.tick[child]:
            child += 1
        if queue.tick[child] >= tick:
            break
        queue.tick[k] = queue.tick[child]
        queue.position[k] = queue.position[child]
        queue.slot[k] = queue.slot[child]
        k = child
    queue.tick[k] = tick
    queue.position[k] = position
    queue.slot[k] = slot


def fill_waiting(limits: Limits, book: Book, grouped: Grouped, log: Log, queue: Queue, e: int) -> None:
    """Fill every order of the slot that is first in the queue, in the order of their acceptance."""
    p = queue.position[0]
    s = queue.slot[0]
    leave_queue(queue)
    waiting = book.pending_count[s]
    book.pending_count[s] = 0
    for j in range(s * book.pending_room, s * book.pending_room + waiting):
        fill_one(limits, book, grouped, log, e, s, p, book.pending_quantity[j], BEFORE_SIGNAL)


def fill_one(
    limits: Limits, book: Book, grouped: Grouped, log: Log, e: int, s: int, p: int, signed: int, stage: int
) -> None:
    """Fill one order at the tick at position `p`, and write it into the log."""
    price, fee, realised, trip = fill(limits, book, e, s, grouped.ts[p], signed, grouped.price[p])
    n = log.counts[0]
    log.counts[0] = n + 1
    log.fill_tick[n] = grouped.tick[p]
    log.fill_executor[n] = e
    log.fill_slot[n] = s
    log.fill_quantity[n] = signed
    log.fill_price[n] = price
    log.fill_fee[n] = fee
    log.fill_realised[n] = realised
    log.fill_position[n] = book.position[s]
    log.fill_average[n] = book.average[s]
    log.fill_trip[n] = trip
    log.fill_stage[n] = stage


def move(book: Book, log: Log, e: int, tick: int, ts: int, after: int, trigger: int, stage: int) -> None:
    """Change an executor's state, and write it into the log."""
    n = log.counts[1]
    log.counts[1] = n + 1
    log.move_tick[n] = tick
    log.move_executor[n] = e
    log.move_before[n] = book.state[e]
    log.move_after[n] = after
    log.move_trigger[n] = trigger
    log.move_stage[n] = stage
    book.state[e] = after
    book.since[e] = ts


def first_at(values: NDArray[Any], low: int, high: int, wanted: int) -> int:
    """The first place in the ascending `values[low:high]` that is at least `wanted`; `high` if there is none."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def first_due(limits: Limits, book: Book, grouped: Grouped, e: int, after: int) -> int:
    """The first tick later than tick `after` that this executor watches and that runs its timer."""
    found = NO_TICK
    if book.due[e] == NEVER:
        return found
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot_instrument[s]
        p = first_at(grouped.ts, grouped.first[i], grouped.last[i], book.due[e])
        p = first_at(grouped.tick, p, grouped.last[i], after + 1)
        if p < grouped.last[i]:
            found = min(found, grouped.tick[p])
    return found


def first_full(limits: Limits, book: Book, settings: Settings, grouped: Grouped, e: int) -> int:
    """The first tick on which one of the executor's windows is full."""
    found = NO_TICK
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot_instrument[s]
        p = max(grouped.first[i], grouped.base[i] + settings.need[e] - 1)
        if p < grouped.last[i]:
            found = min(found, grouped.tick[p])
    return found


def evaluations_between(
    limits: Limits, book: Book, settings: Settings, grouped: Grouped, e: int, start: int, stop: int
) -> int:
    """How many ticks within `start..stop`, both included, this executor watches with a full window."""
    total = 0
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot_instrument[s]
        low = max(grouped.first[i], grouped.base[i] + settings.need[e] - 1)
        high = grouped.last[i]
        if low >= high:
            continue
        if start > 0:
            low = first_at(grouped.tick, low, high, start)
        if stop < NO_TICK:
            high = first_at(grouped.tick, low, high, stop + 1)
        total += high - low
    return total


def ts_at(limits: Limits, book: Book, grouped: Grouped, e: int, tick: int) -> int:
    """The time of a tick that this executor watches."""
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot_instrument[s]
        p = first_at(grouped.tick, grouped.first[i], grouped.last[i], tick)
        if p < grouped.last[i] and grouped.tick[p] == tick:
            return grouped.ts[p]
    return 0


def mark_to_market(limits: Limits, book: Book, grouped: Grouped, e: int, tick: int) -> None:
    """Set the last prices of the executor's instruments to what they are at `tick`, for its exposure."""
    for s in range(limits.first_slot[e], limits.last_slot[e]):
        i = book.slot_instrument[s]
        p = first_at(grouped.tick, grouped.first[i], grouped.last[i], tick + 1)
        book.last_price[i] = grouped.price[p - 1] if p > grouped.first[i] else grouped.before[i]
