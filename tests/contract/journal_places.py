"""Where the contract's journals live: each place gives new journals over the same store, as a restart would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import apsw
import pytest
from tests.servers import postgres_url

from anystrat.adapters.journal_memory import InMemoryJournal, MemoryStore
from anystrat.adapters.postgres_journal import PostgresSchemaJournal
from anystrat.adapters.sqlite_journal import SqliteFileJournal
from anystrat.domain.journal import Journal, OutboxSignal, Step


class Place(Protocol):
    """One store. `lose_lock` is what should not happen: another may open it now, though nobody closed it."""

    def journal(self) -> Journal: ...

    def lose_lock(self) -> None: ...


class MemoryPlace:
    def __init__(self, _directory: Path) -> None:
        self.store = MemoryStore()

    def journal(self) -> Journal:
        return InMemoryJournal(self.store)

    def lose_lock(self) -> None:
        self.store.crash()


QUICK = "quick"


class _QuickDisk(apsw.VFS):
    """Syncs nothing: what a power cut does is not this contract's question, and syncs take most of a test's time."""

    def __init__(self) -> None:
        super().__init__(QUICK, "")

    def xOpen(self, name, flags):  # noqa: N802  SQLite's name
        return _QuickFile("", name, flags)


class _QuickFile(apsw.VFSFile):
    def xSync(self, flags):  # noqa: N802  SQLite's name
        pass


_DISK = _QuickDisk()


class SqlitePlace:
    inline = False

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state" / "journal.db"

    def journal(self) -> Journal:
        return SqliteFileJournal(self.path, vfs=QUICK, inline=self.inline)

    def lose_lock(self) -> None:
        self.path.with_name("journal.db.lock").unlink()


class InlineSqlitePlace(SqlitePlace):
    inline = True


class PostgresPlace:
    def __init__(self, _directory: Path) -> None:
        self.url, self.schema, self.lost = postgres_url(), f"journal_{uuid4().hex}", False

    def journal(self) -> Journal:
        return (_Unlocked if self.lost else PostgresSchemaJournal)(self.url, self.schema)

    def lose_lock(self) -> None:
        self.lost = True


class _Unlocked(PostgresSchemaJournal):
    """As where the server lost the lock of a connection that is still there."""

    async def open(self, fingerprint: str | None) -> None:
        self._writer._take_lock = lambda: None
        await super().open(fingerprint)


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": MemoryPlace,
    "sqlite": SqlitePlace,
    "sqlite inline": InlineSqlitePlace,
    "postgres": PostgresPlace,
}

#: The names of places for a test's parameters.
KINDS = [pytest.param(name, marks=pytest.mark.server) if name == "postgres" else name for name in PLACES]


def signal(number: int, broker: str = "out", body: bytes = b"", expires_ns: int = 0) -> OutboxSignal:
    return OutboxSignal(
        broker,
        number,
        f"{number:032x}",
        "strat",
        7,
        1_000 + number,
        expires_ns,
        body or b'{"n":%d,"why":"\xe2\x82\xac"}' % number,
    )


def step(
    first: int,
    count: int = 1,
    *,
    shard: int = 0,
    signals: Sequence[OutboxSignal] = (),
    watermarks: dict[str, int] | None = None,
    checkpoint: bytes | None = None,
) -> Step:
    """A step whose inputs say which they are."""
    inputs = b"inputs %d of %d" % (first, shard) if count else b""
    return Step(
        shard, first, count, inputs, watermarks or {}, tuple(signals), b"tally %d" % (first + count), checkpoint
    )
