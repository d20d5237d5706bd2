"""What the writer does within one transaction.

Calls change the book, and note what has to be written; `flush` writes it, once a group, so that a hundred commits that
extend one range cost one row. After an error the book says more than the database: neither must be used any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from anystrat.adapters.journal_book import DEAD_LETTERS, UNSETTLED, BrokerBook, ShardBook
from anystrat.adapters.journal_fates import Change, FateRange
from anystrat.adapters.journal_tables import rows
from anystrat.adapters.journal_tables.compaction import (
    forget_inputs,
    forget_signals,
    join_inputs,
    join_signals,
    piece_of,
)
from anystrat.adapters.journal_tables.selection import Contents, Selection
from anystrat.domain.journal import Fate, OutboxEntry, OutboxSignal, Settled, ShardRecord, Step


@dataclass(slots=True)
class _Unwritten:
    """What the calls of a group have changed and `flush` has to write."""

    inputs: list[rows.Row] = field(default_factory=list)
    checkpoints: dict[int, rows.Row] = field(default_factory=dict)
    shards: set[int] = field(default_factory=set)
    brokers: set[str] = field(default_factory=set)
    signals: dict[str, list[OutboxSignal]] = field(default_factory=dict)
    fates: dict[str, dict[int, FateRange | None]] = field(default_factory=dict)
    meta: set[str] = field(default_factory=set)


class Tables:
    """A journal's tables and its book, on one connection. Raises `DoesNotFollow`, `rows.Damaged`, and the database's own error."""

    def __init__(self, connection: rows.Connection, contents: Contents) -> None:
        self._connection = connection
        self._numbers = contents.numbers
        self._unwritten = _Unwritten()
        self._joined: dict[int, int] = {}
        self._joined_inputs: dict[int, int] = {}
        self._selection = Selection(connection, contents)
        self.book = contents.book
        self.meta = contents.meta

    def commit(self, steps: Sequence[Step]) -> None:
        """Take the steps over."""
        self.book.check_steps(steps)
        new = self._unwritten
        for step in steps:
            shard = self.book.shards.setdefault(step.shard, ShardBook())
            shard.take(step)
            new.shards.add(step.shard)
            if step.count:
                new.inputs.append(rows.input_row(step.shard, step.first, step.count, step.inputs))
            if step.checkpoint is not None:
                new.checkpoints[step.shard] = rows.checkpoint_row(step.shard, shard.next_input, step.checkpoint)
            if step.fingerprint is not None:
                self.set_meta("fingerprint", step.fingerprint)
            for signal in step.signals:
                new.signals.setdefault(signal.broker, []).append(signal)
        for name, signals in new.signals.items():
            broker = self.book.brokers.setdefault(name, BrokerBook())
            self._numbers.setdefault(name, len(self._numbers) + 1)
            if more := signals[-1].number - broker.last:
                new.brokers.add(name)
                self._note(name, broker.accept(more))

    def sending(self, broker: str, first: int, last: int) -> None:
        """Mark signals as under way."""
        self._note(broker, self.book.check_unsettled(broker, first, last).sending(first, last))

    def settle(self, outcomes: Sequence[Settled]) -> None:
        """Note what became of signals."""
        self.book.check_outcomes(outcomes)
        for outcome in outcomes:
            self._note(outcome.broker, self.book.brokers[outcome.broker].settle(outcome))

    def revive(self, broker: str, numbers: Sequence[int], expires_ns: int) -> int:
        """Make dead letters PENDING; how many."""
        book = self.book.brokers.get(broker, BrokerBook())
        changes = [change for number in numbers if (change := book.revive(number, expires_ns)) is not None]
        for change in changes:
            self._note(broker, change)
        return len(changes)

    def set_meta(self, name: str, value: Any) -> None:
        """Keep a value by name."""
        self.meta[name] = value
        self._unwritten.meta.add(name)

    def forget(self, *, keep_inputs: int, keep_settled: int) -> bool:
        """One piece of what may be forgotten; whether there was any."""
        self.flush()
        for shard, shard_book in self.book.shards.items():
            if forget_inputs(self._connection, shard, shard_book.checkpoint_input - keep_inputs):
                return True
        for name, book in self.book.brokers.items():
            piece = piece_of(book.forgettable(keep_settled))
            for first, last in piece:
                self._note(name, book.forget(first, last))
                forget_signals(self._connection, self._numbers[name], first, last)
            if piece:
                self._unwritten.brokers.add(name)
                return True
        for name in self.book.brokers:
            number = self._numbers[name]
            if joined := join_signals(self._connection, number, self._joined.get(number, 0)):
                self._joined[number] = joined
                return True
        for shard, shard_book in self.book.shards.items():
            after = self._joined_inputs.get(shard, 0)
            # What follows on the checkpoint is what a restart repeats: a row must not hold both.
            if joined := join_inputs(self._connection, shard, after, shard_book.checkpoint_input):
                self._joined_inputs[shard] = joined
                return True
        return False

    def reset(self) -> None:
        """Forget all shards, and whose they were."""
        self.flush()
        self.book.shards.clear()
        self._joined_inputs.clear()
        for table in ("input", "checkpoint", "shard"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  names of ours
        self._connection.execute("DELETE FROM meta WHERE name = 'fingerprint'")
        self.meta.pop("fingerprint", None)

    def shard(self, shard: int) -> ShardRecord | None:
        """As the port has it."""
        self.flush()
        return self._selection.shard(shard)

    def inputs(self, shard: int, first: int) -> list[tuple[int, int, bytes]]:
        """A page of inputs."""
        self.flush()
        return self._selection.inputs(shard, first)

    def last_number(self, broker: str) -> int:
        """As the port has it."""
        return self.book.brokers.get(broker, BrokerBook()).last

    def unsettled(self, broker: str, after: int, limit: int) -> list[OutboxEntry]:
        """As the port has it."""
        return self._entries(broker, after, limit, UNSETTLED)

    def dead_letters(self, broker: str | None) -> list[OutboxEntry]:
        """As the port has it."""
        brokers = sorted(self.book.brokers) if broker is None else [broker]
        return [found for each in brokers for found in self._entries(each, 0, None, DEAD_LETTERS)]

    def flush(self) -> None:
        """Write what has changed."""
        new, self._unwritten = self._unwritten, _Unwritten()
        self._write("INSERT INTO input VALUES (?,?,?,?,?)", new.inputs)
        self._write("INSERT OR REPLACE INTO checkpoint VALUES (?,?,?,?)", new.checkpoints.values())
        shards = [rows.shard_row(shard, self.book.shards[shard]) for shard in sorted(new.shards)]
        self._write("INSERT OR REPLACE INTO shard VALUES (?,?,?,?,?)", shards)
        for name, signals in new.signals.items():
            self._write("INSERT INTO signal VALUES (?,?,?,?,?,?)", rows.signal_rows(self._numbers[name], signals))
        self._write("INSERT OR REPLACE INTO broker VALUES (?,?,?,?,?)", map(self._broker_row, sorted(new.brokers)))
        for name, ranges in new.fates.items():
            number = self._numbers[name]
            gone = [(number, first) for first, known in ranges.items() if known is None]
            self._write("DELETE FROM fate WHERE broker = ? AND first = ?", gone)
            put = [rows.fate_row(number, known) for known in ranges.values() if known is not None]
            self._write("INSERT OR REPLACE INTO fate VALUES (?,?,?,?,?,?,?,?)", put)
        meta = [rows.meta_row(name, self.meta[name]) for name in sorted(new.meta)]
        self._write("INSERT OR REPLACE INTO meta VALUES (?,?,?)", meta)

    def _entries(self, broker: str, after: int, limit: int | None, fates: Collection[Fate]) -> list[OutboxEntry]:
        self.flush()
        return list(islice(self._selection.entries(broker, after, fates), limit))

    def _note(self, broker: str, change: Change) -> None:
        noted = self._unwritten.fates.setdefault(broker, {})
        for first in change.gone:
            noted[first] = None
        for known in change.put:
            noted[known.first] = known

    def _broker_row(self, name: str) -> rows.Row:
        book = self.book.brokers[name]
        return rows.broker_row(rows.BrokerRow(self._numbers[name], name, book.last, book.forgotten))

    def _write(self, statement: str, values: Iterable[rows.Row]) -> None:
        self._connection.executemany(statement, values)
