"""A shard's mailbox: bounded, in order, and exact about what it leaves out."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.configuration import Overload
from anystrat.domain.events import Command, Conflated, Operation
from anystrat.runner.mailbox import Mailbox
from anystrat.runner.parcel import Parcel
from anystrat.testing.ticks import columns, row

PAUSE = Command(Operation.PAUSE, 0)


def parcel(*tokens, at=0, partition="p", last=0):
    ticks = columns([row(token, "100", at + k) for k, token in enumerate(tokens)])
    return Parcel(None, ticks, partition, last)


def tokens_of(parcels):
    return [each.event or each.ticks.instrument_token.tolist() for each in parcels]


async def full_mailbox():
    box = Mailbox(2)
    await box.put(parcel(1, 2))
    waiting = asyncio.ensure_future(box.put(parcel(3)))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert tokens_of(await box.take(10)) == [[1, 2]]
    await waiting
    assert box.waiting_ticks == 1


def test_a_full_mailbox_holds_the_source_back_until_there_is_room():
    asyncio.run(full_mailbox())


def test_events_keep_their_place_and_are_never_refused():
    async def run():
        box = Mailbox(1)
        await box.put(parcel(1))
        box.put_event(PAUSE)
        box.put_first(Command(Operation.KILL, 0))
        return tokens_of(await box.take(10))

    assert asyncio.run(run()) == [Command(Operation.KILL, 0), [1], PAUSE]


def test_a_closed_mailbox_is_emptied_before_it_ends():
    async def run():
        box = Mailbox(10)
        await box.put(parcel(1))
        box.close()
        return [len(await box.take(5)), len(await box.take(5))]

    assert asyncio.run(run()) == [1, 0]


def test_what_is_taken_at_once_is_bounded_but_never_nothing():
    async def run():
        box = Mailbox(100)
        for _ in range(3):
            await box.put(parcel(1, 2, 3))
        return [tokens_of(await box.take(most)) for most in (4, 1, 7)]

    assert asyncio.run(run()) == [[[1, 2, 3]], [[1, 2, 3]], [[1, 2, 3]]]


@given(
    st.lists(st.one_of(st.just(PAUSE), st.lists(st.integers(1, 4), min_size=1, max_size=6)), max_size=12),
    st.integers(1, 6),
)
def test_conflation_keeps_the_latest_of_each_instrument_and_accounts_for_the_rest(items, capacity):
    async def run():
        box = Mailbox(capacity, Overload.CONFLATE)
        at = 0
        for last, item in enumerate(items):
            if item is PAUSE:
                box.put_event(PAUSE)
            else:
                await box.put(parcel(*item, at=at, last=last))
                at += len(item)
        box.close()
        taken = []
        while some := await box.take(1_000_000):
            taken += some
        return box, taken

    box, taken = asyncio.run(run())
    came = Counter(token for item in items if item is not PAUSE for token in item)
    left = Counter()
    for each in taken:
        if isinstance(each.event, Conflated):
            left[each.event.instrument_token] += each.event.ticks
        elif each.ticks is not None:
            left.update(each.ticks.instrument_token.tolist())
    assert left == came
    assert box.waiting_ticks == 0
    assert box.shed == sum(each.event.ticks for each in taken if isinstance(each.event, Conflated))
    # Between two events nothing but the latest tick of an instrument may have been left out for another of it.
    times = [each.ticks.ts_ns.tolist() for each in taken if each.ticks is not None]
    flat = [ts for part in times for ts in part]
    assert flat == sorted(flat)
    assert sum(each.event is PAUSE for each in taken) == sum(item is PAUSE for item in items)
    assert max((each.last for each in taken), default=0) == max(
        (last for last, item in enumerate(items) if item is not PAUSE), default=0
    )


def test_conflation_leaves_alone_what_fits():
    async def run():
        box = Mailbox(3, Overload.CONFLATE)
        await box.put(parcel(1, 1, 2))
        return tokens_of(await box.take(10)), box.shed

    assert asyncio.run(run()) == ([[1, 1, 2]], 0)


def test_conflation_is_bounded_by_the_instruments_however_long_nobody_takes():
    async def run():
        box = Mailbox(2, Overload.CONFLATE)
        for at in range(100):
            await box.put(parcel(1, 2, 3, at=3 * at))
        left_out = [each.event for each in await box.take(10) if each.event is not None]
        return len(box), box.shed, [(event.instrument_token, event.ticks) for event in left_out]

    waiting, shed, left_out = asyncio.run(run())
    assert waiting == 0
    assert shed == 297
    assert left_out == [(1, 99), (2, 99), (3, 99)]


def test_who_waits_for_something_is_told_of_an_event_that_comes_first():
    async def story():
        box = Mailbox(2)
        waiting = asyncio.ensure_future(box.take(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        box.put_first(PAUSE)
        assert tokens_of(await asyncio.wait_for(waiting, 5)) == [PAUSE]

    asyncio.run(story())


def test_a_parcel_of_an_event_counts_for_nothing():
    event = Parcel(event=PAUSE)
    assert (len(event), event.malformed, event.duplicates, event.kept) == (0, 0, 0, None)
    assert (event.partition, event.last, event.arrived_ns) == ("", 0, 0)


def test_whole_parcels_are_taken_as_long_as_they_fit():
    async def story():
        box = Mailbox(10)
        for token in (1, 3, 5):
            await box.put(parcel(token, token + 1))
        assert tokens_of(await box.take(4)) == [[1, 2], [3, 4]]
        assert tokens_of(await box.take(1)) == [[5, 6]]

    asyncio.run(story())


def test_a_mailbox_is_idle_only_once_who_took_the_last_has_come_back():
    async def story():
        box = Mailbox(4)
        taking = asyncio.ensure_future(box.take(1))
        await asyncio.sleep(0)
        await box.put(parcel(1))
        await taking
        idle = asyncio.ensure_future(box.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        again = asyncio.ensure_future(box.take(1))
        await asyncio.wait_for(idle, 5)
        again.cancel()

    asyncio.run(story())
