"""The JSON Schema of a message of ticks, for producers in other languages."""

from __future__ import annotations

from typing import Any, Final

from anystrat.config.schema import DRAFT
from anystrat.config.value_schema import Schema

_INT64: Final[Schema] = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_DECIMAL: Final = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_FLAG: Final[Schema] = {"enum": [True, False, 0, 1, None]}


def _number(description: str) -> Schema:
    texts: Schema = {"type": "string", "pattern": _DECIMAL}
    return {"description": description, "anyOf": [{"type": ["number", "null"], "minimum": 0}, texts]}


def tick_schema() -> dict[str, Any]:
    """Draft 2020-12. A message that fits is decoded whole; MessagePack's maps and arrays of ticks have the same names.

    It is narrower than what is decoded: it asks for what a producer ought to send.
    """
    price: Schema = {
        "description": "The last price: exactly the decimal that is written. A double stands for its shortest decimal.",
        "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _DECIMAL}],
    }
    tick: Schema = {
        "type": "object",
        "title": "tick",
        "properties": {
            "ts_ns": {**_INT64, "description": "Nanoseconds since 1970 UTC. Goes before `timestamp`."},
            "timestamp": {
                "type": "string",
                "description": "ISO 8601; without a zone it is UTC.",
                "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$",
            },
            "instrument_token": {**_INT64, "description": "The instrument."},
            "price": price,
            "size": _number("Volume, in the venue's own units."),
            "bid": _number("Best bid."),
            "ask": _number("Best ask."),
            "halted": {**_FLAG, "description": "The instrument is halted: no signal leaves, no order fills."},
            "auction": {**_FLAG, "description": "An auction is under way: no signal leaves, no order fills."},
        },
        "required": ["instrument_token", "price"],
        "anyOf": [{"required": ["ts_ns"]}, {"required": ["timestamp"]}],
        "examples": [{"ts_ns": 1704186900000000000, "instrument_token": 1001, "price": "250.05", "size": 10}],
    }
    return {
        "$schema": DRAFT,
        "title": "anystrat ticks",
        "description": "One message: a tick, or a list of them. Other keys are ignored. At most 8 MiB.",
        "$defs": {"tick": tick},
        "if": {"type": "array"},
        "then": {"type": "array", "items": {"$ref": "#/$defs/tick"}},
        "else": {"$ref": "#/$defs/tick"},
    }
