"""A journal's file for those who only look: also while a runner writes it, and never touching it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from anystrat.adapters.journal_book import DEAD_LETTERS, ShardBook
from anystrat.adapters.journal_tables import rows
from anystrat.adapters.journal_tables.inspection import NotOurs
from anystrat.adapters.journal_tables.selection import Contents, Selection
from anystrat.adapters.sqlite_journal.files import check_kind, connect_to_look, in_words, library
from anystrat.adapters.sqlite_journal.inspection import check_mark, contents_of, is_empty
from anystrat.adapters.sqlite_journal.lock import Mark, look
from anystrat.domain.inputs import Input, count_of, decoded_inputs
from anystrat.domain.journal import Fate, JournalRefused, OutboxEntry

_BUSY_SEC = 5.0


class JournalFile:
    """One moment of a journal, checked when it is opened: seals, pages, sums. Use it with `with`.

    `holder` is the process that writes it now, as far as is known; None: nobody. Raises `JournalRefused`, `MissingExtra`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._errors = (library().Error, OSError, rows.Damaged, NotOurs, msgspec.MsgspecError)
        # Before the journal: what is marked then is in it, whatever is committed meanwhile.
        mark, held = look(self.path)
        self.holder = mark.process if mark is not None and held else None
        with self._refusing():
            try:
                self._open(mark, alone=not held)
            except rows.Damaged:
                mark, now_held = look(self.path)
                if held or not now_held:
                    raise
                self._open(mark, alone=False)  # a runner began while we looked

    def _open(self, mark: Mark | None, *, alone: bool) -> None:
        check_kind(self.path)
        if not self.path.exists():
            raise NotOurs("there is no such file")
        self._connection = connection = connect_to_look(self.path, vfs=None, busy_timeout_sec=_BUSY_SEC, alone=alone)
        try:
            connection.execute("BEGIN")
            self._contents = Contents() if is_empty(connection) else contents_of(connection)
            check_mark(self.path, mark, self._contents)
        except BaseException:
            connection.close()
            raise
        self._selection = Selection(connection, self._contents)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def schema(self) -> int:
        """The version of its tables."""
        return rows.SCHEMA_VERSION

    @property
    def meta(self) -> Mapping[str, object]:
        """`epoch`, `sequence`, and where they were set `fingerprint` and `killed`."""
        return self._contents.meta

    @property
    def shards(self) -> Mapping[int, ShardBook]:
        """Where each shard stands."""
        return dict(sorted(self._contents.book.shards.items()))

    def kept_inputs(self) -> Mapping[int, tuple[int, int]]:
        """The first input that is still there and the number behind the last, of each shard that has any."""
        found = self._connection.execute("SELECT shard, min(first), max(first + count) FROM input GROUP BY shard")
        return {shard: (first, end) for shard, first, end in found}

    def fates(self) -> Mapping[str, Mapping[Fate, int]]:
        """As the port has it."""
        return self._contents.book.fates()

    def outbox(self, broker: str | None = None, *, dead: bool = False) -> Iterator[OutboxEntry]:
        """The signals that are still there, in order, broker by broker; with `dead` the dead letters alone."""
        wanted = DEAD_LETTERS if dead else frozenset(Fate)
        for each in sorted(self._contents.book.brokers) if broker is None else [broker]:
            with self._refusing():
                yield from self._selection.entries(each, 0, wanted)

    def inputs(self, shard: int) -> Iterator[tuple[int, Input]]:
        """The kept inputs of a shard in order, each with its number: blocks of ticks, and events."""
        first = 0
        with self._refusing():
            while page := self._selection.inputs(shard, first):
                for at, count, data in page:
                    yield from self._decoded(shard, at, count, data)
                first = page[-1][0] + page[-1][1]

    def verify(self) -> dict[str, int]:
        """Read everything down to the last value, beyond what opening does; how much there was."""
        signals = sum(1 for _ in self.outbox())
        inputs = sum(count_of([each]) for shard in self.shards for _, each in self.inputs(shard))
        return {"shards": len(self.shards), "inputs": inputs, "signals": signals}

    def _decoded(self, shard: int, first: int, count: int, data: bytes) -> Iterator[tuple[int, Input]]:
        number = first
        try:
            for each in decoded_inputs(data):
                yield number, each
                number += count_of([each])
        except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
            raise rows.Damaged(f"shard {shard}, inputs from number {first} on cannot be read: {error}") from error
        if number != first + count:
            raise rows.Damaged(
                f"shard {shard}, inputs from number {first} on: expected {count}, found {number - first}"
            )

    @contextmanager
    def _refusing(self) -> Generator[None]:
        try:
            yield
        except self._errors as error:
            words = str(error) if isinstance(error, NotOurs) else in_words(error, _BUSY_SEC)
            raise JournalRefused(f"{self.path}: {words}") from error
