"""From one engine to another with other strategies: what stays the same goes on as if nothing had happened."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from anystrat.engine.models import serve_again, serving
from anystrat.engine.snapshot import identity
from anystrat.engine.state import REASON_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anystrat.engine.engine import Engine
    from anystrat.engine.executor import StrategyExecutor


def carry_over(old: Engine, new: Engine) -> list[StrategyExecutor]:
    """Take over what `old` knows, into `new`, which has seen nothing; the executors of `new` that go on.

    An executor goes on (state, gate, positions, waiting orders, counters) where its row, its broker, its costs and its
    instruments are what they were; any other begins anew, but keeps what its strategy emitted to its broker lately, so that
    no two decisions share a signal id. Windows go on by instrument, as far back as they are needed; the
    kill switch and what is known of the feed, too. Both engines have the same instruments configured. Raises
    `SnapshotRefused`, with `new` to be thrown away and `old` as it was, for a model version that served and cannot be had.
    """
    old.settle()
    new.settle()
    _carry_feed(old, new)
    _carry_instruments(old, new)
    before = {identity(executor): executor for executor in old.executors}
    pairs = [(before[key], each) for each in new.executors if (key := identity(each)) in before]
    while new.state.pending_room < old.state.pending_room:
        new.state.widen(pending=True)
    while new.state.recent_room < old.state.recent_room:
        new.state.widen(pending=False)
    serve_again([after for _, after in pairs], serving([earlier for earlier, _ in pairs]))
    for earlier, after in pairs:
        _carry_executor(old, new, earlier, after)
    goes_on = {after.row for _, after in pairs}
    if new.account is not None:
        new.account.carry(old.account.dump()) if old.account is not None else new.account.begin()
    _carry_emissions(old, new, [each for each in new.executors if each.row not in goes_on])
    new.look_again()
    return [after for _, after in pairs]


def _carry_feed(old: Engine, new: Engine) -> None:
    new.killed = old.killed
    new.arrived_ns, new.feed_stale = old.arrived_ns, old.feed_stale
    new.ticks = old.ticks
    new.tick_drops = Counter(old.tick_drops)
    new.outside_calendar = set(old.outside_calendar)
    new.deadlines.load(old.deadlines.dump())
    new.losses.load(old.losses.dump())


def _carry_instruments(old: Engine, new: Engine) -> None:
    rows = {token: row for row, token in enumerate(old.tokens)}
    for row, token in enumerate(new.tokens):
        earlier = rows.get(token)
        if earlier is None:
            continue
        new.state.tables["instrument"][row] = old.state.tables["instrument"][earlier]
        window = new.windows[row]
        for tick in old.windows[earlier].rows()[-window.capacity :]:
            window.push(tick)
    for (row, spec), feed in new.bars.feeds.items():
        there = old.bars.feeds.get((rows.get(new.tokens[row], -1), spec))
        if there is not None:
            for bar in there.window.rows()[-feed.window.capacity :]:
                feed.window.push(bar)
            feed.load(*there.dump())


def _carry_emissions(old: Engine, new: Engine, fresh: Sequence[StrategyExecutor]) -> None:
    """An id is of the strategy's name, broker, instrument, side, price bucket and time: whatever else changed, it is taken."""
    # A strategy may have several executors of a broker, one for each instrument.
    before = {
        (one.config.strategy_id, one.broker, one.risk.price_bucket, token): slot
        for one in old.executors
        for token, slot in one.slots.items()
    }
    source, target = old.state.tables, new.state.tables
    room = 2 * old.state.recent_room
    for after in fresh:
        for token, slot in after.slots.items():
            there = before.get((after.config.strategy_id, after.broker, after.risk.price_bucket, token))
            if there is not None:
                target["slot"]["recent_count"][slot] = source["slot"]["recent_count"][there]
                target["recent"][slot * room : (slot + 1) * room] = source["recent"][there * room : (there + 1) * room]


def _carry_executor(old: Engine, new: Engine, earlier: StrategyExecutor, after: StrategyExecutor) -> None:
    source, target = old.state.tables, new.state.tables
    e, f = earlier.row, after.row
    target["executor"][f] = source["executor"][e]
    target["drops"][f * REASON_COLUMNS : (f + 1) * REASON_COLUMNS] = source["drops"][
        e * REASON_COLUMNS : (e + 1) * REASON_COLUMNS
    ]
    kept = int(source["limits"]["per_minute"][e])
    start, begin = int(source["limits"]["rate_start"][e]), int(target["limits"]["rate_start"][f])
    target["rate_ts"][begin : begin + kept] = source["rate_ts"][start : start + kept]
    for token, slot in after.slots.items():
        there = earlier.slots[token]
        instrument = int(target["slot"]["instrument"][slot])
        target["slot"][slot] = source["slot"][there]
        target["slot"]["instrument"][slot] = instrument
        for name, room in (("pending", old.state.pending_room), ("recent", 2 * old.state.recent_room)):
            target[name][slot * room : (slot + 1) * room] = source[name][there * room : (there + 1) * room]
    after.error_times[:] = earlier.error_times
    after.own_drops = dict(earlier.own_drops)
