"""ONNX models: the contract, every refusal with its advice, and no way out of the one file that was read."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from anystrat.adapters import onnx_file, onnx_model
from anystrat.adapters.onnx_batches import verify_batching
from anystrat.adapters.onnx_file import stamp_of
from anystrat.adapters.onnx_model import load_onnx, load_onnx_bytes
from anystrat.domain.errors import MissingExtra, ModelRefused
from anystrat.domain.protocols import InferenceModel
from anystrat.strategies.features import built_in_features
from anystrat.testing.models import linear_model, linear_model_bytes

NAMES = ["ret_1", "z_20"]
WEIGHTS = [[8.0, 0.0, -8.0], [1.0, -0.5, 0.25]]
FLOAT = TensorProto.FLOAT


def refusal(path: Path, **arguments: Any) -> str:
    with pytest.raises(ModelRefused) as caught:
        load_onnx(path, **arguments)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert caught.value.exit_code == 3
    return text.removeprefix(f"{path}: ")


def saved(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def linear() -> onnx.ModelProto:
    return onnx.load_model_from_string(linear_model_bytes(NAMES, WEIGHTS))


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    features: Any = NAMES,
    initializers: tuple[onnx.TensorProto, ...] = (),
    domains: tuple[str, ...] = (),
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    """A model put together by hand; a softmax over two features and a zero unless told otherwise."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "by hand",
        inputs if inputs is not None else [value("x", FLOAT, ["N", 2])],
        outputs if outputs is not None else [value("probabilities", FLOAT, ["N", 3])],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)
    if features is not None:
        helper.set_model_props(model, {"features": features if isinstance(features, str) else json.dumps(features)})
    return model


def value(name: str, shape: list[Any] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


WIDE = helper.make_tensor("wide", FLOAT, [2, 3], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
SOFTMAX = [
    helper.make_node("MatMul", ["x", "wide"], ["scores"]),
    helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
]


# ---------------------------------------------------------------------------------------------------------------- race


@pytest.mark.parametrize("whole", [True, False], ids=["renamed into place", "overwritten in place"])
def test_a_file_replaced_while_it_is_read_is_hashed_as_it_was_run(tmp_path: Path, whole: bool) -> None:
    """Whatever bytes were read, the hash is theirs, and so are the answers; a mixture of two versions is one of its own."""
    path, kept = tmp_path / "m.onnx", {}
    versions = [linear_model_bytes(NAMES, [[w, 0.0, -w], [0.0, w, 0.0]], (w, 0.0, 0.0)) for w in (1.0, -2.0)]
    path.write_bytes(versions[0])
    stop = threading.Event()

    def replace() -> None:
        for turn in itertools.cycle((1, 0)):
            if stop.is_set():
                return
            if whole:
                (tmp_path / "next").write_bytes(versions[turn])
                (tmp_path / "next").replace(path)
            else:
                path.write_bytes(versions[turn])

    writer = threading.Thread(target=replace)
    writer.start()
    loaded = []
    try:
        for _ in range(25):
            try:
                loaded.append(load_onnx(path, keep=kept.__setitem__))
            except ModelRefused:
                assert not whole, "a file that is renamed into place is never seen in part"
    finally:
        stop.set()
        writer.join()
    row = np.array([[0.25, -1.0]], np.float32)
    for model in loaded:
        content = kept[model.sha256]
        assert hashlib.sha256(content).hexdigest() == model.sha256
        assert model.predict(row).tobytes() == load_onnx_bytes("again", content).predict(row).tobytes()
    if whole:
        assert set(kept.values()) <= set(versions)


VALID = linear_model_bytes(NAMES, WEIGHTS)


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_are_a_model(data: st.DataObject) -> None:
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4), label="wounds")):
        start = data.draw(st.integers(0, len(content)), label="start")
        length = data.draw(st.integers(0, 40), label="length")
        content[start : start + length] = data.draw(st.binary(max_size=40), label="instead")
    with suppress(ModelRefused):
        model = load_onnx_bytes("m.onnx", bytes(content))
        rows = np.zeros((3, len(model.feature_names)), np.float32)
        assert (model.predict(rows).shape, model.sha256) == ((3, 3), hashlib.sha256(content).hexdigest())


# ---------------------------------------------------------------------------------------------------------------- fits


def test_a_model_that_fits_answers_with_probabilities(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", NAMES, WEIGHTS, (0.1, 0.2, 0.3))
    model: InferenceModel = load_onnx(path)
    features = np.array([[0.01, -1.5], [0.0, 0.0]], np.float32)
    answer = model.predict(features)
    scores = features.astype(np.float64) @ np.array(WEIGHTS) + [0.1, 0.2, 0.3]
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert answer.dtype == np.float32
    assert np.allclose(answer, expected, atol=1e-6)
    assert model.feature_names == ("ret_1", "z_20")
    assert model.batchable is True


def test_the_hash_is_that_of_the_bytes_that_were_loaded(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", NAMES, WEIGHTS)
    model = load_onnx(path)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.file == stamp_of(path)
    assert model.history_length == 20


def test_the_same_arguments_make_the_same_test_model() -> None:
    assert linear_model_bytes(NAMES, WEIGHTS) == linear_model_bytes(tuple(NAMES), WEIGHTS)


def test_a_test_model_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 2 rows of 3 weights and 3 biases; found 1 rows of \[3\] and 3"):
        linear_model_bytes(NAMES, [[1.0, 2.0, 3.0]])


def test_registered_features_can_be_named(tmp_path: Path) -> None:
    registry = built_in_features()
    registry.register_feature("spread", lambda prices, end: 0.0, 7)
    path = linear_model(tmp_path / "m.onnx", ["spread"])
    assert load_onnx(path, registry).history_length == 7
    assert "unknown feature 'spread'" in refusal(path)


def test_a_model_may_have_other_outputs_and_local_functions(tmp_path: Path) -> None:
    score = helper.make_function(
        "mine",
        "Score",
        ["a", "b"],
        ["c"],
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    proto = model_of(
        [
            helper.make_node("Score", ["x", "wide"], ["scores"], domain="mine"),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        outputs=[value("scores", ["N", 3]), value("probabilities", ["N", 3])],
        initializers=(WIDE,),
        domains=("mine",),
        functions=(score,),
    )
    model = load_onnx(saved(tmp_path / "m.onnx", proto))
    assert model.predict(np.zeros((5, 2), np.float32)).shape == (5, 3)


def test_a_symbolic_link_is_followed_to_a_file(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "v2.onnx", NAMES)
    link = tmp_path / "current.onnx"
    link.symlink_to(path)
    assert load_onnx(link).sha256 == load_onnx(path).sha256


def test_onnxruntime_gets_bytes_and_runs_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []
    start = onnxruntime.InferenceSession

    def session(source: Any, options: Any, **rest: Any) -> Any:
        seen.append((source, options))
        return start(source, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    path = linear_model(tmp_path / "m.onnx", NAMES)
    load_onnx(path)
    [(source, options)] = seen
    assert source == path.read_bytes()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL


# ---------------------------------------------------------------------------------------------------------------- file


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    text = refusal(tmp_path / "absent.onnx")
    assert text == "no such file; check model_path, which is relative to the file that names it"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "expected a file, found a directory; name the .onnx file itself"


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "expected a file, found a named pipe; name the .onnx file itself"


def test_a_name_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(ModelRefused, match="cannot be opened"):
        load_onnx("a\0b")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert refusal(tmp_path / "m.onnx") == "the file is empty; export the model again"


def test_a_file_beyond_the_cap_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = linear_model(tmp_path / "m.onnx", NAMES)
    size = path.stat().st_size
    monkeypatch.setattr(onnx_file, "MAX_BYTES", size)
    load_onnx(path)
    monkeypatch.setattr(onnx_file, "MAX_BYTES", size - 1)
    assert refusal(path) == f"expected at most {size - 1} bytes, found {size}; make the model smaller"


@pytest.mark.parametrize(
    "content", [b"\0" * 64, b"not a model", b"PK\x03\x04zip", b"{}", b"\x89PNG\r\n", os.urandom(512)]
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert "expected an ONNX model, found a file" in refusal(tmp_path / "m.onnx")


def test_a_model_that_breaks_the_rules_of_onnx_is_refused(tmp_path: Path) -> None:
    proto = model_of([helper.make_node("MatMul", ["x", "nowhere"], ["probabilities"])])
    refused = refusal(saved(tmp_path / "m.onnx", proto))
    assert refused.startswith(f"expected a valid ONNX model, found one that onnx {onnx.__version__} objects to (")
    assert refused.endswith("; export the model again")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = linear_model_bytes(NAMES, WEIGHTS)
    path = tmp_path / "m.onnx"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        refusal(path)


def test_a_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    content = linear_model_bytes(NAMES, WEIGHTS)
    path = tmp_path / "m.onnx"
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            answer = load_onnx(path).predict(np.zeros((2, 2), np.float32))
        except ModelRefused:
            continue
        assert answer.shape == (2, 3)


# ------------------------------------------------------------------------------------------------------- external data


def external(location: str, name: str = "wide") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_weights_in_a_second_file_are_refused(tmp_path: Path) -> None:
    proto = model_of(SOFTMAX, initializers=(onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "wide"),))
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").exists()
    assert refusal(tmp_path / "m.onnx") == (
        "expected a model in a single file, found the tensor 'wide' stored outside of it (w.bin); "
        "save it with onnx.save_model(model, path, save_as_external_data=False)"
    )


@pytest.mark.parametrize("kind", ["../", "absolute", "symlink", "hardlink", "memory"])
def test_no_way_out_of_the_file_is_taken(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    folder = tmp_path / "models"
    folder.mkdir()
    location = {"../": "../secret.bin", "absolute": str(secret), "memory": "*/_ORT_MEM_ADDR_/*"}.get(kind, "w.bin")
    if kind == "symlink":
        (folder / "w.bin").symlink_to(secret)
    elif kind == "hardlink":
        (folder / "w.bin").hardlink_to(secret)
    path = saved(folder / "m.onnx", model_of(SOFTMAX, initializers=(external(location),)))
    assert f"stored outside of it ({location})" in refusal(path)


def in_a_subgraph(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["wide"], ["out"])], "b", [], [value("out", [2, 3])], [tensor]
    )
    nodes = [
        helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch),
        helper.make_node("MatMul", ["x", "w"], ["probabilities"]),
    ]
    return model_of(nodes, initializers=(helper.make_tensor("yes", TensorProto.BOOL, [], [True]),))


def in_an_attribute(tensor: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor),
        helper.make_node("MatMul", ["x", "w"], ["probabilities"]),
    ]
    return model_of(nodes)


def in_a_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("MatMul", ["a", "w"], ["c"])]
    function = helper.make_function("mine", "Score", ["a"], ["c"], nodes, [helper.make_opsetid("", 17)])
    call = helper.make_node("Score", ["x"], ["probabilities"], domain="mine")
    return model_of([call], domains=("mine",), functions=(function,))


def in_a_sparse_tensor(tensor: onnx.TensorProto) -> onnx.ModelProto:
    tensor.dims[:] = [6]
    indices = helper.make_tensor("at", TensorProto.INT64, [6], list(range(6)))
    proto = model_of([helper.make_node("MatMul", ["x", "wide"], ["probabilities"])])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [2, 3]))
    return proto


def in_training_data(tensor: onnx.TensorProto) -> onnx.ModelProto:
    proto = model_of(SOFTMAX, initializers=(WIDE,))
    proto.training_info.add().initialization.CopyFrom(helper.make_graph([], "t", [], [], [tensor]))
    return proto


@pytest.mark.parametrize("place", [in_a_subgraph, in_an_attribute, in_a_function, in_a_sparse_tensor, in_training_data])
def test_external_tensors_are_found_wherever_they_hide(
    tmp_path: Path, place: Callable[[onnx.TensorProto], onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    # onnx's own checker would object to some of them first; what is tested is that nothing rests on it.
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    path = saved(tmp_path / "m.onnx", place(external("../secret.bin")))
    assert "stored outside of it (../secret.bin)" in refusal(path)


def test_a_location_without_the_external_flag_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    tensor = external("w.bin")
    tensor.data_location = TensorProto.DEFAULT
    assert "stored outside of it" in refusal(saved(tmp_path / "m.onnx", model_of(SOFTMAX, initializers=(tensor,))))


# ----------------------------------------------------------------------------------------------------------- operators


def custom(domain: str = "evil.corp") -> onnx.NodeProto:
    return helper.make_node("Run", ["x"], ["scores"], domain=domain)


def test_custom_operators_are_refused_by_name(tmp_path: Path) -> None:
    proto = model_of([custom(), SOFTMAX[1]], domains=("evil.corp",))
    assert refusal(saved(tmp_path / "m.onnx", proto)) == (
        "expected operators of ai.onnx, ai.onnx.ml, com.microsoft, found evil.corp.Run; "
        "export the model with standard operators only"
    )


def test_custom_operators_are_found_within_subgraphs_and_functions(tmp_path: Path) -> None:
    branch = helper.make_graph([custom()], "b", [], [value("scores", ["N", 3])])
    nested = model_of(
        [helper.make_node("If", ["yes"], ["probabilities"], then_branch=branch, else_branch=branch)],
        initializers=(helper.make_tensor("yes", TensorProto.BOOL, [], [True]),),
        domains=("evil.corp",),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil.corp", 1)]
    function = helper.make_function("mine", "Score", ["x"], ["scores"], [custom()], opsets)
    call = helper.make_node("Score", ["x"], ["probabilities"], domain="mine")
    within = model_of([call], domains=("mine", "evil.corp"), functions=(function,))
    for i, proto in enumerate((nested, within)):
        assert "found evil.corp.Run" in refusal(saved(tmp_path / f"{i}.onnx", proto))


# ------------------------------------------------------------------------------------------------------------ metadata

ADD = 'add it with onnx.helper.set_model_props(model, {"features": json.dumps([...])})'


def test_a_model_without_its_features_is_refused_with_the_keys_that_it_has(tmp_path: Path) -> None:
    proto = linear()
    helper.set_model_props(proto, {"feature": "[]", "author": "me"})
    assert refusal(saved(tmp_path / "m.onnx", proto)) == (
        "expected the metadata key 'features', a JSON list of feature names; "
        f"found the keys: 'author', 'feature'; {ADD}"
    )


@pytest.mark.parametrize("text", ["", "ret_1", "{}", "[]", "[1]", '["ret_1", 2]', '"ret_1"', "null", "[" * 100_000])
def test_features_that_are_no_list_of_names_are_refused(tmp_path: Path, text: str) -> None:
    proto = model_of(SOFTMAX, initializers=(WIDE,), features=text)
    refused = refusal(saved(tmp_path / "m.onnx", proto))
    assert "expected the metadata key 'features' to hold a JSON list of feature names; found" in refused
    assert refused.endswith(ADD)
    assert len(refused) < 600


def test_an_unknown_feature_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", ["ret_1", "retn_20"])
    assert refusal(path) == (
        "expected known features, found unknown feature 'retn_20'; did you mean 'ret_20'? "
        "(allowed: pos_20, ret_20, vol_20, z_20); register it with register_feature, or train without it"
    )


def test_a_feature_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", ["z_20", "ret_1", "z_20"])
    assert refusal(path) == "expected every feature once, found z_20 several times; train it without the copies"


def test_a_history_that_would_eat_the_memory_is_refused(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", ["ret_1", "z_1000001"])
    assert refusal(path) == (
        "expected a history of at most 1,000,000 ticks, found 1,000,001 for z_1000001; train with shorter features"
    )
    assert load_onnx(linear_model(tmp_path / "m.onnx", ["z_1000000"])).history_length == 1_000_000


# ------------------------------------------------------------------------------------------------------ names and types

INPUT = "expected one float32 input [N, 2], N dynamic, for its 2 features"
OUTPUT = "expected an output named 'probabilities', float32 [N, 3], columns SELL, HOLD, BUY"


ANSWER = "expected float32 [64, 3] as 'probabilities' for 64 rows"


def cast(to: int, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=to)


@pytest.mark.parametrize(
    ("inputs", "nodes", "expected"),
    [
        (
            [value("x", ["N", 2]), value("y", ["N", 2])],
            [helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("MatMul", ["z", "wide"], ["probabilities"])],
            f"{INPUT}; found 2 inputs (x: float32 [N, 2], y: float32 [N, 2]); join them into one tensor",
        ),
        (
            [value("x", ["N", 2], TensorProto.DOUBLE)],
            [cast(FLOAT, "x", "z"), helper.make_node("MatMul", ["z", "wide"], ["probabilities"])],
            f"{INPUT}; found x: float64 [N, 2]; export it with a float32 tensor as input",
        ),
        (
            [value("x", [4, 2])],
            SOFTMAX,
            f"{INPUT}; found x: float32 [4, 2]; export it with a dynamic first dimension",
        ),
        (
            [value("x", ["N", "F"])],
            SOFTMAX,
            f"{INPUT} (ret_1, z_20); found x: float32 [N, F]; make the list of features and the input's columns agree",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_described(
    tmp_path: Path, inputs: list[Any], nodes: list[Any], expected: str
) -> None:
    path = saved(
        tmp_path / "m.onnx",
        model_of(nodes, inputs=inputs, outputs=[value("probabilities", ["N", "M"])], initializers=(WIDE,)),
    )
    assert refusal(path) == expected


def test_a_list_of_features_that_is_longer_than_the_input_is_refused(tmp_path: Path) -> None:
    proto = model_of(SOFTMAX, initializers=(WIDE,), features=["ret_1", "z_20", "pos_5"])
    assert refusal(saved(tmp_path / "m.onnx", proto)) == (
        "expected one float32 input [N, 3], N dynamic, for its 3 features (ret_1, z_20, pos_5); "
        "found x: float32 [N, 2]; make the list of features and the input's columns agree"
    )


@pytest.mark.parametrize(
    ("nodes", "output", "expected"),
    [
        (
            [helper.make_node("MatMul", ["x", "wide"], ["label"])],
            value("label", ["N", 3]),
            f"{OUTPUT}; found label: float32 [N, 3]; rename the output",
        ),
        (
            [helper.make_node("MatMul", ["x", "wide"], ["s"]), cast(TensorProto.DOUBLE, "s", "probabilities")],
            value("probabilities", ["N", 3], TensorProto.DOUBLE),
            f"{OUTPUT}; found float64 [N, 3]; cast it to float32",
        ),
        (
            [helper.make_node("Identity", ["x"], ["probabilities"])],
            value("probabilities", ["N", 2]),
            f"{OUTPUT}; found float32 [N, 2]; train it on the three classes",
        ),
        (
            [helper.make_node("MatMul", ["x", "wide"], ["s"]), helper.make_node("ReduceSum", ["s"], ["probabilities"])],
            value("probabilities", [1, 1]),
            f"{OUTPUT}; found float32 [1, 1]; train it on the three classes",
        ),
        (
            # What the file says fits; what comes out does not.
            [
                helper.make_node("MatMul", ["x", "wide"], ["s"]),
                helper.make_node("Concat", ["s", "s"], ["probabilities"], axis=0),
            ],
            value("probabilities", ["M", 3]),
            f"{ANSWER}; found float32 [128, 3]; make its output a row for each input row",
        ),
    ],
)
def test_an_output_that_does_not_fit_is_described(tmp_path: Path, nodes: list[Any], output: Any, expected: str) -> None:
    path = saved(tmp_path / "m.onnx", model_of(nodes, outputs=[output], initializers=(WIDE,)))
    assert refusal(path) == expected


def test_a_model_with_zipmap_is_told_how_to_do_without(tmp_path: Path) -> None:
    zipmap = helper.make_node(
        "ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    key_value = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, []))
    output = helper.make_value_info("probabilities", helper.make_sequence_type_proto(key_value))
    proto = model_of([SOFTMAX[0], zipmap], outputs=[output], initializers=(WIDE,), domains=("ai.onnx.ml",))
    assert refusal(saved(tmp_path / "m.onnx", proto)).endswith("export it with zipmap off")


def test_a_model_that_onnxruntime_cannot_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = linear()
    proto.ir_version = 999
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    refused = refusal(saved(tmp_path / "m.onnx", proto))
    assert "expected a model that onnxruntime" in refused
    assert refused.endswith("export it for an older opset, or update onnxruntime")


def test_a_model_that_fails_on_rows_is_refused_at_load(tmp_path: Path) -> None:
    proto = model_of(
        [helper.make_node("Reshape", ["x", "shape"], ["probabilities"])],
        outputs=[value("probabilities", ["N", "M"])],
        initializers=(helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 3]),),
    )
    refused = refusal(saved(tmp_path / "m.onnx", proto))
    assert refused.startswith(f"{ANSWER}; it fails on them:")


# -------------------------------------------------------------------------------------------------------------- extras


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_answered_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    path = linear_model(tmp_path / "m.onnx", NAMES)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"ONNX models needs the extra 'ml': pip install 'anystrat\[ml\]'"):
        load_onnx(path)


# ------------------------------------------------------------------------------------------------------------- batches


def test_a_models_rows_are_the_same_alone_and_in_batches(tmp_path: Path) -> None:
    names = [f"z_{k}" for k in range(2, 34)]
    weights = np.random.default_rng(1).normal(size=(32, 3)).tolist()
    model = load_onnx(linear_model(tmp_path / "m.onnx", names, weights))
    report = verify_batching(model, 500)
    assert (report.rows, report.differing, report.largest_difference) == (500, 0, 0.0)
    assert report.batch_sizes == (2, 3, 5, 7, 16, 33, 64, 100, 256, 500)
    assert report.batchable
    assert report.advice == ""
    assert model.batchable


class Drifting:
    """A model whose row depends, in the last bit, on the size of its batch."""

    feature_names = ("ret_1",)
    sha256 = ""
    batchable = True

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes

    def predict(self, features: np.ndarray) -> np.ndarray:
        answer = np.full((len(features), 3), 0.25, np.float32)
        if len(features) in self.sizes:
            answer[0, 1] = np.nextafter(np.float32(0.25), np.float32(1.0))
        return answer


def test_one_bit_in_one_batch_is_found_and_counted() -> None:
    report = verify_batching(Drifting((3,)), 9)
    assert not report.batchable
    assert (report.differing, report.largest_difference) == (3, 2.0**-25 * 1.0)


def test_a_model_that_differs_in_batches_is_marked_at_load(tmp_path: Path) -> None:
    # The mean over the batch makes every row depend on its neighbours.
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
        helper.make_node("MatMul", ["y", "wide"], ["scores"]),
        SOFTMAX[1],
    ]
    model = load_onnx(saved(tmp_path / "m.onnx", model_of(nodes, initializers=(WIDE,))))
    assert model.batchable is False
    report = verify_batching(model, 100)
    assert report.differing == 100
    assert report.largest_difference > 0.01
    assert "one row at a time" in report.advice


def test_a_difference_that_shows_in_large_batches_only_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(self: Any, features: np.ndarray) -> np.ndarray:
        return Drifting((1024,)).predict(features)

    monkeypatch.setattr(onnx_model.OnnxModel, "predict", predict)
    assert load_onnx(linear_model(tmp_path / "m.onnx", NAMES)).batchable is False


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever onnxruntime would read relative to the working directory must not be found by luck.
    monkeypatch.chdir(tmp_path)


# ------------------------------------------------------------------------------------------------------------ one row


def perceptron(path: Path) -> Path:
    """A multi-layer perceptron of 8 hidden units with seeded weights."""
    random = np.random.default_rng(7)
    first, second = random.normal(size=(2, 8)).astype(np.float32), random.normal(size=(8, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Softmax", ["c"], ["probabilities"], axis=1),
    ]
    weights = (onnx.numpy_helper.from_array(first, "first"), onnx.numpy_helper.from_array(second, "second"))
    return saved(path, model_of(nodes, initializers=weights))


def stumps(path: Path) -> Path:
    """A tree ensemble: 30 seeded stumps that vote for the three classes."""
    random, count = np.random.default_rng(9), 30
    tree = [i for i in range(count) for _ in range(3)]
    node = [0, 1, 2] * count
    voters = [(i, n) for i in range(count) for n in (1, 2)]
    ensemble = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        nodes_treeids=tree,
        nodes_nodeids=node,
        nodes_featureids=[int(k) for i in range(count) for k in (random.integers(2), 0, 0)],
        nodes_values=[float(v) for i in range(count) for v in (random.normal(), 0.0, 0.0)],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * count,
        nodes_truenodeids=[1, 0, 0] * count,
        nodes_falsenodeids=[2, 0, 0] * count,
        class_treeids=[i for i, _ in voters],
        class_nodeids=[n for _, n in voters],
        class_ids=[int(random.integers(3)) for _ in voters],
        class_weights=[1.0 / count] * len(voters),
        classlabels_int64s=[0, 1, 2],
        post_transform="NONE",
    )
    outputs = [value("probabilities", ["N", 3]), value("label", ["N"], TensorProto.INT64)]
    return saved(path, model_of([ensemble], outputs=outputs, domains=("ai.onnx.ml",)))


def test_a_model_that_drops_the_dimension_of_a_single_row_is_refused_at_load(tmp_path: Path) -> None:
    squeeze = [*SOFTMAX[:1], helper.make_node("Softmax", ["scores"], ["soft"], axis=1)]
    squeeze.append(helper.make_node("Squeeze", ["soft"], ["probabilities"]))
    path = saved(
        tmp_path / "m.onnx", model_of(squeeze, outputs=[value("probabilities", ["N", 3])], initializers=(WIDE,))
    )
    assert "expected float32 [1, 3] as 'probabilities' for 1 row; found float32 [3]" in refusal(path)


@pytest.mark.parametrize(
    "build",
    [lambda path: linear_model(path, NAMES, WEIGHTS), perceptron, stumps],
    ids=["linear", "perceptron", "trees"],
)
def test_a_row_through_kept_memory_has_the_bits_that_onnxruntime_gives_without(
    tmp_path: Path, build: Callable[[Path], Path]
) -> None:
    path = build(tmp_path / "m.onnx")
    model = load_onnx(path)
    assert model._row is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(3).normal(0.0, 2.0, (500, 2)).astype(np.float32)
    rows[::50, 0] = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, 1e-40, 1.0, -1.0, 3.0)
    name = session.get_inputs()[0].name
    for i in range(len(rows)):
        row = rows[i : i + 1]
        assert model.predict(row).tobytes() == session.run(["probabilities"], {name: row})[0].tobytes()


def test_an_answer_is_not_overwritten_by_the_next(tmp_path: Path) -> None:
    model = load_onnx(linear_model(tmp_path / "m.onnx", NAMES, WEIGHTS))
    first = model.predict(np.array([[1.0, 0.0]], np.float32))
    kept = first.copy()
    model.predict(np.array([[-1.0, 0.0]], np.float32))
    assert first.tobytes() == kept.tobytes()


def test_a_row_of_another_type_or_layout_is_never_read_as_float32(tmp_path: Path) -> None:
    model = load_onnx(linear_model(tmp_path / "m.onnx", NAMES, WEIGHTS))
    expected = model.predict(np.array([[0.5, 2.0]], np.float32))
    spread = np.array([[0.5, 9.0, 2.0, 9.0]], np.float32)[:, ::2]
    assert not spread.flags.c_contiguous
    assert model.predict(spread).tobytes() == expected.tobytes()
    with pytest.raises(Exception, match=r"(?i)unexpected input data type"):
        model.predict(np.array([[0.5, 2.0]]))  # type: ignore[arg-type]  # doubles, on purpose
    with pytest.raises(Exception, match=r"(?i)invalid dimensions"):
        model.predict(np.array([[0.5]], np.float32))


def test_a_second_caller_is_answered_while_the_first_one_is_at_work(tmp_path: Path) -> None:
    model = load_onnx(linear_model(tmp_path / "m.onnx", NAMES, WEIGHTS))
    row = np.array([[0.5, 2.0]], np.float32)
    expected = model.predict(row)
    assert model._row is not None
    with model._row._busy:
        assert model._row.predict(row) is None
        assert model.predict(row).tobytes() == expected.tobytes()


def test_a_model_whose_single_rows_cannot_be_bound_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> None:
        raise RuntimeError("this output cannot be bound")

    monkeypatch.setattr(onnx_model, "BoundRow", refused)
    model = load_onnx(linear_model(tmp_path / "m.onnx", NAMES, WEIGHTS))
    assert model._row is None
    assert model.predict(np.array([[0.5, 2.0]], np.float32)).shape == (1, 3)
