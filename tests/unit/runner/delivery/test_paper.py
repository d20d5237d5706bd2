from __future__ import annotations

import asyncio

from tests.unit.runner.delivery.scene import Scene, play

from anystrat.domain.journal import Fate, Settled
from anystrat.runner.delivery import PaperDelivery


def paper(story) -> None:
    async def told(scene: Scene) -> None:
        scene.delivery = PaperDelivery("out", scene.journal)  # type: ignore[assignment]
        await story(scene)

    play(told, started=False)


def test_what_is_accepted_is_acked_in_one_stroke() -> None:
    async def story(scene: Scene) -> None:
        strokes: list[list[Settled]] = []
        settle = scene.journal.settle

        async def counted(outcomes):
            strokes.append(list(outcomes))
            await settle(outcomes)

        scene.journal.settle = counted  # type: ignore[method-assign]
        scene.run()
        await scene.accept(3)
        await scene.accept(2)
        await scene.until(lambda: scene.delivery.health().acked == 5)
        assert [(each.first, each.last, each.fate) for stroke in strokes for each in stroke] == [(1, 5, Fate.ACKED)]
        assert scene.delivery.health().queued == 0

    paper(story)


def test_what_an_earlier_process_left_is_acked_at_the_start() -> None:
    async def story(scene: Scene) -> None:
        await scene.accept(5_000, hand_over=False)
        await scene.journal.settle([Settled("out", 3, 7, Fate.ACKED), Settled("out", 10, 10, Fate.REJECTED)])
        scene.run()
        await scene.until(lambda: scene.delivery.health().queued == 0)
        await scene.accept(1)
        await scene.until(lambda: scene.delivery.health().queued == 0)
        assert await scene.fates() == {"ACKED": 5_000, "REJECTED": 1}

    paper(story)


def test_a_drain_settles_what_is_accepted() -> None:
    async def story(scene: Scene) -> None:
        scene.run()
        await scene.accept(3)
        await scene.delivery.drain(1.0)
        assert await scene.fates() == {"ACKED": 3}
        await asyncio.wait_for(scene.task, 1.0)

    paper(story)


def test_a_drain_waits_no_longer_than_it_may() -> None:
    async def story(scene: Scene) -> None:
        scene.journal.settle = lambda _: asyncio.sleep(1_000)  # type: ignore[method-assign,assignment]
        scene.run()
        await scene.accept(3)
        began = asyncio.get_running_loop().time()
        await scene.delivery.drain(1.0)
        assert asyncio.get_running_loop().time() == began + 1.0

    paper(story)


def test_of_nothing_nothing_is_taken_over_and_a_kill_switch_has_nothing_to_hold_back() -> None:
    async def story(scene: Scene) -> None:
        scene.run()
        await scene.delivery.accept([])
        scene.delivery.kill()
        scene.delivery.unkill()
        scene.delivery.recall()
        await scene.accept(2)
        await scene.until(lambda: scene.delivery.health().acked == 2)

    paper(story)
