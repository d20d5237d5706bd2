"""Forgetting, piece by piece: each piece is small, so that commits in between need not wait for long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from anystrat.adapters.journal_tables import rows
from anystrat.domain.inputs import joined_inputs

_STEPS: Final = 256
_BYTES: Final = 1 << 20
_SIGNALS: Final = 4_096
#: A row of so many inputs is full: others are not joined to it.
_INPUTS: Final = 1_024


def forget_inputs(connection: rows.Connection, shard: int, before: int) -> bool:
    """Delete the oldest steps that end at input `before` or earlier, some of them; whether there were any."""
    found = connection.execute(
        "SELECT first, count, length(data) FROM input WHERE shard = ? AND first < ? ORDER BY first LIMIT ?",
        (shard, before, _STEPS),
    )
    end = size = 0
    for first, count, length in list(found):
        if first + count > before or size >= _BYTES:
            break
        end, size = first + count, size + length
    if end:
        connection.execute("DELETE FROM input WHERE shard = ? AND first < ?", (shard, end))
    return end > 0


def join_inputs(connection: rows.Connection, shard: int, after: int, before: int) -> int:
    """Make full rows of a shard's next rows from input `after` on that are not full, of those that end by input `before`.

    The first input after those looked at. A quiet run commits one input at a time, and a million rows would make the next
    opening slow. What is left at the end, and would fill no row, stays as it is; 0 says that there is nothing else.
    """
    heads = connection.execute(
        "SELECT first, count FROM input WHERE shard = ? AND first >= ? AND first < ? ORDER BY first LIMIT ?",
        (shard, after, before, _INPUTS),  # a row holds one input or more
    )
    start = end = count = many = 0
    for first, held in list(heads):
        if first + held > before:
            break
        start, count, many = start if many else first, count + held, many + 1
        if count < _INPUTS:
            continue
        if many > 1:
            _join_inputs(connection, shard, start, first)
            return int(first + held)
        end, count, many = first + held, 0, 0
    return end


def _join_inputs(connection: rows.Connection, shard: int, first: int, last: int) -> None:
    """Write the rows that begin with inputs `first` to `last` anew, as one; other bytes than inputs stay as they are."""
    between = (shard, first, last)
    found = connection.execute("SELECT * FROM input WHERE shard = ? AND first BETWEEN ? AND ? ORDER BY first", between)
    steps = list(map(rows.input_of, found))
    try:
        data = joined_inputs([data for *_, data in steps])
    except msgspec.DecodeError:
        return
    row = rows.input_row(shard, first, sum(count for _, _, count, _ in steps), data)
    connection.execute("DELETE FROM input WHERE shard = ? AND first BETWEEN ? AND ?", between)
    connection.executemany("INSERT INTO input VALUES (?,?,?,?,?)", [row])


def piece_of(forgettable: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Some of these ranges, which come from the newest to the oldest: in order, neighbours joined."""
    piece: list[tuple[int, int]] = []
    left = _SIGNALS
    for first, last in forgettable:
        first = max(first, last - left + 1)  # noqa: PLW2901  a longer one gives what is left
        left -= last - first + 1
        if piece and last + 1 == piece[-1][0]:
            piece[-1] = first, piece[-1][1]
        else:
            piece.append((first, last))
        if not left:
            break
    return piece[::-1]


def forget_signals(connection: rows.Connection, broker: int, first: int, last: int) -> None:
    """Delete a broker's signals `first..last`; rows that hold others too are written anew without them."""
    inside = (broker, first, last, last)
    connection.execute("DELETE FROM signal WHERE broker = ? AND first BETWEEN ? AND ? AND last <= ?", inside)
    for number in (first, last):
        found = connection.execute(
            "SELECT * FROM signal WHERE broker = ? AND first <= ? ORDER BY first DESC LIMIT 1", (broker, number)
        )
        for row in list(found):
            if row[2] < number:
                continue
            kept = [signal for signal in rows.signals_of(row) if not first <= signal.number <= last]
            connection.execute("DELETE FROM signal WHERE broker = ? AND first = ?", row[:2])
            connection.executemany("INSERT INTO signal VALUES (?,?,?,?,?,?)", rows.signal_rows(broker, kept))


def join_signals(connection: rows.Connection, broker: int, after: int) -> int:
    """Make full rows of a broker's next rows after signal `after` that are not full; the last signal of those looked at.

    A quiet run commits one signal at a time, and a row each would make the next opening slow. What is left at the end,
    and would fill no row, stays as it is; 0 says that there is nothing else.
    """
    heads = connection.execute(
        "SELECT first, last, count FROM signal WHERE broker = ? AND first > ? ORDER BY first LIMIT ?",
        (broker, after, _SIGNALS),
    )
    run: list[tuple[int, int, int]] = []
    end, left, count = 0, _SIGNALS, 0
    for head in list(heads):
        run.append(head)
        count += head[2]
        if count < rows.CHUNK:
            continue
        if len(run) > 1:
            _join(connection, broker, run[0][0], head[0])
            left -= rows.CHUNK
        end, run, count = head[1], [], 0
        if left <= 0:
            break
    return end


def _join(connection: rows.Connection, broker: int, first: int, last: int) -> None:
    """Write the rows that begin with signals `first` to `last` anew, as full ones."""
    between = (broker, first, last)
    found = connection.execute(
        "SELECT * FROM signal WHERE broker = ? AND first BETWEEN ? AND ? ORDER BY first", between
    )
    signals = [signal for row in list(found) for signal in rows.signals_of(row)]
    connection.execute("DELETE FROM signal WHERE broker = ? AND first BETWEEN ? AND ?", between)
    connection.executemany("INSERT INTO signal VALUES (?,?,?,?,?,?)", rows.signal_rows(broker, signals))
