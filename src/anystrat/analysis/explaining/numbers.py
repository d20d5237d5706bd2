"""Numbers in the words of explanations."""

from __future__ import annotations

import math
from typing import Final

from anystrat.domain.tick import datetime_of

SECOND: Final = 1_000_000_000
_UNITS: Final = ((86_400 * SECOND, "d"), (3_600 * SECOND, "h"), (60 * SECOND, "min"))


def number(value: float) -> str:
    """A number as a person reads it: six figures, or two decimals from a thousand on; a whole one as it is."""
    if not math.isfinite(value):
        return {math.inf: "infinity", -math.inf: "-infinity"}.get(value, "NaN")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.6g}" if abs(value) < 1_000 else f"{value:,.2f}"


def price(value: float) -> str:
    """A price with all of its digits."""
    return f"{value:,}".removesuffix(".0") if math.isfinite(value) else number(value)


def beside(value: float, limit: float) -> tuple[str, str]:
    """Two numbers that are compared, in as many figures as it takes to tell them apart."""
    shown = number(value), number(limit)
    return shown if shown[0] != shown[1] or value == limit else (repr(value), repr(limit))


def duration(ns: int) -> str:
    """A length of event time that is read at a glance: `12.4 s`, `2 min 5 s`, `7 d`."""
    if ns < 0:
        return "-" + duration(-ns)
    if ns < SECOND:
        return f"{ns / 1e6:.6g} ms"
    if ns < 120 * SECOND:
        return f"{ns / SECOND:.6g} s"
    parts = []
    rest = ns
    for size, unit in _UNITS:
        many, rest = divmod(rest, size)
        if many:
            parts.append(f"{many:,} {unit}")
    if rest >= SECOND:
        parts.append(f"{rest // SECOND} s")
    return " ".join(parts[:2])


def moment(ts_ns: int) -> str:
    """A time as text, with as many decimals as it has; the bare number where it is beyond what a calendar holds."""
    try:
        whole = datetime_of(ts_ns).replace(microsecond=0, tzinfo=None).isoformat()
    except OverflowError:
        return str(ts_ns)
    fraction = f"{ts_ns % SECOND:09d}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"
