"""What every source does, wherever its ticks come from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from tests.contract.source_places import COUNT, FLEETING, PLACES, SERVED, Place

from anystrat.domain.intake import LiveSource, NoticeKind, SourceNotice, TickBatch


def built(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if name in SERVED:
        return SERVED[name](request.getfixturevalue(f"{name}_server"))
    return PLACES[name](tmp_path)


@pytest.fixture(params=[*PLACES, *SERVED])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return built(request.param, request, tmp_path)


@pytest.fixture(params=[name for name in [*PLACES, *SERVED] if name not in FLEETING])
def resumable(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return built(request.param, request, tmp_path)


@pytest.fixture(params=FLEETING)
def fleeting(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return built(request.param, request, tmp_path)


async def told(feed: LiveSource, after: Mapping[str, int]) -> list[TickBatch | SourceNotice]:
    async with aclosing(feed.batches(after)) as batches:
        found = [item async for item in batches]
    await feed.close()
    return found


def all_of(place: Place, after: Mapping[str, int] | None = None) -> list[TickBatch]:
    found = asyncio.run(told(place.feed(), after or {}))
    return [item for item in found if isinstance(item, TickBatch)]


def content(batches: list[TickBatch]) -> list[tuple[int, int, int, float]]:
    """(offset, time, instrument, price) of every tick."""
    return [
        (offset, row.ts_ns, row.instrument_token, row.price)
        for batch in batches
        for offset, row in zip(batch.offsets.tolist(), batch.ticks.rows(), strict=True)
    ]


def test_all_ticks_come_once_and_then_it_ends(place):
    assert len(content(all_of(place))) == COUNT


def test_offsets_never_descend_and_each_batch_answers_for_its_own(place):
    before = 0
    for batch in all_of(place):
        assert len(batch.offsets) == len(batch.ticks)
        assert batch.offsets.dtype == np.int64
        assert (np.diff(batch.offsets, prepend=before) >= 0).all()
        assert len(batch.offsets) == 0 or (batch.offsets[0] > before and batch.offsets[-1] <= batch.last)
        assert batch.last > before
        before = batch.last


def test_the_same_is_told_again_after_a_restart(resumable):
    assert content(all_of(resumable)) == content(all_of(resumable))


def test_it_goes_on_after_any_offset(resumable):
    batches = all_of(resumable)
    (partition,) = {batch.partition for batch in batches}
    whole = content(batches)
    last = batches[-1].last
    for after in [0, 1, 63, 64, 65, min(249, last), *(batch.last for batch in batches[::5]), last]:
        again = all_of(resumable, {partition: after})
        assert content(again) == [each for each in whole if each[0] > after]
        assert all(batch.last > after for batch in again)


def test_what_is_no_tick_is_counted_once(place):
    assert sum(batch.malformed for batch in all_of(place)) == place.malformed


def test_over_a_restart_too(resumable):
    batches = all_of(resumable)
    for split in range(len(batches)):
        rest = all_of(resumable, {batches[split].partition: batches[split].last})
        assert sum(batch.malformed for batch in [*batches[: split + 1], *rest]) == resumable.malformed


def test_every_source_says_whether_it_can_go_on(resumable, fleeting):
    assert resumable.feed().resumable
    assert not fleeting.feed().resumable


def test_a_source_that_begins_anew_numbers_on_after_the_last_offset(fleeting):
    first = all_of(fleeting)
    second = all_of(fleeting, {first[0].partition: first[-1].last})
    shift = first[-1].last
    assert [(offset - shift, *rest) for offset, *rest in content(second)] == content(first)


def test_the_first_malformed_ones_are_told_of(place):
    notices = [item for item in asyncio.run(told(place.feed(), {})) if isinstance(item, SourceNotice)]
    assert {notice.kind for notice in notices} <= {NoticeKind.QUARANTINED}
    assert min(1, place.malformed) <= len(notices) <= place.malformed


def test_acknowledging_more_than_once_or_late_does_no_harm(place):
    async def story() -> int:
        feed, found = place.feed(), 0
        async with aclosing(feed.batches({})) as batches:
            async for item in batches:
                if isinstance(item, TickBatch):
                    found += len(item.ticks)
                    await feed.acknowledge(item.partition, item.last)
                    await feed.acknowledge(item.partition, 0)
        await feed.acknowledge("nowhere", 10**9)
        await feed.close()
        return found

    assert asyncio.run(story()) == COUNT


def test_a_reader_may_leave_in_the_middle(place):
    async def story() -> int:
        feed = place.feed()
        async with aclosing(feed.batches({})) as batches:
            async for item in batches:
                if isinstance(item, TickBatch):
                    break
        await feed.close()
        return len(asyncio.all_tasks())

    assert asyncio.run(story()) == 1


def test_so_may_one_that_is_cancelled_while_it_waits(place):
    async def story() -> None:
        feed = place.feed()

        async def read() -> None:
            async with aclosing(feed.batches({})) as batches:
                async for _ in batches:
                    await asyncio.sleep(0)

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await feed.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())
