"""What every journal does, whatever it is kept in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.journal_places import KINDS, PLACES, Place, signal, step

from anystrat.domain.journal import Fate, Journal, JournalFailed, JournalRefused, Settled, ShardRecord, Step


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


def run(place: Place, story: Callable[[Journal], Awaitable[Any]], fingerprint: str | None = "config") -> Any:
    """Open a journal at the place, live through the story, close it."""

    async def told() -> Any:
        journal = place.journal()
        await journal.open(fingerprint)
        try:
            return await story(journal)
        finally:
            await journal.close()

    return asyncio.run(told())


async def filled(journal: Journal, signals: int = 10, broker: str = "out") -> None:
    await journal.commit([step(0, signals, signals=[signal(number, broker) for number in range(1, signals + 1)])])


async def numbers(journal: Journal, broker: str = "out") -> list[int]:
    return [each.signal.number for each in await journal.unsettled(broker, 0, 1_000)]


class TestShards:
    def test_before_its_first_commit_a_shard_has_no_record(self, place):
        assert run(place, lambda journal: journal.shard(0)) is None

    def test_a_restart_finds_the_checkpoint_and_the_inputs_since(self, place):
        async def before(journal):
            await journal.commit([step(0, 3, watermarks={"a": 5}), step(3, 2, watermarks={"b": 9})])
            await journal.commit([step(5, 4, checkpoint=b"state at 9", watermarks={"a": 6})])
            await journal.commit([step(9, 1), step(10, 2, watermarks={"b": 11})])

        run(place, before)
        assert run(place, lambda journal: journal.shard(0)) == ShardRecord(
            {"a": 6, "b": 11}, 12, b"tally 12", b"state at 9", 9, ((9, 1, b"inputs 9 of 0"), (10, 2, b"inputs 10 of 0"))
        )

    def test_without_a_checkpoint_all_inputs_are_since(self, place):
        run(place, lambda journal: journal.commit([step(0, 2), step(2, 1)]))
        record = run(place, lambda journal: journal.shard(0))
        assert (record.checkpoint, record.checkpoint_input) == (None, 0)
        assert [each[:2] for each in record.since] == [(0, 2), (2, 1)]

    def test_shards_know_nothing_of_each_other(self, place):
        async def story(journal):
            await journal.commit([step(0, 2, shard=3, watermarks={"p": 1}), step(0, 5, shard=1)])
            await journal.commit([step(2, 2, shard=3, checkpoint=b"c")])
            return [await journal.shard(shard) for shard in (1, 3)]

        one, three = run(place, story)
        assert (one.next_input, one.watermarks, one.checkpoint) == (5, {}, None)
        assert (three.next_input, three.watermarks, three.since) == (4, {"p": 1}, ())

    def test_a_step_without_inputs_moves_watermarks_alone(self, place):
        async def story(journal):
            await journal.commit([step(0, 0, watermarks={"a": 4})])
            await journal.commit([step(0, 1)])
            return await journal.shard(0), [each async for each in journal.inputs(0)]

        record, kept = run(place, story)
        assert record.watermarks == {"a": 4}
        assert kept == [(0, 1, b"inputs 0 of 0")]

    def test_inputs_are_read_from_the_step_that_holds_the_first_wanted(self, place):
        async def story(journal):
            await journal.commit([step(0, 3), step(3, 3), step(6, 3)])
            return [[each[0] async for each in journal.inputs(0, first)] for first in (0, 2, 3, 8, 9)]

        assert run(place, story) == [[0, 3, 6], [0, 3, 6], [3, 6], [6], []]
        assert run(place, lambda journal: journal.last_number("out")) == 0

    @pytest.mark.parametrize(
        "wrong", [step(1, 1), Step(0, 0, 0, b"bytes", {}, (), b""), Step(0, 0, -1, b"", {}, (), b"")]
    )
    def test_inputs_that_do_not_follow_on_are_refused(self, place, wrong):
        async def story(journal):
            with pytest.raises(ValueError, match="shard 0"):
                await journal.commit([wrong])
            assert await journal.shard(0) is None
            await journal.commit([step(0, 1)])  # and it goes on
            with pytest.raises(ValueError, match="expected inputs from number 1 on"):
                await journal.commit([step(0, 1)])

        run(place, story)


class TestOutbox:
    def test_signals_come_back_as_they_were_accepted(self, place):
        sent = [signal(1, expires_ns=99), signal(2, body=b"\x00" * 5_000), signal(3)]
        run(place, lambda journal: journal.commit([step(0, 1, signals=sent)]))
        entries = run(place, lambda journal: journal.unsettled("out", 0, 10))
        assert [each.signal for each in entries] == sent
        assert {each.fate for each in entries} == {Fate.PENDING}

    def test_numbers_are_counted_over_all_shards(self, place):
        async def story(journal):
            await journal.commit(
                [
                    step(0, 1, shard=0, signals=[signal(1), signal(1, "other")]),
                    step(0, 1, shard=1, signals=[signal(2)]),
                ]
            )
            return [await journal.last_number(broker) for broker in ("out", "other", "none")]

        assert run(place, story) == [2, 1, 0]

    @pytest.mark.parametrize("found", [0, 1, 3])
    def test_a_gap_in_the_numbers_refuses_the_whole_commit(self, place, found):
        async def story(journal):
            await filled(journal, 1)
            with pytest.raises(ValueError, match=f"expected signal 2, found {found}"):
                await journal.commit([step(1, 1, signals=[signal(1, "other")]), step(2, 1, signals=[signal(found)])])
            assert await journal.last_number("other") == 0
            assert (await journal.shard(0)).next_input == 1
            await journal.commit([step(1, 1, signals=[signal(2)])])

        run(place, story)

    def test_unsettled_is_read_in_pages(self, place):
        async def story(journal):
            await filled(journal, 7)
            await journal.settle([Settled("out", 2, 2, Fate.ACKED), Settled("out", 5, 6, Fate.DEAD)])
            pages, after = [], 0
            while page := await journal.unsettled("out", after, 2):
                pages.append([each.signal.number for each in page])
                after = page[-1].signal.number
            return pages

        assert run(place, story) == [[1, 3], [4, 7]]

    def test_a_restart_sees_which_signals_were_under_way(self, place):
        async def before(journal):
            await filled(journal, 5)
            await journal.sending("out", 1, 3)
            await journal.settle([Settled("out", 1, 2, Fate.ACKED)])

        run(place, before)
        entries = run(place, lambda journal: journal.unsettled("out", 0, 10))
        assert [(each.signal.number, each.fate) for each in entries] == [
            (3, Fate.SENDING),
            (4, Fate.PENDING),
            (5, Fate.PENDING),
        ]

    def test_what_was_surely_not_taken_is_pending_again_and_its_attempts_are_kept(self, place):
        async def story(journal):
            await filled(journal, 2)
            await journal.sending("out", 1, 2)
            await journal.settle([Settled("out", 1, 2, Fate.PENDING, "busy", 3)])
            await journal.sending("out", 1, 1)
            return await journal.unsettled("out", 0, 10)

        one, two = run(place, story)
        assert (one.fate, one.reason, one.attempts) == (Fate.SENDING, "busy", 3)
        assert (two.fate, two.reason, two.attempts) == (Fate.PENDING, "busy", 3)

    @pytest.mark.parametrize("fate", [Fate.ACKED, Fate.REJECTED, Fate.EXPIRED, Fate.DEAD, Fate.UNKNOWN])
    def test_a_final_fate_is_final(self, place, fate):
        async def story(journal):
            await filled(journal, 3)
            await journal.settle([Settled("out", 2, 2, fate, "why")])
            with pytest.raises(ValueError, match=f"signal 2 is {fate.name}"):
                await journal.sending("out", 1, 3)
            with pytest.raises(ValueError, match=f"signal 2 is {fate.name}"):
                await journal.settle([Settled("out", 3, 3, Fate.ACKED), Settled("out", 1, 2, Fate.ACKED)])
            return await journal.fates(), await numbers(journal)

        assert run(place, story) == ({"out": {Fate.PENDING: 2, fate: 1}}, [1, 3])

    @pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 1), (1, 4), (9, 9)])
    def test_signals_that_there_are_not_cannot_be_marked(self, place, first, last):
        async def story(journal):
            await filled(journal, 3)
            with pytest.raises(ValueError, match="not among 1 to 3"):
                await journal.sending("out", first, last)
            with pytest.raises(ValueError, match="not among 1 to 3"):
                await journal.settle([Settled("out", first, last, Fate.ACKED)])
            with pytest.raises(ValueError, match="not among 1 to 0"):
                await journal.sending("nobody", 1, 1)

        run(place, story)

    def test_two_outcomes_of_one_signal_in_one_call_are_refused(self, place):
        async def story(journal):
            await filled(journal, 3)
            for fates in ((Fate.ACKED, Fate.DEAD), (Fate.SENDING, Fate.ACKED)):
                with pytest.raises(ValueError, match="out"):
                    await journal.settle([Settled("out", 1, 2, fates[0]), Settled("out", 2, 3, fates[1])])
            return await journal.fates()

        assert run(place, story) == {"out": {Fate.PENDING: 3}}


class TestDeadLetters:
    async def _dead(self, journal: Journal) -> None:
        await filled(journal, 6)
        await journal.commit([step(6, 1, signals=[signal(1, "b")])])
        await journal.settle(
            [
                Settled("out", 2, 2, Fate.DEAD, "the sink is gone", 5),
                Settled("out", 4, 5, Fate.UNKNOWN, "no answer", 1),
                Settled("b", 1, 1, Fate.DEAD),
            ]
        )

    def test_they_are_listed_in_order_with_their_reasons(self, place):
        run(place, self._dead)
        letters = run(place, lambda journal: journal.dead_letters("out"))
        assert [(each.signal.number, each.fate, each.reason, each.attempts) for each in letters] == [
            (2, Fate.DEAD, "the sink is gone", 5),
            (4, Fate.UNKNOWN, "no answer", 1),
            (5, Fate.UNKNOWN, "no answer", 1),
        ]
        everybody = run(place, lambda journal: journal.dead_letters())
        assert [each.signal.broker for each in everybody] == ["b", "out", "out", "out"]

    def test_any_reason_can_be_kept(self, place):
        async def story(journal):
            await filled(journal, 2)
            await journal.settle(
                [Settled("out", 1, 1, Fate.DEAD, "no \udcff file\0"), Settled("out", 2, 2, Fate.DEAD, "€\n")]
            )

        run(place, story)
        letters = run(place, lambda journal: journal.dead_letters())
        assert [each.reason for each in letters] == ["no \\udcff file\0", "€\n"]

    def test_a_revived_signal_is_sent_again_under_its_number_with_a_new_expiry(self, place):
        async def story(journal):
            await self._dead(journal)
            assert await journal.revive("out", [2, 3, 5, 77], 12_345) == 2
            assert await journal.revive("nobody", [1], 0) == 0

        run(place, story)
        entries = run(place, lambda journal: journal.unsettled("out", 0, 10))
        assert [(each.signal.number, each.signal.expires_ns, each.attempts) for each in entries] == [
            (1, 0, 0),
            (2, 12_345, 0),
            (3, 0, 0),
            (5, 12_345, 0),
            (6, 0, 0),
        ]
        assert entries[1].signal.signal_id == f"{2:032x}"

    def test_a_revived_signal_keeps_its_expiry_when_it_dies_again(self, place):
        async def story(journal):
            await self._dead(journal)
            await journal.revive("out", [2], 12_345)
            await journal.sending("out", 2, 2)
            await journal.settle([Settled("out", 2, 2, Fate.DEAD, "again")])
            return await journal.dead_letters("out")

        assert run(place, story)[0].signal.expires_ns == 12_345


class TestCompaction:
    def test_inputs_before_the_checkpoint_go_but_for_those_that_are_wanted(self, place):
        async def story(journal):
            await journal.commit([step(at * 10, 10, checkpoint=b"c" if at == 7 else None) for at in range(10)])
            kept = []
            for keep in (1_000, 25, 0):
                await journal.compact(keep_inputs=keep, keep_settled=0)
                kept.append([each[0] async for each in journal.inputs(0)])
            return kept, await journal.shard(0)

        kept, record = run(place, story)
        assert kept == [[*range(0, 100, 10)], [*range(50, 100, 10)], [80, 90]]
        assert [each[0] for each in record.since] == [80, 90]
        assert record.checkpoint == b"c"

    def test_without_a_checkpoint_no_input_goes(self, place):
        async def story(journal):
            await journal.commit([step(0, 5), step(5, 5)])
            await journal.compact(keep_inputs=0, keep_settled=0)
            return len((await journal.shard(0)).since)

        assert run(place, story) == 2

    def test_settled_signals_go_but_for_the_last_ones_and_the_dead(self, place):
        async def story(journal):
            await filled(journal, 10)
            await journal.settle(
                [
                    Settled("out", 1, 3, Fate.ACKED),
                    Settled("out", 4, 4, Fate.DEAD, "kept"),
                    Settled("out", 5, 5, Fate.UNKNOWN),
                    Settled("out", 6, 6, Fate.REJECTED, "no"),
                    Settled("out", 8, 8, Fate.EXPIRED),
                ]
            )
            await journal.compact(keep_inputs=0, keep_settled=2)

        run(place, story)

        async def after(journal):
            with pytest.raises(ValueError, match="signal 1 is forgotten"):
                await journal.sending("out", 1, 1)
            with pytest.raises(ValueError, match="signal 6 is REJECTED"):
                await journal.sending("out", 6, 6)
            await journal.compact(keep_inputs=0, keep_settled=0)
            with pytest.raises(ValueError, match="signal 6 is forgotten"):
                await journal.sending("out", 6, 6)
            await journal.commit([step(10, 1, signals=[signal(11)])])
            letters = [(each.signal.number, each.reason) for each in await journal.dead_letters()]
            return await numbers(journal), letters, await journal.fates(), await journal.last_number("out")

        left, letters, fates, last = run(place, after)
        assert left == [7, 9, 10, 11]
        assert letters == [(4, "kept"), (5, "")]
        assert fates == {
            "out": {
                Fate.ACKED: 3,
                Fate.DEAD: 1,
                Fate.UNKNOWN: 1,
                Fate.REJECTED: 1,
                Fate.EXPIRED: 1,
                Fate.PENDING: 4,
            }
        }
        assert last == 11

    def test_commits_go_on_while_it_compacts(self, place):
        async def story(journal):
            for at in range(200):
                await journal.commit([step(at, 1, signals=[signal(at + 1)], checkpoint=b"c")])
                await journal.settle([Settled("out", at + 1, at + 1, Fate.ACKED)])
            compacted = asyncio.create_task(journal.compact(keep_inputs=3, keep_settled=3))
            for at in range(200, 220):
                await journal.commit([step(at, 1, signals=[signal(at + 1)])])
            await compacted
            return await journal.shard(0), await numbers(journal)

        record, left = run(place, story)
        assert record.next_input == 220
        assert left == [*range(201, 221)]


class TestOwnership:
    def test_the_epoch_counts_openings(self, place):
        async def epoch(journal):
            return journal.epoch

        assert [run(place, epoch) for _ in range(3)] == [1, 2, 3]

    def test_a_second_one_is_refused_while_the_first_is_open(self, place):
        async def story(journal):
            await filled(journal, 1)
            other = place.journal()
            with pytest.raises(JournalRefused, match="in use"):
                await other.open("config")
            await other.close()
            await journal.commit([step(1, 1)])  # which does the first one no harm
            with pytest.raises(JournalFailed):
                await other.commit([step(2, 1)])

        run(place, story)

    def test_who_was_taken_over_can_write_nothing_any_more(self, place):
        async def story(old):
            await filled(old, 2)
            place.lose_lock()
            new = place.journal()
            await new.open("config")
            assert new.epoch == old.epoch + 1
            for write in (
                lambda: old.commit([step(2, 1)]),
                lambda: old.sending("out", 1, 1),
                lambda: old.settle([Settled("out", 1, 1, Fate.ACKED)]),
                lambda: old.revive("out", [1], 0),
                lambda: old.set_killed(True),
                lambda: old.compact(keep_inputs=0, keep_settled=0),
            ):
                with pytest.raises(JournalFailed, match="taken over"):
                    await write()
            assert (await new.shard(0)).next_input == 2
            assert await new.fates() == {"out": {Fate.PENDING: 2}}
            await new.commit([step(2, 1)])
            await new.close()

        run(place, story)

    def test_a_closed_journal_takes_nothing(self, place):
        async def story():
            journal = place.journal()
            await journal.open("config")
            await journal.close()
            await journal.close()
            with pytest.raises(JournalFailed):
                await journal.commit([step(0, 1)])

        asyncio.run(story())

    def test_state_of_another_configuration_is_refused_and_stays(self, place):
        run(place, filled)
        with pytest.raises(JournalRefused, match="another configuration"):
            run(place, lambda journal: journal.shard(0), "other")
        assert run(place, lambda journal: journal.shard(0)).next_input == 10
        assert run(place, lambda journal: journal.last_number("out"), None) == 10
        with pytest.raises(JournalRefused, match="another configuration"):
            run(place, lambda journal: journal.shard(0), "other")

    def test_a_step_can_bind_it_to_another_configuration_from_then_on(self, place):
        async def story(journal):
            await journal.commit([step(0, 1), msgspec.structs.replace(step(1, 1), fingerprint="next")])
            await journal.commit([step(2, 1)])

        run(place, story)
        with pytest.raises(JournalRefused):
            run(place, lambda journal: journal.shard(0))
        assert run(place, lambda journal: journal.shard(0), fingerprint="next").next_input == 3

    def test_a_journal_without_state_takes_any_configuration(self, place):
        for fingerprint in ("one", "other"):
            assert run(place, lambda journal: journal.shard(0), fingerprint) is None

    def test_the_kill_switch_stays_where_it_was_set(self, place):
        assert run(place, lambda journal: journal.killed()) is False
        run(place, lambda journal: journal.set_killed(True))
        assert run(place, lambda journal: journal.killed()) is True
        run(place, lambda journal: journal.set_killed(False))
        assert run(place, lambda journal: journal.killed()) is False


class TestConcurrency:
    def test_calls_that_overlap_take_effect_in_their_order(self, place):
        async def story(journal):
            async with asyncio.TaskGroup() as group:
                for at in range(100):
                    group.create_task(journal.commit([step(at, 1, signals=[signal(at + 1)])]))
                    group.create_task(journal.sending("out", at + 1, at + 1))
                    if at % 2:
                        group.create_task(journal.settle([Settled("out", at + 1, at + 1, Fate.ACKED)]))
            return await journal.fates(), (await journal.shard(0)).next_input

        assert run(place, story) == ({"out": {Fate.SENDING: 50, Fate.ACKED: 50}}, 100)

    def test_a_refused_call_does_the_others_of_its_group_no_harm(self, place):
        async def story(journal):
            calls = [
                journal.commit([step(0, 1, signals=[signal(1)])]),
                journal.commit([step(5, 1)]),
                journal.sending("out", 9, 9),
                journal.commit([step(1, 1, signals=[signal(2)])]),
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            return [isinstance(each, ValueError) for each in results], await numbers(journal)

        assert run(place, story) == ([False, True, True, False], [1, 2])

    def test_a_commit_that_is_no_longer_awaited_is_still_made(self, place):
        async def story(journal):
            task = asyncio.create_task(journal.commit([step(0, 1)]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return (await journal.shard(0)).next_input

        assert run(place, story) == 1
