"""Counted drops: none is lost, whatever is merged."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anystrat.backtest.drop_counts import DropCounts

_drops = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 5), st.integers(1, 8)), max_size=50)


def add(counts: DropCounts, drops: list[tuple[int, int, int]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*drops, strict=True)] or [np.zeros(0, np.int64)] * 3
    counts.add(*columns)


@given(st.lists(_drops, max_size=5))
def test_every_drop_is_counted_once_in_the_bucket_of_its_time(blocks: list[list[tuple[int, int, int]]]):
    counts = DropCounts()
    for drops in blocks:
        add(counts, drops)
    rows = counts.rows()
    found = Counter(
        {
            (ts, slot, reason): count
            for ts, slot, reason, count in zip(*(column.tolist() for column in rows), strict=True)
        }
    )
    width = counts.bucket_ns
    assert found == Counter((ts // width * width, slot, reason) for drops in blocks for ts, slot, reason in drops)
    assert (np.diff(rows.ts_ns) >= 0).all()


def test_the_number_of_buckets_stays_bounded():
    counts = DropCounts()
    for block in range(30):
        add(counts, [(block * 10_000 + at * 3, at % 3, 1 + at % 2) for at in range(1_000)])
    rows = counts.rows()
    assert len(np.unique(rows.ts_ns)) <= 1_024
    assert rows.dropped.sum() == 30_000


def test_labels_of_validators_come_after_the_engines_own():
    counts = DropCounts()
    assert counts.code("duplicate") == 17
    first = counts.code("too_quiet")
    assert first == len(counts.reasons) - 1
    assert counts.code("too_quiet") == first
