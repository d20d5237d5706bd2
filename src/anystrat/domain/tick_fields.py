"""Ticks, and what strategies attach to them and to signals, as plain values that MessagePack has, and back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from anystrat.domain.tick import TickRow

_DECIMAL: Final = "$decimal"


def fields_of_tick(row: TickRow) -> list[Any]:
    """A tick as a list, for `tick_of_fields`."""
    return [
        row.instrument_token,
        row.ts_ns,
        row.price,
        *(None if value is None else plain(value) for value in (row.exact, row.volume, row.bid, row.ask)),
        row.halted,
        row.auction,
        None if row.metadata is None else plain(row.metadata),
    ]


def tick_of_fields(fields: list[Any]) -> TickRow:
    """The tick again."""
    token, ts, price, exact, volume, bid, ask, halted, auction, metadata = fields
    return TickRow(token, ts, price, rich(exact), rich(volume), rich(bid), rich(ask), halted, auction, rich(metadata))


def plain(value: Any) -> Any:
    """Decimals by their names, mappings and sequences of anything; what else there is stays what it is."""
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def rich(value: Any) -> Any:
    """What `plain` was given; tuples are lists now."""
    if isinstance(value, dict):
        if value.keys() == {_DECIMAL}:
            return Decimal(value[_DECIMAL])
        return {key: rich(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rich(item) for item in value]
    return value
