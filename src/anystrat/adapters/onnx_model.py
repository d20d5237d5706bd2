"""ONNX models on onnxruntime: loaded from bytes that were read once, checked, and bound to anystrat's contract.

onnxruntime follows references to files outside the model, through hard links too. So it never sees a path: the file is
read once, those bytes are hashed, parsed and searched for such references, and the same bytes are given to it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anystrat.adapters.onnx_batches import PROBE_ROWS, may_be_batched, seeded_rows
from anystrat.adapters.onnx_checks import (
    OUTPUT,
    check_output,
    check_proto,
    checked_input,
    features_of,
    first_line,
    parsed,
    refuse_custom_operators,
    refuse_external_data,
)
from anystrat.adapters.onnx_file import FileStamp, read_model_file
from anystrat.adapters.onnx_row import BoundRow
from anystrat.domain.errors import MissingExtra, ModelRefused
from anystrat.strategies.features import FEATURES, FeatureRegistry, FeatureSet

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

Predict: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.float32]]"
Stop: TypeAlias = Callable[[], None]
Keep: TypeAlias = Callable[[str, bytes], None]


class OnnxModel:
    """A checked model. Pure and safe to call from several threads; one row's time is some 5 to 20 µs.

    `history_length` is what its features need; `file` is the stamp of the file that the bytes were read from, if any.
    """

    __slots__ = (
        "_input",
        "_outputs",
        "_row",
        "_run",
        "_runtime",
        "batchable",
        "feature_names",
        "file",
        "history_length",
        "path",
        "sha256",
    )

    def __init__(
        self,
        path: str,
        sha256: str,
        stamp: FileStamp | None,
        features: FeatureSet,
        runtime: ModuleType,
        session: Any,
        input_name: str,
    ) -> None:
        self.path = path
        self.sha256 = sha256
        self.file = stamp
        self.feature_names = features.names
        self.history_length = features.history_length
        self.batchable = False
        self._runtime = runtime
        self._run: Callable[..., list[Any]] = session.run
        self._input = input_name
        self._outputs = [OUTPUT]
        self._row: BoundRow | None = None

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        row = self._row
        if row is not None and row.fits(features) and (answer := row.predict(features)) is not None:
            return answer
        return self._predict(features)

    def _predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = self._run(self._outputs, {self._input: features})[0]
        return answer

    def stoppable(self) -> tuple[Predict, Stop]:
        """(predict, stop): `stop`, from another thread, makes a `predict` that runs raise before its next operator.

        For one caller; what was stopped once answers no more.
        """
        options = self._runtime.RunOptions()
        options.log_severity_level = 4

        def predict(features: NDArray[np.float32]) -> NDArray[np.float32]:
            answer: NDArray[np.float32] = self._run(self._outputs, {self._input: features}, options)[0]
            return answer

        def stop() -> None:
            options.terminate = True

        return predict, stop

    def bind_row(self, session: Any) -> None:
        """Let single rows go through kept memory from now on, if they have the same bits there as without."""
        rows = seeded_rows(len(self.feature_names), PROBE_ROWS)
        try:
            row = BoundRow(self._runtime, session, self._input, OUTPUT, len(self.feature_names))
            for i in range(PROBE_ROWS):
                answer = row.predict(rows[i : i + 1])
                if answer is None or answer.tobytes() != self._predict(rows[i : i + 1]).tobytes():
                    return
        except Exception:  # noqa: BLE001  an output that cannot be bound, or a row that fails: such a model goes on as it did
            return
        self._row = row


def load_onnx(
    path: str | os.PathLike[str], features: FeatureRegistry = FEATURES, keep: Keep | None = None
) -> OnnxModel:
    """Read, check and start a model. Runs it on a few seeded rows, to see its output and whether it may be batched.

    `keep` is handed the hash and the bytes of a model that passed. Raises `ModelRefused`, which says what was expected,
    what was found and what to do, and `MissingExtra`.
    """
    name = os.fspath(path)
    content, stamp = read_model_file(name)
    model = _load(name, content, stamp, features)
    if keep is not None:
        keep(model.sha256, content)
    return model


def load_onnx_bytes(name: str, content: bytes, features: FeatureRegistry = FEATURES) -> OnnxModel:
    """The same for the bytes of a file called `name`, wherever they are from."""
    return _load(name, content, None, features)


def _load(name: str, content: bytes, stamp: FileStamp | None, registry: FeatureRegistry) -> OnnxModel:
    onnx, runtime = _extra("onnx"), _extra("onnxruntime")
    proto = parsed(onnx, name, content)
    try:
        refuse_external_data(onnx, name, proto)
        refuse_custom_operators(onnx, name, proto)
        check_proto(onnx, name, proto)
        features = features_of(name, proto, registry)
        session = _session(runtime, name, content)
        input_name = checked_input(name, session, features)
        check_output(name, session)
    except UnicodeError as error:
        # Neither protobuf nor onnxruntime minds bytes that are no text until somebody reads them.
        raise ModelRefused(
            f"{name}: expected names in UTF-8, found others ({error}); export the model again"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    model = OnnxModel(name, sha256, stamp, features, runtime, session, input_name)
    _check_answer(name, model)
    model.bind_row(session)
    model.batchable = may_be_batched(model)
    return model


def _extra(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtra("ONNX models", "ml") from None


def _session(runtime: ModuleType, name: str, content: bytes) -> Any:
    options = runtime.SessionOptions()
    # One thread, in order: a row's result must not depend on how its batch was shared out.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    # Otherwise bytes that are both an ONNX file and one of onnxruntime's own format would be read as the unchecked one.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelRefused(
            f"{name}: expected a model that onnxruntime {runtime.__version__} can run, but it says: {first_line(error)}; "
            "export it for an older opset, or update onnxruntime"
        ) from error


def _check_answer(name: str, model: OnnxModel) -> None:
    # Shapes in the file are claims; only answers show what comes out, and one row may be treated as none.
    for rows in (PROBE_ROWS, 1):
        expected = f"expected float32 [{rows}, 3] as {OUTPUT!r} for {rows} row{'s' * (rows > 1)}"
        try:
            answer = model.predict(seeded_rows(len(model.feature_names), rows))
        except Exception as error:
            raise ModelRefused(
                f"{name}: {expected}; it fails on them: {first_line(error)}; run it in the tool that it was made with"
            ) from error
        if answer.shape != (rows, 3) or answer.dtype != np.float32:
            raise ModelRefused(
                f"{name}: {expected}; found {answer.dtype} {list(answer.shape)}; "
                "make its output a row for each input row"
            )
