"""From signals to what files can hold: texts, ids by the batch, metadata as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import numpy as np

from anystrat.domain.exact import plain_text, to_decimal
from anystrat.domain.signal import SIDE_CODE, EmittedSignal

_MASK = (1 << 64) - 1
_ADD = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_FEW = 24
_DEEPEST = 40
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def signal_ids(signals: Sequence[EmittedSignal]) -> list[str]:
    """`signal.signal_id` of each, mixed by the column: a million a second instead of a quarter."""
    if len(signals) < _FEW:
        return [signal.signal_id for signal in signals]

    fields = (
        _unsigned([signal.instrument_token for signal in signals]),
        _unsigned([SIDE_CODE[signal.signal_type] for signal in signals]),
        _unsigned([signal.price_bucket for signal in signals]),
        _unsigned([signal.dedupe_epoch for signal in signals]),
    )
    bases = np.array([signal.id_bases for signal in signals], np.uint64)
    halves = np.empty((len(signals), 2), ">u8")
    for half in (0, 1):
        h = bases[:, half]
        for values in fields:
            x = (h ^ values) + _ADD  # unsigned 64-bit arithmetic wraps, as the definition asks
            x = (x ^ (x >> np.uint64(30))) * _FIRST
            x = (x ^ (x >> np.uint64(27))) * _SECOND
            h = x ^ (x >> np.uint64(31))
        halves[:, half] = h
    text = halves.tobytes().hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def _unsigned(values: list[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Modulo 2**64."""
    try:
        return np.array(values, np.int64).view(np.uint64)
    except OverflowError:
        return np.array([value & _MASK for value in values], np.uint64)


def price_text(price: object) -> str:
    """A price without exponent and trailing zeros; what is no decimal at all, as it prints."""
    if type(price) is Decimal:
        text = str(price)
        if "E" not in text and text[-1] != "0" and text[0] != "-":
            return text  # the usual case, already plain
    value = price_decimal(price)
    if value is None or not _reasonable(value):
        return clean_text(str(price))
    return plain_text(value)


def price_decimal(price: object) -> Decimal | None:
    """A price as the decimal it stands for; None for what is no number."""
    try:
        return to_decimal(price)  # type: ignore[arg-type]  # a strategy of somebody's may have answered anything
    except (InvalidOperation, TypeError, ValueError):
        return None


def _reasonable(value: Decimal) -> bool:
    # 1E+999999999 is a decimal; written out it would fill the disk.
    return not value.is_finite() or abs(value.adjusted()) <= 10_000


def clean_text(text: object) -> str:
    """Text that UTF-8 can hold: a lone surrogate becomes its escape."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def confidence_of(value: object) -> float:
    """A confidence as a double; NaN for what is no number."""
    try:
        return float(value)  # type: ignore[arg-type]  # see price_decimal
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _known(value: object) -> object:
    """For the encoder: what NumPy holds as Python's own, mappings as dicts, everything else as its `repr`."""
    if isinstance(value, np.generic):
        found = value.item()
        return repr(value) if isinstance(found, np.generic) else found
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return described(value)


def described(value: object) -> str:
    """The `repr` of an object without its address, which differs from run to run."""
    try:
        return clean_text(_ADDRESS.sub("", repr(value)))
    except Exception:  # noqa: BLE001  somebody's __repr__ must not end the run
        return f"<{type(value).__name__}>"


_encode = msgspec.json.Encoder(decimal_format="string", order="deterministic", enc_hook=_known).encode


def encoded(value: object) -> bytes:
    """`value` as JSON, whatever it is; the same value gives the same bytes."""
    try:
        return _encode(value)
    except Exception:  # noqa: BLE001  mixed keys, cycles, huge integers, and what others' objects raise
        return _encode(plain_value(value))


def plain_value(value: object, depth: int = 0) -> object:
    """What the encoder surely takes."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if depth > _DEEPEST:
        return f"<{type(value).__name__} nested too deeply>"
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str | Decimal):
        return clean_text(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 1_024 else described(value)
    try:
        return _plain_container(value, depth + 1)
    except Exception:  # noqa: BLE001  somebody's container
        return described(value)


def _plain_container(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        pairs = ((clean_text(key), plain_value(held, depth)) for key, held in value.items())
        return dict(sorted(pairs, key=lambda pair: pair[0]))
    if isinstance(value, list | tuple):
        return [plain_value(held, depth) for held in value]
    if isinstance(value, set | frozenset):
        return sorted((plain_value(held, depth) for held in value), key=_encode)
    return described(value)
