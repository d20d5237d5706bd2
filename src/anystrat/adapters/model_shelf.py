"""The shelf of ONNX models: one loaded model a file, swapped when the file changes and its successor is fit.

A version that fails in use soon after it was put there gives way to the one before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from anystrat.adapters.onnx_file import FileStamp, stamp_of
from anystrat.adapters.onnx_model import OnnxModel, load_onnx, load_onnx_bytes
from anystrat.domain.errors import ModelRefused
from anystrat.strategies.features import FEATURES, FeatureRegistry

if TYPE_CHECKING:
    from anystrat.adapters.model_store import ModelStore

#: Versions of a file that are kept at hand beside the one that serves: shards swap one after the other.
_VERSIONS_AT_HAND: Final = 3

Load: TypeAlias = Callable[[str, FeatureRegistry], OnnxModel]


@dataclass(frozen=True, slots=True)
class Swap:
    """A changed file was loaded and serves from now on."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A changed file does not load, or does not fit; the model before it goes on serving. `text` says why."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Reverted:
    """A version failed in use (`text`) while it was on trial: the one before it, `sha256`, serves again."""

    path: str
    sha256: str
    failed_sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A changed file, loaded aside and checked: `OnnxShelf.put` makes it serve."""

    path: str
    model: OnnxModel


@dataclass(slots=True)
class _Place:
    """One file on the shelf. `model` is None while the file never loaded; `refusal` says why not.

    `seen` is the version of the file that was last loaded or refused, `looked` the one at the last look. None: no file.
    `before` is the version that served before `model`, and would again; `failure` says why it has to. `lost` is the hash of
    the last one that did. `at_hand` are the last versions by their hashes.
    """

    model: OnnxModel | None
    refusal: str
    seen: FileStamp | None
    looked: FileStamp | None
    before: OnnxModel | None = None
    failure: str = ""
    lost: str = ""
    at_hand: dict[str, OnnxModel] = field(default_factory=dict)

    def serve(self, model: OnnxModel) -> None:
        self.model, self.refusal = model, ""
        self.have_at_hand(model)

    def have_at_hand(self, model: OnnxModel) -> None:
        self.at_hand.pop(model.sha256, None)
        self.at_hand[model.sha256] = model
        for sha256 in list(self.at_hand)[: -1 - _VERSIONS_AT_HAND]:
            del self.at_hand[sha256]


class OnnxShelf:
    """One model a path, loaded at the first call, refused or not until its file changes.

    Reads no clock: whoever owns one calls `changed` from time to time, between two ticks. With a `store`, the bytes of
    every model that is loaded here are kept there, and versions that are not at hand are taken from it.
    """

    def __init__(
        self, features: FeatureRegistry = FEATURES, load: Load | None = None, *, store: ModelStore | None = None
    ) -> None:
        self._features = features
        self._store = store
        kept = load_onnx if store is None else partial(load_onnx, keep=store.keep)
        self._load: Load = load if load is not None else kept
        self._places: dict[str, _Place] = {}

    def model(self, path: str) -> OnnxModel:
        """The model that serves for this file. Raises `ModelRefused`, again at every call, and `MissingExtra`."""
        place = self._place(path)
        if place.model is None:
            raise ModelRefused(place.refusal)
        return place.model

    def version(self, path: str, sha256: str) -> OnnxModel:
        """The version of this file with this hash: at hand, as the file is now, or from the store.

        Raises `ModelRefused`, which says where it was looked for and what to do, and `MissingExtra`.
        """
        place = self._place(path)
        model = place.at_hand.get(sha256)
        if model is not None:
            return model
        content = self._store.content(sha256) if self._store is not None else None
        if content is None:
            serving = place.model.sha256 if place.model is not None else "no model that loads"
            looked = f"; it is not in {self._store.directory} either" if self._store is not None else ""
            raise ModelRefused(
                f"{path}: expected the version with the hash {sha256}, found {serving}{looked}; put the file with that "
                f"hash there, or into the models of the run's state directory as {sha256}.onnx"
            )
        model = load_onnx_bytes(path, content, self._features)
        place.have_at_hand(model)
        return model

    def failed(self, path: str, sha256: str, why: str) -> None:
        """A version failed in use while on trial: the next `changed` goes back to the one before it."""
        place = self._place(path)
        if place.before is not None and place.model is not None and place.model.sha256 == sha256:
            place.failure = place.failure or why

    def overtaken(self, path: str, sha256: str) -> None:
        """An engine goes on with this version, of an earlier run, until it is told of the one that serves here: on trial."""
        self._place(path).before = self.version(path, sha256)

    def serving(self) -> dict[str, str]:
        """The hash of the model that serves for each file that loaded."""
        return {path: place.model.sha256 for path, place in self._places.items() if place.model is not None}

    def changed(self) -> list[Swap | Refused | Reverted]:
        """Look at every file once; swap in those that changed, are at rest and fit. Call it between two ticks.

        A change counts when two looks in a row see the same version, so that a file that is being written is left
        alone. A version that was refused is not tried again, nor one that failed on trial. A file that is gone leaves
        its model serving.
        """
        found = self.prepare()
        return [*self.reverted(), *(self.put(each) if isinstance(each, Prepared) else each for each in found)]

    def prepare(self) -> list[Prepared | Refused]:
        """The slow half of `changed`, which may run beside the ticks: nothing serves until it is `put`."""
        return [found for path in list(self._places) if (found := self._look(path)) is not None]

    def put(self, prepared: Prepared) -> Swap:
        """Make a prepared model serve: the next call of `model` returns it. It is on trial from now on."""
        place = self._places[prepared.path]
        place.before, place.failure = place.model, ""
        place.serve(prepared.model)
        return Swap(prepared.path, prepared.model.sha256)

    def reverted(self) -> list[Reverted]:
        """Go back from every version that failed on trial to the one before it."""
        found = []
        for path, place in self._places.items():
            if place.failure and place.before is not None and place.model is not None:
                place.lost = place.model.sha256
                found.append(Reverted(path, place.before.sha256, place.lost, place.failure))
                place.serve(place.before)
                place.before, place.failure = None, ""
        return found

    def _place(self, path: str) -> _Place:
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = self._first(path)
        return place

    def _first(self, path: str) -> _Place:
        before = stamp_of(path)
        try:
            model = self._load(path, self._features)
        except ModelRefused as error:
            return _Place(None, str(error), before, before)
        place = _Place(None, "", model.file, model.file)
        place.serve(model)
        return place

    def _look(self, path: str) -> Prepared | Refused | None:
        place = self._places[path]
        now = stamp_of(path)
        at_rest, place.looked = now == place.looked, now
        if now is None or now == place.seen or not at_rest:
            return None
        place.seen = now
        try:
            model = self._load(path, self._features)
        except ModelRefused as error:
            return Refused(path, str(error))
        place.seen = model.file
        serving = place.model
        if serving is None:
            return Prepared(path, model)
        if model.sha256 == serving.sha256:
            return None
        if model.sha256 == place.lost:
            return Refused(path, f"{path}: the version {model.sha256} failed when it served before; train another one")
        if model.history_length != serving.history_length:
            return Refused(
                path,
                f"{path}: expected a history of {serving.history_length} ticks, as the model that serves, found "
                f"{model.history_length}; a strategy's history is constant while it runs: restart to change it",
            )
        return Prepared(path, model)
