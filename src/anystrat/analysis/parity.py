"""Where two runs part: the first tick, and the field, in which their signals, drops or other outcomes differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final, TypeAlias

import msgspec

from anystrat.analysis.explaining.numbers import moment
from anystrat.domain.exact import plain_text
from anystrat.domain.outcomes import (
    Dropped,
    Emitted,
    Filled,
    Held,
    Outcome,
    ProcessorFailed,
    Transition,
)

#: A signal, a drop or another outcome as plain fields; those of signal files are such rows as they stand.
Row: TypeAlias = Mapping[str, Any]

_WHERE: Final = ("ts_ns", "strategy_id", "broker", "instrument_token")
_KEPT: Final = (Emitted, Dropped, Held, Filled, Transition, ProcessorFailed)


class Difference(msgspec.Struct, frozen=True):
    """The first place where two streams part: the `number`-th row of each, and the field of it.

    `field` is empty where a row is there on one side alone; that side's value is the row in words, the other's None.
    `text` says it all in a sentence.
    """

    number: int
    ts_ns: int
    strategy_id: str
    broker: str
    instrument_token: int
    field: str
    left: Any
    right: Any
    text: str


def rows_of(outcomes: Iterable[Outcome], *kinds: type[Outcome]) -> Iterator[dict[str, Any]]:
    """The outcomes of these kinds (all that a strategy can cause, if none is named) as plain fields.

    Signals and drops have the fields of signal files. A failure is compared by the type of its error alone.
    """
    for outcome in outcomes:
        if isinstance(outcome, kinds or _KEPT):
            yield _row(outcome)


def first_difference(left: Iterable[Row], right: Iterable[Row], *, ids: bool = True) -> Difference | None:
    """The first row in which two streams differ; None where they are the same to the end.

    Rows are compared field by field where both have the field, numbers to the last bit (NaN is NaN). `ids=False` leaves
    signal ids out: for runs under other strategy names.
    """
    for number, (one, other) in enumerate(zip_longest(left, right)):
        if one is None or other is None:
            return _alone(number, one, other)
        field = next((name for name in _fields(one, other, ids=ids) if not _same(one[name], other[name])), None)
        if field in _WHERE:
            # One side has a row that the other has not: the one that comes first.
            earlier = one if (one["ts_ns"], str(one)) <= (other["ts_ns"], str(other)) else other
            return _alone(number, one if earlier is one else None, other if earlier is other else None)
        if field is not None:
            return _parted(number, one, field, one[field], other[field])
    return None


def _fields(one: Row, other: Row, *, ids: bool) -> list[str]:
    names = [*_WHERE, *(name for name in one if name not in _WHERE)]
    return [name for name in names if name in one and name in other and (ids or name != "signal_id")]


def _alone(number: int, one: Row | None, other: Row | None) -> Difference:
    row, side, missing = (one, "left", "right") if one is not None else (other, "right", "left")
    assert row is not None
    text = f"{_place(row)}: {_said(row)} on the {side}, and not on the {missing}"
    left, right = (_said(row), None) if side == "left" else (None, _said(row))
    return Difference(number, *_key(row), "", left, right, text)


def _parted(number: int, row: Row, field: str, left: Any, right: Any) -> Difference:
    text = f"{_place(row)}: {field} is {left} on the left, {right} on the right"
    return Difference(number, *_key(row), field, left, right, text)


def _key(row: Row) -> tuple[int, str, str, int]:
    return int(row["ts_ns"]), str(row["strategy_id"]), str(row["broker"]), int(row.get("instrument_token") or 0)


def _place(row: Row) -> str:
    ts, strategy, broker, token = _key(row)
    return f"{moment(ts)} instrument {token}, {strategy} on {broker}"


def _said(row: Row) -> str:
    if "signal_type" in row:
        reason = f", dropped for {row['reason']}" if row.get("reason") else ""
        return f"{row['signal_type']} {row['quantity']} at {row['price']}{reason}"
    return str(row.get("kind", "a row"))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _row(outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, Emitted):
        signal = outcome.signal
        return {
            "ts_ns": signal.ts_ns,
            "strategy_id": signal.strategy_id,
            "broker": signal.broker,
            "instrument_token": signal.instrument_token,
            **_signal(signal),
            "signal_id": signal.signal_id,
        }
    place = {name: getattr(outcome, name) for name in _WHERE}
    if isinstance(outcome, Dropped):
        return {**place, **_signal(outcome.signal), "reason": str(outcome.reason)}
    if isinstance(outcome, Held):
        return {**place, **_signal(outcome.signal)}
    if isinstance(outcome, ProcessorFailed):
        return {**place, "kind": "an error", "error": outcome.error.partition(":")[0]}
    kind = "a fill" if isinstance(outcome, Filled) else "a transition"
    return {
        **place,
        "kind": kind,
        **{name: value for name, value in msgspec.structs.asdict(outcome).items() if name not in place},
    }


def _signal(signal: Any) -> dict[str, Any]:
    price = signal.price
    return {
        "signal_type": signal.signal_type,
        "confidence": signal.confidence,
        "quantity": signal.quantity,
        "price": plain_text(price) if isinstance(price, Decimal) and price.is_finite() else str(price),
    }
