"""Rows through a model: together or alone, with the same answers, and each failure where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anystrat.strategies.inference import BATCH, ask_model, ask_together


class Model:
    """Shares of three numbers; raises on any row that holds 13."""

    sha256 = "ab" * 32
    feature_names = ("a", "b", "c")

    def __init__(self, *, batchable: bool = True) -> None:
        self.batchable = batchable
        self.calls: list[int] = []

    def predict(self, rows: Any) -> Any:
        self.calls.append(len(rows))
        if (rows == 13.0).any():
            raise RuntimeError(f"bad luck on {int((rows == 13.0).any(axis=1).sum())} rows")
        return rows / np.float32(4.0)


def rows_of(*firsts: float) -> Any:
    return np.array([[first, 1.0, 2.0] for first in firsts], np.float32).reshape(-1, 3)


def test_parts_share_calls_of_a_batchable_model() -> None:
    model = Model()
    answers = ask_together(model, [rows_of(1.0, 2.0), rows_of(), rows_of(3.0)])
    assert model.calls == [3]
    assert [answer.probabilities[:, 0].tolist() for answer in answers] == [[0.25, 0.5], [], [0.75]]


def test_a_model_that_is_not_batchable_is_asked_row_by_row() -> None:
    model = Model(batchable=False)
    ask_together(model, [rows_of(1.0, 2.0), rows_of(3.0)])
    assert model.calls == [1, 1, 1]


def test_calls_are_bounded() -> None:
    model = Model()
    ask_together(model, [np.ones((BATCH - 1, 3), np.float32), np.ones((BATCH, 3), np.float32)])
    assert model.calls == [BATCH, BATCH - 1]


@given(
    parts=st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.5, 13.0]), max_size=6), min_size=1, max_size=5),
    batchable=st.booleans(),
)
def test_together_is_what_each_part_alone_is_failures_included(parts: list[list[float]], batchable: bool) -> None:
    rows = [rows_of(*part) for part in parts]
    together = ask_together(Model(batchable=batchable), rows)
    for part, answer in zip(rows, together, strict=True):
        alone = ask_model(Model(batchable=False), part)
        assert answer.probabilities.tobytes() == alone.probabilities.tobytes()
        assert dict(answer.raised) == dict(alone.raised)
        assert set(alone.raised) == set(np.flatnonzero((part == 13.0).any(axis=1)).tolist())
