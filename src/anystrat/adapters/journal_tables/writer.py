"""The writing side of a journal in tables: executes groups of calls, a transaction each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from anystrat.adapters.journal_book import DoesNotFollow
from anystrat.adapters.journal_tables.inspection import NotOurs
from anystrat.adapters.journal_tables.lanes import Call
from anystrat.adapters.journal_tables.room import Room
from anystrat.adapters.journal_tables.selection import Contents
from anystrat.adapters.journal_tables.tables import Tables
from anystrat.domain.journal import JournalFailed


class TablesWriter(ABC):
    """A journal that this process writes. `tables` is there from `open` to `close`; `place` is its name in messages.

    One thread at a time; it knows nothing of event loops. Its first error is its last.
    """

    def __init__(self, place: str, room: Room) -> None:
        self.place = place
        self.room = room
        self.epoch = 0
        self._tables: Tables | None = None
        self._failed = ""

    @property
    def tables(self) -> Tables:
        """The journal's tables, within a transaction."""
        if self._tables is None:
            raise JournalFailed(f"{self.place}: the journal is not open")
        return self._tables

    @abstractmethod
    def open(self, fingerprint: str | None) -> None:
        """Take the journal over. Raises `JournalRefused`, with everything as it was, and `MissingExtra`."""

    def serve(self, calls: Sequence[Call]) -> None:
        """Execute the calls in one transaction, and put into each what came of it. Raises nothing."""
        if not self._failed:
            try:
                self._execute(calls)
            except Exception as error:  # noqa: BLE001  whatever it is, what was written of this group must not stay
                self._fail(error)
        if self._failed:
            for call in calls:
                call.error = JournalFailed(self._failed)

    @abstractmethod
    def rest(self) -> None:
        """Between two groups."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; what no call was told of is not kept."""

    @abstractmethod
    def _execute(self, calls: Sequence[Call]) -> None:
        """Do the calls within a transaction, with `_answer`. Whatever it raises ends the journal."""

    def _answer(self, calls: Sequence[Call]) -> None:
        """Do the calls, and write what they changed."""
        for call in calls:
            try:
                call.result = call.work()
            except DoesNotFollow as error:
                call.error = error
        self.tables.flush()

    def _take_over(self, tables: Tables, contents: Contents, fingerprint: str | None, way_out: str) -> None:
        """Raise the epoch, for this fingerprint. Raises `NotOurs`, which tells of `way_out`, where it holds another's state."""
        if fingerprint is not None:
            if contents.book.shards and contents.meta.get("fingerprint", fingerprint) != fingerprint:
                raise NotOurs(
                    "it holds the state of another configuration (other strategies, parameters, instruments or shards); "
                    f"go back to that configuration, {way_out}"
                )
            tables.set_meta("fingerprint", fingerprint)
        self.epoch = contents.meta["epoch"] + 1
        tables.set_meta("epoch", self.epoch)

    def _check_epoch(self, kept: int) -> None:
        if kept != self.epoch:
            raise JournalFailed(
                f"{self.place}: the journal was taken over by another runner (epoch {kept}, this one has {self.epoch})"
            )

    def _fail(self, error: Exception) -> None:
        """Let this error be the last."""
        self._failed = (
            str(error)
            if isinstance(error, JournalFailed)
            else f"{self.place}: {self._in_words(error)}. The run has to stop; everything that was acknowledged is kept"
        )
        self._give_up()

    @abstractmethod
    def _in_words(self, error: Exception) -> str:
        """What went wrong, for a person."""

    @abstractmethod
    def _give_up(self) -> None:
        """Leave the database, in which nothing is written any more."""
