"""What holds of every delivery, whatever the sink, the process and the operator do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.unit.runner.delivery.scene import FAILED, REJECTED, UNKNOWN, Scene, play

from anystrat.domain.configuration import DeliveryOptions
from anystrat.domain.delivery import (
    Guarantee,
    Idempotent,
    Neither,
    Reconcilable,
    SendResult,
    SinkUnavailable,
    Verdict,
)
from anystrat.domain.journal import Fate, OutboxSignal

FINAL = {Fate.ACKED, Fate.REJECTED, Fate.EXPIRED, Fate.DEAD, Fate.UNKNOWN}
NEVER_TAKEN = {Fate.REJECTED, Fate.EXPIRED, Fate.DEAD}


@dataclass(frozen=True)
class World:
    """How bad everything is. Probabilities are those of a group (`away`) and of a signal in it (the others)."""

    seed: int
    guarantee: Guarantee
    group: int
    rate: float | None
    lives: float
    away: float
    break_off: float
    silent: float
    fail: float
    reject: float
    unknown: float
    busy: float
    crashes: int
    kills: int


def maybe(most: float) -> st.SearchStrategy[float]:
    """Often not at all: a fault that is always there hides others."""
    return st.one_of(st.just(0.0), st.floats(0.01, most))


WORLDS = st.builds(
    World,
    seed=st.integers(0, 2**32),
    guarantee=st.sampled_from([Idempotent(), Reconcilable(), Neither()]),
    group=st.integers(1, 9),
    rate=st.sampled_from([None, 1.0, 3.0, 20.0]),
    lives=st.sampled_from([0.0, 0.0, 5.0, 60.0]),
    away=maybe(0.5),
    break_off=maybe(0.3),
    silent=maybe(0.1),
    fail=maybe(0.5),
    reject=maybe(0.3),
    unknown=maybe(0.3),
    busy=maybe(0.2),
    crashes=st.integers(0, 2),
    kills=st.integers(0, 2),
)


class Chaos:
    """A sink of that world. It keeps to its guarantee, and never says what is not so."""

    def __init__(self, scene: Scene, world: World) -> None:
        self.scene, self.world, self.random = scene, world, Random(world.seed)
        self.calm = False
        self.killed = False
        self.sent_when_killed: list[int] = []
        self.sent_too_old: list[int] = []
        self.refused: set[int] = set()
        scene.sink.answer = self.answer
        scene.sink.open_error = lambda: ConnectionRefusedError("away") if self.chance(world.away) else None

    def chance(self, probability: float) -> bool:
        return not self.calm and self.random.random() < probability

    async def answer(self, signals: Sequence[OutboxSignal]) -> Sequence[SendResult]:
        world, wall = self.world, self.scene.clock.now_ns()
        if self.killed:
            self.sent_when_killed += [signal.number for signal in signals]
        self.sent_too_old += [signal.number for signal in signals if 0 < signal.expires_ns <= wall]
        await asyncio.sleep(0 if self.calm else self.random.uniform(0, 0.2))
        if self.chance(world.away):
            raise SinkUnavailable("away")
        results = []
        for signal in signals:
            if self.chance(world.break_off):
                raise ConnectionResetError("broke off")
            if self.chance(world.silent):
                await asyncio.Event().wait()
            results.append(self.verdict(signal))
        return results

    def verdict(self, signal: OutboxSignal) -> SendResult:
        world, sink = self.world, self.scene.sink
        known = signal.signal_id in sink.held
        if self.chance(world.fail):
            return FAILED
        if not known and self.chance(world.reject):
            self.refused.add(signal.number)
            return REJECTED
        if self.chance(world.busy):
            return SendResult(Verdict.FAILED, "busy", retry_after_sec=self.random.uniform(0.1, 5))
        if self.chance(world.unknown):
            if self.random.random() < 0.5:
                sink.effect(signal)
            return UNKNOWN
        return sink.effect(signal)


async def live(scene: Scene, world: World, chaos: Chaos) -> Scene:
    """Signals come, the process dies, the operator pulls the switch; then all is well, and time passes."""
    random = Random(world.seed + 1)
    for turn in range(1 + world.crashes):
        for _ in range(random.randint(1, 3)):
            await scene.accept(random.randint(1, 15), lives=world.lives, strategies=3)
            await asyncio.sleep(random.uniform(0, 3))
        for _ in range(world.kills):
            scene.delivery.kill()
            chaos.killed = True
            await scene.journal.set_killed(True)
            await asyncio.sleep(random.uniform(0, 5))
            if random.random() < 0.5:
                await scene.crash()
                scene = await scene.again()
                await asyncio.sleep(random.uniform(0, 5))
            chaos.killed = False
            await scene.journal.set_killed(False)
            scene.delivery.unkill()
        if turn < world.crashes:
            await asyncio.sleep(random.uniform(0, 3))
            await scene.crash()
            scene = await scene.again()
    await asyncio.sleep(random.uniform(0, 20))
    chaos.calm = True
    await scene.settled()
    return scene


def in_any_window(times: Sequence[tuple[float, int]], window: float) -> int:
    """The most that fell into any closed window of this length."""
    return max(
        (sum(count for when, count in times[at:] if when <= begin + window) for at, (begin, _) in enumerate(times)),
        default=0,
    )


@settings(max_examples=40)
@given(WORLDS)
def test_every_signal_comes_to_one_fate_and_the_limits_hold(world: World) -> None:
    async def story(scene: Scene) -> None:
        chaos = Chaos(scene, world)
        last = await live(scene, world, chaos)
        sink = scene.sink
        accepted = await last.journal.last_number("out")
        fates = {number: await last.fate(number) for number in range(1, accepted + 1)}
        held = {int(signal_id, 16) for signal_id in sink.held}
        for fate in FINAL:
            event(f"{fate.name}: {fate in fates.values()}")

        # Each signal has one of the final fates, and fates say what is so.
        assert set(fates.values()) <= FINAL
        assert {number for number, fate in fates.items() if fate is Fate.ACKED} <= held
        assert not {number for number, fate in fates.items() if fate in NEVER_TAKEN} & held
        assert {number for number, fate in fates.items() if fate is Fate.REJECTED} <= chaos.refused
        # No signal took effect twice, none was sent too old, when killed, too many at once or too often.
        assert set(sink.held.values()) <= {1}
        assert chaos.sent_too_old == []
        assert chaos.sent_when_killed == []
        assert all(len(group) <= world.group for _, group in sink.groups)
        if world.rate is not None:
            assert in_any_window([(when, len(group)) for when, group in sink.groups], 1.0) <= world.rate
        # The runner heard of dead letters, and of nothing else.
        assert set(scene.dead) <= {number for number, fate in fates.items() if fate in {Fate.DEAD, Fate.UNKNOWN}}
        if not world.crashes and not world.kills:
            assert set(scene.dead) == {number for number, fate in fates.items() if fate in {Fate.DEAD, Fate.UNKNOWN}}

    play(
        story,
        guarantee=world.guarantee,
        largest_group=world.group,
        options=DeliveryOptions(
            attempts=4, rate_per_sec=world.rate, timeout_sec=2.0, backoff_sec=0.2, max_backoff_sec=5.0
        ),
        seed=world.seed,
    )


@settings(max_examples=60)
@given(WORLDS)
def test_a_sink_that_only_cannot_be_reached_gets_everything_once_and_in_order(world: World) -> None:
    harmless = {"break_off", "silent", "fail", "reject", "unknown", "busy", "lives"}
    world = dataclasses.replace(world, crashes=0, **dict.fromkeys(harmless, 0.0))

    async def story(scene: Scene) -> None:
        last = await live(scene, world, Chaos(scene, world))
        accepted = await last.journal.last_number("out")
        # A kill that is followed by a crash may meet a group under way, which nobody can know about without a guarantee.
        if not (world.kills and isinstance(world.guarantee, Neither)):
            assert await last.fates() == {"ACKED": accepted}
        assert scene.sink.took == sorted(scene.sink.took)

    play(
        story,
        guarantee=world.guarantee,
        largest_group=world.group,
        options=DeliveryOptions(attempts=4, rate_per_sec=world.rate, backoff_sec=0.2, max_backoff_sec=5.0),
        seed=world.seed,
    )


@pytest.mark.parametrize("rate", [0.5, 1.0, 7.9, 100.0])
def test_a_backlog_leaves_at_the_limit_and_never_above_it(rate) -> None:
    async def story(scene: Scene) -> None:
        count = max(20, round(rate * 30))
        scene.sink.latency = 0.003
        await scene.accept(count)
        await scene.settled()
        times = [(when, len(group)) for when, group in scene.sink.groups]
        per_window, window = max(1, int(rate)), max(1.0, 1 / rate)
        assert in_any_window(times, window) <= per_window
        windows = (times[-1][0] - times[0][0]) / window
        assert count - per_window >= 0.95 * per_window * windows

    play(story, options=DeliveryOptions(rate_per_sec=rate))


def test_the_limit_holds_over_a_restart() -> None:
    async def story(scene: Scene) -> None:
        await scene.accept(10)
        await asyncio.sleep(0.01)
        await scene.crash()
        await (await scene.again()).settled()
        assert in_any_window([(when, len(group)) for when, group in scene.sink.groups], 1.0) <= 5

    play(story, options=DeliveryOptions(rate_per_sec=5))


def test_an_outage_of_ten_minutes_costs_nothing_but_the_time() -> None:
    async def story(scene: Scene) -> None:
        loop, sink = asyncio.get_running_loop(), scene.sink
        began, ended = 30.0, 630.0

        def away() -> bool:
            return began <= loop.time() < ended

        async def answer(signals: Sequence[OutboxSignal]) -> Sequence[SendResult]:
            if away():
                raise SinkUnavailable("away")
            return await sink.take(signals)

        sink.open_error = lambda: ConnectionRefusedError("away") if away() else None
        sink.answer = answer
        held = 0
        while loop.time() < 660:
            await scene.accept(20, lives=400)
            await asyncio.sleep(1)
            held = max(held, len(scene.delivery._window))
        await scene.settled()
        fates = await scene.fates()
        # Memory is bounded, and what expired is counted and was never sent.
        assert held <= 4 * 64
        assert set(fates) == {"ACKED", "EXPIRED"}
        assert fates["EXPIRED"] == pytest.approx(20 * 200, rel=0.2)
        assert scene.delivery.health().expired == fates["EXPIRED"]
        assert scene.dead == []
        # Order is kept.
        assert sink.took == sorted(sink.took)
        assert len(sink.took) == fates["ACKED"]
        # What waited leaves at the sink's limit, and soon after it is back.
        after = [(when, len(group)) for when, group in sink.groups if when >= ended]
        first, last = after[0][0], after[-1][0]
        assert first < ended + 31
        backlog = [count for when, count in after if when < first + 60]
        assert sum(backlog) >= 0.95 * 100 * 60
        assert last - first > 60

    play(story, options=DeliveryOptions(rate_per_sec=100, attempts=2))
