"""One tick, or many, in one call: accepted, filled, pushed, evaluated, checked and emitted for every strategy that can be.

A lane is an instrument with its window and its watchers, in numbers. What a tick comes to is written into two logs; what
needs the engine's own steps (a timer that is due, a pause, a tie that only decimals settle, a strategy of another kind)
is listed, and nothing of it is done here. Executors do not see each other, so that those steps may follow.
Written in the part of Python that Numba compiles unchanged; checks and fills are the very functions of the other paths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from anystrat.domain.compiling import KEPT, MORE, NOT_HERE
from anystrat.domain.lifecycle import State
from anystrat.domain.tick import EXACT_FLAG
from anystrat.domain.window import COUNT, HEADER, NUMBERS_ALONE, PLACE, SOME_ALONE
from anystrat.engine.checks import MINUTE_NS
from anystrat.engine.columns.grouping import (
    AUCTION_BIT,
    BAD_PRICE,
    BLOCKED_BITS,
    HALTED_BIT,
    MALFORMED,
    OUT_OF_ORDER,
    UNROUTED,
)
from anystrat.engine.lane_rules import evaluated, quiet_score
from anystrat.engine.lane_signals import conclude, fill_waiting
from anystrat.engine.lane_tables import (
    AGE,
    ARRIVED,
    DOOR_FILLS_UNTOLD,
    DROPPED,
    EVERY_BIT,
    FILLED,
    FILLS,
    FILLS_UNTOLD,
    FLAGS,
    LISTED,
    MEAN_REVERSION,
    MOMENTUM,
    OTHER,
    QUIET,
    REFUSED,
    SAID,
    SIGNALS,
    STATUS,
    STEPS,
    TICKS,
    watcher_bit,
)
from anystrat.engine.state import EARLIEST, LATEST, LONG_AGO, NEVER
from anystrat.strategies.momentum import surely_small

if TYPE_CHECKING:
    from anystrat.engine.lane_tables import Block, Lanes
    from anystrat.engine.state import Book, Floats, Ints, Limits

_WARMUP: Final = int(State.WARMUP)
_ACTIVE: Final = int(State.ACTIVE)


def take_tick(limits: Limits, book: Book, lanes: Lanes, i: int, ts: int, price: float) -> int:
    """Take one tick of instrument row `i`, whose row the caller keeps; see `QUIET`. The logs call it by its time."""
    control = lanes.control
    control[SIGNALS] = 0
    control[FILLS] = 0
    control[LISTED] = 0
    control[REFUSED] = 0
    flags = control[FLAGS]
    control[FLAGS] = 0
    if control[ARRIVED] != LONG_AGO:
        control[AGE] = control[ARRIVED] - ts
    status = one_tick(limits, book, lanes, i, ts, price, flags, ts)
    control[AGE] = 0
    return status


def take_token(limits: Limits, book: Book, lanes: Lanes, tokens: Ints, token: int, ts: int, price: float) -> int:
    """As `take_tick`, by the instrument's token, for a door; it answers as `Binder.door` says."""
    i = row_of(tokens, token)
    if i < 0:
        return NOT_HERE
    lanes.control[FILLS_UNTOLD] = lanes.control[DOOR_FILLS_UNTOLD]
    status = take_tick(limits, book, lanes, i, ts, price)
    lanes.control[FILLS_UNTOLD] = 0
    if status == QUIET:
        return i
    lanes.control[STATUS] = status
    return MORE if status < 0 else KEPT - i


def take_block(
    limits: Limits,
    book: Book,
    lanes: Lanes,
    block: Block,
    untold: int,
    first: int,
    start: int,
    stop: int,
    ts_ns: Ints,
    token: Ints,
    price: Floats,
) -> int:
    """Take the ticks `start..stop` of a block; answers with the first that was not taken.

    They are of the piece that begins at `first`, for which there is room in `block`. It stops after a tick that listed
    watchers, and before one that the logs may have no room for. With `untold` fills are not written down.
    """
    control = lanes.control
    control[LISTED] = 0
    if start == 0:
        control[SIGNALS] = 0
        control[FILLS] = 0
        control[REFUSED] = 0
        control[DROPPED] = 0
    control[FILLS_UNTOLD] = untold
    j = start
    while j < stop and control[LISTED] == 0:
        ts = ts_ns[j]
        i = row_of(block.tokens, token[j])
        at = j - first
        if i < 0:
            block.place[at] = UNROUTED if EARLIEST < ts < LATEST else MALFORMED
            control[DROPPED] += 1
        else:
            many = lanes.lane.last[i] - lanes.lane.first[i]
            if control[SIGNALS] + many > len(lanes.signals.tick):
                break
            if untold == 0 and control[FILLS] + many * (book.pending_room + 1) > len(lanes.fills.tick):
                break
            control[AGE] = control[ARRIVED] - ts if control[ARRIVED] != LONG_AGO else 0
            status = one_tick(limits, book, lanes, i, ts, price[j], block.flags[at], j)
            block.place[at] = i
            if status < 0:
                block.place[at] = status
                control[DROPPED] += 1
        j += 1
    control[AGE] = 0
    control[FILLS_UNTOLD] = 0
    return j


def row_of(tokens: Ints, token: int) -> int:
    """The row of a token in a table as in `Block`; -1 if it is not there."""
    places = len(tokens) // 2
    mask = places - 1
    at = token_place(token, mask)
    while tokens[places + at] != 0 and tokens[at] != token:
        at = (at + 1) & mask
    return tokens[places + at] - 1


def token_place(token: int, mask: int) -> int:
    """Where a token is looked for first in a table of `mask + 1` places, a power of two."""
    return (token ^ (token >> 7) ^ (token >> 17)) & mask


def one_tick(limits: Limits, book: Book, lanes: Lanes, i: int, ts: int, price: float, flags: int, tick: int) -> int:
    """The contract's steps 1 to 6 for all watchers of instrument row `i`; `tick` is what the logs call it."""
    if not EARLIEST < ts < LATEST:
        return MALFORMED
    if not 0.0 < price < math.inf:
        return BAD_PRICE
    if ts < book.instrument.last_ts[i]:
        return OUT_OF_ORDER
    control = lanes.control
    control[TICKS] += 1
    book.instrument.last_ts[i] = ts
    book.instrument.last_price[i] = price
    book.instrument.ticks[i] += 1
    blocked = flags & BLOCKED_BITS != 0
    minute = ts // MINUTE_NS
    if not blocked and book.instrument.minute[i] != minute:
        book.instrument.minute[i] = minute
        book.instrument.minute_open[i] = price
    end, count, gone = push(lanes, i, ts, price, flags)
    calm = False
    waiting = EVERY_BIT
    if lanes.lane.steps[i] != control[STEPS]:
        lanes.lane.steps[i] = control[STEPS]
        lanes.lane.calm[i] = LONG_AGO
    else:
        if lanes.lane.calm[i] == LONG_AGO:
            look_at_watchers(book, lanes, i, count)
        calm = ts < lanes.lane.calm[i]
        waiting = lanes.lane.waiting[i]
    if blocked:
        waiting = 0
    else:
        lanes.lane.waiting[i] = 0
    first = lanes.lane.first[i]
    for k in range(first, lanes.lane.last[i]):
        fillable = waiting & watcher_bit(k - first) != 0
        if watch(limits, book, lanes, k, i, ts, price, flags, end, count, gone, tick, calm, fillable):
            lanes.listed[control[LISTED]] = k
            control[LISTED] += 1
    if control[SIGNALS] + control[LISTED] > 0:
        return SAID
    return FILLED if control[FILLS] > 0 else QUIET


def look_at_watchers(book: Book, lanes: Lanes, i: int, count: int) -> None:
    """Find out until when all watchers of instrument row `i` take a tick in the same way, and whose orders wait."""
    calm = NEVER
    waiting = 0
    first = lanes.lane.first[i]
    for k in range(first, lanes.lane.last[i]):
        e = lanes.watcher.executor[k]
        if lanes.rule.kind[e] == OTHER or book.executor.state[e] != _ACTIVE or count < lanes.rule.need[e]:
            calm = EARLIEST
        calm = min(calm, book.executor.due[e])
        if book.slot.pending_count[lanes.order.slot[k]] > 0:
            waiting |= watcher_bit(k - first)
    lanes.lane.calm[i] = calm
    lanes.lane.waiting[i] = waiting


def push(lanes: Lanes, i: int, ts: int, price: float, flags: int) -> tuple[int, int, float]:
    """As `Window.push`, but for the row.

    (where the window's prices end in `lanes.prices`, how many it holds, the price that left if it was full)
    """
    at = lanes.lane.numbers[i]
    capacity = lanes.lane.capacity[i]
    place = lanes.numbers[at + PLACE] + 1
    if place == capacity:
        place = 0
    lanes.numbers[at + PLACE] = place
    count = lanes.numbers[at + COUNT]
    if count < capacity:
        count += 1
        lanes.numbers[at + COUNT] = count
    start = lanes.lane.prices[i] + place
    gone = lanes.prices[start]
    lanes.prices[start] = price
    lanes.prices[start + capacity] = price
    lanes.numbers[at + HEADER + place] = ts
    lanes.numbers[at + HEADER + capacity + place] = flags & (HALTED_BIT | AUCTION_BIT | NUMBERS_ALONE)
    if flags & NUMBERS_ALONE != 0:
        lanes.numbers[at + SOME_ALONE] = 1
    return start + capacity + 1, count, gone


def watch(
    limits: Limits,
    book: Book,
    lanes: Lanes,
    k: int,
    i: int,
    ts: int,
    price: float,
    flags: int,
    end: int,
    count: int,
    gone: float,
    tick: int,
    calm: bool,
    fillable: bool,
) -> bool:
    """Take watcher `k` through the tick; whether the engine's own steps have to, for whatever is not done yet."""
    e = lanes.watcher.executor[k]
    kind = lanes.rule.kind[e]
    if kind == OTHER:
        return True
    if fillable:
        s = lanes.order.slot[k]
        if book.slot.pending_count[s] > 0:
            fill_waiting(limits, book, lanes, e, s, ts, price, tick)
    if not calm:
        state = book.executor.state[e]
        full = count >= lanes.rule.need[e]
        if ts >= book.executor.due[e] or (full and state == _WARMUP):
            return True
        if state != _ACTIVE or not full:
            return False
    if kind == MOMENTUM:
        quiet = surely_small(price, lanes.prices[end - lanes.rule.periods[e]], lanes.rule.level[e])
    else:
        quiet = kind == MEAN_REVERSION and quiet_score(
            lanes, e, lanes.watcher.sums[k], book.instrument.ticks[i], end, count, gone
        )
    if quiet:
        book.executor.evaluations[e] += 1
        return False
    side, confidence, value = evaluated(lanes, e, kind, end)
    if side == 0:
        book.executor.evaluations[e] += 1
        return False
    if side < 0 or flags & EXACT_FLAG != 0:
        return True
    return conclude(limits, book, lanes, k, i, ts, price, flags, side, confidence, value, tick)
