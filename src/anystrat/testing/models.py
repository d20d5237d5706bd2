"""Small ONNX models for tests and examples, built with `onnx` alone: no training, no scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from anystrat.domain.errors import MissingExtra


def linear_model(
    path: str | Path,
    features: Sequence[str],
    weights: Sequence[Sequence[float]] | None = None,
    bias: Sequence[float] = (0.0, 0.0, 0.0),
    *,
    activation: Literal["softmax", "none"] = "softmax",
) -> Path:
    """Write `probabilities = softmax(x @ weights + bias)` with anystrat's contract; the path is returned.

    `weights` has a row for each feature and the columns SELL, HOLD, BUY; zeros if left out, so that `bias` alone
    decides. With the activation "none" the scores come out as they are: for models that misbehave.
    """
    target = Path(path)
    target.write_bytes(linear_model_bytes(features, weights, bias, activation=activation))
    return target


def linear_model_bytes(
    features: Sequence[str],
    weights: Sequence[Sequence[float]] | None = None,
    bias: Sequence[float] = (0.0, 0.0, 0.0),
    *,
    activation: Literal["softmax", "none"] = "softmax",
) -> bytes:
    """The bytes of `linear_model`; the same arguments give the same bytes. Raises `MissingExtra`."""
    try:
        from onnx import TensorProto, helper  # noqa: PLC0415  the extra is asked for when a model is
    except ModuleNotFoundError:
        raise MissingExtra("ONNX models", "ml") from None
    rows = [list(row) for row in weights] if weights is not None else [[0.0, 0.0, 0.0] for _ in features]
    if len(rows) != len(features) or any(len(row) != 3 for row in rows) or len(bias) != 3:
        raise ValueError(
            f"expected {len(features)} rows of 3 weights and 3 biases; "
            f"found {len(rows)} rows of {sorted({len(row) for row in rows})} and {len(bias)}"
        )
    flat = [weight for row in rows for weight in row]
    scores = "probabilities" if activation == "none" else "scores"
    nodes = [helper.make_node("Gemm", ["features", "weights", "bias"], [scores])]
    if activation == "softmax":
        nodes.append(helper.make_node("Softmax", [scores], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", len(features)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [len(features), 3], flat),
            helper.make_tensor("bias", TensorProto.FLOAT, [3], list(bias)),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="anystrat.testing"
    )
    helper.set_model_props(model, {"features": json.dumps(list(features))})
    content: bytes = model.SerializeToString(deterministic=True)
    return content
