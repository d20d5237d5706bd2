"""Is everything in a journal's tables as it was written?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from anystrat.adapters.journal_book import BrokerBook
from anystrat.adapters.journal_fates import FateRange, FateRanges
from anystrat.adapters.journal_tables import rows
from anystrat.adapters.journal_tables.selection import Contents


class NotOurs(Exception):
    """It is no journal, one of another version, or in other hands; the text says which."""


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
