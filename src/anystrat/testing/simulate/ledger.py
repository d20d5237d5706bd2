"""What the world knows to be durable: kept beside the journal, and compared with it after each crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from anystrat.domain.columns import TickColumns
from anystrat.domain.events import Conflated, DeliveryFailed
from anystrat.domain.inputs import Input, decoded_inputs
from anystrat.domain.journal import Fate
from anystrat.runner.tally import Tally

if TYPE_CHECKING:
    from anystrat.domain.journal import OutboxSignal, Settled, Step
    from anystrat.testing.simulate.process import Process

OPEN: Final = frozenset({Fate.PENDING, Fate.SENDING})


class Ledger:
    """Every write that took effect, in order."""

    def __init__(self) -> None:
        self.steps: dict[int, list[Step]] = {}
        self.next_input: dict[int, int] = {}
        self.watermarks: dict[int, dict[str, int]] = {}
        self.signals: dict[str, dict[int, OutboxSignal]] = {}
        self.fates: dict[str, dict[int, Fate]] = {}
        self.intents: set[tuple[int, str, int]] = set()  # (process, broker, signal's number)
        self.number_of: dict[tuple[str, str], int] = {}
        self.expires: dict[tuple[str, int], int] = {}
        #: Signals that an operator wanted to be sent again, knowing that they may have had their effect.
        self.wanted_again: set[tuple[str, int]] = set()
        #: (broker, id) of the signals whose strategies were told that they are given up.
        self.told: set[tuple[str, str]] = set()
        self.killed = False
        #: The inputs of each step, by shard.
        self.inputs: dict[int, list[list[Input]]] = {}
        #: How often each tick is journaled, by its place, and how many of each instrument were left out.
        self.logged: Counter[int] = Counter()
        self.shed: Counter[int] = Counter()
        self.malformed: dict[int, int] = {}
        #: The fingerprint that the journal is bound to; None: the first one's.
        self.fingerprint: str | None = None
        #: What a process was writing when it died within: it may be there, or not.
        self.doubt: Callable[[], None] | None = None
        #: The process that took the journal over last.
        self.owner: Process | None = None
        #: It has given the journal back, or is thought to be dead: another one may take over.
        self.owner_lost = False

    def committed(self, steps: Sequence[Step]) -> None:
        """These steps are durable."""
        for step in steps:
            self.steps.setdefault(step.shard, []).append(step)
            self.next_input[step.shard] = step.first + step.count
            self.fingerprint = step.fingerprint or self.fingerprint
            self.malformed[step.shard] = msgspec.msgpack.decode(step.tally, type=Tally).malformed
            inputs = list(decoded_inputs(step.inputs)) if step.count else []
            self.inputs.setdefault(step.shard, []).append(inputs)
            for each in inputs:
                if isinstance(each, TickColumns):
                    self.logged.update(places_of(each))
                elif isinstance(each, Conflated):
                    self.shed[each.instrument_token] += each.ticks
                elif isinstance(each, DeliveryFailed):
                    self.told.add((each.broker, each.signal_id))
            self.watermarks.setdefault(step.shard, {}).update(step.watermarks)
            for signal in step.signals:
                self.signals.setdefault(signal.broker, {})[signal.number] = signal
                self.fates.setdefault(signal.broker, {})[signal.number] = Fate.PENDING
                self.number_of[signal.broker, signal.signal_id] = signal.number

    def sending(self, process: int, broker: str, first: int, last: int) -> None:
        """The intent of the process of this number is durable."""
        for number in range(first, last + 1):
            self.fates[broker][number] = Fate.SENDING
            self.intents.add((process, broker, number))

    def untold(self, outcomes: Sequence[Settled]) -> list[tuple[str, int]]:
        """Which of these are given up without their strategies having been told: (broker, number) each."""
        return [
            (each.broker, number)
            for each in outcomes
            if each.fate in {Fate.DEAD, Fate.UNKNOWN}
            for number in range(each.first, each.last + 1)
            if (each.broker, self.signals[each.broker][number].signal_id) not in self.told
        ]

    def settled(self, outcomes: Sequence[Settled]) -> None:
        """These fates are durable."""
        for each in outcomes:
            for number in range(each.first, each.last + 1):
                self.fates[each.broker][number] = each.fate

    def revived(self, broker: str, numbers: Sequence[int], expires_ns: int) -> None:
        """Those of them that were dead letters are not any more."""
        for number in numbers:
            if self.fates[broker].get(number) in {Fate.DEAD, Fate.UNKNOWN}:
                self.wanted_again.add((broker, number))
                self.fates[broker][number] = Fate.PENDING
                self.expires[broker, number] = expires_ns

    def fate_of(self, broker: str, signal_id: str) -> Fate | None:
        """What is durable of a signal; None where it is not even accepted."""
        number = self.number_of.get((broker, signal_id))
        return None if number is None else self.fates[broker][number]

    @property
    def open_signals(self) -> int:
        """Signals that are accepted and not settled."""
        return sum(fate in OPEN for fates in self.fates.values() for fate in fates.values())

    def had(self, shard: int, partition: str) -> int:
        """Up to which offset a shard's consumption is durable."""
        return self.watermarks.get(shard, {}).get(partition, -1)


def places_of(block: TickColumns) -> list[int]:
    """Which ticks of the scenario these are."""
    return [] if block.volume is None else [int(each) - 1 for each in block.volume.tolist()]
