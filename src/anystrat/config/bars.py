"""`bars:` of a row: `1m`, or a mapping with one of `every`, `ticks` and `volume`."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.bars import UNITS, BarKind, BarSpec

if TYPE_CHECKING:
    from anystrat.config.node import Node
    from anystrat.config.problems import Problems
    from anystrat.config.shapes import Steps

EXAMPLES: Final = "1m, {every: 5m}, {ticks: 100} or {volume: 10000}"
_TIME: Final = re.compile(r"\s*([1-9][0-9]{0,8})\s*(ms|s|m|h|d)\s*")
_LONGEST_NS: Final = 366 * UNITS["d"]
_MOST: Final = Decimal(10) ** 15


def read_bars(node: Node, path: Steps, problems: Problems) -> BarSpec | None:
    """What the node says, or None after adding what is wrong with it."""
    if not node.is_mapping:
        return _every(node, path, problems)
    kinds = [kind.value for kind in BarKind]
    for key, child in node.entries.items():
        if key not in kinds:
            problems.unknown(child.with_value(None, masked=False), (*path, key), "key", key, kinds, line=child.key_line)
            return None
    if len(node.entries) != 1:
        problems.add(node, path, "bars end by one thing", found=", ".join(node.entries), allowed=EXAMPLES)
        return None
    ((key, child),) = node.entries.items()
    if key == BarKind.EVERY:
        return _every(child, (*path, key), problems)
    return _size(BarKind(key), child, (*path, key), problems)


def _every(node: Node, path: Steps, problems: Problems) -> BarSpec | None:
    match = _TIME.fullmatch(node.value) if isinstance(node.value, str) else None
    size = int(match[1]) * UNITS[match[2]] if match is not None else 0
    if not 0 < size <= _LONGEST_NS:
        problems.add(node, path, "must be a length of time, up to 366d", allowed=EXAMPLES)
        return None
    return BarSpec(BarKind.EVERY, Decimal(size))


def _size(kind: BarKind, node: Node, path: Steps, problems: Problems) -> BarSpec | None:
    whole = kind is BarKind.TICKS
    value: Any = node.value
    size = Decimal(0)
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            size = Decimal(str(value))
    if not (size.is_finite() and 0 < size <= _MOST) or (whole and size != size.to_integral_value()):
        problems.add(node, path, f"must be a {'whole ' if whole else ''}number above 0, up to 10^15")
        return None
    return BarSpec(kind, size.normalize())


def bars_schema() -> dict[str, Any]:
    """The JSON Schema of `bars:`."""
    time = {"type": "string", "pattern": r"^\s*[1-9][0-9]{0,8}\s*(ms|s|m|h|d)\s*$"}
    number = {"type": "number", "exclusiveMinimum": 0}
    return {
        "description": f"Closed bars instead of ticks: {EXAMPLES}.",
        "anyOf": [
            time,
            {
                "type": "object",
                "properties": {"every": time, "ticks": {"type": "integer", "minimum": 1}, "volume": number},
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
        ],
    }
