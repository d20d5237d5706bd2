"""What recordings are made of in tests, and how two of them are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from anystrat.adapters.recording import Manifest, PieceLimits, RecordingWriter, read_recording
from anystrat.adapters.recording.shard_writer import at_once
from anystrat.domain.columns import TickColumns
from anystrat.domain.events import (
    Arrived,
    Command,
    Conflated,
    DeliveryFailed,
    FeedFresh,
    FeedGap,
    FeedStale,
    ModelSwapped,
    Operation,
    TimerDue,
)
from anystrat.domain.inputs import Input, count_of

INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(0, 2**62)
WORDS = st.text(max_size=5)
DOUBLES = st.floats(width=64)
SIZES = st.one_of(st.just(float("nan")), st.floats(0, 1e12))

EVENTS = st.one_of(
    st.builds(TimerDue, TIMES),
    st.builds(Arrived, TIMES),
    st.builds(Command, st.sampled_from(Operation), TIMES, st.none() | WORDS, st.none() | WORDS),
    st.builds(DeliveryFailed, TIMES, WORDS, WORDS, WORDS),
    st.builds(ModelSwapped, TIMES, WORDS, WORDS),
    st.builds(FeedGap, TIMES, st.none() | st.lists(INT64, max_size=3).map(tuple), st.booleans(), st.just({"n": 1})),
    st.builds(FeedStale, TIMES, st.booleans()),
    st.builds(FeedFresh, TIMES),
    st.builds(Conflated, TIMES, INT64, st.integers(1, 99)),
)
PRICES = st.one_of(
    DOUBLES.map(lambda price: (price, None)),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("1e-9"), max_value=10**9, places=25).map(
        lambda exact: (float(exact), None if Decimal(repr(float(exact))) == exact else exact)
    ),
)


@st.composite
def blocks(draw: st.DrawFn) -> TickColumns:
    n = draw(st.integers(1, 7))

    def column(values: st.SearchStrategy[Any], kind: Any) -> Any:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), kind)

    prices = draw(st.lists(PRICES, min_size=n, max_size=n))
    exact = [each[1] for each in prices]
    return TickColumns(
        column(INT64, np.int64),
        column(INT64, np.int64),
        np.array([each[0] for each in prices], np.float64),
        exact if any(each is not None for each in exact) else None,
        *(column(SIZES, np.float64) if draw(st.booleans()) else None for _ in range(3)),
        *(column(st.booleans(), np.bool_) if draw(st.booleans()) else None for _ in range(2)),
    )


INPUTS = st.lists(st.one_of(blocks(), EVENTS), max_size=12)


class Clock:
    def __init__(self) -> None:
        self.ns = 1_700_000_000_000_000_000

    def now_ns(self) -> int:
        return self.ns


def writer(
    directory: Path, pieces: str = "parquet", ticks: int = 10, shards: int = 1, **options: Any
) -> RecordingWriter:
    manifest = Manifest(shards, pieces, options.pop("configuration", "config"))
    options.setdefault("submit", at_once)
    return RecordingWriter(directory, manifest, options.pop("clock", Clock()), limits=PieceLimits(ticks), **options)


def one_by_one(inputs: Iterable[Any]) -> list[Any]:
    """Inputs one at a time, ticks as tuples that are equal where the ticks are."""
    flat: list[Any] = []
    for each in inputs:
        if not isinstance(each, TickColumns):
            flat.append(each)
            continue
        for row in each.rows():
            optional = (row.volume, row.bid, row.ask, row.halted, row.auction)
            price = "nan" if np.isnan(row.price) else np.float64(row.price).tobytes()  # one NaN is as good as another
            flat.append((row.instrument_token, row.ts_ns, price, row.exact, *optional))
    return flat


def recorded(directory: Path, shard: int = 0) -> list[Any]:
    return one_by_one(read_recording(directory, shard))


def take_all(recording: RecordingWriter, inputs: Sequence[Input], shard: int = 0, at: int = 0) -> None:
    """An input at a time, from number `at` on."""
    for each in inputs:
        recording.take(shard, at, [each])
        at += count_of([each])
