"""The shelf of ONNX models: one loaded model a file, swapped when the file changes and its successor is fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from anystrat.adapters.onnx_model import FileStamp, OnnxModel, load_onnx, stamp_of
from anystrat.domain.errors import ModelRefused
from anystrat.strategies.features import FEATURES, FeatureRegistry

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
class Prepared:
    """A changed file, loaded aside and checked: `OnnxShelf.put` makes it serve."""

    path: str
    model: OnnxModel


@dataclass(slots=True)
class _Place:
    """One file on the shelf. `model` is None while the file never loaded; `refusal` says why not.

    `seen` is the version of the file that was last loaded or refused, `looked` the one at the last look. None: no file.
    """

    model: OnnxModel | None
    refusal: str
    seen: FileStamp | None
    looked: FileStamp | None


class OnnxShelf:
    """One model a path, loaded at the first call, refused or not until its file changes.

    Reads no clock: whoever owns one calls `changed` from time to time, between two ticks.
    """

    def __init__(self, features: FeatureRegistry = FEATURES, load: Load = load_onnx) -> None:
        self._features = features
        self._load = load
        self._places: dict[str, _Place] = {}

    def model(self, path: str) -> OnnxModel:
        """The model that serves for this file. Raises `ModelRefused`, again at every call, and `MissingExtra`."""
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = self._first(path)
        if place.model is None:
            raise ModelRefused(place.refusal)
        return place.model

    def changed(self) -> list[Swap | Refused]:
        """Look at every file once; swap in those that changed, are at rest and fit. Call it between two ticks.

        A change counts when two looks in a row see the same version, so that a file that is being written is left
        alone. A version that was refused is not tried again. A file that is gone leaves its model serving.
        """
        return [self.put(found) if isinstance(found, Prepared) else found for found in self.prepare()]

    def prepare(self) -> list[Prepared | Refused]:
        """The slow half of `changed`, which may run beside the ticks: nothing serves until it is `put`."""
        return [found for path in list(self._places) if (found := self._look(path)) is not None]

    def put(self, prepared: Prepared) -> Swap:
        """Make a prepared model serve: the next call of `model` returns it."""
        place = self._places[prepared.path]
        place.model, place.refusal = prepared.model, ""
        return Swap(prepared.path, prepared.model.sha256)

    def _first(self, path: str) -> _Place:
        before = stamp_of(path)
        try:
            model = self._load(path, self._features)
        except ModelRefused as error:
            return _Place(None, str(error), before, before)
        return _Place(model, "", model.file, model.file)

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
        if model.history_length != serving.history_length:
            return Refused(
                path,
                f"{path}: expected a history of {serving.history_length} ticks, as the model that serves, found "
                f"{model.history_length}; a strategy's history is constant while it runs: restart to change it",
            )
        return Prepared(path, model)
