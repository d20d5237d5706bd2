"""What a journal keeps as JSON Lines: signals with their fates, inputs with their numbers, ticks as a tick file has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from anystrat.domain.columns import TickColumns

if TYPE_CHECKING:
    from anystrat.domain.inputs import Input
    from anystrat.domain.journal import OutboxEntry
    from anystrat.domain.tick import TickRow


def outbox_row(entry: OutboxEntry) -> dict[str, Any]:
    """A signal and what became of it; `signal` is what the sink gets."""
    sent = entry.signal
    try:
        body: Any = msgspec.json.decode(sent.body)
    except msgspec.DecodeError:
        body = sent.body.decode("utf-8", "backslashreplace")
    return {
        "broker": sent.broker,
        "number": sent.number,
        "signal_id": sent.signal_id,
        "strategy_id": sent.strategy_id,
        "instrument_token": sent.instrument_token,
        "ts_ns": sent.ts_ns,
        "expires_ns": sent.expires_ns,
        "fate": entry.fate.name.lower(),
        "reason": entry.reason,
        "attempts": entry.attempts,
        "signal": body,
    }


def outbox_lines(entries: Iterable[OutboxEntry]) -> Iterator[bytes]:
    """A line each."""
    for entry in entries:
        yield _line(outbox_row(entry))


def input_lines(shard: int, inputs: Iterable[tuple[int, Input]]) -> Iterator[bytes]:
    """A line for each tick and each event, with its shard and number."""
    for number, each in inputs:
        if isinstance(each, TickColumns):
            for at, row in enumerate(each.rows(), number):
                yield _line({"shard": shard, "input": at, **tick_row(row)})
        else:
            yield _line({"shard": shard, "input": number, "event": each})


def tick_lines(inputs: Iterable[tuple[int, Input]]) -> Iterator[bytes]:
    """A line for each tick, as in a tick file."""
    for _, each in inputs:
        if isinstance(each, TickColumns):
            for row in each.rows():
                yield _line(tick_row(row))


def tick_row(row: TickRow) -> dict[str, Any]:
    """A tick in the columns of a tick file; what it does not have is left out."""
    found: dict[str, Any] = {"ts_ns": row.ts_ns, "instrument_token": row.instrument_token, "price": str(row.decimal)}
    optional = {"size": row.volume, "bid": row.bid, "ask": row.ask}
    found |= {name: value for name, value in optional.items() if value is not None}
    return found | {name: True for name, on in (("halted", row.halted), ("auction", row.auction)) if on}


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"
