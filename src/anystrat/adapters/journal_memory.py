"""A journal that nothing outlives but its store: the rules of every journal, in memory, without durability."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from anystrat.adapters.journal_book import DEAD_LETTERS, DONE, UNSETTLED, Book, BrokerBook, ShardBook, entry
from anystrat.domain.journal import (
    Fate,
    JournalFailed,
    JournalRefused,
    OutboxEntry,
    OutboxSignal,
    Settled,
    ShardRecord,
    Step,
)

KEEP_INPUTS: Final = 100_000
KEEP_SETTLED: Final = 10_000


@dataclass(slots=True)
class MemoryStore:
    """What a journal in memory keeps. Several journals may be opened over one, one after the other, as over a file."""

    book: Book = field(default_factory=Book)
    inputs: dict[int, deque[tuple[int, int, bytes]]] = field(default_factory=dict)
    checkpoints: dict[int, bytes] = field(default_factory=dict)
    signals: dict[str, dict[int, OutboxSignal]] = field(default_factory=dict)
    fingerprint: str | None = None
    killed: bool = False
    epoch: int = 0
    held: bool = False

    def crash(self) -> None:
        """As when the process that holds it is killed: the lock is gone, what was kept stays."""
        self.held = False


class InMemoryJournal:
    """The journal of a run whose state need not outlive its process; see `domain.journal.Journal`.

    It compacts itself: of the inputs before a checkpoint some `keep_inputs` stay, of a broker's settled signals at most
    twice `keep_settled`. What a restart would need always stays, so give checkpoints now and then.
    """

    def __init__(
        self, store: MemoryStore | None = None, *, keep_inputs: int = KEEP_INPUTS, keep_settled: int = KEEP_SETTLED
    ) -> None:
        self._store = store or MemoryStore()
        self._keep_inputs = keep_inputs
        self._keep_settled = keep_settled
        self._settled: Counter[str] = Counter()
        self._epoch = 0

    async def open(self, fingerprint: str | None) -> None:
        store = self._store
        if store.held:
            raise JournalRefused("this journal in memory is in use already")
        if fingerprint is not None:
            if store.book.shards and store.fingerprint not in {None, fingerprint}:
                raise JournalRefused(
                    "this journal in memory holds the state of another configuration; begin with a new one"
                )
            store.fingerprint = fingerprint
        store.held = True
        store.epoch += 1
        self._epoch = store.epoch

    @property
    def epoch(self) -> int:
        return self._epoch

    async def shard(self, shard: int) -> ShardRecord | None:
        book = self._open().book.shards.get(shard)
        if book is None:
            return None
        since = [step for step in self._store.inputs[shard] if step[0] >= book.checkpoint_input]
        checkpoint = self._store.checkpoints.get(shard)
        return ShardRecord(
            dict(book.watermarks), book.next_input, book.tally, checkpoint, book.checkpoint_input, tuple(since)
        )

    async def commit(self, steps: Sequence[Step]) -> None:
        store = self._open()
        store.book.check_steps(steps)
        for step in steps:
            store.book.shards.setdefault(step.shard, ShardBook()).take(step)
            kept = store.inputs.setdefault(step.shard, deque())
            if step.count:
                kept.append((step.first, step.count, step.inputs))
            for signal in step.signals:
                store.book.brokers.setdefault(signal.broker, BrokerBook()).accept(1)
                store.signals.setdefault(signal.broker, {})[signal.number] = signal
            if step.checkpoint is not None:
                store.checkpoints[step.shard] = step.checkpoint
                self._forget_inputs(step.shard, self._keep_inputs)
            if step.fingerprint is not None:
                store.fingerprint = step.fingerprint

    async def sending(self, broker: str, first: int, last: int) -> None:
        self._open().book.check_unsettled(broker, first, last).sending(first, last)

    async def settle(self, outcomes: Sequence[Settled]) -> None:
        book = self._open().book
        book.check_outcomes(outcomes)
        for outcome in outcomes:
            book.brokers[outcome.broker].settle(outcome)
            if outcome.fate in DONE:
                self._settled[outcome.broker] += outcome.last - outcome.first + 1
        for broker, settled in list(self._settled.items()):
            if settled > self._keep_settled:
                self._forget_settled(broker, self._keep_settled)

    async def last_number(self, broker: str) -> int:
        book = self._open().book.brokers.get(broker)
        return 0 if book is None else book.last

    async def unsettled(self, broker: str, after: int, limit: int) -> Sequence[OutboxEntry]:
        return list(islice(self._entries(broker, after, UNSETTLED), limit))

    async def fates(self) -> Mapping[str, Mapping[Fate, int]]:
        return self._open().book.fates()

    async def dead_letters(self, broker: str | None = None) -> Sequence[OutboxEntry]:
        brokers = sorted(self._open().book.brokers) if broker is None else [broker]
        return [found for each in brokers for found in self._entries(each, 0, DEAD_LETTERS)]

    async def revive(self, broker: str, numbers: Sequence[int], expires_ns: int) -> int:
        book = self._open().book.brokers.get(broker)
        return 0 if book is None else sum(book.revive(number, expires_ns) is not None for number in numbers)

    async def killed(self) -> bool:
        return self._open().killed

    @property
    def problem(self) -> str:
        return ""

    def give_up(self) -> None:
        pass

    async def set_killed(self, killed: bool) -> None:  # noqa: FBT001  as the port has it
        self._open().killed = killed

    async def compact(self, *, keep_inputs: int, keep_settled: int) -> None:
        for shard in self._open().inputs:
            self._forget_inputs(shard, keep_inputs)
        for broker in self._store.book.brokers:
            self._forget_settled(broker, keep_settled)

    async def inputs(self, shard: int, first: int = 0) -> AsyncIterator[tuple[int, int, bytes]]:
        for step in list(self._open().inputs.get(shard, ())):
            if step[0] + step[1] > first:
                yield step

    async def close(self) -> None:
        if self._epoch == self._store.epoch:
            self._store.held = False
        self._epoch = 0

    def _open(self) -> MemoryStore:
        if self._epoch != self._store.epoch or not self._store.held:
            raise JournalFailed("this journal in memory was closed, or taken over by another: start again")
        return self._store

    def _entries(self, broker: str, after: int, fates: Collection[Fate]) -> Iterator[OutboxEntry]:
        book = self._open().book.brokers.get(broker, BrokerBook())
        for each in book.ranges.after(after):
            if each.fate in fates:
                for number in range(max(each.first, after + 1), each.last + 1):
                    yield entry(self._store.signals[broker][number], each)

    def _forget_inputs(self, shard: int, keep: int) -> None:
        before = self._store.book.shards[shard].checkpoint_input - keep
        kept = self._store.inputs[shard]
        while kept and kept[0][0] + kept[0][1] <= before:
            kept.popleft()

    def _forget_settled(self, broker: str, keep: int) -> None:
        book = self._store.book.brokers[broker]
        signals = self._store.signals[broker]
        for first, last in list(book.forgettable(keep)):
            book.forget(first, last)
            for number in range(first, last + 1):
                del signals[number]
        self._settled[broker] = 0
