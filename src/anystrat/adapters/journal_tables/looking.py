"""A journal's tables for those who only look: also while a runner writes them, and never touching them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import msgspec

from anystrat.adapters.journal_book import DEAD_LETTERS, ShardBook
from anystrat.adapters.journal_tables import rows
from anystrat.adapters.journal_tables.inspection import NotOurs
from anystrat.adapters.journal_tables.selection import Contents, Selection
from anystrat.domain.inputs import Input, count_of, decoded_inputs
from anystrat.domain.journal import Fate, JournalRefused, OutboxEntry, ShardRecord


class JournalLook(ABC):
    """One moment of a journal, checked when it is opened. Use it with `with`.

    `place` is its name in messages, `holder` who writes it now, as far as is known; None: nobody. Raises `JournalRefused`,
    `MissingExtra`.
    """

    def __init__(self, place: str, errors: tuple[type[Exception], ...]) -> None:
        self.place = place
        self.holder: int | str | None = None
        self._errors: tuple[type[Exception], ...] = (*errors, OSError, rows.Damaged, NotOurs, msgspec.MsgspecError)

    def _looks_at(self, connection: rows.Connection, contents: Contents) -> None:
        """The rest is asked there."""
        self._tables = connection
        self._contents = contents
        self._selection = Selection(connection, contents)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Look no more."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that it takes where it is."""

    @abstractmethod
    def _in_words(self, error: Exception) -> str:
        """What went wrong, for a person."""

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
        found = self._tables.execute("SELECT shard, min(first), max(first + count) FROM input GROUP BY shard")
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

    def record(self, shard: int) -> ShardRecord | None:
        """A shard as it was committed last, with what is needed to stand there; None: nothing of it was."""
        with self._refusing():
            return self._selection.shard(shard)

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
            words = str(error) if isinstance(error, NotOurs) else self._in_words(error)
            # What a driver's error was raised from may show an address.
            raise JournalRefused(f"{self.place}: {words}") from None
