"""Signals and drops that come as columns: texts and decimals by the column, objects only where nothing else will do."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from anystrat.domain.exact import to_decimal
from anystrat.domain.outcomes import REASONS, Dropped
from anystrat.domain.signal import SIDE_NAME, EmittedSignal, SignalResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import SignalColumns

#: Sides and reasons as texts, by their numbers.
SIDES: Final = [SIDE_NAME.get(code, "") for code in range(max(SIDE_NAME) + 1)]
REASON_TEXTS: Final = ["" if reason is None else reason.value for reason in REASONS]

#: All powers of ten that are exact as doubles and that 18 decimals leave room for, with the usual ones first.
_SCALES: Final = (6, 4, 2, 8, 0, 10, 12, 5, 7, 9, 11, 3, 1, 13, 14, 15, 16, 17, 18)
_DECIMALS: Final = 18
_FACTORS: Final = np.array([10 ** (_DECIMALS - scale) for scale in range(_DECIMALS + 1)], np.uint64)
_LOW: Final = np.uint64(0xFFFF_FFFF)
_HALF: Final = np.uint64(32)
_COMMA: Final = ord(",")
_encode = msgspec.json.Encoder().encode


def places_of(columns: SignalColumns, *, drops: bool) -> NDArray[np.int64]:
    """Where the rows are that belong into a file of drops, or into one of signals."""
    return np.flatnonzero(columns.code > 0 if drops else columns.code == 0)


def objects_of(columns: SignalColumns, *, drops: bool) -> Iterator[EmittedSignal | Dropped]:
    """The rows one by one, for what cannot be done by the column."""
    bases = [(int(first), int(second)) for first, second in columns.bases.tolist()]
    rows = zip(
        columns.ts_ns.tolist(), columns.executor.tolist(), columns.instrument_token.tolist(), columns.side.tolist(),
        columns.confidence.tolist(), columns.quantity.tolist(), prices_of(columns), columns.code.tolist(),
        columns.bucket.tolist(), columns.epoch.tolist(), strict=True,
    )  # fmt: skip
    for ts, executor, token, side, confidence, quantity, price, code, bucket, epoch in rows:
        strategy_id, broker = columns.executors[executor]
        if drops:
            signal = SignalResult(SIDES[side], confidence, quantity, price)
            reason = REASONS[code]
            assert reason is not None
            yield Dropped(signal, reason, strategy_id, broker, token, ts)
        else:
            yield EmittedSignal(
                SIDES[side],
                confidence,
                quantity,
                price,
                strategy_id=strategy_id,
                broker=broker,
                instrument_token=token,
                ts_ns=ts,
                id_bases=bases[executor],
                price_bucket=bucket,
                dedupe_epoch=epoch,
            )


def prices_of(columns: SignalColumns) -> Iterator[Decimal]:
    """The prices as the decimals that they stand for."""
    exact = columns.exact if columns.exact is not None else [None] * len(columns)
    for price, known in zip(columns.price.tolist(), exact, strict=True):
        yield known if known is not None else to_decimal(price)


def doubles_say_all(columns: SignalColumns) -> NDArray[np.bool_]:
    """Where a price is no more than its double says."""
    if columns.exact is None:
        return np.ones(len(columns), np.bool_)
    return np.fromiter((known is None for known in columns.exact), np.bool_, len(columns))


def hex_ids(columns: SignalColumns) -> NDArray[np.uint8]:
    """The ids' characters, 32 a row."""
    return np.frombuffer(hexlify(columns.ids().astype(">u8").tobytes()), np.uint8)


def decimal_limbs(price: NDArray[np.float64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The shortest decimals of doubles times 10^18, as low and high 64 bits (n, 2), and where that was worked out.

    `k / 10^s == price` with `k < 10^15` proves that the shortest decimal is `k / 10^s`: see `floor_buckets`.
    """
    whole = np.zeros(len(price), np.uint64)
    scale = np.zeros(len(price), np.int64)
    sure = np.zeros(len(price), np.bool_)
    left: Any = slice(None)
    values = price
    for attempt in _SCALES:
        power = float(10**attempt)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(values * power)
            found = (scaled >= 0) & (scaled < 1e15) & (scaled / power == values)
        if found.all():
            whole[left], scale[left], sure[left] = scaled.astype(np.uint64), attempt, True
            break
        here = np.flatnonzero(found) if isinstance(left, slice) else left[found]
        whole[here], scale[here], sure[here] = scaled[found].astype(np.uint64), attempt, True
        missed = ~found
        left = np.flatnonzero(missed) if isinstance(left, slice) else left[missed]
        values = values[missed]
    factor = _FACTORS[scale]
    low, high = whole & _LOW, whole >> _HALF
    factor_low, factor_high = factor & _LOW, factor >> _HALF
    lowest = low * factor_low
    middle = low * factor_high + high * factor_low + (lowest >> _HALF)  # below 2^61
    limbs = np.empty((len(price), 2), np.uint64)
    limbs[:, 0] = (middle << _HALF) | (lowest & _LOW)
    limbs[:, 1] = high * factor_high + (middle >> _HALF)
    return limbs, sure


def printed(values: NDArray[np.float64], end: int = _COMMA) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Doubles as the JSON encoder prints them, each followed by the character `end`: all characters, and each one's end."""
    text = np.frombuffer(_encode(values.tolist()), np.uint8)[1:].copy()
    text[-1] = _COMMA  # it was the closing bracket
    ends = np.flatnonzero(text == _COMMA)
    if end != _COMMA:
        text[ends] = end
    return text, ends + 1


def without_point(
    text: NDArray[np.uint8], ends: NDArray[np.int64], whole: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What `printed` gave, with `.0` taken from the whole numbers."""
    if not whole.any():
        return text, ends
    keep = np.ones(len(text), np.bool_)
    keep[ends[whole] - 2] = False
    keep[ends[whole] - 3] = False
    return text[keep], ends - 2 * np.cumsum(whole)
