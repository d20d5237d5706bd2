"""ONNX models on onnxruntime: loaded from bytes that were read once, checked, and bound to anystrat's contract.

onnxruntime follows references to files outside the model, through hard links too. So it never sees a path: the file is
read once, those bytes are hashed, parsed and searched for such references, and the same bytes are given to it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from anystrat.adapters.onnx_row import BoundRow
from anystrat.domain.errors import MissingExtra, ModelRefused, UnknownName
from anystrat.strategies.features import FEATURES, FeatureRegistry, FeatureSet

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from anystrat.domain.protocols import InferenceModel

Predict: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.float32]]"
Stop: TypeAlias = Callable[[], None]
Keep: TypeAlias = Callable[[str, bytes], None]

METADATA_KEY = "features"
OUTPUT = "probabilities"

#: A file above this is refused before it is read.
MAX_BYTES = 256 * 1024 * 1024

#: A model that asks for more ticks than this is refused: every instrument would hold a window of this length.
MAX_HISTORY = 1_000_000

# Operators that onnxruntime itself brings: the two standard domains by their names, and its own contributions.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})

# Rows and batch sizes of the check at load: single rows, small remainders, and one size beyond every blocking factor.
_PROBE_ROWS = 64
_PROBE_BATCHES = (2, 3, 7, 64)
_PROBE_LARGE = 1024
_VERIFY_BATCHES = (2, 3, 5, 7, 16, 33, 64, 100, 256, 1000, 4096)


class FileStamp(NamedTuple):
    """What tells one version of a file from the next without reading it."""

    mtime_ns: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How a model's rows, one by one, compare with the same rows in batches.

    `differing` rows had other bits in some batch; `largest_difference` is between probabilities.
    """

    rows: int
    batch_sizes: tuple[int, ...]
    differing: int
    largest_difference: float

    @property
    def batchable(self) -> bool:
        """Whether every row had the same bits in every batch."""
        return self.differing == 0

    @property
    def advice(self) -> str:
        """What to do about a model that is not batchable, which is served a row at a time; empty for one that is."""
        if self.batchable:
            return ""
        # onnxruntime multiplies a single row in another order where an operator holds the weights as an attribute.
        return (
            "its rows depend on their batch, so it is served one row at a time: export a linear classifier as plain "
            "operators (skl2onnx: black_op={'LinearClassifier'}), and leave out whatever reads across rows"
        )


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
        rows = _seeded_rows(len(self.feature_names), _PROBE_ROWS)
        try:
            row = BoundRow(self._runtime, session, self._input, OUTPUT, len(self.feature_names))
            for i in range(_PROBE_ROWS):
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
    content, stamp = _read(name)
    model = _load(name, content, stamp, features)
    if keep is not None:
        keep(model.sha256, content)
    return model


def load_onnx_bytes(name: str, content: bytes, features: FeatureRegistry = FEATURES) -> OnnxModel:
    """The same for the bytes of a file called `name`, wherever they are from."""
    return _load(name, content, None, features)


def stamp_of(path: str | os.PathLike[str]) -> FileStamp | None:
    """The file's stamp now, or None where there is no file that can be looked at."""
    try:
        return _stamp(Path(path).stat())
    except (OSError, ValueError):
        return None


def verify_batching(model: InferenceModel, n: int = 2048) -> BatchReport:
    """Compare `n` seeded rows one by one with the same rows in batches of many sizes, bit for bit."""
    return _compare(model, n, (*(size for size in _VERIFY_BATCHES if size < n), n))


# ---------------------------------------------------------------------------------------------------------------- file


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_mtime_ns, status.st_size, status.st_ino)


def _read(name: str) -> tuple[bytes, FileStamp]:
    try:
        # Without O_NONBLOCK a named pipe would hold us until somebody writes into it.
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ModelRefused(
            f"{name}: no such file; check model_path, which is relative to the file that names it"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{name}: cannot be opened ({error}); check model_path and the file's permissions") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelRefused(f"{name}: expected a file, found {_kind(status.st_mode)}; name the .onnx file itself")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > MAX_BYTES:
            raise _too_large(name, status.st_size)
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _too_large(name, len(content))
    if not content:
        raise ModelRefused(f"{name}: the file is empty; export the model again")
    return content, _stamp(status)


def _too_large(name: str, size: int) -> ModelRefused:
    return ModelRefused(f"{name}: expected at most {MAX_BYTES:,} bytes, found {size:,}; make the model smaller")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a named pipe" if stat.S_ISFIFO(mode) else "no regular file"


# -------------------------------------------------------------------------------------------------------------- checks


def _load(name: str, content: bytes, stamp: FileStamp | None, registry: FeatureRegistry) -> OnnxModel:
    onnx, runtime = _extra("onnx"), _extra("onnxruntime")
    proto = _parse(onnx, name, content)
    try:
        _refuse_external_data(onnx, name, proto)
        _refuse_custom_operators(onnx, name, proto)
        _check_proto(onnx, name, proto)
        features = _features(name, proto, registry)
        session = _session(runtime, name, content)
        input_name = _checked_input(name, session, features)
        _check_output(name, session)
    except UnicodeError as error:
        # Neither protobuf nor onnxruntime minds bytes that are no text until somebody reads them.
        raise ModelRefused(
            f"{name}: expected names in UTF-8, found others ({error}); export the model again"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    model = OnnxModel(name, sha256, stamp, features, runtime, session, input_name)
    _check_answer(name, model)
    model.bind_row(session)
    model.batchable = _compare(model, _PROBE_ROWS, _PROBE_BATCHES).batchable and _same_in_a_large_batch(model)
    return model


def _extra(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtra("ONNX models", "ml") from None


def _parse(onnx: ModuleType, name: str, content: bytes) -> Any:
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:
        raise ModelRefused(
            f"{name}: expected an ONNX model, found a file that does not parse as one ({_first_line(error)}); "
            "it may be truncated or of another format: export the model again"
        ) from error
    if not proto.graph.node:
        raise ModelRefused(f"{name}: expected an ONNX model, found a file without a graph; export the model again")
    return proto


def _check_proto(onnx: ModuleType, name: str, proto: Any) -> None:
    # After the search for external data: the checker opens what it finds.
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        raise ModelRefused(
            f"{name}: expected a valid ONNX model, found one that onnx {onnx.__version__} objects to "
            f"({_first_line(error)}); export the model again"
        ) from error


def _messages(message: Any) -> Iterator[Any]:
    """The message and all within it, however deep: subgraphs, functions, sparse tensors, attributes, training data."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        yield current
        for descriptor, value in current.ListFields():
            if descriptor.message_type is None:
                continue
            if isinstance(value, descriptor.message_type._concrete_class):  # noqa: SLF001  protobuf has no public name for it
                waiting.append(value)
            else:
                waiting.extend(value)


def _refuse_external_data(onnx: ModuleType, name: str, proto: Any) -> None:
    for message in _messages(proto):
        if not isinstance(message, onnx.TensorProto):
            continue
        if message.data_location == onnx.TensorProto.EXTERNAL or message.external_data:
            places = [entry.value for entry in message.external_data if entry.key == "location"]
            raise ModelRefused(
                f"{name}: expected a model in a single file, found the tensor {message.name!r} stored outside of it "
                f"({', '.join(places) or 'no location'}); save it with onnx.save_model(model, path, "
                "save_as_external_data=False)"
            )


def _refuse_custom_operators(onnx: ModuleType, name: str, proto: Any) -> None:
    local = {(function.domain, function.name) for function in proto.functions}
    for message in _messages(proto):
        if not isinstance(message, onnx.NodeProto) or message.domain in _DOMAINS:
            continue
        if (message.domain, message.op_type) not in local:
            raise ModelRefused(
                f"{name}: expected operators of {', '.join(sorted(_DOMAINS - {''}))}, found "
                f"{message.domain}.{message.op_type}; export the model with standard operators only"
            )


def _features(name: str, proto: Any, registry: FeatureRegistry) -> FeatureSet:
    found = [entry.value for entry in proto.metadata_props if entry.key == METADATA_KEY]
    add = 'add it with onnx.helper.set_model_props(model, {"features": json.dumps([...])})'
    if not found:
        keys = ", ".join(sorted(repr(entry.key) for entry in proto.metadata_props)) or "none"
        raise ModelRefused(
            f"{name}: expected the metadata key 'features', a JSON list of feature names; found the keys: {keys}; {add}"
        )
    try:
        names = json.loads(found[0])
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(entry, str) for entry in names):
        raise ModelRefused(
            f"{name}: expected the metadata key 'features' to hold a JSON list of feature names; "
            f"found {_short(found[0])}; {add}"
        )
    repeated = sorted({entry for entry in names if names.count(entry) > 1})
    if repeated:
        raise ModelRefused(
            f"{name}: expected every feature once, found {', '.join(repeated)} several times; train it without the copies"
        )
    try:
        features = registry.feature_set(names)
    except UnknownName as error:
        raise ModelRefused(
            f"{name}: expected known features, found {error}; register it with register_feature, or train without it"
        ) from None
    if features.history_length > MAX_HISTORY:
        longest = max(features.features, key=lambda feature: feature.history_length).name
        raise ModelRefused(
            f"{name}: expected a history of at most {MAX_HISTORY:,} ticks, found {features.history_length:,} for "
            f"{longest}; train with shorter features"
        )
    return features


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
            f"{name}: expected a model that onnxruntime {runtime.__version__} can run, but it says: {_first_line(error)}; "
            "export it for an older opset, or update onnxruntime"
        ) from error


def _checked_input(name: str, session: Any, features: FeatureSet) -> str:
    count = len(features.names)
    expected = f"expected one float32 input [N, {count}], N dynamic, for its {count} features"
    inputs = session.get_inputs()
    found = ", ".join(f"{entry.name}: {_described(entry)}" for entry in inputs) or "none"
    if len(inputs) != 1:
        raise ModelRefused(f"{name}: {expected}; found {len(inputs)} inputs ({found}); join them into one tensor")
    entry = inputs[0]
    if entry.type != "tensor(float)":
        raise ModelRefused(f"{name}: {expected}; found {found}; export it with a float32 tensor as input")
    if len(entry.shape) != 2 or entry.shape[1] != count:
        raise ModelRefused(
            f"{name}: {expected} ({', '.join(features.names)}); found {found}; "
            "make the list of features and the input's columns agree"
        )
    if isinstance(entry.shape[0], int):
        raise ModelRefused(f"{name}: {expected}; found {found}; export it with a dynamic first dimension")
    input_name: str = entry.name
    return input_name


def _check_output(name: str, session: Any) -> None:
    expected = f"expected an output named {OUTPUT!r}, float32 [N, 3], columns SELL, HOLD, BUY"
    outputs = {entry.name: entry for entry in session.get_outputs()}
    if OUTPUT not in outputs:
        found = ", ".join(f"{entry.name}: {_described(entry)}" for entry in outputs.values())
        raise ModelRefused(f"{name}: {expected}; found {found}; rename the output")
    entry = outputs[OUTPUT]
    if entry.type != "tensor(float)":
        advice = "export it with zipmap off" if "map" in entry.type else "cast it to float32"
        raise ModelRefused(f"{name}: {expected}; found {_described(entry)}; {advice}")
    shape = entry.shape
    if shape and (len(shape) != 2 or isinstance(shape[0], int) or (isinstance(shape[1], int) and shape[1] != 3)):
        raise ModelRefused(f"{name}: {expected}; found {_described(entry)}; train it on the three classes")


def _check_answer(name: str, model: OnnxModel) -> None:
    # Shapes in the file are claims; only answers show what comes out, and one row may be treated as none.
    for rows in (_PROBE_ROWS, 1):
        expected = f"expected float32 [{rows}, 3] as {OUTPUT!r} for {rows} row{'s' * (rows > 1)}"
        try:
            answer = model.predict(_seeded_rows(len(model.feature_names), rows))
        except Exception as error:
            raise ModelRefused(
                f"{name}: {expected}; it fails on them: {_first_line(error)}; run it in the tool that it was made with"
            ) from error
        if answer.shape != (rows, 3) or answer.dtype != np.float32:
            raise ModelRefused(
                f"{name}: {expected}; found {answer.dtype} {list(answer.shape)}; "
                "make its output a row for each input row"
            )


# ------------------------------------------------------------------------------------------------------------- batches


def _seeded_rows(width: int, count: int) -> NDArray[np.float32]:
    # Returns and volatilities are hundredths, scores and positions about one: cover both.
    random = np.random.default_rng(20_170)
    scales = 10.0 ** random.uniform(-3.0, 0.5, (count, 1))
    return (random.standard_normal((count, width)) * scales).astype(np.float32)


def _compare(model: InferenceModel, rows: int, sizes: tuple[int, ...]) -> BatchReport:
    features = _seeded_rows(len(model.feature_names), rows)
    alone = np.concatenate([model.predict(features[i : i + 1]) for i in range(rows)])
    differs = np.zeros(rows, np.bool_)
    largest = 0.0
    for size in sizes:
        together = np.concatenate([model.predict(features[i : i + size]) for i in range(0, rows, size)])
        changed = (alone.view(np.uint32) != together.view(np.uint32)).any(axis=1)
        if changed.any():
            differs |= changed
            gap = np.abs(alone[changed].astype(np.float64) - together[changed])
            largest = max(largest, float(np.nanmax(gap, initial=0.0)))
    return BatchReport(rows, sizes, int(differs.sum()), largest)


def _same_in_a_large_batch(model: OnnxModel) -> bool:
    features = _seeded_rows(len(model.feature_names), _PROBE_ROWS)
    times = _PROBE_LARGE // _PROBE_ROWS
    once, repeated = model.predict(features), model.predict(np.tile(features, (times, 1)))
    return bool((np.tile(once, (times, 1)).view(np.uint32) == repeated.view(np.uint32)).all())


# --------------------------------------------------------------------------------------------------------------- words


def _described(entry: Any) -> str:
    kind = {"tensor(float)": "float32", "tensor(double)": "float64"}.get(entry.type, entry.type)
    dimensions = ", ".join(str(size) if isinstance(size, int) else (size or "?") for size in entry.shape)
    return f"{kind} [{dimensions}]"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return _short(text.splitlines()[0]) if text else type(error).__name__


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
