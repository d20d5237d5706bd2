"""Is this file a journal, one that we can read, and every page and row of it as it was written?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from anystrat.adapters.journal_book import BrokerBook
from anystrat.adapters.journal_fates import FateRange, FateRanges
from anystrat.adapters.sqlite_journal import rows
from anystrat.adapters.sqlite_journal.lock import Mark, lock_path
from anystrat.adapters.sqlite_journal.selection import Contents

if TYPE_CHECKING:
    import apsw

_WITH_LOG: Final = 2
_PRAGMAS: Final = {"encoding": "UTF-8", "auto_vacuum": 0}


class NotOurs(Exception):
    """The file is no journal, or one of another version; the text says which."""


def contents_of(connection: apsw.Connection) -> Contents:
    """Everything in the journal, read and checked. Raises `NotOurs`, `rows.Damaged`, `apsw.Error`.

    Takes a time in proportion to the journal's size.
    """
    check_version(connection)
    _check_structure(connection)
    return read_contents(connection)


def read_contents(connection: rows.Connection) -> Contents:
    """Every row of the journal, checked by its seal and against the others."""
    contents = Contents()
    try:
        contents.meta = {row[0]: rows.meta_value(row) for row in _table(connection, "meta")}
        if not {"epoch", "sequence"} <= contents.meta.keys():
            raise rows.Damaged("table meta: epoch or sequence is missing")
        _read_shards(connection, contents)
        _read_outbox(connection, contents)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError) as error:
        raise rows.Damaged(f"a row cannot be read: {error}") from error
    return contents


def check_version(connection: apsw.Connection) -> None:
    """Raise `NotOurs` unless it is a journal of our version."""
    if _pragma(connection, "application_id") != rows.APPLICATION_ID:
        raise NotOurs("this is a SQLite database, but no journal of anystrat; name another file")
    version = _pragma(connection, "user_version")
    if version > rows.SCHEMA_VERSION:
        raise NotOurs(
            f"a newer anystrat made this journal (schema {version}, this one knows up to {rows.SCHEMA_VERSION}); "
            "update anystrat"
        )
    if version < rows.SCHEMA_VERSION:
        raise NotOurs(f"expected schema {rows.SCHEMA_VERSION}, found {version}")


def check_mark(path: Path, mark: Mark | None, contents: Contents | None) -> None:
    """Raise `rows.Damaged` where less is in the journal than was acknowledged."""
    kept = 0 if contents is None else contents.meta.get("sequence", 0)
    if mark is not None and mark.sequence > kept:
        raise rows.Damaged(
            f"{lock_path(path).name} says that commit {mark.sequence} was acknowledged, and the journal ends with commit "
            f"{kept}: its write-ahead log ({path.name}-wal) is damaged or missing, or an older copy lies in its place. "
            f"To go on with that one nevertheless, delete {lock_path(path)}"
        )


def check_header(path: Path) -> None:
    """Raise `rows.Damaged` unless the database's header says that there is a write-ahead log."""
    with path.open("rb") as file:
        versions = file.read(20)[18:]
    if versions != bytes([_WITH_LOG, _WITH_LOG]):
        raise rows.Damaged(f"the database's header: expected file format {_WITH_LOG}, found {list(versions)}")


def is_empty(connection: apsw.Connection) -> bool:
    """Whether nothing was ever made in this database."""
    return not list(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1"))


def _check_structure(connection: apsw.Connection) -> None:
    for name, expected in _PRAGMAS.items():
        found = _pragma(connection, name)
        if found != expected:
            raise rows.Damaged(f"the database's header: expected {name} {expected}, found {found}")
    schema = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    for name in sorted(schema.keys() | rows.TABLES.keys()):
        if schema.get(name) != rows.TABLES.get(name):
            raise rows.Damaged(f"the schema of table {name} is not what was made")
    found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise rows.Damaged("; ".join(str(each).replace("\n", " ") for each in found))


def _read_shards(connection: rows.Connection, contents: Contents) -> None:
    shards = contents.book.shards = dict(map(rows.shard_of, _table(connection, "shard")))
    for shard, before, _ in map(rows.checkpoint_of, _table(connection, "checkpoint")):
        shards[shard].checkpoint_input = before
    ends: dict[int, int] = {}
    for shard, first, count, _ in map(rows.input_of, _table(connection, "input")):
        if first != ends.get(shard, first):
            raise rows.Damaged(f"table input, shard {shard}: inputs {ends[shard]} to {first - 1} are missing")
        if shard not in ends and first > shards[shard].checkpoint_input:
            raise rows.Damaged(f"table input, shard {shard}: there are none before number {first}")
        ends[shard] = first + count
    for shard, book in shards.items():
        # Without any, everything up to the checkpoint was forgotten.
        if ends.get(shard, book.checkpoint_input) != book.next_input:
            raise rows.Damaged(
                f"table input, shard {shard}: its last inputs, before number {book.next_input}, are missing"
            )
    if ends.keys() - shards.keys():
        raise rows.Damaged("table shard: a shard is missing that has inputs")


def _read_outbox(connection: rows.Connection, contents: Contents) -> None:
    ranges: dict[int, list[FateRange]] = {}
    for broker, known in map(rows.fate_of, _table(connection, "fate")):
        ranges.setdefault(broker, []).append(known)
    signals: Counter[int] = Counter()
    for broker, _, _, count, _, _ in map(rows.check_signals, _table(connection, "signal")):
        signals[broker] += count
    for broker, name, last, forgotten in map(rows.broker_of, _table(connection, "broker")):
        fates = ranges.pop(broker, [])
        count = sum(each.last - each.first + 1 for each in fates)
        if count != signals.pop(broker, 0) or count + forgotten.total() != last:
            raise rows.Damaged(f"broker {name!r}: expected {last} signals, found other numbers of signals and fates")
        contents.numbers[name] = broker
        contents.book.brokers[name] = BrokerBook(last, FateRanges(fates), forgotten)
    if ranges or signals:
        raise rows.Damaged("table broker: a broker is missing that has signals")


def _table(connection: rows.Connection, name: str) -> Iterable[rows.Row]:
    return connection.execute(f"SELECT * FROM {name}")  # noqa: S608  a name of ours


def _pragma(connection: apsw.Connection, name: str) -> Any:
    return next(iter(connection.execute(f"PRAGMA {name}")))[0]
