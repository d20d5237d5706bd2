"""One tick, or many, in one call: accepted, filled, pushed, evaluated, checked and emitted for every strategy that can be.

A lane is an instrument with its window and its watchers, in numbers. What a tick comes to is written into two logs; what
needs the engine's own steps (a timer that is due, a pause, a tie that only decimals settle, a strategy of another kind)
is listed, and nothing of it is done here. Executors do not see each other, so that those steps may follow.
Written in the part of Python that Numba compiles unchanged; checks and fills are the very functions of the other paths.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Final, NamedTuple

from anystrat.domain.compiling import MORE, NOT_HERE
from anystrat.domain.lifecycle import State
from anystrat.domain.tick import EXACT_FLAG
from anystrat.domain.window import COUNT, HEADER, NUMBERS_ALONE, PLACE, SOME_ALONE
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
    BAD_PRICE,
    BLOCKED_BITS,
    CLOSED_BIT,
    HALTED_BIT,
    MALFORMED,
    OUT_OF_ORDER,
    PREOPEN_BIT,
    UNROUTED,
    floor_bucket,
)
from anystrat.engine.fills import enqueue, fill
from anystrat.engine.recent import has_room, recent_place
from anystrat.engine.state import EARLIEST, LATEST, LONG_AGO, NEVER, REASON_COLUMNS, Floats, Ints
from anystrat.strategies.breakout import breakout_kernel
from anystrat.strategies.mean_reversion import mean_reversion_kernel, stretch_of, surely_none
from anystrat.strategies.momentum import momentum_kernel, surely_small
from anystrat.strategies.sma_crossover import sma_crossover_kernel

if TYPE_CHECKING:
    from anystrat.engine.state import Book, Limits

_WARMUP: Final = int(State.WARMUP)
_ACTIVE: Final = int(State.ACTIVE)

#: Kinds of watchers: those of no kind take the engine's own steps on every tick.
OTHER: Final = 0
MOMENTUM: Final = 1
MEAN_REVERSION: Final = 2
BREAKOUT: Final = 3
SMA_CROSSOVER: Final = 4

#: The engine's switches and counters, in one array: ticks accepted; whether the kill switch is on; the age of the tick
#: and the market it is in, for one call; how many entries the logs have, and how many watchers are listed; when the
#: latest ticks arrived (`LONG_AGO`: ticks have no age but what a call says); how many decimal places a price had lately;
#: how many signals were dropped, and how many ticks of a block, since these were set to 0; what became of the latest tick
#: that came through a door; the price bucket of the tick number `BUCKET_TICK`, for a step of so many digits and decimals;
#: whether nobody wants to be told of paper fills, in this call and of ticks that come through a door; how many times the
#: engine took steps of its own, after which nothing holds that lanes remember of their watchers; what the logs call a
#: block's first tick.
TICKS: Final = 0
KILLED: Final = 1
AGE: Final = 2
FLAGS: Final = 3
SIGNALS: Final = 4
FILLS: Final = 5
LISTED: Final = 6
ARRIVED: Final = 7
DECIMALS: Final = 8
REFUSED: Final = 9
DROPPED: Final = 10
STATUS: Final = 11
BUCKET: Final = 12
BUCKET_TICK: Final = 13
BUCKET_DIGITS: Final = 14
BUCKET_SCALE: Final = 15
FILLS_UNTOLD: Final = 16
STEPS: Final = 17
DOOR_FILLS_UNTOLD: Final = 18
FIRST: Final = 19
CONTROLS: Final = 20

#: What became of a tick: nothing to tell of, paper fills alone, or more. Below zero it was dropped.
QUIET: Final = 0
FILLED: Final = 1
SAID: Final = 2

#: Every watcher's bit.
EVERY_BIT: Final = 2**32 - 1

BEFORE_SIGNAL: Final = 0
AFTER_SIGNAL: Final = 1


class LaneColumns(NamedTuple):
    """A row an instrument: its window's memory (see `domain.window`), and its watchers, `first..last` without the last.

    What follows holds while the engine has taken `steps` of its own. Before the event time `calm` all watchers are active,
    with full windows, and no timer is due (`LONG_AGO`: that was not looked at yet). `waiting` has a bit for each watcher
    whose orders wait for their fills, once `calm` was looked at; see `watcher_bit`.
    """

    prices: Ints
    numbers: Ints
    capacity: Ints
    first: Ints
    last: Ints
    steps: Ints
    calm: Ints
    waiting: Ints


class WatcherColumns(NamedTuple):
    """A row a watcher, an instrument's together, in the engine's order: its executor, and its running sums.

    There are many of them, and they are read on every tick: they have to be few bytes.
    """

    executor: Ints
    sums: Ints


class OrderColumns(NamedTuple):
    """What is asked of a watcher only where it gives a signal, or its orders fill; `quantity` is as sized."""

    slot: Ints
    quantity: Ints


class RuleColumns(NamedTuple):
    """A row an executor: `periods`, `longer` and `level` are its rule's parameters, `digits / 10^scale` its price bucket.

    The rest is what running sums are weighed with, see `mean_reversion.screen_of`.
    """

    kind: Ints
    need: Ints
    periods: Ints
    longer: Ints
    level: Floats
    digits: Ints
    scale: Ints
    reach_blur: Floats
    base_blur: Floats
    doubt: Floats
    edge: Floats
    cap: Floats


class SumColumns(NamedTuple):
    """Running sums of a watcher with `mean_reversion`, over a window that ended with the instrument's tick number `seen`.

    `left` is for how many ticks they are carried on. They screen only: nothing is made of them.
    """

    seen: Ints
    left: Ints
    base: Floats
    total: Floats
    squares: Floats
    reach: Floats


class SignalLog(NamedTuple):
    """Raw signals and what became of them (`code`), in the order of ticks and watchers."""

    tick: Ints
    executor: Ints
    slot: Ints
    side: Ints
    quantity: Ints
    bucket: Ints
    code: Ints
    confidence: Floats
    value: Floats


class FillLog(NamedTuple):
    """Paper fills, in the order of ticks and watchers; `stage` says whether before or after the executor's signal."""

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


class Lanes(NamedTuple):
    """All that ticks are taken through with, beside the book. `listed` are watchers, by their rows."""

    lane: LaneColumns
    watcher: WatcherColumns
    order: OrderColumns
    rule: RuleColumns
    sums: SumColumns
    prices: MutableSequence[float]
    numbers: Ints
    signals: SignalLog
    fills: FillLog
    listed: Ints
    control: Ints


class Block(NamedTuple):
    """Room for a block of ticks as columns, and for what became of each: an instrument's row, or why it was dropped.

    `tokens` is a hash table with linear probing: a token, and its row plus one (0: free) as many places further on.
    """

    token: Ints
    ts: Ints
    price: Floats
    flags: Ints
    place: Ints
    tokens: Ints


def take_tick(limits: Limits, book: Book, lanes: Lanes, i: int, ts: int, price: float) -> int:
    """Take one tick of instrument row `i`, whose row the caller keeps; see `QUIET`. The logs call it by its time."""
    control = lanes.control
    control[SIGNALS] = 0
    control[FILLS] = 0
    control[LISTED] = 0
    flags = control[FLAGS]
    control[FLAGS] = 0
    if control[ARRIVED] != LONG_AGO:
        control[AGE] = control[ARRIVED] - ts
    status = one_tick(limits, book, lanes, i, ts, price, flags, ts)
    control[AGE] = 0
    return status


def take_token(limits: Limits, book: Book, lanes: Lanes, tokens: Ints, token: int, ts: int, price: float) -> int:
    """As `take_tick`, by the instrument's token, for a door: the row of a quiet tick, or `MORE` or `NOT_HERE`."""
    i = row_of(tokens, token)
    if i < 0:
        return NOT_HERE
    lanes.control[FILLS_UNTOLD] = lanes.control[DOOR_FILLS_UNTOLD]
    status = take_tick(limits, book, lanes, i, ts, price)
    lanes.control[FILLS_UNTOLD] = 0
    if status == QUIET:
        return i
    lanes.control[STATUS] = status
    return MORE


def take_block(limits: Limits, book: Book, lanes: Lanes, block: Block, _: int, start: int, stop: int) -> int:
    """Take the ticks `start..stop` of a block; answers with the first that was not taken.

    It stops after a tick that listed watchers, and before one that the logs may have no room for.
    """
    control = lanes.control
    control[LISTED] = 0
    arrived = control[ARRIVED]
    first = control[FIRST]
    for j in range(start, stop):
        ts = block.ts[j]
        i = row_of(block.tokens, block.token[j])
        if i < 0:
            block.place[j] = UNROUTED if EARLIEST < ts < LATEST else MALFORMED
            control[DROPPED] += 1
            continue
        many = lanes.lane.last[i] - lanes.lane.first[i]
        if control[SIGNALS] + many > len(lanes.signals.tick):
            return j
        if control[FILLS_UNTOLD] == 0 and control[FILLS] + many * (book.pending_room + 1) > len(lanes.fills.tick):
            return j
        control[AGE] = arrived - ts if arrived != LONG_AGO else 0
        status = one_tick(limits, book, lanes, i, ts, block.price[j], block.flags[j], first + j)
        block.place[j] = i
        if status < 0:
            block.place[j] = status
            control[DROPPED] += 1
        if control[LISTED] > 0:
            return j + 1
    return stop


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


def watcher_bit(place: int) -> int:
    """The bit of an instrument's watcher number `place`; with more of them than bits, several share one."""
    return 1 << (place & 31)


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


def quiet_score(lanes: Lanes, rule: int, k: int, ticks: int, end: int, count: int, gone: float) -> bool:
    """Carry the running sums `k` of a rule on to this tick, number `ticks`; whether they rule a signal out.

    `gone` is the price that left the window; of a window of more ticks than the rule's, its own left one is still there.
    """
    n = lanes.rule.periods[rule]
    now = lanes.prices[end - 1]
    if lanes.sums.left[k] <= 0 or lanes.sums.seen[k] + 1 != ticks:
        base = now
        total = 0.0
        squares = 0.0
        reach = 0.0
        for price in lanes.prices[end - n : end]:
            x = price - base
            total += x
            squares += x * x
            reach = max(reach, abs(x))
        lanes.sums.base[k] = base
        lanes.sums.left[k] = stretch_of(n)
        x = 0.0
    else:
        base = lanes.sums.base[k]
        x = now - base
        # The window was full before this tick too, or the sums would not have begun.
        old = (lanes.prices[end - 1 - n] if n < count else gone) - base
        total = lanes.sums.total[k] + (x - old)
        squares = lanes.sums.squares[k] + (x * x - old * old)
        reach = max(lanes.sums.reach[k], abs(x))
        lanes.sums.left[k] -= 1
    lanes.sums.seen[k] = ticks
    lanes.sums.total[k] = total
    lanes.sums.squares[k] = squares
    lanes.sums.reach[k] = reach
    return surely_none(
        total,
        squares,
        x,
        reach,
        base,
        float(n),
        lanes.rule.reach_blur[rule],
        lanes.rule.base_blur[rule],
        lanes.rule.doubt[rule],
        lanes.rule.edge[rule],
        lanes.rule.cap[rule],
    )


def evaluated(lanes: Lanes, rule: int, kind: int, end: int) -> tuple[int, float, float]:
    """(side, confidence, value) of a rule; a side of -1 is one that doubles cannot tell."""
    periods = lanes.rule.periods[rule]
    level = lanes.rule.level[rule]
    if kind == MOMENTUM:
        return momentum_kernel(lanes.prices, end, periods, level)
    if kind == MEAN_REVERSION:
        return mean_reversion_kernel(lanes.prices, end, periods, level)
    if kind == BREAKOUT:
        return breakout_kernel(lanes.prices, end, periods, level)
    return sma_crossover_kernel(lanes.prices, end, periods, lanes.rule.longer[rule])


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
