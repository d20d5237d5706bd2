"""Between shards and journal: what waits is committed together and in order, and nothing goes on before that."""

from __future__ import annotations

import asyncio

import pytest

from anystrat.domain.journal import OutboxSignal, Step
from anystrat.runner import committer as module
from anystrat.runner.acknowledging import Acknowledgements
from anystrat.runner.committer import Committer
from anystrat.runner.shard import Work
from anystrat.testing.loop import simulate


def signal(broker, number):
    return OutboxSignal(broker, number, f"{broker} {number}", "s", 1, number, 0, b"{}")


def work(first=0, count=1, *, shard=0, signals=(), watermarks=None, inputs=(), kept=()):
    step = Step(shard, first, count, b"", watermarks or {}, tuple(signals), b"")
    return Work(step, list(inputs), list(kept))


class Scene:
    """A journal, brokers, a recorder and a source, all of which note in one list what reaches them."""

    def __init__(self, **options):
        self.log = []
        self.known = Acknowledgements()
        self.committer = Committer(
            self, {"a": Broker("a", self.log), "b": Broker("b", self.log)}, self.known, **options
        )

    async def commit(self, steps):
        await asyncio.sleep(1)
        self.log.append(("committed", *(step.first for step in steps)))

    async def acknowledge(self, partition, last):
        self.log.append(("acknowledged", partition, last))

    def take(self, *recorded):
        self.log.append(("recorded", *recorded))


class Broker:
    def __init__(self, name, log):
        self.name, self.log = name, log

    async def accept(self, signals):
        self.log.append((self.name, *(each.number for each in signals)))


def played(story, **options):
    """The notes of a scene in which `story` happens while the committer runs."""

    async def scene():
        scene = Scene(**options)
        running = asyncio.ensure_future(scene.committer.run(scene))
        await story(scene)
        scene.committer.close()
        await running
        return scene.log

    return simulate(scene)


def test_signals_go_on_and_the_source_may_forget_only_once_they_are_committed():
    async def story(scene):
        scene.known.handed("p", 0, 7)
        scene.known.read("p", 7)
        await scene.committer.put(
            work(0, signals=[signal("b", 1), signal("a", 1), signal("b", 2)], watermarks={"p": 7})
        )

    assert played(story) == [("committed", 0), ("b", 1, 2), ("a", 1), ("acknowledged", "p", 7)]


def test_what_comes_during_a_commit_is_committed_together_by_the_next():
    async def story(scene):
        scene.committer.add(work(0))
        await asyncio.sleep(0.5)
        for first in (1, 2, 3):
            scene.committer.add(work(first, signals=[signal("a", first)]))

    assert played(story) == [("committed", 0), ("committed", 1, 2, 3), ("a", 1, 2, 3)]


def test_without_a_source_nothing_is_acknowledged():
    async def scene():
        scene = Scene()
        scene.known.read("p", 7)
        scene.committer.add(work())
        scene.committer.close()
        await scene.committer.run(None)
        return scene.log

    assert simulate(scene) == [("committed", 0)]


def test_who_waits_for_a_step_is_told_once_it_is_committed_and_may_have_gone():
    async def story(scene):
        loop = asyncio.get_running_loop()
        waits, gone = loop.create_future(), loop.create_future()
        gone.cancel()
        scene.committer.add(work(kept=[gone, waits]))
        await asyncio.sleep(0.9)
        assert not waits.done()
        await waits
        assert scene.log == [("committed", 0)]

    played(story)


def test_only_steps_with_inputs_are_recorded_with_their_marks():
    class Noting:
        def __init__(self):
            self.taken = []

        def take(self, *taken):
            self.taken.append(taken)

    recorder = Noting()

    async def story(scene):
        scene.committer.add(work(3, shard=2, inputs=["x"], watermarks={"p": 1}))
        scene.committer.add(work(4, 0))

    played(story, recorder=recorder)
    assert recorder.taken == [(2, 3, ["x"], {"p": 1})]


def test_each_commit_is_measured():
    measured = []

    async def story(scene):
        scene.committer.add(work(0, signals=[signal("a", 1), signal("b", 1)]))
        scene.committer.add(work(1, signals=[signal("a", 2)]))
        await scene.committer.idle()
        scene.committer.add(work(2))

    played(story, on_commit=lambda *figures: measured.append(figures))
    assert measured == [(1, 2, 3), (1, 1, 0)]


@pytest.mark.parametrize("bounds", [("_ROOM", [4, 5]), ("_STEPS", [1, 1, 1])], ids=["inputs", "steps"])
def test_shards_are_held_back_while_as_much_waits_as_there_is_room(bounds, monkeypatch):
    bound, counts = bounds
    monkeypatch.setattr(module, bound, 10 if bound == "_ROOM" else len(counts))

    async def story(scene):
        scene.committer.add(work(0))
        await asyncio.sleep(0.5)  # under way: its inputs wait for the disk still, but it is no step that is queued
        for count in counts[:-1]:
            await asyncio.wait_for(scene.committer.put(work(1, count)), 0.1)
        held = asyncio.ensure_future(scene.committer.put(work(2, counts[-1])))
        await asyncio.sleep(0.1)
        assert not held.done()
        assert scene.committer.waiting == len(counts)
        await held
        assert scene.log[0] == ("committed", 0)

    played(story)


def test_room_is_made_by_what_is_committed_and_used_up_by_what_waits(monkeypatch):
    monkeypatch.setattr(module, "_ROOM", 10)

    async def story(scene):
        for turn in range(4):
            # If what was committed still counted, or did not, one of these would wait or the last would not.
            await asyncio.wait_for(scene.committer.put(work(turn, 9)), 0.1)
            await scene.committer.idle()
        scene.committer.add(work(4, 9))
        held = asyncio.ensure_future(scene.committer.put(work(5, 1)))
        await asyncio.sleep(0.1)
        assert not held.done()

    assert played(story)[-1] == ("committed", 5)


def test_it_is_idle_once_everything_is_handed_on_and_not_before():
    async def story(scene):
        await asyncio.wait_for(scene.committer.idle(), 0.1)
        assert scene.log == []
        for number in (1, 2):
            scene.committer.add(work(number, signals=[signal("a", number)]))
            await asyncio.sleep(0.5)
            assert scene.committer.waiting == 0
            await scene.committer.idle()
            assert scene.log[-1] == ("a", number)

    played(story)


def test_it_ends_only_once_all_is_committed():
    async def story(scene):
        scene.committer.add(work(0))
        await asyncio.sleep(0.5)
        scene.committer.add(work(1))

    assert played(story) == [("committed", 0), ("committed", 1)]
