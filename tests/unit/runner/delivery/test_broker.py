from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from tests.unit.runner.delivery.scene import FAILED, REJECTED, UNKNOWN, Scene, play

from anystrat.domain.configuration import DeliveryOptions
from anystrat.domain.delivery import TAKEN, Idempotent, Neither, Reconcilable, SendResult, SinkUnavailable, Verdict
from anystrat.domain.health import Breaker
from anystrat.domain.journal import Fate, JournalFailed
from anystrat.domain.notices import DeadLettered, Expired


class TestOrderAndGroups:
    def test_signals_arrive_in_order_in_groups_of_what_the_sink_takes(self) -> None:
        async def story(scene: Scene) -> None:
            await scene.accept(10)
            await scene.settled()
            assert scene.sink.took == list(range(1, 11))
            assert max(len(group) for _, group in scene.sink.groups) == 4
            assert await scene.fates() == {"ACKED": 10}

        play(story, largest_group=4)

    def test_the_configuration_can_make_groups_smaller(self) -> None:
        async def story(scene: Scene) -> None:
            await scene.accept(5)
            await scene.settled()
            assert [group for _, group in scene.sink.groups] == [[1, 2], [3, 4], [5]]

        play(story, options=DeliveryOptions(largest_group=2))

    def test_memory_is_bounded_and_the_rest_is_read_back_in_order(self) -> None:
        async def story(scene: Scene) -> None:
            scene.sink.latency = 0.1
            held = 0
            for _ in range(50):
                await scene.accept(37)
                held = max(held, len(scene.delivery._window))
            assert held <= 4 * 16
            assert scene.delivery.health().queued > 1_500
            await scene.settled()
            assert scene.sink.took == list(range(1, 50 * 37 + 1))
            assert scene.sink.sent == scene.sink.took

        play(story, largest_group=16)

    def test_a_signal_that_was_read_back_before_it_was_handed_over_goes_out_once(self) -> None:
        async def story(scene: Scene) -> None:
            signals = await scene.accept(3, hand_over=False)
            scene.run()
            await scene.until(lambda: len(scene.sink.took) == 3)
            await scene.delivery.accept(signals)
            await scene.accept(2)
            await scene.settled()
            assert scene.sink.sent == [1, 2, 3, 4, 5]

        play(story, started=False)

    def test_the_mark_is_made_before_the_send_and_covers_the_group_alone(self) -> None:
        async def story(scene: Scene) -> None:
            seen: list[Fate] = []

            async def look(signals):
                seen.extend([await scene.fate(1), await scene.fate(2), await scene.fate(3)])
                return [TAKEN] * len(signals)

            scene.sink.answer = look
            await scene.accept(3)
            await scene.settled()
            assert seen[:3] == [Fate.SENDING, Fate.SENDING, Fate.PENDING]

        play(story, largest_group=2)


class TestVerdicts:
    def test_a_rejected_signal_is_not_tried_again_and_holds_nobody_up(self) -> None:
        async def story(scene: Scene) -> None:
            async def refuse_second(signals):
                return [REJECTED if signal.number == 2 else scene.sink.effect(signal) for signal in signals]

            scene.sink.answer = refuse_second
            await scene.accept(3)
            await scene.settled()
            assert scene.sink.sent == [1, 2, 3]
            assert await scene.fates() == {"ACKED": 2, "REJECTED": 1}
            assert scene.dead == []

        play(story)

    def test_of_a_group_only_what_failed_is_sent_again(self) -> None:
        async def story(scene: Scene) -> None:
            failing = {2, 4}

            async def some(signals):
                results = [FAILED if signal.number in failing else scene.sink.effect(signal) for signal in signals]
                failing.clear()
                return results

            scene.sink.answer = some
            await scene.accept(5, strategies=5)
            await scene.settled()
            assert sorted(scene.sink.sent) == [1, 2, 2, 3, 4, 4, 5]
            assert await scene.fates() == {"ACKED": 5}
            assert scene.delivery.health().retries >= 1

        play(story)

    def test_while_a_signal_waits_for_its_next_attempt_only_its_strategy_waits_with_it(self) -> None:
        async def story(scene: Scene) -> None:
            async def first_fails_twice(signals):
                bad = signals[0].number == 1 and scene.sink.sent.count(1) < 3
                return [FAILED if bad and signal.number == 1 else scene.sink.effect(signal) for signal in signals]

            scene.sink.answer = first_fails_twice
            await scene.accept(1, strategies=2)  # strat-1
            await scene.until(lambda: bool(scene.sink.groups))
            await scene.accept(4, strategies=2)  # strat-0, strat-1, strat-0, strat-1
            await scene.settled()
            assert [n for n in scene.sink.took if n % 2 == 1] == [1, 3, 5]
            assert [n for n in scene.sink.took if n % 2 == 0] == [2, 4]
            assert scene.sink.took.index(4) < scene.sink.took.index(1)

        play(story, largest_group=1, options=DeliveryOptions(backoff_sec=5, max_backoff_sec=60))

    def test_after_so_many_attempts_a_signal_is_dead_and_its_strategy_hears_of_it(self) -> None:
        async def story(scene: Scene) -> None:
            async def never(signals):
                return [FAILED if signal.number == 1 else scene.sink.effect(signal) for signal in signals]

            scene.sink.answer = never
            await scene.accept(2, strategies=2)
            await scene.settled()
            assert scene.sink.sent.count(1) == 3
            assert scene.dead == [1]
            [letter] = await scene.journal.dead_letters("out")
            assert (letter.fate, letter.reason, letter.attempts) == (Fate.DEAD, "not now", 3)
            [notice] = [each for each in scene.notices if isinstance(each, DeadLettered)]
            assert (notice.fate, notice.attempts, notice.signal_id) == ("dead", 3, f"{1:032x}")

        play(story, options=DeliveryOptions(attempts=3))

    def test_a_signal_is_a_dead_letter_only_once_the_runner_has_dealt_with_it(self) -> None:
        async def story(scene: Scene) -> None:
            async def mixed(signals):
                return [FAILED if signal.number == 2 else scene.sink.effect(signal) for signal in signals]

            fates = []

            async def dealt_with(signals):
                await asyncio.sleep(1)
                ranges = scene.store.book.brokers["out"].ranges
                fates.append([each.number for each in signals])
                fates.append([ranges.within(number, number)[0].fate for number in (1, 2, 3)])

            scene.sink.answer = mixed
            scene.delivery._on_dead = dealt_with
            await scene.accept(3)
            await scene.settled()
            # What the sink took is settled at once: that may be known to nobody else.
            assert fates == [[2], [Fate.ACKED, Fate.SENDING, Fate.ACKED]]
            [letter] = await scene.journal.dead_letters("out")
            assert letter.fate is Fate.DEAD

        play(story, options=DeliveryOptions(attempts=1))

    def test_a_crash_before_the_runner_has_dealt_with_it_leaves_a_signal_to_be_given_up_again(self) -> None:
        async def story(scene: Scene) -> None:
            async def never(signals):
                return [FAILED] * len(signals)

            scene.sink.answer = never
            scene.delivery._on_dead = lambda signals: asyncio.sleep(3_600)
            await scene.accept(1)
            await asyncio.sleep(10)
            await scene.crash()
            following = await scene.again()
            await following.settled()
            assert following.dead == [1]
            [letter] = await following.journal.dead_letters("out")
            assert letter.fate is Fate.UNKNOWN

        play(story, options=DeliveryOptions(attempts=1))

    def test_waits_double_and_are_drawn_from_the_given_randomness(self) -> None:
        async def story(scene: Scene) -> None:
            async def never(signals):
                return [FAILED] * len(signals)

            scene.sink.answer = never
            await scene.accept(1)
            await scene.settled()
            times = [when for when, _ in scene.sink.groups]
            same = random.Random(7)
            expected = [same.uniform(0, ceiling) for ceiling in (2.0, 4.0, 8.0, 8.0)]
            assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx(expected, abs=1e-6)

        play(story, options=DeliveryOptions(attempts=5, backoff_sec=2, max_backoff_sec=8))

    def test_a_sink_that_asks_for_patience_is_left_alone_and_costs_no_attempt(self) -> None:
        async def story(scene: Scene) -> None:
            async def busy(signals):
                if len(scene.sink.groups) <= 5:
                    return [SendResult(Verdict.FAILED, "429", retry_after_sec=30)] * len(signals)
                return [scene.sink.effect(signal) for signal in signals]

            scene.sink.answer = busy
            await scene.accept(2)
            await scene.settled()
            times = [when for when, _ in scene.sink.groups]
            assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx([30.0] * 5)
            assert await scene.fates() == {"ACKED": 2}

        play(story, options=DeliveryOptions(attempts=2))

    def test_attempts_are_remembered_over_a_restart(self) -> None:
        async def story(scene: Scene) -> None:
            async def never(signals):
                return [FAILED] * len(signals)

            scene.sink.answer = never
            await scene.accept(1)
            await scene.until(lambda: len(scene.sink.groups) == 2)
            await asyncio.sleep(0)
            await scene.crash()
            following = await scene.again()
            await following.settled()
            assert len(scene.sink.groups) == 4
            assert await following.fates() == {"DEAD": 1}

        play(story, options=DeliveryOptions(attempts=4, backoff_sec=100, max_backoff_sec=100))


class TestUnknownOutcomes:
    @staticmethod
    async def vanish_once(scene: Scene, *, effect: bool) -> None:
        """The first answer never comes; `effect`: though the sink had taken the group."""

        async def answer(signals):
            if len(scene.sink.groups) == 1:
                if effect:
                    await scene.sink.take(signals)
                await asyncio.Event().wait()
            return await scene.sink.take(signals)

        scene.sink.answer = answer

    @pytest.mark.parametrize("effect", [True, False])
    def test_an_idempotent_sink_gets_the_same_id_again(self, effect) -> None:
        async def story(scene: Scene) -> None:
            await self.vanish_once(scene, effect=effect)
            await scene.accept(1)
            await scene.settled()
            assert scene.sink.sent == [1, 1]
            assert scene.sink.held == {f"{1:032x}": 1}
            assert await scene.fates() == {"ACKED": 1}

        play(story, guarantee=Idempotent(120.0))

    def test_a_reconcilable_sink_is_asked_and_not_sent_to_again_where_it_has_it(self) -> None:
        async def story(scene: Scene) -> None:
            await self.vanish_once(scene, effect=True)
            await scene.accept(3)
            await scene.settled()
            assert scene.sink.asked
            assert scene.sink.sent == [1, 2, 3]
            assert await scene.fates() == {"ACKED": 3}

        play(story, guarantee=Reconcilable())

    def test_a_reconcilable_sink_gets_again_what_it_does_not_have(self) -> None:
        async def story(scene: Scene) -> None:
            await self.vanish_once(scene, effect=False)
            await scene.accept(1)
            await scene.settled()
            assert scene.sink.sent == [1, 1]
            assert scene.sink.held == {f"{1:032x}": 1}

        play(story, guarantee=Reconcilable())

    def test_a_sink_that_cannot_say_is_asked_again_and_then_the_signal_is_parked(self) -> None:
        async def story(scene: Scene) -> None:
            await self.vanish_once(scene, effect=True)
            scene.sink.has_answer = lambda signal: None
            await scene.accept(1)
            await scene.settled()
            assert len(scene.sink.asked) == 4
            assert scene.sink.sent == [1]
            assert await scene.fates() == {"UNKNOWN": 1}
            assert scene.dead == [1]

        play(story, guarantee=Reconcilable(), options=DeliveryOptions(attempts=4))

    def test_a_sink_without_guarantee_is_never_sent_the_same_again(self) -> None:
        async def story(scene: Scene) -> None:
            await self.vanish_once(scene, effect=False)
            await scene.accept(2, strategies=2)
            await scene.settled()
            await scene.accept(1)
            await scene.settled()
            assert scene.sink.sent == [1, 2, 3]
            assert await scene.fates() == {"UNKNOWN": 2, "ACKED": 1}
            assert scene.dead == [1, 2]
            assert {each.fate for each in scene.notices if isinstance(each, DeadLettered)} == {"unknown"}

        play(story, guarantee=Neither())

    def test_an_exception_is_an_unknown_outcome_too_and_the_sink_is_opened_anew(self) -> None:
        async def story(scene: Scene) -> None:
            async def break_once(signals):
                if len(scene.sink.groups) == 1:
                    raise ConnectionResetError("gone")
                return await scene.sink.take(signals)

            scene.sink.answer = break_once
            await scene.accept(1)
            await scene.until(lambda: bool(scene.sink.groups))
            await asyncio.sleep(0)
            assert scene.delivery.health().problem == "ConnectionResetError: gone"
            await scene.settled()
            assert (scene.sink.opened, scene.sink.closed) == (2, 1)
            assert scene.delivery.health().problem == ""

        play(story, options=DeliveryOptions(backoff_sec=10))

    def test_a_cancellation_inside_of_the_sink_does_not_end_the_delivery(self) -> None:
        async def story(scene: Scene) -> None:
            async def cancelled_once(signals):
                if len(scene.sink.groups) == 1:
                    raise asyncio.CancelledError
                return await scene.sink.take(signals)

            scene.sink.answer = cancelled_once
            await scene.accept(1)
            await scene.settled()
            assert await scene.fates() == {"ACKED": 1}

        play(story)

    def test_a_sink_that_answers_for_another_number_of_signals_is_not_believed(self) -> None:
        async def story(scene: Scene) -> None:
            async def too_few(signals):
                return [TAKEN] * (len(signals) - 1)

            scene.sink.answer = too_few
            await scene.accept(2, strategies=2)
            await scene.settled()
            assert await scene.fates() == {"UNKNOWN": 2}

        play(story, guarantee=Neither())

    def test_what_was_tried_without_an_answer_to_the_end_is_unknown_and_not_dead(self) -> None:
        async def story(scene: Scene) -> None:
            async def unknown(signals):
                return [UNKNOWN] * len(signals)

            scene.sink.answer = unknown
            await scene.accept(1)
            await scene.settled()
            assert await scene.fates() == {"UNKNOWN": 1}
            assert len(scene.sink.groups) == 3

        play(story, options=DeliveryOptions(attempts=3))

    def test_a_doubt_outlives_a_later_failure_and_a_restart(self) -> None:
        async def story(scene: Scene) -> None:
            async def lost_then_refused(signals):
                if len(scene.sink.groups) == 1:
                    await scene.sink.take(signals)
                    return [UNKNOWN] * len(signals)
                return [FAILED] * len(signals)

            scene.sink.answer = lost_then_refused
            await scene.accept(1)
            await scene.until(lambda: len(scene.sink.groups) == 2)
            await scene.crash()
            following = await scene.again()
            await following.settled()
            assert await following.fates() == {"UNKNOWN": 1}

        play(story, options=DeliveryOptions(attempts=3, backoff_sec=60, max_backoff_sec=60))


class TestExpiry:
    def test_a_signal_that_is_too_old_is_not_sent_but_counted(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.accept(2, lives=5)
            await scene.accept(1, lives=50)
            await asyncio.sleep(10)
            scene.delivery.unkill()
            await scene.settled()
            assert scene.sink.sent == [3]
            assert await scene.fates() == {"EXPIRED": 2, "ACKED": 1}
            assert [each for each in scene.notices if isinstance(each, Expired)] == [Expired("out", 2, f"{1:032x}")]
            assert scene.dead == []

        play(story)

    def test_what_expired_makes_room_for_what_waits_in_the_journal(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.accept(50, lives=5)
            await asyncio.sleep(20)
            assert await scene.fates() == {"EXPIRED": 50}

        play(story, largest_group=2)

    def test_it_expires_while_it_waits_not_only_when_its_turn_comes(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.accept(3, lives=5)
            await asyncio.sleep(7)
            assert await scene.fates() == {"EXPIRED": 3}

        play(story)

    def test_expiry_goes_by_the_wall_clock_even_where_it_jumps_during_the_mark(self) -> None:
        async def story(scene: Scene) -> None:
            marking = scene.journal.sending

            async def slow(broker, first, last):
                await marking(broker, first, last)
                scene.clock.jump(3_600)

            scene.journal.sending = slow
            await scene.accept(1, lives=5)
            await scene.accept(1)
            await scene.settled()
            assert scene.sink.sent == [2]
            assert await scene.fates() == {"EXPIRED": 1, "ACKED": 1}

        play(story)

    def test_of_what_may_have_been_sent_and_is_too_old_nobody_knows(self) -> None:
        async def story(scene: Scene) -> None:
            async def silence(signals):
                await asyncio.Event().wait()

            scene.sink.answer = silence
            await scene.accept(1, lives=15)
            await scene.settled()
            assert await scene.fates() == {"UNKNOWN": 1}
            assert scene.dead == [1]

        play(story, options=DeliveryOptions(timeout_sec=10, backoff_sec=1_000, max_backoff_sec=1_000), seed=1)

    def test_a_reconcilable_sink_is_asked_even_after_the_expiry(self) -> None:
        async def story(scene: Scene) -> None:
            await TestUnknownOutcomes.vanish_once(scene, effect=True)
            await scene.accept(1, lives=5)
            await scene.settled()
            assert await scene.fates() == {"ACKED": 1}

        play(story, guarantee=Reconcilable(), options=DeliveryOptions(timeout_sec=10))

    def test_what_a_reconcilable_sink_does_not_have_after_the_expiry_is_not_sent(self) -> None:
        async def story(scene: Scene) -> None:
            await TestUnknownOutcomes.vanish_once(scene, effect=False)
            await scene.accept(1, lives=5)
            await scene.settled()
            assert scene.sink.sent == [1]
            assert await scene.fates() == {"EXPIRED": 1}

        play(story, guarantee=Reconcilable(), options=DeliveryOptions(timeout_sec=10))


class TestKillSwitch:
    def test_nothing_is_sent_while_it_is_on_and_everything_afterwards(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.accept(5)
            await asyncio.sleep(1_000)
            assert scene.sink.groups == []
            assert await scene.fates() == {"PENDING": 5}
            scene.delivery.unkill()
            await scene.settled()
            assert scene.sink.sent == [1, 2, 3, 4, 5]

        play(story)

    def test_it_stops_a_retry_that_is_waiting(self) -> None:
        async def story(scene: Scene) -> None:
            async def never(signals):
                return [FAILED] * len(signals)

            scene.sink.answer = never
            await scene.accept(1)
            await scene.until(lambda: len(scene.sink.groups) == 2)
            scene.delivery.kill()
            await asyncio.sleep(10_000)
            assert len(scene.sink.groups) == 2
            assert await scene.fates() == {"PENDING": 1}

        play(story)

    def test_it_stops_a_send_whose_mark_is_being_made(self) -> None:
        async def story(scene: Scene) -> None:
            marking = scene.journal.sending

            async def slow(broker, first, last):
                await marking(broker, first, last)
                scene.delivery.kill()

            scene.journal.sending = slow
            await scene.accept(2)
            await asyncio.sleep(10)
            assert scene.sink.groups == []
            assert await scene.fates() == {"PENDING": 2}

        play(story)

    def test_it_holds_after_a_restart(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.journal.set_killed(True)
            await scene.accept(2)
            await asyncio.sleep(1)
            await scene.crash()
            following = await scene.again()
            await asyncio.sleep(1_000)
            assert scene.sink.groups == []
            await following.journal.set_killed(False)
            following.delivery.unkill()
            await following.settled()
            assert scene.sink.sent == [1, 2]

        play(story)

    def test_a_switch_that_is_turned_before_the_journal_has_answered_counts(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            scene.run()
            await scene.accept(1)
            await asyncio.sleep(10)
            assert scene.sink.groups == []

        play(story, started=False)


class TestBreaker:
    def test_a_sink_that_cannot_be_opened_costs_no_signal_an_attempt(self) -> None:
        async def story(scene: Scene) -> None:
            loop = asyncio.get_running_loop()
            scene.sink.open_error = lambda: ConnectionRefusedError("no") if loop.time() < 3_600 else None
            await scene.accept(10)
            await asyncio.sleep(300)
            health = scene.delivery.health()
            assert (health.breaker, health.problem) == (Breaker.OPEN, "ConnectionRefusedError: no")
            assert health.oldest_sec == pytest.approx(300, abs=1)
            await scene.settled()
            assert loop.time() < 3_600 + 31
            assert scene.sink.sent == list(range(1, 11))
            assert scene.dead == []
            assert scene.delivery.health().breaker is Breaker.CLOSED

        play(story, options=DeliveryOptions(attempts=2))

    def test_a_sink_that_says_it_cannot_be_reached_costs_no_attempt_either(self) -> None:
        async def story(scene: Scene) -> None:
            loop = asyncio.get_running_loop()

            async def away(signals):
                if loop.time() < 3_600:
                    raise SinkUnavailable("the exchange is closed")
                return await scene.sink.take(signals)

            scene.sink.answer = away
            await scene.accept(10)
            await asyncio.sleep(100)
            assert await scene.fates() == {"PENDING": 10}
            assert scene.delivery.health().problem == "the exchange is closed"
            await scene.settled()
            assert scene.sink.took == list(range(1, 11))

        play(story, options=DeliveryOptions(attempts=1), guarantee=Neither())

    def test_a_frozen_sink_is_probed_with_one_signal_and_few_lose_their_attempts(self) -> None:
        async def story(scene: Scene) -> None:
            loop = asyncio.get_running_loop()

            async def frozen(signals):
                if loop.time() < 600:
                    await asyncio.Event().wait()
                return await scene.sink.take(signals)

            scene.sink.answer = frozen
            await scene.accept(1_000, strategies=100)
            await scene.settled()
            probes = [group for when, group in scene.sink.groups if 200 < when < 600]
            assert probes
            assert {len(group) for group in probes} == {1}
            assert len(scene.dead) <= 4
            assert (await scene.fates())["ACKED"] >= 996

        play(story, options=DeliveryOptions(timeout_sec=10))

    def test_an_outage_ends_with_the_sink_and_not_with_the_next_signal(self) -> None:
        async def story(scene: Scene) -> None:
            loop = asyncio.get_running_loop()
            scene.sink.open_error = lambda: ConnectionRefusedError("no") if loop.time() < 600 else None
            await scene.accept(3, lives=30)
            await asyncio.sleep(300)
            assert await scene.fates() == {"EXPIRED": 3}
            assert scene.delivery.health().trouble
            await asyncio.sleep(331)
            # It can be reached, and is risked one signal: it has not answered for any yet.
            assert scene.delivery.health().breaker is Breaker.HALF_OPEN
            assert not scene.delivery.health().trouble
            opened = scene.sink.opened
            await scene.accept(2)
            await scene.settled()
            assert scene.delivery.health().breaker is Breaker.CLOSED
            assert scene.sink.opened == opened
            assert [numbers for _, numbers in scene.sink.groups] == [[4], [5]]

        play(story)

    def test_the_signal_that_breaks_a_sink_takes_no_others_with_it(self) -> None:
        async def story(scene: Scene) -> None:
            async def poisoned(signals):
                if any(signal.number == 50 for signal in signals):
                    raise RuntimeError("boom")
                return await scene.sink.take(signals)

            scene.sink.answer = poisoned
            await scene.accept(100, strategies=100)
            await scene.settled()
            assert scene.dead == [50]
            assert await scene.fates() == {"ACKED": 99, "UNKNOWN": 1}

        play(story, largest_group=64, options=DeliveryOptions(attempts=8))

    def test_a_sink_that_was_away_gets_whole_groups_again(self) -> None:
        async def story(scene: Scene) -> None:
            loop = asyncio.get_running_loop()
            scene.sink.open_error = lambda: ConnectionRefusedError("no") if loop.time() < 600 else None
            await scene.accept(200)
            await scene.settled()
            assert [len(group) for _, group in scene.sink.groups] == [1, 64, 64, 64, 7]

        play(story, largest_group=64)


class TestRestart:
    @pytest.mark.parametrize("guarantee", [Idempotent(), Reconcilable(), Neither()])
    def test_what_was_accepted_and_not_begun_goes_out_once(self, guarantee) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.accept(3)
            await asyncio.sleep(1)
            await scene.crash()
            following = await scene.again()
            await following.settled()
            assert scene.sink.sent == [1, 2, 3]

        play(story, guarantee=guarantee)

    @pytest.mark.parametrize("effect", [True, False])
    @pytest.mark.parametrize("guarantee", [Idempotent(), Reconcilable(), Neither()])
    def test_what_was_under_way_ends_as_the_guarantee_says(self, guarantee, effect) -> None:
        async def story(scene: Scene) -> None:
            await TestUnknownOutcomes.vanish_once(scene, effect=effect)
            await scene.accept(2, strategies=2)
            await scene.until(lambda: bool(scene.sink.groups))
            await scene.crash()
            following = await scene.again()
            await following.settled()
            assert all(times == 1 for times in scene.sink.held.values())
            if isinstance(guarantee, Neither):
                assert scene.sink.sent == [1, 2]
                assert await following.fates() == {"UNKNOWN": 2}
                assert scene.dead == [1, 2]
            else:
                assert set(scene.sink.held) == {f"{1:032x}", f"{2:032x}"}
                assert await following.fates() == {"ACKED": 2}
            if isinstance(guarantee, Reconcilable) and effect:
                assert scene.sink.sent == [1, 2]

        play(story, guarantee=guarantee)

    def test_an_error_of_the_journal_ends_the_delivery(self) -> None:
        async def story(scene: Scene) -> None:
            async def full(outcomes):
                raise JournalFailed("disk full")

            scene.journal.settle = full
            await scene.accept(1)
            await asyncio.wait({scene.task})

        with pytest.raises(JournalFailed):
            play(story)


class TestDrain:
    def test_what_is_accepted_is_sent_and_the_delivery_ends(self) -> None:
        async def story(scene: Scene) -> None:
            scene.sink.latency = 0.1
            await scene.accept(20)
            await scene.delivery.drain(60)
            assert await scene.fates() == {"ACKED": 20}
            assert scene.task is not None
            assert scene.task.done()
            assert scene.sink.closed == 1

        play(story, largest_group=2)

    def test_at_the_deadline_the_rest_stays_pending_and_the_group_under_way_in_doubt(self) -> None:
        async def story(scene: Scene) -> None:
            scene.sink.latency = 2.0
            await scene.accept(20)
            await scene.delivery.drain(5)
            assert asyncio.get_running_loop().time() == pytest.approx(5)
            assert await scene.fates() == {"ACKED": 4, "SENDING": 2, "PENDING": 14}
            assert scene.task is not None
            assert not scene.task.cancelled()

        play(story, largest_group=2)

    def test_a_killed_broker_has_nothing_to_drain(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.accept(3)
            await scene.delivery.drain(60)
            assert asyncio.get_running_loop().time() < 1
            assert await scene.fates() == {"PENDING": 3}

        play(story)

    def test_what_comes_after_the_drain_began_stays_for_the_next_start(self) -> None:
        async def story(scene: Scene) -> None:
            scene.sink.latency = 1.0
            await scene.accept(1)
            draining = asyncio.create_task(scene.delivery.drain(60))
            await asyncio.sleep(0.5)
            await scene.accept(1)
            await draining
            assert await scene.fates() == {"ACKED": 1, "PENDING": 1}
            assert scene.delivery.health().queued == 1

        play(story)

    def test_a_drain_that_is_cancelled_leaves_the_delivery_running(self) -> None:
        async def story(scene: Scene) -> None:
            scene.sink.latency = 1.0
            await scene.accept(3)
            draining = asyncio.create_task(scene.delivery.drain(60))
            await asyncio.sleep(0.5)
            draining.cancel()
            await scene.settled()
            assert await scene.fates() == {"ACKED": 3}

        play(story, largest_group=1)

    def test_draining_what_never_ran_returns(self) -> None:
        async def story(scene: Scene) -> None:
            await scene.delivery.drain(60)

        play(story, started=False)


class TestDeadLetters:
    def test_a_revived_signal_goes_out_with_its_id(self) -> None:
        async def story(scene: Scene) -> None:
            async def never(signals):
                return [FAILED] * len(signals)

            scene.sink.answer = never
            await scene.accept(2, strategies=2)
            await scene.settled()
            scene.sink.answer = scene.sink.take
            await scene.accept(3)
            await scene.settled()
            assert await scene.journal.revive("out", [1], 0) == 1
            scene.delivery.recall()
            await scene.until(lambda: 1 in scene.sink.took)
            await scene.settled()
            assert scene.sink.took == [3, 4, 5, 1]
            assert await scene.fates() == {"ACKED": 4, "DEAD": 1}

        play(story, options=DeliveryOptions(attempts=1))


class TestHealth:
    def test_counts_and_the_age_of_the_oldest(self) -> None:
        async def story(scene: Scene) -> None:
            async def mixed(signals):
                return [REJECTED if signal.number == 1 else scene.sink.effect(signal) for signal in signals]

            scene.sink.answer = mixed
            await scene.accept(3)
            await scene.settled()
            scene.delivery.kill()
            await scene.accept(4, lives=20)
            await asyncio.sleep(8)
            health = scene.delivery.health()
            assert (health.broker, health.type, health.queued, health.acked, health.rejected) == (
                "out",
                "scripted",
                4,
                2,
                1,
            )
            assert health.oldest_sec == pytest.approx(8, abs=0.1)
            await asyncio.sleep(20)
            health = scene.delivery.health()
            assert (health.queued, health.expired, health.oldest_sec) == (0, 4, 0.0)

        play(story)

    def test_what_an_earlier_process_left_is_counted(self) -> None:
        async def story(scene: Scene) -> None:
            scene.delivery.kill()
            await scene.journal.set_killed(True)
            await scene.accept(5)
            await asyncio.sleep(1)
            await scene.crash()
            following = await scene.again()
            await asyncio.sleep(1)
            assert following.delivery.health().queued == 5
            await following.accept(2)
            assert following.delivery.health().queued == 7

        play(story)
