"""A block of ticks, accepted or dropped and laid out by instrument, with each instrument's history before its ticks.

Written in the part of Python that Numba compiles unchanged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.outcomes import TickDrop
from anystrat.engine.checks import MINUTE_NS
from anystrat.engine.state import EARLIEST, LATEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.engine.columns.block import GroupedColumns
    from anystrat.engine.state import Floats, Ints

UNROUTED: Final = -1
BAD_PRICE: Final = -2
OUT_OF_ORDER: Final = -3
MALFORMED: Final = -4
DROP_OF_PLACE: Final = {
    MALFORMED: TickDrop.MALFORMED,
    UNROUTED: TickDrop.UNROUTED,
    BAD_PRICE: TickDrop.BAD_PRICE,
    OUT_OF_ORDER: TickDrop.OUT_OF_ORDER,
}

#: What a tick's market is in, as bits.
HALTED_BIT: Final = 1
AUCTION_BIT: Final = 2
CLOSED_BIT: Final = 4
PREOPEN_BIT: Final = 8
#: No fill, and no open of a minute, on a tick with one of these.
BLOCKED_BITS: Final = HALTED_BIT | AUCTION_BIT | CLOSED_BIT


def accept_ticks(
    token: NDArray[Any],
    ts: NDArray[Any],
    price: NDArray[Any],
    known: NDArray[Any],
    row_of_known: NDArray[Any],
    latest: NDArray[Any],
    counts: NDArray[Any],
    place: NDArray[Any],
) -> None:
    """Find each tick's instrument row, or why it is dropped, in `place`; count the accepted ones an instrument.

    `known` are the watched tokens, sorted, `row_of_known` their rows. `latest` is the last accepted time a row and goes on.
    """
    size = len(known)
    for j in range(len(token)):
        if not EARLIEST < ts[j] < LATEST:
            place[j] = MALFORMED
            continue
        wanted = token[j]
        low = 0
        high = size
        while low < high:
            middle = (low + high) // 2
            if known[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        if low == size or known[low] != wanted:
            place[j] = UNROUTED
            continue
        if not 0.0 < price[j] < math.inf:
            place[j] = BAD_PRICE
            continue
        i = row_of_known[low]
        if ts[j] < latest[i]:
            place[j] = OUT_OF_ORDER
            continue
        latest[i] = ts[j]
        counts[i] += 1
        place[j] = i


def lay_out(
    place: Ints,
    ts: Ints,
    price: Floats,
    flags: Ints,
    following: Ints,
    minute: Ints,
    minute_open: Floats,
    grouped: GroupedColumns,
    grouped_price: Floats,
) -> None:
    """Write every accepted tick to its instrument's next place, `following[i]`, and the open of its minute beside it."""
    for j in range(len(place)):
        i = place[j]
        if i < 0:
            continue
        k = following[i]
        following[i] = k + 1
        now = ts[j] // MINUTE_NS
        if minute[i] != now and flags[j] & BLOCKED_BITS == 0:
            minute[i] = now
            minute_open[i] = price[j]
        grouped.tick[k] = j
        grouped.ts[k] = ts[j]
        grouped_price[k] = price[j]
        grouped.market[k] = flags[j]
        grouped.open[k] = minute_open[i] if minute[i] == now else math.nan


def shift_in(
    rows: NDArray[Any],
    first: NDArray[Any],
    last: NDArray[Any],
    offset: NDArray[Any],
    room: NDArray[Any],
    held: NDArray[Any],
    grouped_tick: NDArray[Any],
    source: NDArray[Any],
    tail: NDArray[Any],
) -> None:
    """Let the new values of one column push the oldest out of each instrument's tail, for the next block's history.

    `held` is how many an instrument's tail held before; the values lie at `offset[i]` and on, oldest first.
    """
    for r in range(len(rows)):
        i = rows[r]
        new = min(room[i], last[i] - first[i])
        old = min(room[i] - new, held[i])
        start = offset[i]
        for k in range(old):
            tail[start + k] = tail[start + held[i] - old + k]
        for k in range(new):
            tail[start + old + k] = source[grouped_tick[last[i] - new + k]]


def by_tick(tick: NDArray[Any], starts: NDArray[Any], order: NDArray[Any]) -> None:
    """A stable counting sort: `order` lists the places of `tick` by their values, which lie within 0..len(starts)-2."""
    for j in range(len(tick)):
        starts[tick[j] + 1] += 1
    for t in range(1, len(starts)):
        starts[t] += starts[t - 1]
    for j in range(len(tick)):
        t = tick[j]
        order[starts[t]] = j
        starts[t] += 1


def floor_buckets(
    price: NDArray[Any], step_digits: int, step_scale: int, bucket: NDArray[Any], exact: NDArray[Any]
) -> None:
    """`floor_bucket` of many prices; `exact` says which of them are sure."""
    scale = 0
    for j in range(len(price)):
        bucket[j], exact[j], scale = floor_bucket(price[j], step_digits, step_scale, scale)


def floor_bucket(price: float, step_digits: int, step_scale: int, places: int) -> tuple[int, bool, int]:
    """(`floor(price / step)`, whether it is sure, the price's decimal places) for the shortest decimal of a double.

    `places` is a guess at those places: prices of an instrument tend to have as many. The step is `digits / 10^scale`. `k / 10^s == price` with `k < 10^15` proves that the shortest decimal is `k / 10^s`:
    a decimal of at most 15 digits is the shortest of its double, and the quotient is rounded once. Not sure is what
    that, or 64 bits, did not suffice for.
    """
    whole = 0
    scale = places
    found = False
    for attempt in range(-1, 10):
        scale = places if attempt < 0 else attempt
        power = 1
        for _ in range(scale):
            power *= 10
        scaled = price * power + 0.5
        if scaled < 1e15:
            whole = int(scaled)
            if whole / power == price:
                found = True
                break
    if not found:
        return 0, False, 0
    if scale >= step_scale:
        divisor = step_digits
        for _ in range(scale - step_scale):
            if divisor > 400_000_000_000_000_000:
                return 0, False, scale
            divisor *= 10
        return floor_quotient(whole, divisor), True, scale
    for _ in range(step_scale - scale):
        if whole > 400_000_000_000_000_000:
            return 0, False, scale
        whole *= 10
    return whole // step_digits, True, scale


def floor_quotient(whole: int, divisor: int) -> int:
    """`whole // divisor` for 0 <= whole < 2^53 and a positive divisor; doubles divide in half the time."""
    quotient = int(whole / divisor)
    rest = whole - quotient * divisor
    if rest < 0:
        return quotient - 1
    if rest >= divisor:
        return quotient + 1
    return quotient
