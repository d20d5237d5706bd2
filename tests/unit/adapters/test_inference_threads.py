"""Inference on a thread beside the caller: answers, errors, and models that do not come back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anystrat.adapters.inference_threads import ThreadedInference
from anystrat.adapters.onnx_model import load_onnx
from anystrat.testing.models import linear_model

LONG, SHORT = 60_000_000_000, 20_000_000
ROW = np.array([[0.5, 1.0]], np.float32)


@pytest.fixture
def inference() -> Iterator[ThreadedInference]:
    made = ThreadedInference(most_left_alone=2)
    yield made
    made.close()


class Model:
    """Answers, raises, or waits until it is let go."""

    sha256 = "ab" * 32
    feature_names = ("a", "b")
    batchable = True

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.calls = 0

    def predict(self, features: Any) -> Any:
        self.calls += 1
        assert self.go.wait(30)
        if self.error is not None:
            raise self.error
        return np.array([[0.25, 0.25, 0.5]], np.float32)


def test_an_answer_in_time_has_the_models_own_bits(inference: ThreadedInference, tmp_path: Path) -> None:
    model = load_onnx(linear_model(tmp_path / "m.onnx", ["ret_1", "z_5"], [[1.0, 2.0, 3.0], [0.5, 0.0, -0.5]]))
    for _ in range(3):
        answer = inference.predict(model, ROW, LONG)
        assert answer is not None
        assert answer.tobytes() == model.predict(ROW).tobytes()


def test_what_the_model_raises_reaches_the_caller(inference: ThreadedInference) -> None:
    model = Model()
    model.error = RuntimeError("no such regime")
    with pytest.raises(RuntimeError, match="no such regime"):
        inference.predict(model, ROW, LONG)
    model.error = None
    assert inference.predict(model, ROW, LONG) is not None


def test_a_model_that_hangs_is_late_and_the_next_call_is_answered(inference: ThreadedInference) -> None:
    hung, well = Model(), Model()
    hung.go.clear()
    assert inference.predict(hung, ROW, SHORT) is None
    assert inference.left_alone == 1
    assert inference.predict(well, ROW, LONG) is not None
    hung.go.set()


def test_an_answer_that_came_too_late_is_never_taken_for_the_next_one(inference: ThreadedInference) -> None:
    slow, quick = Model(), Model()
    slow.go.clear()
    assert inference.predict(slow, ROW, SHORT) is None
    left = inference._left[0].thread
    slow.error = RuntimeError("much later")
    slow.go.set()
    left.join(30)
    assert inference.predict(quick, ROW, LONG) is not None
    assert inference.left_alone == 0


def test_with_several_that_do_not_come_back_nothing_more_is_asked(inference: ThreadedInference) -> None:
    hung, well = Model(), Model()
    hung.go.clear()
    assert [inference.predict(hung, ROW, SHORT) for _ in range(2)] == [None, None]
    threads = [worker.thread for worker in inference._left]
    assert inference.predict(well, ROW, LONG) is None
    assert (hung.calls, well.calls) == (2, 0)
    hung.go.set()
    for thread in threads:
        thread.join(30)
    assert inference.predict(well, ROW, LONG) is not None


def endless(path: Path) -> Path:
    """A model that goes round for ever where a feature is beyond a million."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["in"], ["out"])],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("in", TensorProto.FLOAT, ["N", 3]),
        ],
        [value("on", TensorProto.BOOL, []), value("out", TensorProto.FLOAT, ["N", 3])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "limit"], ["again"]),
        helper.make_node("Softmax", ["x"], ["soft"], axis=1),
        helper.make_node("Loop", ["", "again", "soft"], ["probabilities"], body=body),
    ]
    graph = helper.make_graph(
        nodes,
        "endless",
        [value("x", TensorProto.FLOAT, ["N", 3])],
        [value("probabilities", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor("limit", TensorProto.FLOAT, [], [1e6])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"features": json.dumps(["ret_1", "ret_2", "ret_3"])})
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)
    return path


def test_an_onnx_model_that_goes_round_for_ever_is_late_and_its_thread_ends(
    inference: ThreadedInference, tmp_path: Path
) -> None:
    model = load_onnx(endless(tmp_path / "m.onnx"))
    calm, wild = np.zeros((1, 3), np.float32), np.full((1, 3), 1e7, np.float32)
    assert inference.predict(model, calm, LONG) is not None
    assert inference.predict(model, wild, SHORT) is None
    inference._left[0].thread.join(30)
    assert inference.left_alone == 0
    assert inference.predict(model, calm, LONG) is not None
