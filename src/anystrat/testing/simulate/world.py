"""The world around the service: what outlives its processes, what is known to be durable, and what must never be seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anystrat.adapters.journal_memory import InMemoryJournal, MemoryStore
from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.adapters.sqlite_journal.files import library
from anystrat.domain.configuration import Overload
from anystrat.domain.inputs import joined_inputs
from anystrat.domain.journal import Fate
from anystrat.testing.loop import SimulatedClock
from anystrat.testing.simulate.dice import Dice
from anystrat.testing.simulate.journal_port import all_inputs, at_once
from anystrat.testing.simulate.ledger import Ledger
from anystrat.testing.simulate.models import ModelFile
from anystrat.testing.simulate.sink_port import Broker
from anystrat.testing.simulate.source_port import Server

if TYPE_CHECKING:
    from anystrat.domain.journal import Journal, OutboxSignal, Step
    from anystrat.runner.runner import Runner
    from anystrat.testing.simulate.disk import SimulatedDisk
    from anystrat.testing.simulate.faults import Faults
    from anystrat.testing.simulate.process import Process
    from anystrat.testing.simulate.scenario import Message, Scenario, Setting
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
    #: How long each shard takes for what it has taken.
    shards: tuple[float, ...]


class World:
    """One history's world. Ports tell it of every effect, and it checks each against what is durable by then."""

    def __init__(self, scenario: Scenario, faults: Faults, trace: Trace, loop: asyncio.AbstractEventLoop) -> None:
        dice = Dice(scenario.seed, "world")
        self.scenario = scenario
        self.faults = faults
        self.trace = trace
        self.loop = loop
        self.clock = SimulatedClock(loop, scenario.start_ns)
        self.ledger = Ledger()
        self.server = Server(scenario.messages)
        self.brokers = {name: Broker(name, model, scenario.seed) for name, model in scenario.sinks.items()}
        self.pace = Pace(dice.scale(0.0005, 0.05), dice.scale(0.0005, 0.05), dice.scale(0.001, 0.2), _shards(scenario))
        self.store = MemoryStore()
        self.disk = _disk() if scenario.sqlite else None
        self.model_file = ModelFile(scenario.seed)
        #: Everything is done: the source may end.
        self.finished = asyncio.Event()
        self.violations: list[Violation] = []
        #: The configuration in force.
        self.setting: Setting = scenario.settings[0]
        self.runners: dict[Process, Runner] = {}
        #: Places of ticks that the source has forgotten before anybody read them.
        self.forgotten: set[int] = set()
        self._journals: dict[Process | None, Journal] = {}
        self._malformed = sum(not each.places for all_ in scenario.messages.values() for each in all_)
        self._looks = 0
        self._cut = Dice(scenario.seed, "power cuts")
        self.torn = Dice(scenario.seed, "torn writes")
        self._switch: dict[Process, list[bool]] = {}  # [the kill switch is on, it was asked to be]

    # -- what is there ---------------------------------------------------------------------------------------------

    def journal(self, process: Process | None) -> Journal:
        """Another journal over what earlier ones have kept, for a process; None: for the end's checks."""
        made: Journal
        if self.disk is None:
            made = InMemoryJournal(self.store, keep_inputs=self.scenario.keep_inputs)
        else:
            self.disk.process = process
            made = SqliteFileJournal(self.disk.journal, vfs=self.disk.name, inline=True)
        self._journals[process] = made
        return made

    def gone(self, process: Process) -> None:
        """The process is no more: its lock is free. With it the power may have gone."""
        if self.disk is None:
            self.store.crash()
            return
        self.disk.process = process
        self.disk.arm()
        at_once(self._journals[process].close())
        if process.killed_by and not self._others_alive(process) and self._cut.chance(0.5):
            self.trace.say("the power is cut")
            self.trace.happened("power cut")
            self.disk.lose_power(self._cut)

    def lock_is_lost(self) -> None:
        """The process that held the journal is thought to be gone, and is not."""
        if self.disk is None:
            self.store.crash()
        else:
            lock = self.disk.journal.with_name("journal.db.lock")
            lock.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.disk is not None:
            for process, journal in self._journals.items():
                self.disk.process = process
                at_once(journal.close())
            self.disk.remove()

    def _others_alive(self, process: Process) -> bool:
        return any(each.alive for each in self.runners if each is not process)

    def setting_in_force(self) -> Setting:
        """That which the journal is bound to."""
        bound = self.ledger.fingerprint
        return next((each for each in self.scenario.settings if each.fingerprint == bound), self.scenario.settings[0])

    def undone(self) -> str:
        """What is still to do, in words; empty where everything is done."""
        ledger, scenario = self.ledger, self.scenario
        here = len(ledger.logged) + sum(ledger.shed.values()) + len(self.forgotten - ledger.logged.keys())
        if here < len(scenario.block):
            return f"{len(scenario.block) - here} ticks are not journaled"
        if sum(ledger.malformed.values()) < self._malformed:
            return "malformed messages are not counted"
        return f"{ledger.open_signals} signals are not settled" if ledger.open_signals else ""

    def broken(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        self.trace.say(f"VIOLATION {invariant}: {text}")
        if len(self.violations) < _MOST_VIOLATIONS:
            self.violations.append(Violation(invariant, text))

    # -- the journal -----------------------------------------------------------------------------------------------

    def took_over(self, process: Process, journal: Journal) -> None:
        """The process holds the journal now."""
        self.trace.say(f"{process} journal opened, epoch {journal.epoch}")
        if self.ledger.doubt is not None or self.disk is not None:
            self._compare(journal)
        before = self.ledger.owner
        if before is not None and before.alive and not self.ledger.owner_lost:
            self.broken("I4", f"{process} was not refused a journal that {before} holds")
        self.ledger.owner, self.ledger.owner_lost = process, False
        process.opened.set()
        self.setting = self.setting_in_force()
        self._switch[process] = [self.ledger.killed, self.ledger.killed]

    def closed(self, process: Process) -> None:
        """The process has given the journal back."""
        if self.ledger.owner is process:
            self.ledger.owner_lost = True

    def _compare(self, journal: Journal) -> None:
        """What is kept against what was known to be durable; what was being written is there, or it is not."""
        doubt, self.ledger.doubt = self.ledger.doubt, None
        difference = self.difference(journal)
        if difference and doubt is not None:
            doubt()
            self.trace.say("what was being written is there")
            self.trace.happened("a torn write is there")
            difference = self.difference(journal)
        elif doubt is not None:
            self.trace.happened("a torn write is not there")
        if difference:
            self.broken("I1", difference)

    def difference(self, journal: Journal) -> str:
        """How a journal differs from what is known to be durable; empty where it does not."""
        ledger = self.ledger
        for shard in range(self.scenario.plan.count):
            record = at_once(journal.shard(shard))
            steps = [(step.first, step.count, step.inputs) for step in ledger.steps.get(shard, []) if step.count]
            kept = at_once(all_inputs(journal, shard, 0))
            found = (0, {}) if record is None else (record.next_input, record.watermarks)
            known = (ledger.next_input.get(shard, 0), ledger.watermarks.get(shard, {}))
            if found != known:
                return f"shard {shard}: the journal stands at {found}, and {known} was durable"
            if kept != steps[len(steps) - len(kept) :] and not _the_same(kept, steps):
                return f"shard {shard}: the journal keeps other inputs than were committed"
        fates = at_once(journal.fates())
        for broker in sorted({*fates, *ledger.fates}):
            there, written = fates.get(broker, {}), dict(Counter(ledger.fates.get(broker, {}).values()))
            if dict(there) != written:
                return f"{broker}: the journal has the fates {there}, and {written} were durable"
        if at_once(journal.killed()) != ledger.killed:
            return "the kill switch is not where it was"
        return ""

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
        if any(step.fingerprint for step in steps):
            self.setting = self.setting_in_force()
            self.trace.happened("another configuration took over")

    # -- the source ------------------------------------------------------------------------------------------------

    def acknowledged(self, process: Process, partition: str, offset: int) -> None:
        """The server may forget what is up to `offset`."""
        self.trace.say(f"{process} source {partition} acknowledged up to {offset}")
        server, ledger = self.server, self.ledger
        before = server.acknowledged[partition]
        for message in server.messages[partition][before + 1 : offset + 1]:
            if not all(place in ledger.logged for place in message.places) and not self._left_out(message):
                self.broken("I4", f"{partition} {message.offset} was acknowledged before it was journaled")
        server.acknowledged[partition] = max(before, offset)

    def _left_out(self, message: Message) -> bool:
        """Whether nobody has to journal it: conflation may have left it out, or the source forgotten it."""
        conflates = self.setting.configuration.run.overload is Overload.CONFLATE
        return conflates or self.forgotten.issuperset(message.places)

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
            # Nothing keeps one that was put to sleep between its intent and its send from sending when another has taken over.
            overtaken = self.ledger.owner is not process
            meant = (process.number, broker.name, signal.number) in self.ledger.intents
            if fate is not Fate.SENDING and not (overtaken and meant):
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

    def switch_returned(self, process: Process, *, on: bool) -> None:
        """The service says that it is durable."""
        if process.alive and on and not self.ledger.killed and self._switch[process][1]:
            self.broken("I6", "the kill switch was said to be on, and is not durable")

    # -- bounds ----------------------------------------------------------------------------------------------------

    def look(self, process: Process) -> None:
        """Look at what a process holds in memory."""
        runner = self.runners.get(process)
        if runner is None or not runner.shards:
            return
        for mailbox in runner.mailboxes:
            if mailbox.waiting_ticks > mailbox.capacity + _PIECE:
                self.broken("I7", f"{mailbox.waiting_ticks} ticks wait in a mailbox for {mailbox.capacity}")
        self._looks += 1
        if self._looks % 8:
            return  # asking for health takes as long as a tick
        health = runner.health()
        waiting = 0 if health.journal is None else health.journal.waiting
        if waiting > _STEPS + len(runner.shards):
            self.broken("I7", f"{waiting} steps wait for their commit")


def _the_same(kept: Sequence[tuple[int, int, bytes]], steps: Sequence[tuple[int, int, bytes]]) -> bool:
    """Whether what is kept is the end of the steps, although compaction has joined some of them."""
    tail = [each for each in steps if kept and each[0] >= kept[0][0]]
    ends = [each[-1][0] + each[-1][1] if each else 0 for each in (kept, tail)]
    return ends[0] == ends[1] and joined_inputs([data for *_, data in kept]) == joined_inputs(
        [data for *_, data in tail]
    )


def _shards(scenario: Scenario) -> tuple[float, ...]:
    """Most shards are as quick as the loop; beside those, some have strategies that take their time."""
    dice = Dice(scenario.seed, "shards")
    uneven = dice.chance(0.5)
    return tuple(dice.scale(0.01, 1.0) if uneven and dice.chance(0.5) else 0.0 for _ in range(scenario.plan.count))


def _disk() -> SimulatedDisk:
    library()  # which says what to install where it is missing
    from anystrat.testing.simulate.disk import SimulatedDisk  # noqa: PLC0415  it is made of the extra's classes

    return SimulatedDisk()
