"""Intake: each tick reaches its shard once, whatever the source delivers again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anystrat.domain.configuration import StrategyConfig
from anystrat.domain.intake import NoticeKind, SourceNotice, TickBatch
from anystrat.runner.acknowledging import Acknowledgements
from anystrat.runner.intake import Intake
from anystrat.runner.mailbox import Mailbox
from anystrat.runner.plan import plan_shards
from anystrat.testing.ticks import columns, row

TOKENS = range(6)
PLAN = plan_shards([StrategyConfig(f"s{token}", "momentum", None, (token,)) for token in TOKENS], 3)


class StillClock:
    def now_ns(self):
        return 77


class ListSource:
    """Delivers what it is given."""

    def __init__(self, items):
        self.items = items
        self.after = None

    async def batches(self, after):
        self.after = dict(after)
        for item in self.items:
            yield item


def batch(messages, partition="p", malformed=0):
    """A batch of messages: (offset, tokens) each. A tick's price says which it is: offset · 100 + place."""
    rows, offsets = [], []
    for offset, tokens in messages:
        for place, token in enumerate(tokens):
            rows.append(row(token, str(offset * 100 + place + 1), offset))
            offsets.append(offset)
    return TickBatch(partition, columns(rows), np.array(offsets, np.int64), messages[-1][0], malformed)


def intake_over(plan=PLAN, **options):
    boxes = [Mailbox(1_000_000) for _ in range(plan.count)]
    known = Acknowledgements()
    return Intake(plan, boxes, known, StillClock(), **options), boxes, known


async def emptied(box):
    return await box.take(10**9) if len(box) else []


def prices_in(parcels):
    return [price for each in parcels if each.ticks is not None for price in each.ticks.price.tolist()]


MESSAGES = st.lists(st.lists(st.sampled_from(TOKENS), max_size=4), min_size=1, max_size=12).map(
    lambda all_: list(enumerate(all_, start=1))
)


@given(MESSAGES, st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4)), max_size=6))
def test_a_tick_that_comes_again_goes_nowhere_and_is_counted(messages, redelivered):
    batches = [batch([each]) for each in messages]
    # Redeliveries follow on what was delivered before them.
    for at, many in redelivered:
        if at < len(messages):
            batches.append(batch(messages[at : at + many]))

    async def run():
        intake, boxes, _ = intake_over()
        await intake.run(ListSource(batches), {})
        return [await emptied(box) for box in boxes]

    found = asyncio.run(run())
    expected = [batch([each]).ticks for each in messages]
    for shard, parcels in enumerate(found):
        mine = [
            price
            for ticks in expected
            for token, price in zip(ticks.instrument_token.tolist(), ticks.price.tolist(), strict=True)
            if PLAN.shard_of[token] == shard
        ]
        assert prices_in(parcels) == mine
    came = sum(len(each.ticks) for each in batches)
    handed = sum(len(prices_in(parcels)) for parcels in found)
    assert came == handed + sum(each.duplicates for parcels in found for each in parcels)


@given(MESSAGES, st.lists(st.integers(-1, 12), min_size=3, max_size=3))
def test_after_a_restart_each_shard_goes_on_after_its_own_watermark(messages, committed):
    async def run():
        intake, boxes, _ = intake_over()
        after = intake.resume([{"p": mark} if mark >= 0 else {} for mark in committed])
        source = ListSource([batch(messages)])
        await intake.run(source, after)
        return source.after, [await emptied(box) for box in boxes]

    after, found = asyncio.run(run())
    assert after == ({"p": min(committed)} if min(committed) >= 0 else {})
    for shard, parcels in enumerate(found):
        offsets = [(int(price) - 1) // 100 for price in prices_in(parcels)]
        assert all(offset > committed[shard] for offset in offsets)
        wanted = sum(PLAN.shard_of[token] == shard and at > committed[shard] for at, some in messages for token in some)
        assert len(offsets) == wanted


def test_a_batch_is_acknowledgeable_once_every_shard_has_committed_its_part():
    async def run():
        intake, boxes, known = intake_over()
        await intake.run(ListSource([batch([(1, TOKENS)]), batch([(2, TOKENS)])]), {})
        parts = [(shard, parcel.last) for shard, box in enumerate(boxes) for parcel in await emptied(box)]
        said = []
        for shard, last in sorted(parts, key=lambda each: each[1]):
            known.committed(shard, {"p": last})
            said.append(known.acknowledgeable())
        return said

    said = asyncio.run(run())
    assert [each for each in said if each] == [{"p": 1}, {"p": 2}]
    assert said[2] == {"p": 1}
    assert said[-1] == {"p": 2}


def test_a_shard_that_stands_still_holds_back_the_acknowledgement_of_its_own_part_alone():
    known = Acknowledgements()
    known.handed("p", 0, 1)
    known.read("p", 1)
    known.committed(0, {"p": 1})
    assert known.acknowledgeable() == {"p": 1}
    for last in range(2, 1_000):
        for shard in (0, 1):
            known.handed("p", shard, last)
        known.read("p", last)
        known.committed(0, {"p": last, "q": 7})
        assert known.acknowledgeable() == {}
    known.committed(1, {"p": 500})
    assert known.acknowledgeable() == {"p": 500}
    known.committed(1, {"p": 999})
    assert known.acknowledgeable() == {"p": 999}
    assert known.acknowledgeable() == {}


def test_nothing_is_acknowledgeable_before_all_parts_of_a_batch_are_handed_out():
    known = Acknowledgements()
    for shard in (0, 1):
        known.handed("p", shard, 4)
    known.committed(0, {"p": 4})
    known.committed(1, {"p": 4})
    assert known.acknowledgeable() == {}
    known.read("p", 4)
    assert known.acknowledgeable() == {"p": 4}


def test_a_batch_without_ticks_moves_on_and_its_malformed_rows_are_counted_once():
    async def run():
        intake, boxes, known = intake_over()
        empty = TickBatch("p", columns([]), np.zeros(0, np.int64), 5, 3)
        await intake.run(ListSource([empty, empty]), {})
        parts = [(shard, parcel) for shard, box in enumerate(boxes) for parcel in await emptied(box)]
        for shard, parcel in parts:
            known.committed(shard, {"p": parcel.last})
        return [parcel for _, parcel in parts], known.acknowledgeable()

    parcels, acknowledged = asyncio.run(run())
    assert sum(each.malformed for each in parcels) == 3
    assert acknowledged == {"p": 5}


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=6), st.integers(1, 5))
def test_malformed_messages_are_counted_once_wherever_batches_end_when_they_come_again(ranges, at_most):
    bad = [2, 3, 7, 12]

    def again(first, last):
        among = np.array([each for each in bad if first <= each <= last], np.int64)
        messages = [(offset, [] if offset in bad else TOKENS[:2]) for offset in range(first, last + 1)]
        found = batch(messages, malformed=len(among))
        return replace(found, malformed_at=among)

    reads = [(first, min(12, first + more)) for first, more in ranges]
    read = 0
    batches = []
    for first, last in [*reads, (1, 12)]:
        # A source goes back, but never skips.
        batches.append(again(min(first, read + 1), max(last, min(first, read + 1))))
        read = max(read, batches[-1].last)

    async def run():
        intake, boxes, _ = intake_over(at_most=at_most)
        await intake.run(ListSource(batches), {})
        return sum([parcel.malformed for box in boxes for parcel in await emptied(box)])

    assert asyncio.run(run()) == len(bad)


def test_partitions_are_counted_on_their_own():
    async def run():
        intake, boxes, _ = intake_over()
        await intake.run(ListSource([batch([(9, [1])]), batch([(2, [1])], "q")]), {})
        return [parcel for box in boxes for parcel in await emptied(box)]

    parcels = asyncio.run(run())
    assert [(each.partition, each.last, len(each), each.arrived_ns) for each in parcels] == [
        ("p", 9, 1, 77),
        ("q", 2, 1, 77),
    ]


def test_a_shard_that_is_not_concerned_is_not_said_to_have_read_on_before_all_parts_are_handed_out():
    async def run():
        intake, boxes, _ = intake_over()
        first = next(k for k, box in enumerate(boxes) if PLAN.tokens_of(k))
        boxes[first].capacity = 0
        waiting = asyncio.ensure_future(intake.hand_out(batch([(1, TOKENS)])))
        await asyncio.sleep(0)
        before = dict(intake.read)
        boxes[first].capacity = 100
        boxes[first]._room.set()
        await waiting
        return before, intake.read

    assert asyncio.run(run()) == ({}, {"p": 1})


def test_what_the_source_says_is_passed_on_at_its_place():
    heard = []
    notice = SourceNotice(NoticeKind.GAP, "p", {"from": 3})

    async def run():
        intake, _, _ = intake_over(on_notice=heard.append)
        await intake.run(ListSource([batch([(1, [1])]), notice]), {})

    asyncio.run(run())
    assert heard == [notice]
