"""A broker's delivery on a simulated loop, with a journal in memory and a sink that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from anystrat.adapters.journal_memory import InMemoryJournal, MemoryStore
from anystrat.domain.configuration import DeliveryOptions
from anystrat.domain.delivery import TAKEN, Guarantee, Idempotent, SendResult, Verdict
from anystrat.domain.journal import Fate, OutboxSignal, Step
from anystrat.runner.delivery import BrokerDelivery
from anystrat.testing.loop import SimulatedClock, simulate

FAILED = SendResult(Verdict.FAILED, "not now")
REJECTED = SendResult(Verdict.REJECTED, "no such instrument")
UNKNOWN = SendResult(Verdict.UNKNOWN, "who knows")

Answer = Callable[[Sequence[OutboxSignal]], Awaitable[Sequence[SendResult]]]


class ScriptedSink:
    """Remembers every group with its time. `answer` says what becomes of one; by default, everything is taken."""

    def __init__(self, guarantee: Guarantee, largest_group: int = 64) -> None:
        self.guarantee = guarantee
        self.largest_group = largest_group
        self.groups: list[tuple[float, list[int]]] = []
        self.held: dict[str, int] = {}  # id -> how often it took effect
        self.took: list[int] = []  # numbers, in the order in which they took effect first
        self.opened = self.closed = 0
        self.asked: list[list[int]] = []
        self.open_error: Callable[[], BaseException | None] = lambda: None
        self.answer: Answer = self.take
        self.latency = 0.0
        self.has_answer: Callable[[OutboxSignal], bool | None] = lambda signal: signal.signal_id in self.held

    async def open(self) -> None:
        await asyncio.sleep(0)
        error = self.open_error()
        if error is not None:
            raise error
        self.opened += 1

    async def send(self, signals: Sequence[OutboxSignal]) -> Sequence[SendResult]:
        self.groups.append((asyncio.get_running_loop().time(), [signal.number for signal in signals]))
        return await self.answer(signals)

    async def take(self, signals: Sequence[OutboxSignal]) -> list[SendResult]:
        await asyncio.sleep(self.latency)
        return [self.effect(signal) for signal in signals]

    def effect(self, signal: OutboxSignal) -> SendResult:
        times = self.held.get(signal.signal_id, 0)
        if not times:
            self.took.append(signal.number)
        # A sink that honours ids counts each once.
        self.held[signal.signal_id] = 1 if isinstance(self.guarantee, Idempotent) else times + 1
        return TAKEN

    async def has(self, signals: Sequence[OutboxSignal]) -> list[bool | None]:
        await asyncio.sleep(0)
        self.asked.append([signal.number for signal in signals])
        return [self.has_answer(signal) for signal in signals]

    async def close(self) -> None:
        self.closed += 1

    @property
    def sent(self) -> list[int]:
        return [number for _, numbers in self.groups for number in numbers]


@dataclass
class Scene:
    """One process's life; `again` begins the next over the same store and sink."""

    clock: SimulatedClock
    sink: ScriptedSink
    store: MemoryStore
    options: DeliveryOptions
    seed: int = 7
    dead: list[int] = field(default_factory=list)
    notices: list[Any] = field(default_factory=list)
    journal: InMemoryJournal = field(init=False)
    delivery: BrokerDelivery = field(init=False)
    task: asyncio.Task[None] | None = None

    async def begin(self) -> Scene:
        self.journal = InMemoryJournal(self.store)
        await self.journal.open("a fingerprint")
        self.delivery = BrokerDelivery(
            "out",
            "scripted",
            self.sink,
            self.journal,
            clock=self.clock,
            random=Random(self.seed),
            options=self.options,
            on_dead=self.give_up,
            listener=self.notices.append,
        )
        return self

    async def give_up(self, signals: Sequence[OutboxSignal]) -> None:
        await asyncio.sleep(0)
        self.dead += [signal.number for signal in signals]

    def run(self) -> None:
        self.task = asyncio.create_task(self.delivery.run())

    async def crash(self) -> None:
        """What a process leaves behind that is killed: the store, whatever is under way."""
        assert self.task is not None
        self.journal._epoch = -1  # nothing of this process reaches the store any more
        self.task.cancel()
        await asyncio.wait({self.task})
        self.store.crash()

    async def again(self) -> Scene:
        following = Scene(self.clock, self.sink, self.store, self.options, self.seed + 1, self.dead, self.notices)
        await following.begin()
        following.run()
        return following

    async def accept(
        self, count: int, *, lives: float = 0.0, strategies: int = 1, hand_over: bool = True
    ) -> list[OutboxSignal]:
        """Commit the next signals, and hand them over as the runner does."""
        first = await self.journal.last_number("out") + 1
        expires = self.clock.now_ns() + round(lives * 1e9) if lives else 0
        signals = [
            OutboxSignal("out", n, f"{n:032x}", f"strat-{n % strategies}", 7, n, expires, b'{"n":%d}' % n)
            for n in range(first, first + count)
        ]
        shard = await self.journal.shard(0)
        at = 0 if shard is None else shard.next_input
        await self.journal.commit([Step(0, at, 1, b"x", {}, tuple(signals), b"")])
        if hand_over:
            await self.delivery.accept(signals)
        return signals

    async def fates(self) -> dict[str, int]:
        return {fate.name: n for fate, n in (await self.journal.fates()).get("out", {}).items()}

    async def fate(self, number: int) -> Fate:
        for each in self.store.book.brokers["out"].ranges.within(number, number):
            return each.fate
        raise AssertionError(number)

    async def until(self, condition: Callable[[], bool], *, seconds: float = 100_000.0) -> None:
        """Let time pass until it is so."""
        loop = asyncio.get_running_loop()
        end, step = loop.time() + seconds, 0.01
        while not condition():
            assert loop.time() < end, "it never came to that"
            await asyncio.sleep(step)
            step = min(0.5, step * 1.05)

    async def settled(self) -> None:
        """Let time pass until nothing is open."""
        await asyncio.sleep(0.02)  # a process that has just begun has not counted yet
        await self.until(lambda: self.delivery.health().queued == 0)


def play(
    story: Callable[[Scene], Awaitable[None]],
    *,
    guarantee: Guarantee | None = None,
    largest_group: int = 64,
    options: DeliveryOptions | None = None,
    started: bool = True,
    seed: int = 7,
) -> Scene:
    """Tell a story on a simulated loop, from the first signal on."""
    scenes: list[Scene] = []

    async def main() -> None:
        sink = ScriptedSink(guarantee or Idempotent(), largest_group)
        clock = SimulatedClock(asyncio.get_running_loop())
        scene = await Scene(clock, sink, MemoryStore(), options or DeliveryOptions(), seed).begin()
        scenes.append(scene)
        if started:
            scene.run()
        await story(scene)
        if scene.task is not None and scene.task.done() and not scene.task.cancelled():
            scene.task.result()

    simulate(main)
    return scenes[0]
