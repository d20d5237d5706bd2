"""The tables of a journal, as SQLite makes them, and each row's seal: a checksum over all that it says.

SQLite finds damage to the structure of its file, and none to the values in it; the seals find those. There are no indexes
besides the tables' own keys, because nothing would seal them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol
from zlib import crc32

import msgspec

from anystrat.adapters.journal_book import ShardBook
from anystrat.adapters.journal_fates import FateRange
from anystrat.domain.journal import Fate, OutboxSignal

#: "anys", so that `file` and we can tell a journal from any other database.
APPLICATION_ID: Final = 0x616E7973
SCHEMA_VERSION: Final = 1
#: Signals in one row of `signal`, at most: what is read, or written anew, for the sake of one of them.
CHUNK: Final = 256

#: Names and statements as they stand in `sqlite_schema`, compared letter by letter on opening.
TABLES: Final = {
    "meta": "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "shard": (
        "CREATE TABLE shard (shard INTEGER PRIMARY KEY, next_input INTEGER NOT NULL, watermarks BLOB NOT NULL, "
        "tally BLOB NOT NULL, crc INTEGER NOT NULL) STRICT"
    ),
    "checkpoint": (
        "CREATE TABLE checkpoint (shard INTEGER PRIMARY KEY, input INTEGER NOT NULL, data BLOB NOT NULL, "
        "crc INTEGER NOT NULL) STRICT"
    ),
    "input": (
        "CREATE TABLE input (shard INTEGER, first INTEGER, count INTEGER NOT NULL, data BLOB NOT NULL, "
        "crc INTEGER NOT NULL, PRIMARY KEY (shard, first)) STRICT, WITHOUT ROWID"
    ),
    "broker": (
        "CREATE TABLE broker (broker INTEGER PRIMARY KEY, name TEXT NOT NULL, last INTEGER NOT NULL, "
        "forgotten BLOB NOT NULL, crc INTEGER NOT NULL) STRICT"
    ),
    "signal": (
        "CREATE TABLE signal (broker INTEGER, first INTEGER, last INTEGER NOT NULL, count INTEGER NOT NULL, "
        "data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (broker, first)) STRICT, WITHOUT ROWID"
    ),
    "fate": (
        "CREATE TABLE fate (broker INTEGER, first INTEGER, last INTEGER NOT NULL, fate INTEGER NOT NULL, "
        "reason TEXT NOT NULL, attempts INTEGER NOT NULL, expires_ns INTEGER, crc INTEGER NOT NULL, "
        "PRIMARY KEY (broker, first)) STRICT, WITHOUT ROWID"
    ),
}

_encode: Final = msgspec.msgpack.Encoder().encode
_signals: Final = msgspec.msgpack.Decoder(list[OutboxSignal])
_watermarks: Final = msgspec.msgpack.Decoder(dict[str, int])
_forgotten: Final = msgspec.msgpack.Decoder(dict[Fate, int])

Row = tuple[Any, ...]


class Connection(Protocol):
    """What the tables ask of a database: SQLite's statements, or whatever makes them its own."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Iterable[Any]: ...

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> object: ...


class Damaged(Exception):
    """A row or a page is not what was written; the text names it."""


class BrokerRow(NamedTuple):
    """A broker's number in the other tables, its last signal, and how many signals of each fate were forgotten."""

    broker: int
    name: str
    last: int
    forgotten: Counter[Fate]


def meta_row(name: str, value: Any) -> Row:
    """(name, value, crc)."""
    data = _encode(value)
    return name, data, _seal(data, "meta", name)


def meta_value(row: Row) -> Any:
    """What `meta_row` was given."""
    name, data, crc = row
    _check(crc, _seal(data, "meta", name), f"table meta, row {name!r}")
    return msgspec.msgpack.decode(data)


def shard_row(shard: int, book: ShardBook) -> Row:
    """(shard, next_input, watermarks, tally, crc)."""
    watermarks = _encode(book.watermarks)
    return (
        shard,
        book.next_input,
        watermarks,
        book.tally,
        _seal(book.tally, "shard", shard, book.next_input, watermarks),
    )


def shard_of(row: Row) -> tuple[int, ShardBook]:
    """What `shard_row` was given, its checkpoint not yet known."""
    shard, next_input, watermarks, tally, crc = row
    _check(crc, _seal(tally, "shard", shard, next_input, watermarks), f"table shard, shard {shard}")
    return shard, ShardBook(next_input, _watermarks.decode(watermarks), tally)


def checkpoint_row(shard: int, before: int, data: bytes) -> Row:
    """(shard, input, data, crc); `before` is the first input after it."""
    return shard, before, data, _seal(data, "checkpoint", shard, before)


def checkpoint_of(row: Row) -> tuple[int, int, bytes]:
    """What `checkpoint_row` was given."""
    shard, before, data, crc = row
    _check(crc, _seal(data, "checkpoint", shard, before), f"table checkpoint, shard {shard}")
    return shard, before, data


def input_row(shard: int, first: int, count: int, data: bytes) -> Row:
    """(shard, first, count, data, crc)."""
    return shard, first, count, data, _seal(data, "input", shard, first, count)


def input_of(row: Row) -> tuple[int, int, int, bytes]:
    """What `input_row` was given."""
    shard, first, count, data, crc = row
    # As `_check` and `_seal` do it, without the calls and the words: a journal may have a million of these to open.
    if crc != crc32(data, crc32(_encode(("input", shard, first, count)))):
        raise Damaged(f"table input, shard {shard}, inputs from number {first} on: its checksum does not fit")
    return shard, first, count, data


def broker_row(broker: BrokerRow) -> Row:
    """(broker, name, last, forgotten, crc)."""
    number, name, last, counts = broker
    forgotten = _encode({fate.value: count for fate, count in counts.items()})
    return number, name, last, forgotten, _seal(forgotten, "broker", number, name, last)


def broker_of(row: Row) -> BrokerRow:
    """What `broker_row` was given."""
    number, name, last, forgotten, crc = row
    _check(crc, _seal(forgotten, "broker", number, name, last), f"table broker, broker {name!r}")
    return BrokerRow(number, name, last, Counter(_forgotten.decode(forgotten)))


def signal_rows(broker: int, signals: Sequence[OutboxSignal]) -> Iterable[Row]:
    """(broker, first, last, count, data, crc) each, of signals in the order of their numbers."""
    for at in range(0, len(signals), CHUNK):
        part = signals[at : at + CHUNK]
        head = broker, part[0].number, part[-1].number, len(part)
        data = _encode(part)
        yield *head, data, _seal(data, "signal", *head)


def check_signals(row: Row) -> Row:
    """The row itself, checked but not decoded."""
    *head, data, crc = row
    where = f"table signal, broker number {head[0]}, signals {head[1]} to {head[2]}"
    _check(crc, _seal(data, "signal", *head), where)
    return row


def signals_of(row: Row) -> list[OutboxSignal]:
    """What `signal_rows` put into one row."""
    return _signals.decode(check_signals(row)[4])


def fate_row(broker: int, known: FateRange) -> Row:
    """(broker, first, last, fate, reason, attempts, expires_ns, crc)."""
    head = broker, known.first, known.last, known.fate.value, known.reason, known.attempts, known.expires_ns
    return *head, _seal(b"", "fate", *head)


def fate_of(row: Row) -> tuple[int, FateRange]:
    """What `fate_row` was given."""
    broker, first, last, fate, reason, attempts, expires_ns, crc = row
    where = f"table fate, broker number {broker}, signals {first} to {last}"
    _check(crc, _seal(b"", "fate", *row[:-1]), where)
    return broker, FateRange(first, last, Fate(fate), reason, attempts, expires_ns)


def _seal(blob: bytes, *values: Any) -> int:
    return crc32(blob, crc32(_encode(values)))


def _check(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise Damaged(f"{where}: its checksum does not fit")
