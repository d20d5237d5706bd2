from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing

import pytest
from tests.unit.adapters.recording.recorded import one_by_one

from anystrat import plugins
from anystrat.adapters.source_subscription import SubscribedFeed
from anystrat.adapters.source_watch import WatchedFeed
from anystrat.bootstrap import default_catalog, open_source
from anystrat.config import configuration_from_mapping
from anystrat.domain.columns import TickColumns
from anystrat.domain.configuration import FeedSettings, SourceSettings
from anystrat.domain.intake import SourceFailed, SourceNotice, TickBatch
from anystrat.domain.tick import MarketTick
from anystrat.plugins import register_source
from anystrat.testing.loop import simulate
from anystrat.testing.ticks import columns, tick


class Venue:
    """Says what a script says; waits where it has a number."""

    def __init__(self, script: Iterable[MarketTick | float | Exception | str]) -> None:
        self.script = script
        self.asked: list[int] = []
        self.ended = self.closed = False

    async def subscribe(self, instrument_tokens: Iterable[int]) -> AsyncIterator[MarketTick]:
        self.asked = list(instrument_tokens)
        try:
            for each in self.script:
                if isinstance(each, float):
                    await asyncio.sleep(each)
                elif isinstance(each, Exception):
                    raise each
                else:
                    yield each  # type: ignore[misc]  # what is no tick, too
        finally:
            self.ended = True

    def replay(self) -> Iterable[TickColumns]:
        return ()

    async def close(self) -> None:
        self.closed = True


def told(venue: Venue, after: dict[str, int] | None = None) -> list[TickBatch | SourceNotice]:
    async def story() -> list[TickBatch | SourceNotice]:
        feed = SubscribedFeed(venue, "venue", [4, 5])
        found = [item async for item in feed.batches(after or {})]
        await feed.close()
        return found

    return simulate(story)


def test_ticks_that_come_together_are_a_batch_and_one_alone_does_not_wait():
    ticks = [tick(1, f"1.{i}", i) for i in range(1, 8)]
    venue = Venue([*ticks[:3], 1.0, ticks[3], 1.0, *ticks[4:]])
    batches = [item for item in told(venue) if isinstance(item, TickBatch)]
    assert [len(batch.ticks) for batch in batches] == [3, 1, 3]
    assert [batch.offsets.tolist() for batch in batches] == [[1, 2, 3], [4], [5, 6, 7]]
    assert one_by_one(batch.ticks for batch in batches) == one_by_one([columns(ticks)])
    assert venue.asked == [4, 5]
    assert venue.closed


def test_it_numbers_on_after_the_run_before():
    (batch,) = told(Venue([tick(), tick()]), {"venue": 10})
    assert isinstance(batch, TickBatch)
    assert (batch.offsets.tolist(), batch.last) == ([11, 12], 12)


def test_what_is_no_tick_is_counted_and_the_rest_goes_on():
    found = told(Venue(["nonsense", tick(1, "7")]))
    assert isinstance(found[0], SourceNotice)
    assert found[0].details == {"what": "expected a MarketTick, found str"}
    assert isinstance(found[1], TickBatch)
    assert (found[1].malformed, found[1].ticks.price.tolist(), found[1].last) == (1, [7.0], 2)


def test_what_it_raises_ends_the_source_in_words_after_what_came_before():
    venue = Venue([tick(), ValueError("the venue is gone")])

    async def story() -> int:
        batches = SubscribedFeed(venue, "venue", []).batches({})
        first = await anext(batches)
        with pytest.raises(SourceFailed, match="the source 'venue' failed: ValueError: the venue is gone"):
            await anext(batches)
        assert isinstance(first, TickBatch)
        return len(first.ticks)

    assert simulate(story) == 1


def test_a_reader_that_is_slow_holds_it_back():
    taken = [0]

    def endless() -> Iterator[MarketTick]:
        one = tick()
        while True:
            taken[0] += 1
            yield one

    async def story() -> None:
        feed = SubscribedFeed(Venue(endless()), "venue", [])
        async with aclosing(feed.batches({})) as batches:
            await anext(batches)
            await asyncio.sleep(100)
            assert taken[0] < 20_000
        assert len(asyncio.all_tasks()) == 1

    simulate(story)


def test_a_reader_that_leaves_ends_the_subscription():
    venue = Venue([tick(), 1e9])

    async def story() -> None:
        async with aclosing(SubscribedFeed(venue, "venue", []).batches({})) as batches:
            await anext(batches)
        assert venue.ended

    simulate(story)


class TestPlugins:
    @pytest.fixture(autouse=True)
    def _own_registry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plugins, "_registered", [])

    def test_a_registered_source_is_a_type_of_source(self):
        venue = Venue([tick()])
        register_source("venue", lambda _options: venue)
        mapping = {"source": {"type": "venue", "stale_after_sec": 3}, "strategies": []}
        configured = configuration_from_mapping(mapping, default_catalog())
        assert configured.source is not None
        assert (configured.source.type, configured.source.feed.stale_after_sec) == ("venue", 3)
        assert isinstance(open_source(configured.source, [7]), WatchedFeed)
        assert default_catalog().sources["venue"].origin == "this program"

    def test_a_whole_live_source_is_taken_as_it_is(self):
        whole = SubscribedFeed(Venue([]), "venue", [])
        register_source("venue", lambda _options: whole)
        assert open_source(SourceSettings("venue", None, FeedSettings())) is whole

    @pytest.mark.parametrize("name", ["file", "nats"])
    def test_the_name_of_a_built_in_source_is_taken(self, name):
        build: Callable[[object], Venue] = lambda _: Venue([])  # noqa: E731
        with pytest.raises(ValueError, match="built-in type of source"):
            register_source(name, build)
        register_source("paper", build)  # a broker's name is free here
