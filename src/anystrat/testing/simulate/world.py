"""The world around the service: what outlives its processes, what is known to be durable, and what must never be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anystrat.adapters.journal_memory import InMemoryJournal, MemoryStore
from anystrat.domain.journal import Fate
from anystrat.testing.loop import SimulatedClock
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.ledger import Ledger
from anystrat.testing.simulate.scenario import LIVE_NS
from anystrat.testing.simulate.sink_port import Broker
from anystrat.testing.simulate.source_port import Server

if TYPE_CHECKING:
    from anystrat.domain.journal import Journal, OutboxSignal, Step
    from anystrat.runner.runner import Runner
    from anystrat.testing.simulate.faults import Faults
    from anystrat.testing.simulate.process import Process
    from anystrat.testing.simulate.scenario import Scenario, Setting
    from anystrat.testing.simulate.trace import Trace

_MOST_VIOLATIONS: Final = 20
#: Steps that may wait for their commit, and parcels beyond what a mailbox holds: see `runner.committer`, `runner.intake`.
_STEPS: Final = 256
_PIECE: Final = 256


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and how that shows."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the way to each port, or back, may take, in seconds."""

    journal: float
    source: float
    sink: float


class World:
    """One history's world. Ports tell it of every effect, and it checks each against what is durable by then."""

    def __init__(self, scenario: Scenario, faults: Faults, trace: Trace, loop: asyncio.AbstractEventLoop) -> None:
        dice = Dice(scenario.seed, "world")
        self.scenario = scenario
        self.faults = faults
        self.trace = trace
        self.loop = loop
        self.clock = SimulatedClock(loop, LIVE_NS)
        self.ledger = Ledger()
        self.server = Server(scenario.messages)
        self.brokers = {name: Broker(name, model, scenario.seed) for name, model in scenario.sinks.items()}
        self.pace = Pace(dice.scale(0.0005, 0.05), dice.scale(0.0005, 0.05), dice.scale(0.001, 0.2))
        self.store = MemoryStore()
        #: Everything is done: the source may end.
        self.finished = asyncio.Event()
        self.violations: list[Violation] = []
        #: The configuration in force.
        self.setting: Setting = scenario.settings[0]
        self.runners: dict[Process, Runner] = {}
        self._switch: dict[Process, list[bool]] = {}  # [the kill switch is on, it was asked to be]

    # -- what is there ---------------------------------------------------------------------------------------------

    def journal(self) -> Journal:
        """Another journal over what earlier ones have kept."""
        return InMemoryJournal(self.store, keep_inputs=self.scenario.keep_inputs)

    def lock_is_lost(self) -> None:
        """The process that held the journal is gone, or thought to be."""
        self.store.crash()

    def broken(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        self.trace.say(f"VIOLATION {invariant}: {text}")
        if len(self.violations) < _MOST_VIOLATIONS:
            self.violations.append(Violation(invariant, text))

    # -- the journal -----------------------------------------------------------------------------------------------

    def took_over(self, process: Process, journal: Journal) -> None:
        """The process holds the journal now."""
        self.trace.say(f"{process} journal opened, epoch {journal.epoch}")
        self.ledger.owner = process
        self._switch[process] = [self.ledger.killed, self.ledger.killed]

    def wrote(self, process: Process, what: str) -> None:
        """Something is durable."""
        self.trace.say(f"{process} journal {what}")
        if self.ledger.owner is not process:
            self.broken("I4", f"{process} wrote ({what}), and {self.ledger.owner} has taken the journal over")

    def committed(self, process: Process, steps: Sequence[Step]) -> None:
        """Steps are durable."""
        for step in steps:
            signals = "".join(f" {each.broker}:{each.number}" for each in step.signals)
            self.wrote(process, f"commit shard {step.shard} {step.first}+{step.count} {step.watermarks}{signals}")
        self.ledger.committed(steps)

    # -- the source ------------------------------------------------------------------------------------------------

    def acknowledged(self, process: Process, partition: str, offset: int) -> None:
        """The server may forget what is up to `offset`."""
        self.trace.say(f"{process} source {partition} acknowledged up to {offset}")
        server, ledger = self.server, self.ledger
        before = server.acknowledged[partition]
        for message in server.messages[partition][before + 1 : offset + 1]:
            tokens = self.scenario.block.instrument_token[list(message.places)]
            for shard in set(self.setting.plan.of(tokens).tolist()) if message.places else {0}:
                if ledger.had(shard, partition) < message.offset:
                    self.broken("I4", f"{partition} {message.offset} was acknowledged before shard {shard} had it")
        server.acknowledged[partition] = max(before, offset)

    # -- the brokers -----------------------------------------------------------------------------------------------

    def sends(self, process: Process, broker: Broker, signals: Sequence[OutboxSignal]) -> None:
        """A send begins."""
        numbers = ", ".join(str(each.number) for each in signals)
        self.trace.say(f"{process} {broker.name} send {numbers}")
        if self._switch.get(process, [True])[0]:
            self.broken("I6", f"{broker.name} {numbers}: a send began with the kill switch on")
        if len(signals) > broker.model.largest_group:
            self.broken("I7", f"{broker.name} {numbers}: more than the {broker.model.largest_group} that it takes")
        now_ns = self.clock.now_ns()
        for signal in signals:
            fate = self.ledger.fate_of(broker.name, signal.signal_id)
            if fate is not Fate.SENDING:
                said = "accepted nowhere" if fate is None else fate.name
                self.broken("I4", f"{broker.name} {signal.number}: sent while the journal says {said}")
            if 0 < signal.expires_ns <= now_ns:
                late = (now_ns - signal.expires_ns) / 1e9
                self.broken("I6", f"{broker.name} {signal.number}: sent {late:g} s after it expired")
            if broker.bodies.setdefault(signal.signal_id, signal.body) != signal.body:
                self.broken("I2", f"{broker.name} {signal.number}: another body under the same id")
        self._within_rate(broker, len(signals))

    def _within_rate(self, broker: Broker, count: int) -> None:
        rate = self.setting.configuration.brokers[broker.name].delivery.rate_per_sec
        if rate is None:
            return
        now, window, most = self.loop.time(), 1.0 if rate >= 1 else 1.0 / rate, max(1, int(rate))
        while broker.recent and broker.recent[0][0] <= now - window:
            broker.recent.popleft()
        broker.recent.append((now, count))
        sent = sum(each for _, each in broker.recent)
        if sent > most:
            self.broken("I6", f"{broker.name}: {sent} signals within {window:g} s, where {most} may be")

    # -- the kill switch -------------------------------------------------------------------------------------------

    def switching(self, process: Process, *, on: bool) -> None:
        """The kill switch is being set in a process: on holds from now on."""
        self.trace.say(f"{process} operator: kill switch {'on' if on else 'off'}")
        state = self._switch[process]
        state[1] = on
        state[0] = state[0] or on

    def switched(self, process: Process, *, on: bool) -> None:
        """It is durable: off holds from now on."""
        self.ledger.killed = on
        state = self._switch[process]
        if not on and not state[1]:
            state[0] = False

    # -- bounds ----------------------------------------------------------------------------------------------------

    def look(self, process: Process) -> None:
        """Look at what a process holds in memory."""
        runner = self.runners.get(process)
        if runner is None or not runner.shards:
            return
        for mailbox in runner.mailboxes:
            if mailbox.waiting_ticks > mailbox.capacity + _PIECE:
                self.broken("I7", f"{mailbox.waiting_ticks} ticks wait in a mailbox for {mailbox.capacity}")
        health = runner.health()
        waiting = 0 if health.journal is None else health.journal.waiting
        if waiting > _STEPS + len(runner.shards):
            self.broken("I7", f"{waiting} steps wait for their commit")
