"""The shelf: lazy, one model a file, and a swap that waits for a file at rest and keeps the old one if the new is bad."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from anystrat.adapters.model_shelf import OnnxShelf, Prepared, Refused, Reverted, Swap
from anystrat.adapters.model_store import ModelStore
from anystrat.adapters.onnx_model import OnnxModel, load_onnx
from anystrat.domain.errors import ModelRefused
from anystrat.domain.signal import SignalResult
from anystrat.domain.tick import TickRow
from anystrat.domain.window import Window
from anystrat.strategies.features import FeatureRegistry
from anystrat.strategies.ml import MLParameters, MLStrategy
from anystrat.testing.models import linear_model, linear_model_bytes

NAMES = ["ret_1", "z_5"]
SELLS, BUYS = (3.0, 0.0, 0.0), (0.0, 0.0, 3.0)


class CountingLoad:
    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, path: str, features: FeatureRegistry) -> OnnxModel:
        self.paths.append(path)
        return load_onnx(path, features)


@pytest.fixture
def load() -> CountingLoad:
    return CountingLoad()


@pytest.fixture
def shelf(load: CountingLoad) -> OnnxShelf:
    return OnnxShelf(load=load)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(linear_model(tmp_path / "m.onnx", NAMES, bias=SELLS))


def replace(path: str, content: bytes) -> None:
    # A time of its own for each version: two writes can fall into one tick of the file system's clock.
    before = os.stat(path).st_mtime_ns if os.path.exists(path) else 0  # noqa: PTH110, PTH116
    Path(path).write_bytes(content)
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


def side_of(model: OnnxModel) -> int:
    return int(model.predict(np.zeros((1, 2), np.float32))[0].argmax())


def test_nothing_is_loaded_before_it_is_asked_for_and_then_once(
    shelf: OnnxShelf, load: CountingLoad, path: str
) -> None:
    assert load.paths == []
    assert shelf.changed() == []
    assert shelf.model(path) is shelf.model(path)
    assert load.paths == [path]


def test_a_refusal_is_remembered_until_the_file_changes(shelf: OnnxShelf, load: CountingLoad, tmp_path: Path) -> None:
    path = str(tmp_path / "later.onnx")
    for _ in range(3):
        with pytest.raises(ModelRefused, match="no such file"):
            shelf.model(path)
        assert shelf.changed() == []
    assert load.paths == [path]
    linear_model(path, NAMES, bias=BUYS)
    assert shelf.changed() == []
    [swap] = shelf.changed()
    assert swap == Swap(path, shelf.model(path).sha256)


def test_a_changed_file_is_swapped_in_at_the_second_look_that_sees_it(shelf: OnnxShelf, path: str) -> None:
    old = shelf.model(path)
    replace(path, linear_model_bytes(NAMES, bias=BUYS))
    assert shelf.changed() == []
    assert shelf.model(path) is old
    [swap] = shelf.changed()
    new = shelf.model(path)
    assert swap == Swap(path, new.sha256)
    assert (side_of(old), side_of(new)) == (0, 2)
    assert shelf.changed() == []
    assert shelf.changed() == []


def test_a_file_that_is_still_being_written_is_left_alone(shelf: OnnxShelf, load: CountingLoad, path: str) -> None:
    old = shelf.model(path)
    content = linear_model_bytes(NAMES, bias=BUYS)
    for length in (10, 50, 100, len(content)):
        replace(path, content[:length])
        assert shelf.changed() == []
        assert shelf.model(path) is old
    assert len(load.paths) == 1
    assert len(shelf.changed()) == 1
    assert side_of(shelf.model(path)) == 2


def test_a_bad_new_file_leaves_the_old_model_serving_and_is_tried_once(
    shelf: OnnxShelf, load: CountingLoad, path: str
) -> None:
    old = shelf.model(path)
    replace(path, b"not a model")
    shelf.changed()
    [refused] = shelf.changed()
    assert isinstance(refused, Refused)
    assert refused.path == path
    assert "expected an ONNX model" in refused.text
    assert shelf.model(path) is old
    for _ in range(3):
        assert shelf.changed() == []
    assert len(load.paths) == 2
    replace(path, linear_model_bytes(NAMES, bias=BUYS))
    shelf.changed()
    assert isinstance(shelf.changed()[0], Swap)


@pytest.mark.parametrize("names", [["ret_1", "z_6"], ["ret_1", "z_4"]])
def test_a_successor_with_another_history_is_refused(shelf: OnnxShelf, path: str, names: list[str]) -> None:
    old = shelf.model(path)
    replace(path, linear_model_bytes(names, bias=BUYS))
    shelf.changed()
    [refused] = shelf.changed()
    need = names[1].removeprefix("z_")
    assert refused == Refused(
        path,
        f"{path}: expected a history of 5 ticks, as the model that serves, found {need}; "
        "a strategy's history is constant while it runs: restart to change it",
    )
    assert shelf.model(path) is old


def test_a_successor_with_other_features_and_the_same_history_serves(shelf: OnnxShelf, path: str) -> None:
    shelf.model(path)
    replace(path, linear_model_bytes(["pos_5", "z_2", "ret_4"], bias=BUYS))
    shelf.changed()
    assert isinstance(shelf.changed()[0], Swap)
    assert shelf.model(path).feature_names == ("pos_5", "z_2", "ret_4")


def test_a_touched_file_with_the_same_bytes_is_no_swap(shelf: OnnxShelf, load: CountingLoad, path: str) -> None:
    old = shelf.model(path)
    replace(path, Path(path).read_bytes())
    assert [shelf.changed() for _ in range(3)] == [[], [], []]
    assert shelf.model(path) is old
    assert len(load.paths) == 2


def test_a_file_that_is_gone_leaves_its_model_serving(shelf: OnnxShelf, path: str) -> None:
    old = shelf.model(path)
    content = Path(path).read_bytes()
    Path(path).unlink()
    assert [shelf.changed() for _ in range(3)] == [[], [], []]
    assert shelf.model(path) is old
    Path(path).write_bytes(content)
    assert [shelf.changed() for _ in range(3)] == [[], [], []]


def test_a_file_put_in_place_by_a_rename_is_seen_even_with_the_same_time_and_size(
    shelf: OnnxShelf, path: str, tmp_path: Path
) -> None:
    shelf.model(path)
    status = Path(path).stat()
    other = linear_model(tmp_path / "next.onnx", NAMES, bias=BUYS)
    assert other.stat().st_size == status.st_size
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    other.replace(path)
    shelf.changed()
    assert isinstance(shelf.changed()[0], Swap)


def test_a_link_that_points_to_another_version_is_a_change(shelf: OnnxShelf, path: str, tmp_path: Path) -> None:
    link = tmp_path / "current.onnx"
    link.symlink_to(path)
    assert side_of(shelf.model(str(link))) == 0
    linear_model(tmp_path / "v2.onnx", NAMES, bias=BUYS)
    link.unlink()
    link.symlink_to(tmp_path / "v2.onnx")
    shelf.changed()
    assert len(shelf.changed()) == 1
    assert side_of(shelf.model(str(link))) == 2


def test_what_is_prepared_beside_the_ticks_serves_only_when_put(shelf: OnnxShelf, path: str) -> None:
    old = shelf.model(path)
    replace(path, linear_model_bytes(NAMES, bias=BUYS))
    assert shelf.prepare() == []
    [prepared] = shelf.prepare()
    assert isinstance(prepared, Prepared)
    assert shelf.model(path) is old
    assert shelf.put(prepared) == Swap(path, prepared.model.sha256)
    assert shelf.model(path) is prepared.model


def test_one_bad_file_does_not_hold_back_the_others(shelf: OnnxShelf, path: str, tmp_path: Path) -> None:
    other = str(linear_model(tmp_path / "other.onnx", NAMES, bias=SELLS))
    shelf.model(path)
    shelf.model(other)
    replace(path, b"")
    replace(other, linear_model_bytes(NAMES, bias=BUYS))
    shelf.changed()
    assert [type(change) for change in shelf.changed()] == [Refused, Swap]


def test_a_strategy_decides_with_the_new_model_once_it_is_told(shelf: OnnxShelf, path: str) -> None:
    strategy = MLStrategy("ml_momentum", MLParameters(path), shelf)
    window = Window(strategy.get_required_history_length())

    def tick(price: float) -> SignalResult | None:
        window.push(TickRow(1, 0, price))
        return strategy.process_tick(window.row(0).market_tick(), window.history(5))

    for price in (100.0, 101.0, 102.0, 103.0):
        window.push(TickRow(1, 0, price))
    first = tick(104.0)
    replace(path, linear_model_bytes(NAMES, bias=BUYS))
    shelf.changed()
    second = tick(105.0)
    [swap] = shelf.changed()
    third = tick(106.0)
    assert isinstance(swap, Swap)
    assert strategy.swap_model(swap.sha256) == ""
    fourth = tick(107.0)
    sides = [signal.signal_type for signal in (first, second, third, fourth) if signal]
    assert sides == ["SELL", "SELL", "SELL", "BUY"]
    assert fourth is not None
    assert fourth.metadata is not None
    assert fourth.metadata["model"] == swap.sha256


# --------------------------------------------------------------------------------------------------- trial and versions


def swapped(shelf: OnnxShelf, path: str, content: bytes) -> Swap:
    replace(path, content)
    shelf.changed()
    [swap] = shelf.changed()
    assert isinstance(swap, Swap)
    return swap


def test_a_version_that_failed_on_trial_gives_way_to_the_one_before_it(shelf: OnnxShelf, path: str) -> None:
    old = shelf.model(path)
    bad = swapped(shelf, path, linear_model_bytes(NAMES, bias=BUYS))
    shelf.failed(path, bad.sha256, "no probability")
    shelf.failed(path, bad.sha256, "and again")
    assert shelf.changed() == [Reverted(path, old.sha256, bad.sha256, "no probability")]
    assert shelf.model(path) is old
    assert shelf.changed() == []


def test_a_version_that_lost_is_refused_when_it_comes_again(shelf: OnnxShelf, path: str) -> None:
    old, content = shelf.model(path), linear_model_bytes(NAMES, bias=BUYS)
    bad = swapped(shelf, path, content)
    shelf.failed(path, bad.sha256, "no probability")
    shelf.changed()
    replace(path, content)
    shelf.changed()
    [refused] = shelf.changed()
    assert isinstance(refused, Refused)
    assert f"the version {bad.sha256} failed when it served before" in refused.text
    assert shelf.model(path) is old
    assert swapped(shelf, path, linear_model_bytes(NAMES, bias=(0.0, 5.0, 0.0)))


def test_the_first_version_has_none_to_give_way_to(shelf: OnnxShelf, path: str) -> None:
    only = shelf.model(path)
    shelf.failed(path, only.sha256, "no probability")
    assert shelf.changed() == []
    assert shelf.model(path) is only


def test_a_failure_of_a_version_that_serves_no_more_costs_nobody_anything(shelf: OnnxShelf, path: str) -> None:
    first = shelf.model(path)
    second = swapped(shelf, path, linear_model_bytes(NAMES, bias=BUYS))
    swapped(shelf, path, linear_model_bytes(NAMES, bias=(0.0, 5.0, 0.0)))
    for sha256 in (first.sha256, second.sha256):
        shelf.failed(path, sha256, "too late to say")
    assert shelf.changed() == []


def test_without_a_store_a_few_versions_are_at_hand_and_no_more(shelf: OnnxShelf, path: str) -> None:
    versions = [shelf.model(path)]
    for bias in range(1, 6):
        swapped(shelf, path, linear_model_bytes(NAMES, bias=(0.0, bias / 10, 3.0)))
        versions.append(shelf.model(path))
    for version in versions[-4:]:
        assert shelf.version(path, version.sha256) is version
    with pytest.raises(ModelRefused) as caught:
        shelf.version(path, versions[0].sha256)
    assert str(caught.value) == (
        f"{path}: expected the version with the hash {versions[0].sha256}, found {versions[-1].sha256}; put the file with "
        f"that hash there, or into the models of the run's state directory as {versions[0].sha256}.onnx"
    )


def test_a_store_has_every_version_that_was_loaded(path: str, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "state" / "models")
    shelf = OnnxShelf(store=store)
    assert not store.directory.exists()
    hashes = [shelf.model(path).sha256]
    for bias in range(1, 7):
        hashes.append(swapped(shelf, path, linear_model_bytes(NAMES, bias=(0.0, bias / 10, 3.0))).sha256)
    assert sorted(each.name for each in store.directory.iterdir()) == sorted(f"{each}.onnx" for each in hashes)

    Path(path).unlink()
    later = OnnxShelf(store=store)
    for sha256 in hashes:
        assert later.version(path, sha256).sha256 == sha256
        assert later.version(path, sha256).history_length == 5
    assert side_of(later.version(path, hashes[0])) == 0


def test_a_version_that_is_nowhere_is_named_with_all_places(path: str, tmp_path: Path) -> None:
    shelf = OnnxShelf(store=ModelStore(tmp_path / "models"))
    with pytest.raises(
        ModelRefused, match=rf"expected the version with the hash {'ab' * 32}, found [0-9a-f]{{64}}; it is not in"
    ):
        shelf.version(path, "ab" * 32)
