"""A delivery where there is nothing to do, nobody who listens, or a sink that cannot be asked."""

from __future__ import annotations

import asyncio
from random import Random

from anystrat.domain.delivery import Reconcilable, SinkUnavailable
from anystrat.domain.health import Breaker
from anystrat.runner.delivery.backoff import Backoff
from anystrat.runner.delivery.breaker import CircuitBreaker
from anystrat.runner.delivery.queue import OutboxWindow, runs

from .scene import REJECTED, Scene, play


def test_of_nothing_nothing_is_taken_over() -> None:
    async def story(scene: Scene) -> None:
        await scene.delivery.accept([])
        await scene.accept(2)
        await scene.settled()
        assert scene.sink.sent == [1, 2]

    play(story)
    window = OutboxWindow(8)
    window.accept([])
    assert (len(window), window.accepted, list(runs([]))) == (0, 0, [])


def test_an_open_breaker_opens_no_second_time() -> None:
    moves: list[tuple[Breaker, Breaker, str]] = []
    breaker = CircuitBreaker(1, Backoff(1.0, 8.0, Random(1)), lambda *move: moves.append(move))
    for reason in ("once", "twice"):
        breaker.failed(0.0, reason)
    assert moves == [(Breaker.CLOSED, Breaker.OPEN, "once")]
    assert breaker.group(9) == 1
    breaker.probe()
    breaker.probe()
    breaker.worked()
    assert [after for _, after, _ in moves] == [Breaker.OPEN, Breaker.HALF_OPEN, Breaker.CLOSED]


def test_without_a_listener_signals_come_to_their_fates_all_the_same() -> None:
    async def story(scene: Scene) -> None:
        scene.delivery._listener = None

        async def rejected(signals):
            await asyncio.sleep(0)
            return [REJECTED] * len(signals)

        scene.sink.answer = rejected
        failures = iter([SinkUnavailable("nobody listens")])
        scene.sink.open_error = lambda: next(failures, None)
        await scene.accept(3)
        await scene.settled()
        assert await scene.fates() == {"REJECTED": 3}

    assert play(story).notices == []


def test_signals_that_a_sink_cannot_be_asked_after_wait_until_it_can() -> None:
    async def story(scene: Scene) -> None:
        await scene.accept(2, hand_over=False)
        await scene.journal.sending("out", 1, 2)
        failures = iter([SinkUnavailable("nobody listens")] * 2)

        def has(signal):
            error = next(failures, None)
            if error is not None:
                raise error
            return True

        scene.sink.has_answer = has
        scene.run()
        await scene.settled()
        assert await scene.fates() == {"ACKED": 2}
        assert scene.sink.sent == []

    play(story, guarantee=Reconcilable(), started=False)
