"""What a model's file may hold, and what it must: each check refuses with what was expected, what was found and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from anystrat.domain.errors import ModelRefused, UnknownName

if TYPE_CHECKING:
    from types import ModuleType

    from anystrat.strategies.features import FeatureRegistry, FeatureSet

METADATA_KEY = "features"
OUTPUT = "probabilities"

#: A model that asks for more ticks than this is refused: every instrument would hold a window of this length.
MAX_HISTORY = 1_000_000

# Operators that onnxruntime itself brings: the two standard domains by their names, and its own contributions.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def parsed(onnx: ModuleType, name: str, content: bytes) -> Any:
    """The model that the bytes hold."""
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:
        raise ModelRefused(
            f"{name}: expected an ONNX model, found a file that does not parse as one ({first_line(error)}); "
            "it may be truncated or of another format: export the model again"
        ) from error
    if not proto.graph.node:
        raise ModelRefused(f"{name}: expected an ONNX model, found a file without a graph; export the model again")
    return proto


def check_proto(onnx: ModuleType, name: str, proto: Any) -> None:
    """What onnx's own checker objects to."""
    # After the search for external data: the checker opens what it finds.
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        raise ModelRefused(
            f"{name}: expected a valid ONNX model, found one that onnx {onnx.__version__} objects to "
            f"({first_line(error)}); export the model again"
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


def refuse_external_data(onnx: ModuleType, name: str, proto: Any) -> None:
    """A model that refers to other files, anywhere in it."""
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


def refuse_custom_operators(onnx: ModuleType, name: str, proto: Any) -> None:
    """Operators that need code of others."""
    local = {(function.domain, function.name) for function in proto.functions}
    for message in _messages(proto):
        if not isinstance(message, onnx.NodeProto) or message.domain in _DOMAINS:
            continue
        if (message.domain, message.op_type) not in local:
            raise ModelRefused(
                f"{name}: expected operators of {', '.join(sorted(_DOMAINS - {''}))}, found "
                f"{message.domain}.{message.op_type}; export the model with standard operators only"
            )


def features_of(name: str, proto: Any, registry: FeatureRegistry) -> FeatureSet:
    """The features that the model names, in the order of its columns."""
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


def checked_input(name: str, session: Any, features: FeatureSet) -> str:
    """The name of the one input, which has a column for each feature."""
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


def check_output(name: str, session: Any) -> None:
    """Three probabilities for each row."""
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


def _described(entry: Any) -> str:
    kind = {"tensor(float)": "float32", "tensor(double)": "float64"}.get(entry.type, entry.type)
    dimensions = ", ".join(str(size) if isinstance(size, int) else (size or "?") for size in entry.shape)
    return f"{kind} [{dimensions}]"


def first_line(error: Exception) -> str:
    """What an error says, in one line that is not too long."""
    text = str(error).strip()
    return _short(text.splitlines()[0]) if text else type(error).__name__


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
