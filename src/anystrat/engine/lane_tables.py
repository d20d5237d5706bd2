"""The tables of the compiled lanes: instruments, watchers and their rules in numbers, logs of what ticks came to, switches."""

from __future__ import annotations

from collections.abc import MutableSequence
from struct import Struct
from typing import Any, Final, NamedTuple

from anystrat.engine.raw_signals import FillLog
from anystrat.engine.state import Floats, Ints

#: Kinds of watchers: those of no kind take the engine's own steps on every tick.
OTHER: Final = 0
MOMENTUM: Final = 1
MEAN_REVERSION: Final = 2
BREAKOUT: Final = 3
SMA_CROSSOVER: Final = 4

#: The engine's switches and counters, in one array: ticks accepted; whether the kill switch is on; the age of the tick
#: and the market it is in, for one call; how many entries the logs have, and how many watchers are listed; when the
#: latest ticks arrived (`LONG_AGO`: ticks have no age but what a call says); how many decimal places a price had lately;
#: how many signals were dropped of the latest tick or block, and how many ticks of that; what became of the latest tick
#: that came through a door; the price bucket of the tick number `BUCKET_TICK`, for a step of so many digits and decimals;
#: whether nobody wants to be told of paper fills, in this call and of ticks that come through a door; how many times the
#: engine took steps of its own, after which nothing holds that lanes remember of their watchers.
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
CONTROLS: Final = 19

#: What became of a tick: nothing to tell of, paper fills alone, or more. Below zero it was dropped.
QUIET: Final = 0
FILLED: Final = 1
SAID: Final = 2

#: Every watcher's bit.
EVERY_BIT: Final = 2**32 - 1


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
    """Room for a piece of a block: the ticks' flags, and what became of each: an instrument's row, or why it was dropped.

    `tokens` is a hash table with linear probing: a token, and its row plus one (0: free) as many places further on.
    """

    flags: Ints
    place: Ints
    tokens: Ints


_COUNTERS: Final = Struct(f"<{STATUS - SIGNALS + 1}q")


def counters_in(control: Any) -> tuple[int, ...]:
    """The counters from `SIGNALS` to `STATUS` in the engine's `control_array`; several looks at it cost several times that."""
    return _COUNTERS.unpack_from(control, 8 * SIGNALS)


def watcher_bit(place: int) -> int:
    """The bit of an instrument's watcher number `place`; with more of them than bits, several share one."""
    return 1 << (place & 31)
