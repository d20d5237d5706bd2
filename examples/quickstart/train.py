"""Trains the model of the quickstart on real prices, and writes it with a card that says what it is worth.

    python examples/quickstart/train.py [--out DIR]      # needs: pip install 'anystrat[ml,train]' bokeh-sampledata

The features come from the very functions that serve the strategy. Training ends where testing begins: a day belongs to
the training set only if the day that its label looks at lies before the split too. Two runs with the same versions
write the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from data import DailyPrices, daily_prices
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_tensor_value_info
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from anystrat.adapters.onnx_batches import verify_batching
from anystrat.adapters.onnx_model import OnnxModel, load_onnx
from anystrat.strategies.feature_summary import METHOD, feature_bins
from anystrat.strategies.features import feature_matrix, required_history
from anystrat.strategies.ml import DEFAULT_FEATURES

NAME = "momentum"
FEATURES = DEFAULT_FEATURES["ml_momentum"]
SPLIT = date(2009, 1, 1)
HORIZON = 1  # days ahead
BAND = 0.005  # a move within ±BAND is HOLD
CLASSES = ("SELL", "HOLD", "BUY")
CONFIDENCES = (0.35, 0.40, 0.45, 0.50)
PACKAGES = ("bokeh-sampledata", "numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of one period: `features` float32[N, F], `label` int[N] (index into CLASSES), and the days they span."""

    features: NDArray[np.float32]
    label: NDArray[np.int64]
    first: date
    last: date
    rows: dict[str, int]


def labels(price: NDArray[np.float64]) -> NDArray[np.int64]:
    """int[n - HORIZON]: where the price is HORIZON days later, relative to now."""
    move = price[HORIZON:] / price[:-HORIZON] - 1.0
    return np.where(move > BAND, 2, np.where(move < -BAND, 0, 1))


def samples(series: list[DailyPrices]) -> tuple[Sample, Sample]:
    """The training and the test sample. No training label looks at a day of the test."""
    need = required_history(FEATURES)
    return _sample(series, need, training=True), _sample(series, need, training=False)


def _sample(series: list[DailyPrices], need: int, *, training: bool) -> Sample:
    features, label, days, rows = [], [], [], {}
    for one in series:
        matrix, outcome = feature_matrix(one.price, FEATURES), labels(one.price)
        wanted = [
            now
            for now in range(need - 1, len(outcome))
            if (one.days[now + HORIZON] < SPLIT if training else one.days[now] >= SPLIT)
        ]
        features.append(matrix[[now - (need - 1) for now in wanted]])
        label.append(outcome[wanted])
        days += [one.days[now] for now in wanted]
        rows[one.symbol] = len(wanted)
    return Sample(np.concatenate(features), np.concatenate(label), min(days), max(days), rows)


def trained(sample: Sample) -> Pipeline:
    """Logistic regression on scaled features; the scale is the training sample's."""
    steps = [("scale", StandardScaler()), ("classify", LogisticRegression(C=1.0, max_iter=1000, tol=1e-8))]
    return Pipeline(steps).fit(sample.features.astype(np.float64), sample.label)


def onnx_bytes(pipeline: Pipeline) -> bytes:
    """The pipeline as ONNX with anystrat's contract: metadata `features`, input [N, F], output `probabilities` [N, 3]."""
    assert list(pipeline.classes_) == [0, 1, 2], "the columns must be SELL, HOLD, BUY"
    model = convert_sklearn(
        pipeline,
        name=NAME,
        initial_types=[("features", FloatTensorType([None, len(FEATURES)]))],
        options={id(pipeline.named_steps["classify"]): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
        # onnxruntime computes LinearClassifier in one way for a single row and in another for more: the last bits differ,
        # and the model could not be served in batches. Spelt out as a product, a sum and a softmax it can.
        black_op={"LinearClassifier"},
    )
    # Nobody asks for the label: it is the largest probability.
    model = select_model_inputs_outputs(model, ["probabilities"])
    shape = make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(CLASSES)])
    model.graph.output[0].CopyFrom(shape)
    model.metadata_props.add(key="features", value=json.dumps(list(FEATURES)))
    # skl2onnx lists what it imports in the order of a set, which differs from process to process.
    imports = sorted(model.opset_import, key=lambda one: one.domain)
    del model.opset_import[:]
    model.opset_import.extend(imports)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def metrics(model: OnnxModel, sample: Sample, shares: NDArray[np.float64]) -> dict[str, Any]:
    """How the ONNX model does on a sample; beside it what the training shares of the classes alone would do."""
    probability = model.predict(sample.features).astype(np.float64)
    probability /= probability.sum(axis=1, keepdims=True)
    guess = probability.argmax(axis=1)
    sides = guess != 1
    moved = sample.label != 1
    up = sample.label[moved] == 2
    blind = np.tile(shares, (len(sample.label), 1))
    return {
        "rows": len(sample.label),
        "class_shares": _by_class(np.bincount(sample.label, minlength=3) / len(sample.label)),
        "predicted_shares": _by_class(np.bincount(guess, minlength=3) / len(guess)),
        "log_loss": _rounded(log_loss(sample.label, probability, labels=[0, 1, 2])),
        "log_loss_of_training_shares": _rounded(log_loss(sample.label, blind, labels=[0, 1, 2])),
        "accuracy": _rounded((guess == sample.label).mean()),
        "accuracy_of_most_frequent_class": _rounded((sample.label == shares.argmax()).mean()),
        "balanced_accuracy": _rounded(balanced_accuracy_score(sample.label, guess)),
        "side_right_where_it_moved": _rounded(((probability[moved, 2] > probability[moved, 0]) == up).mean()),
        "side_right_of_always_buy": _rounded(up.mean()),
        "signals_by_min_conf": [
            {
                "min_conf": level,
                "share_of_rows": _rounded(taken.mean()),
                "right": _rounded((guess == sample.label)[taken].mean()) if taken.any() else None,
            }
            for level in CONFIDENCES
            for taken in [sides & (probability.max(axis=1) >= level)]
        ],
    }


def card(model: OnnxModel, pipeline: Pipeline, train: Sample, test: Sample) -> dict[str, Any]:
    """What the model is, what it was made from, and how it does."""
    shares = np.bincount(train.label, minlength=3) / len(train.label)
    batches = verify_batching(model, 512)
    gap = np.abs(model.predict(test.features) - pipeline.predict_proba(test.features.astype(np.float64))).max()
    return {
        "schema_version": 1,
        "name": NAME,
        "sha256": model.sha256,
        "made_by": "examples/quickstart/train.py",
        "algorithm": "logistic regression (C = 1) on standardised features",
        "features": list(FEATURES),
        "history": model.history_length,
        "label": {
            "classes": list(CLASSES),
            "horizon_days": HORIZON,
            "band": BAND,
            "rule": f"BUY if the close {HORIZON} trading day ahead is more than {BAND:.1%} higher, SELL if more than that lower, else HOLD",
        },
        "data": {
            "source": "bokeh-sampledata, stocks.csv.gz (Quandl WIKI prices, public domain)",
            "price": "daily close, adjusted for splits and dividends",
            "instruments": list(train.rows),
        },
        "split": {
            "date": SPLIT.isoformat(),
            "rule": "a training row's label ends before this date; test rows begin on it",
            "train": {"first": train.first.isoformat(), "last": train.last.isoformat(), "rows": train.rows},
            "test": {"first": test.first.isoformat(), "last": test.last.isoformat(), "rows": test.rows},
        },
        "in_sample": metrics(model, train, shares),
        "out_of_sample": metrics(model, test, shares),
        "onnx": {
            "batchable": model.batchable and batches.batchable,
            "largest_difference_to_scikit_learn_below": 10.0 ** np.ceil(np.log10(gap)),
        },
        "drift": {"method": METHOD, "bins": feature_bins(FEATURES, train.features)},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def card_text(facts: dict[str, Any]) -> str:
    """The card as a page to read."""
    inside, outside = facts["in_sample"], facts["out_of_sample"]
    measures = [
        ("rows", "rows", ",d"),
        ("log loss", "log_loss", ".4f"),
        ("… of the training shares alone", "log_loss_of_training_shares", ".4f"),
        ("accuracy", "accuracy", ".1%"),
        ("… of always the most frequent class", "accuracy_of_most_frequent_class", ".1%"),
        ("balanced accuracy (chance: 33.3%)", "balanced_accuracy", ".1%"),
        ("right side, on days beyond the band", "side_right_where_it_moved", ".1%"),
        ("… of always BUY", "side_right_of_always_buy", ".1%"),
    ]
    split = facts["split"]
    lines = [
        f"# Model card: {facts['name']}",
        "",
        "An example of how to train, check and run a model, **not one to trade with**.",
        "",
        f"- {facts['algorithm']}; sha256 `{facts['sha256'][:12]}…`; made by `{facts['made_by']}`",
        f"- features: {', '.join(f'`{name}`' for name in facts['features'])} (history: {facts['history']} ticks)",
        f"- label: {facts['label']['rule']}",
        f"- data: {', '.join(facts['data']['instruments'])}; {facts['data']['price']}; {facts['data']['source']}",
        (
            f"- trained on {split['train']['first']} to {split['train']['last']}, tested on {split['test']['first']} to "
            f"{split['test']['last']}; split at {split['date']}: {split['rule']}"
        ),
        "",
        "| | in sample | out of sample |",
        "|---|---:|---:|",
        *(f"| {name} | {format(inside[key], form)} | {format(outside[key], form)} |" for name, key, form in measures),
        "",
        "Signals (BUY or SELL) by `min_conf`, out of sample:",
        "",
        "| min_conf | share of days | right |",
        "|---:|---:|---:|",
        *(
            f"| {row['min_conf']:.2f} | {row['share_of_rows']:.1%} | "
            f"{'–' if row['right'] is None else format(row['right'], '.1%')} |"
            for row in outside["signals_by_min_conf"]
        ),
        "",
        "## How to read this",
        "",
        (
            "- What it gains over the shares of the classes comes from volatility: it knows when HOLD is likely, and next to "
            "nothing of which way a move goes. Costs are not in these figures."
        ),
        (
            "- Horizon and band were chosen so that all three classes are alive, with both periods in view: the out-of-sample "
            "column describes the model, it is no unbiased forecast."
        ),
        (
            "- Rows of one day are not independent (four large American technology companies), so the effective sample is "
            "smaller than its number of rows. These four are known today because they did well: a survivor's bias."
        ),
        (
            f"- Three classes share one unit of probability: with this model `min_conf` 0.4 is a choice, the default 0.5 hardly "
            f"ever a signal ({outside['signals_by_min_conf'][-1]['share_of_rows']:.1%} of days)."
        ),
        "- For drift compare new feature values with the bins in the JSON card.",
        "",
    ]
    return "\n".join(lines)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _by_class(shares: NDArray[np.float64]) -> dict[str, float]:
    return {name: _rounded(share) for name, share in zip(CLASSES, shares, strict=True)}


def main() -> None:
    """Train, write, check, and print the card."""
    parser = argparse.ArgumentParser(description="Train the quickstart's model on real prices.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models", help="where the model goes")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    train, test = samples(daily_prices())
    pipeline = trained(train)
    path = out / f"{NAME}.onnx"
    content = onnx_bytes(pipeline)
    path.write_bytes(content)
    model = load_onnx(path)
    assert model.sha256 == hashlib.sha256(content).hexdigest()

    facts = card(model, pipeline, train, test)
    (out / f"{NAME}.card.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    text = card_text(facts)
    (out / f"{NAME}.card.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
