"""ML: rows a second through a linear ONNX model of ten features by batch, and a replay over columns against tick by tick."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from anystrat.bootstrap import kernel_compiler
from anystrat.domain.columns import TickColumns
from anystrat.domain.outcomes import Emitted
from anystrat.engine.columns.outcomes import signals_of
from anystrat.engine.columns.runner import BlockRunner
from anystrat.testing.models import linear_model
from benchmarks.own import BLOCK, engine_of
from benchmarks.timing import Clock, emit, repeated
from benchmarks.workloads import w1

FEATURES = ("ret_1", "ret_5", "ret_10", "ret_20", "vol_10", "vol_20", "z_10", "z_20", "pos_10", "pos_20")
BATCHES = (1, 10, 100, 10_000)


def model(folder: Path) -> Path:
    weights = np.random.default_rng(5).normal(0.0, 1.0, (len(FEATURES), 3)).round(3)
    return linear_model(folder / "linear.onnx", FEATURES, weights.tolist())


def rows_a_second(path: Path) -> dict[str, dict[str, float]]:
    from anystrat.adapters.onnx_model import load_onnx

    loaded = load_onnx(path)
    rows = np.random.default_rng(6).normal(0.0, 1.0, (20_000, len(FEATURES))).astype(np.float32)
    found = {}
    for size in BATCHES:
        batches = [rows[i : i + size] for i in range(0, min(len(rows), max(2_000, 2 * size)), size)]

        def run(batches: list[Any] = batches) -> None:
            for batch in batches:
                loaded.predict(batch)

        run()
        wall, cpu, _ = repeated(run, seconds=0.5)
        count = sum(map(len, batches))
        found[str(size)] = {"wall": count / wall, "cpu": count / cpu}
    return found


def replayed(path: Path, count: int) -> dict[str, Any]:
    """The same strategy tick by tick over the first ticks, and over columns over all; their signals are compared."""
    rows = [{"id": "ml", "strategy_type": "ml_momentum", "parameters": {"model_path": str(path)}, "instruments": [0]}]
    ticks = w1(count)
    block = TickColumns(ticks.ts_ns, ticks.token, ticks.price)
    few = max(2_000, count // 10)
    one_by_one, ids = engine_of(rows), []
    tick_rows = list(TickColumns(ticks.ts_ns[:few], ticks.token[:few], ticks.price[:few]).rows())
    with Clock() as single:
        for row in tick_rows:
            ids += [one.signal for one in one_by_one.step(row) if isinstance(one, Emitted)]
    compiler = kernel_compiler()
    BlockRunner(engine_of(rows), compiler).run(block)
    engine = engine_of(rows)
    runner = BlockRunner(engine, compiler)
    found = []
    with Clock() as columns:
        for i in range(0, count, BLOCK):
            part = TickColumns(*(column[i : i + BLOCK] for column in ticks))
            found.append(signals_of(engine, runner.run(part)))
    kept = [each.taken(np.flatnonzero(each.code == 0)) for each in found]
    early = [each.taken(np.flatnonzero(each.ts_ns <= ticks.ts_ns[few - 1])).ids() for each in kept]
    texts = np.concatenate(early).astype(">u8").tobytes()
    single_ids = b"".join(bytes.fromhex(signal.signal_id) for signal in ids)
    same = hashlib.sha256(texts).digest() == hashlib.sha256(single_ids).digest()
    return {
        "tick": {"wall": few / single.wall, "cpu": few / single.cpu},
        "columns": {"wall": count / columns.wall, "cpu": count / columns.cpu},
        "signals": sum(map(len, kept)),
        "same": same,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ticks", type=int, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = model(Path(folder))
        emit(rows=rows_a_second(path), replay=replayed(path, asked.ticks))


main()
