"""A sink under faults: a broker that remembers every effect, and a connection to it that misbehaves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.delivery import TAKEN, Guarantee, Idempotent, SendResult, SinkUnavailable, Verdict
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.faults import Fault

if TYPE_CHECKING:
    from anystrat.domain.journal import OutboxSignal
    from anystrat.testing.simulate.process import Process
    from anystrat.testing.simulate.scenario import SinkModel
    from anystrat.testing.simulate.world import World

_SLOW_SEC: Final = 3.0


class Broker:
    """What outlives every connection: which signals had an effect, how often, and when sends began."""

    def __init__(self, name: str, model: SinkModel, seed: int) -> None:
        self.name = name
        self.model = model
        self.effects: dict[str, int] = {}
        self.bodies: dict[str, bytes] = {}
        #: The last signal of each strategy on each instrument that had an effect; those that later ones had overtaken.
        self.last: dict[tuple[str, int], int] = {}
        self.overtaken: list[int] = []
        self.recent: deque[tuple[float, int]] = deque()
        self._seed = seed

    def refuses(self, signal_id: str) -> bool:
        """Whether this signal is rejected for good: always the same answer."""
        return Dice(self._seed, f"{self.name} {signal_id}").chance(self.model.refuses)

    def take(self, signal: OutboxSignal) -> SendResult:
        """The signal reached the broker."""
        signal_id = signal.signal_id
        if self.model.refuses and signal_id not in self.effects and self.refuses(signal_id):
            return SendResult(Verdict.REJECTED, "refused by the simulated broker")
        known = signal_id in self.effects
        key = (signal.strategy_id, signal.instrument_token)
        if not known and self.last.get(key, 0) > signal.number:
            self.overtaken.append(signal.number)
        self.last[key] = max(self.last.get(key, 0), signal.number)
        if not known or not isinstance(self.model.guarantee, Idempotent):
            self.effects[signal_id] = self.effects.get(signal_id, 0) + 1
        return TAKEN


class SimulatedSink:
    """A `Sink`: one connection of one process to one broker."""

    def __init__(self, broker: Broker, process: Process, world: World) -> None:
        self._broker = broker
        self._process = process
        self._world = world

    @property
    def guarantee(self) -> Guarantee:
        return self._broker.model.guarantee

    @property
    def largest_group(self) -> int:
        return self._broker.model.largest_group

    async def open(self) -> None:
        fault = await self._begun("sink.open")
        if fault is Fault.FAIL:
            raise ConnectionError("the simulated broker cannot be reached")

    async def send(self, signals: Sequence[OutboxSignal]) -> Sequence[SendResult]:
        world, process, broker = self._world, self._process, self._broker
        world.sends(process, broker, signals)
        fault = await self._begun("sink.send")
        if fault is Fault.FAIL:
            raise SinkUnavailable("the simulated broker refuses the connection")
        if fault is Fault.BUSY:
            return [SendResult(Verdict.FAILED, "too many requests", retry_after_sec=1.5)] * len(signals)
        reached = len(signals) // 2 if fault in {Fault.PART, Fault.CRASH_WITHIN} else len(signals)
        results = [broker.take(signal) for signal in signals[:reached]]
        for signal in signals[:reached]:
            world.trace.say(f"{process} {broker.name} {signal.number} {signal.signal_id} reached the broker")
        if fault is Fault.CRASH_WITHIN or fault is Fault.CRASH_AFTER:
            await process.die(f"{fault.value.removeprefix('crash ')} sink.send to {broker.name}")
        if fault is Fault.FAIL_AFTER:
            raise ConnectionResetError("the simulated broker broke off")
        if fault is Fault.HANG_AFTER:
            await asyncio.get_running_loop().create_future()
        if fault is Fault.MISCOUNT:
            return results[:-1]
        await process.reach(world.pace.sink)
        return [*results, *[SendResult(Verdict.FAILED, "not taken")] * (len(signals) - reached)]

    async def has(self, signals: Sequence[OutboxSignal]) -> Sequence[bool | None]:
        fault = await self._begun("sink.has")
        if fault is Fault.FAIL:
            raise ConnectionError("the simulated broker does not answer questions")
        if fault is Fault.LOST:
            return [None] * len(signals)
        return [signal.signal_id in self._broker.effects for signal in signals]

    async def close(self) -> None:
        await self._process.reach(0.0)

    async def _begun(self, operation: str) -> Fault | None:
        """The call is on its way; what still goes wrong with it."""
        world, process = self._world, self._process
        fault = world.faults.draw(operation)
        await process.reach(_SLOW_SEC if fault is Fault.SLOW else world.pace.sink)
        if fault is not None:
            world.trace.happened(f"{operation}: {fault}")
        if fault is Fault.CRASH_BEFORE:
            await process.die(f"before {operation} to {self._broker.name}")
        if fault is Fault.HANG:
            await asyncio.get_running_loop().create_future()
        return fault
