"""The bookkeeping of every journal: inputs and numbers follow on without gaps, and which fate may follow which.

Nothing is stored here: a journal asks the book, writes down what the book says has changed, and fills the book again when
it opens. So all journals keep the same rules. Everything is checked before anything changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from anystrat.adapters.journal_fates import Change, FateRange, FateRanges
from anystrat.domain.journal import Fate, OutboxEntry, OutboxSignal, Settled, Step

UNSETTLED: Final = frozenset({Fate.PENDING, Fate.SENDING})
DEAD_LETTERS: Final = frozenset({Fate.DEAD, Fate.UNKNOWN})
#: What `compact` may forget.
DONE: Final = frozenset({Fate.ACKED, Fate.REJECTED, Fate.EXPIRED})


class DoesNotFollow(ValueError):
    """A call that does not follow on what is kept; nothing of it was written."""


@dataclass(slots=True)
class ShardBook:
    """Where a shard stands. `checkpoint_input` is the first input after its checkpoint."""

    next_input: int = 0
    watermarks: dict[str, int] = field(default_factory=dict)
    tally: bytes = b""
    checkpoint_input: int = 0

    def take(self, step: Step) -> None:
        """The shard after this step."""
        self.next_input += step.count
        self.watermarks.update(step.watermarks)
        self.tally = step.tally
        if step.checkpoint is not None:
            self.checkpoint_input = self.next_input


@dataclass(slots=True)
class BrokerBook:
    """Where a broker's outbox stands. `forgotten` counts what `compact` took away."""

    last: int = 0
    ranges: FateRanges = field(default_factory=FateRanges)
    forgotten: Counter[Fate] = field(default_factory=Counter)

    def accept(self, count: int) -> Change:
        """The next `count` signals, which are PENDING."""
        self.last += count
        return self.ranges.append(self.last - count + 1, self.last)

    def sending(self, first: int, last: int) -> Change:
        """`first..last` are SENDING now; they were checked."""
        return self.ranges.change(first, last, lambda old: msgspec.structs.replace(old, fate=Fate.SENDING))

    def settle(self, outcome: Settled) -> Change:
        """What became of signals that were checked."""
        # What a sink or an operating system says need not be text that can be written down.
        reason = outcome.reason.encode("utf-8", "backslashreplace").decode()

        def settled(old: FateRange) -> FateRange:
            return FateRange(old.first, old.last, outcome.fate, reason, outcome.attempts, old.expires_ns)

        return self.ranges.change(outcome.first, outcome.last, settled)

    def revive(self, number: int, expires_ns: int) -> Change | None:
        """A dead letter, PENDING again; None where it is none."""
        if not any(each.fate in DEAD_LETTERS for each in self.ranges.within(number, number)):
            return None
        return self.ranges.change(
            number, number, lambda _: FateRange(number, number, Fate.PENDING, expires_ns=expires_ns)
        )

    def forget(self, first: int, last: int) -> Change:
        """Take `first..last`, which are DONE, out of the book, and count them."""
        for each in self.ranges.within(first, last):
            self.forgotten[each.fate] += each.last - each.first + 1
        return self.ranges.change(first, last, lambda _: None)

    def forgettable(self, keep: int) -> Iterator[tuple[int, int]]:
        """The DONE signals before the last `keep` of them, as (first, last), from the newest to the oldest."""
        for each in reversed(list(self.ranges)):
            if each.fate in DONE:
                count = each.last - each.first + 1
                if count > keep:
                    yield each.first, each.last - keep
                keep = max(0, keep - count)

    def counts(self) -> Counter[Fate]:
        """How many signals there are in each fate, the forgotten ones included."""
        counts = Counter(self.forgotten)
        for each in self.ranges:
            counts[each.fate] += each.last - each.first + 1
        return counts


class Book:
    """What a journal keeps, without the bytes."""

    def __init__(self) -> None:
        self.shards: dict[int, ShardBook] = {}
        self.brokers: dict[str, BrokerBook] = {}

    def check_steps(self, steps: Sequence[Step]) -> None:
        """Raise `DoesNotFollow` unless each step and each signal is the next one."""
        inputs = {shard: book.next_input for shard, book in self.shards.items()}
        numbers = {broker: book.last for broker, book in self.brokers.items()}
        for step in steps:
            expected = inputs.get(step.shard, 0)
            if step.first != expected or step.count < 0:
                raise DoesNotFollow(
                    f"shard {step.shard}: expected inputs from number {expected} on, found {step.count} from number {step.first} on"
                )
            if not step.count and step.inputs:
                raise DoesNotFollow(f"shard {step.shard}: found {len(step.inputs)} bytes of inputs, and a count of 0")
            inputs[step.shard] = expected + step.count
            for signal in step.signals:
                last = numbers.get(signal.broker, 0)
                if signal.number != last + 1:
                    raise DoesNotFollow(f"broker {signal.broker!r}: expected signal {last + 1}, found {signal.number}")
                numbers[signal.broker] = signal.number

    def check_unsettled(self, broker: str, first: int, last: int) -> BrokerBook:
        """The broker's book; raises `DoesNotFollow` unless all of `first..last` are PENDING or SENDING."""
        book = self.brokers.get(broker, BrokerBook())
        if not 1 <= first <= last <= book.last:
            raise DoesNotFollow(f"broker {broker!r}: signals {first} to {last} are not among 1 to {book.last}")
        number = first
        for each in book.ranges.within(first, last):
            if each.first > number or each.fate not in UNSETTLED:
                break
            number = each.last + 1
        if number <= last:
            found = [each.fate.name for each in book.ranges.within(number, number)]
            raise DoesNotFollow(
                f"broker {broker!r}: signal {number} is {found[0] if found else 'forgotten'}, which is final"
            )
        return book

    def check_outcomes(self, outcomes: Sequence[Settled]) -> None:
        """Raise `DoesNotFollow` unless all are about unsettled signals, each signal once."""
        ends: dict[str, int] = {}
        for each in sorted(outcomes, key=lambda each: (each.broker, each.first)):
            if each.fate is Fate.SENDING:
                raise DoesNotFollow(f"broker {each.broker!r}: SENDING is said by `sending`, and is no outcome")
            self.check_unsettled(each.broker, each.first, each.last)
            if each.first <= ends.get(each.broker, 0):
                raise DoesNotFollow(f"broker {each.broker!r}: signal {each.first} has two outcomes in one call")
            ends[each.broker] = each.last

    def fates(self) -> dict[str, Mapping[Fate, int]]:
        """How many signals of each broker are in each fate, the forgotten ones included; no zeros."""
        return {broker: dict(book.counts()) for broker, book in self.brokers.items()}


def entry(signal: OutboxSignal, known: FateRange) -> OutboxEntry:
    """A signal with what is known of it."""
    if known.expires_ns is not None:
        signal = msgspec.structs.replace(signal, expires_ns=known.expires_ns)
    return OutboxEntry(signal, known.fate, known.reason, known.attempts)
