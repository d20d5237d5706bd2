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
from anystrat.runner.intake import Heard, Intake, _pieces
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


def test_a_partition_of_which_nothing_is_known_keeps_no_other_one_waiting():
    known = Acknowledgements()
    known.handed("p", 0, 4)
    known.read("p", 4)
    known.committed(0, {"unheard of": 1, "p": 4})
    assert known.acknowledgeable() == {"p": 4}


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


def one_plan():
    return plan_shards([StrategyConfig("s", "momentum", None, tuple(TOKENS))], 1)


def test_with_one_shard_all_is_its_own_and_what_it_had_is_counted():
    async def run():
        intake, (box,), known = intake_over(one_plan())
        first, again, further = batch([(0, [1]), (1, [2, 3])]), batch([(1, [2, 3])]), batch([(1, [2, 3]), (2, [4])])
        await intake.run(ListSource([first, again, further]), {})
        parcels = [(prices_in([each]), each.last, each.duplicates) for each in await emptied(box)]
        known.committed(0, {"p": 2})
        return parcels, known.acknowledgeable(), intake.heard["p"]

    parcels, acknowledgeable, heard = asyncio.run(run())
    assert parcels == [([1.0, 101.0, 102.0], 1, 0), ([], 1, 2), ([201.0], 2, 2)]
    assert acknowledgeable == {"p": 2}
    assert heard == Heard(received=8, duplicates=4, malformed=0, at_ns=77)


def test_a_single_shard_too_moves_on_with_a_batch_without_ticks():
    async def run():
        intake, (box,), _ = intake_over(one_plan())
        await intake.run(ListSource([TickBatch("p", columns([]), np.zeros(0, np.int64), 5, 1)]), {})
        return [(len(each), each.last, each.malformed) for each in await emptied(box)]

    assert asyncio.run(run()) == [(0, 5, 1)]


def test_two_shards_have_each_its_own():
    plan = plan_shards([StrategyConfig(f"s{token}", "momentum", None, (token,)) for token in TOKENS], 2)

    async def run():
        intake, boxes, _ = intake_over(plan)
        await intake.run(ListSource([batch([(1, TOKENS)])]), {})
        return [
            [plan.shard_of[token] for each in await emptied(box) for token in each.ticks.instrument_token.tolist()]
            for box in boxes
        ]

    zeros, ones = asyncio.run(run())
    assert set(zeros) == {0}
    assert set(ones) == {1}
    assert len(zeros) + len(ones) == len(TOKENS)


def test_each_partition_is_heard_on_its_own():
    async def run():
        intake, _, _ = intake_over()
        bad = batch([(3, [1, 2])], malformed=2)
        await intake.run(
            ListSource([bad, bad, batch([(4, [1])], "q", malformed=1), batch([(5, [])], "q", malformed=3)]), {}
        )
        return intake.heard

    assert asyncio.run(run()) == {"p": Heard(4, 2, 2, 77), "q": Heard(1, 0, 4, 77)}


def test_a_batch_that_moved_nothing_on_is_acknowledged_no_second_time():
    async def run():
        intake, boxes, known = intake_over()
        shard = PLAN.shard_of[1]
        for messages in ([(4, [1])], [(3, [1])], [(4, [1])]):
            await intake.hand_out(batch(messages))
        moved = [parcel.last for parcel in await emptied(boxes[shard])]
        known.committed(shard, {"p": 4})
        said = [known.acknowledgeable(), known.acknowledgeable()]
        await intake.hand_out(batch([(4, [1])]))
        return moved, said, known.acknowledgeable(), intake.read

    # What comes again is older, and the shard has consumed the partition up to 4 all the same.
    assert asyncio.run(run()) == ([4, 4, 4], [{"p": 4}, {}], {}, {"p": 4})


def test_only_shard_0_accounts_for_malformed_rows_also_of_a_batch_that_is_not_for_it():
    async def run():
        intake, boxes, _ = intake_over()
        mine, other = (next(each for each in TOKENS if (PLAN.shard_of[each] == 0) is zero) for zero in (True, False))
        for offset, (tokens, bad) in enumerate([((other,), 5), ((mine, other), 7), ((other,), 0)]):
            await intake.hand_out(batch([(offset, tokens)], malformed=bad))
        return [
            [(len(each), each.malformed, each.duplicates) for each in await emptied(box)] for box in boxes
        ], PLAN.shard_of[other]

    found, other = asyncio.run(run())
    assert found[0] == [(0, 5, 0), (1, 7, 0)]
    assert found[other] == [(1, 0, 0)] * 3


def test_nothing_is_handed_out_while_paused():
    async def run():
        intake, boxes, _ = intake_over()
        intake.pause()
        waiting = asyncio.ensure_future(intake.hand_out(batch([(1, TOKENS)])))
        await asyncio.sleep(0)
        paused = sum(map(len, boxes))
        intake.go_on()
        await waiting
        return paused, sum(map(len, boxes))

    paused, after = asyncio.run(run())
    assert paused == 0
    assert after > 0


def test_what_follows_on_a_history_is_looked_at():
    class Looking:
        def __init__(self):
            self.seen = []

        def see(self, ticks):
            self.seen.append(len(ticks))

    async def run():
        intake, _, _ = intake_over()
        intake.hand_over = Looking()
        await intake.run(ListSource([batch([(1, TOKENS)])]), {})
        return intake.hand_over.seen

    assert asyncio.run(run()) == [len(TOKENS)]


def test_a_source_that_cannot_go_back_goes_on_after_all_that_any_shard_had():
    intake, _, _ = intake_over()
    marks = [{"p": 0}, {"p": 8}, {"q": 3}]
    assert intake.resume(marks) == {}
    assert intake.resume(marks, resumable=False) == {"p": 8, "q": 3}
    assert intake.resume([{"p": 0}, {"p": 8}, {"p": 9}]) == {"p": 0}


def test_pieces_are_as_large_as_they_may_be_end_with_their_messages_and_have_their_own_malformed_rows():
    messages = [(0, [1, 2]), (1, [1, 2]), (2, []), (3, [1, 2, 3]), (4, []), (5, [1, 2])]
    whole = replace(batch(messages, malformed=2), malformed_at=np.array([2, 4]))

    def cut(batch, at_most):
        return [
            (each.offsets.tolist(), each.last, each.malformed, each.malformed_at.tolist())
            for each in _pieces(batch, at_most)
        ]

    assert [each.last for each in _pieces(batch([(0, [1]), (1, [1]), (2, [1])]), 1)] == [0, 1, 2]
    assert cut(whole, 9) == [([0, 0, 1, 1, 3, 3, 3, 5, 5], 5, 2, [2, 4])]
    assert cut(whole, 4) == [([0, 0, 1, 1], 1, 0, []), ([3, 3, 3, 5, 5], 5, 2, [2, 4])]
    assert cut(whole, 3) == [([0, 0, 1, 1], 1, 0, []), ([3, 3, 3], 3, 1, [2]), ([5, 5], 5, 1, [4])]
    plain = [
        (each.offsets.tolist(), each.malformed, each.malformed_at) for each in _pieces(batch(messages, malformed=2), 4)
    ]
    assert plain == [([0, 0, 1, 1], 0, None), ([3, 3, 3, 5, 5], 2, None)]
