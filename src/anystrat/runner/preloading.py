"""Windows that are full at once: a history's ticks as events, before the first tick of the feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from anystrat.domain.columns import no_ticks
from anystrat.domain.events import HistoryLoaded
from anystrat.domain.notices import HandedOver, HistoryReady
from anystrat.domain.protocols import HistoryProvider, PositionedHistory
from anystrat.runner.hand_over import HandOver
from anystrat.runner.parcel import Parcel

if TYPE_CHECKING:
    from anystrat.runner.shard import Shard


class Filled(NamedTuple):
    """So many instruments of a shard got so many ticks, `missing` of them too few. `last_ns`: when each one's last was."""

    instruments: int
    ticks: int
    missing: int
    last_ns: Mapping[int, int]


async def preload(
    history: HistoryProvider, shards: Sequence[Shard], say: Callable[[HistoryReady | HandedOver], object]
) -> tuple[HandOver, Mapping[str, int]]:
    """Fill the windows of shards that have seen nothing yet.

    Who looks at what follows on that; and where the source has to begin, in a new run whose history is its own.
    """
    fresh = [shard for shard in shards if shard.next_input == 0]
    found = [fill(shard, history) for shard in fresh]
    begin_after: Mapping[str, int] = {}
    if isinstance(history, PositionedHistory) and len(fresh) == len(shards):
        begin_after = history.position()
        for shard in fresh:
            for partition, last in begin_after.items():
                # With the history, or a restart would begin elsewhere than where that ends.
                await shard.mailbox.put(Parcel(None, no_ticks(), partition, last))
    say(
        HistoryReady(
            sum(each.instruments for each in found),
            sum(each.ticks for each in found),
            sum(each.missing for each in found),
        )
    )
    return HandOver({token: last for each in found for token, last in each.last_ns.items()}, say), begin_after


def fill(shard: Shard, history: HistoryProvider) -> Filled:
    """Fill the shard's windows, as far as they are empty when it comes to that."""
    engine = shard.driver.engine
    ticks = missing = 0
    last_ns: dict[int, int] = {}
    for token, window in zip(engine.tokens, engine.windows, strict=True):
        found = history.last_ticks(token, window.capacity)
        missing += len(found) < window.capacity
        if found:
            ticks += len(found)
            times = tuple(each.ts_ns for each in found)
            last_ns[token] = times[-1]
            prices = tuple(str(each.last_price) for each in found)
            shard.mailbox.put_event(HistoryLoaded(token, times, prices))
    return Filled(len(last_ns), ticks, missing, last_ns)
