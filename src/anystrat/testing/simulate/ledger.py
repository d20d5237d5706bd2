"""What the world knows to be durable: kept beside the journal, and compared with it after each crash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anystrat.domain.journal import Fate

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
        self.number_of: dict[tuple[str, str], int] = {}
        self.expires: dict[tuple[str, int], int] = {}
        self.killed = False
        #: The process that took the journal over last.
        self.owner: Process | None = None

    def committed(self, steps: Sequence[Step]) -> None:
        """These steps are durable."""
        for step in steps:
            self.steps.setdefault(step.shard, []).append(step)
            self.next_input[step.shard] = step.first + step.count
            self.watermarks.setdefault(step.shard, {}).update(step.watermarks)
            for signal in step.signals:
                self.signals.setdefault(signal.broker, {})[signal.number] = signal
                self.fates.setdefault(signal.broker, {})[signal.number] = Fate.PENDING
                self.number_of[signal.broker, signal.signal_id] = signal.number

    def sending(self, broker: str, first: int, last: int) -> None:
        """The intent is durable."""
        for number in range(first, last + 1):
            self.fates[broker][number] = Fate.SENDING

    def settled(self, outcomes: Sequence[Settled]) -> None:
        """These fates are durable."""
        for each in outcomes:
            for number in range(each.first, each.last + 1):
                self.fates[each.broker][number] = each.fate

    def revived(self, broker: str, numbers: Sequence[int], expires_ns: int) -> None:
        """Those of them that were dead letters are not any more."""
        for number in numbers:
            if self.fates[broker].get(number) in {Fate.DEAD, Fate.UNKNOWN}:
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
