"""What is read from a journal's tables, by the writer and by those who only look."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from anystrat.adapters.journal_book import Book, BrokerBook, entry
from anystrat.adapters.journal_tables import rows
from anystrat.domain.journal import Fate, OutboxEntry, OutboxSignal, ShardRecord

#: What one page of inputs holds, in bytes, before it ends; one step at least.
_PAGE_BYTES: Final = 4 << 20
_number: Final = attrgetter("number")


@dataclass(slots=True)
class Contents:
    """What a journal holds, less the bytes. `numbers` are what the tables call the brokers."""

    book: Book = field(default_factory=Book)
    numbers: dict[str, int] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


class Selection:
    """Reads what the book speaks of, on one connection. Raises `rows.Damaged`, and the database's own error."""

    def __init__(self, connection: rows.Connection, contents: Contents) -> None:
        self._connection = connection
        self._contents = contents

    def shard(self, shard: int) -> ShardRecord | None:
        """As the port has it."""
        book = self._contents.book.shards.get(shard)
        if book is None:
            return None
        begin = book.checkpoint_input
        states = [rows.checkpoint_of(row)[2] for row in self._all("SELECT * FROM checkpoint WHERE shard = ?", shard)]
        since = self._all("SELECT * FROM input WHERE shard = ? AND first >= ? ORDER BY first", shard, begin)
        steps = tuple(rows.input_of(row)[1:] for row in since)
        return ShardRecord(
            dict(book.watermarks), book.next_input, book.tally, states[0] if states else None, begin, steps
        )

    def inputs(self, shard: int, first: int) -> list[tuple[int, int, bytes]]:
        """A page of the kept inputs from the step that holds `first` on; an empty one after the last."""
        holder = self._all("SELECT max(first) FROM input WHERE shard = ? AND first <= ?", shard, first)[0][0]
        page: list[tuple[int, int, bytes]] = []
        size = 0
        found = self._connection.execute(
            "SELECT * FROM input WHERE shard = ? AND first >= ? ORDER BY first", (shard, holder or 0)
        )
        for row in found:
            _, at, count, data = rows.input_of(row)
            if at + count > first:
                page.append((at, count, data))
                size += len(data)
                if size >= _PAGE_BYTES:
                    break
        return page

    def entries(self, broker: str, after: int, fates: Collection[Fate]) -> Iterator[OutboxEntry]:
        """The broker's signals with a number above `after` and one of these fates, in order."""
        chunk: list[OutboxSignal] = []
        for known in self._contents.book.brokers.get(broker, BrokerBook()).ranges.after(after):
            if known.fate not in fates:
                continue
            number = max(known.first, after + 1)
            while number <= known.last:
                if not chunk or not chunk[0].number <= number <= chunk[-1].number:
                    chunk = self._chunk(broker, number)
                begin = bisect_left(chunk, number, key=_number)
                end = bisect_right(chunk, known.last, key=_number)
                yield from (entry(signal, known) for signal in chunk[begin:end])
                number = chunk[end - 1].number + 1

    def _chunk(self, broker: str, number: int) -> list[OutboxSignal]:
        """The signals of the row that holds this one."""
        found = self._all(
            "SELECT * FROM signal WHERE broker = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            self._contents.numbers[broker], number,
        )  # fmt: skip
        chunk = rows.signals_of(found[0]) if found else []
        if number not in map(_number, chunk):
            raise rows.Damaged(f"table signal, broker {broker!r}: signal {number} is missing")
        return chunk

    def _all(self, statement: str, *values: Any) -> list[rows.Row]:
        return list(self._connection.execute(statement, values))
