"""Models that are a few numbers: a file that is replaced while the service runs, now and then by a version that fails."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from anystrat.adapters.model_shelf import OnnxShelf, Prepared, Refused
from anystrat.domain.errors import ModelRefused
from anystrat.testing.simulate.dice import Dice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.adapters.onnx_model import OnnxModel

FEATURES: Final = ("ret_1", "z_5")
VERSIONS: Final = 4


class SimulatedModel:
    """A linear model with anystrat's contract. A version that is `broken` answers with what is no probability."""

    feature_names = FEATURES
    batchable = True
    file = None
    #: What the features need, as a model's file says it.
    history_length = 5

    def __init__(self, seed: int, version: int) -> None:
        dice = Dice(seed, f"model {version}")
        self.version = version
        self.broken = version > 0 and dice.chance(0.3)
        self.sha256 = sha256(f"{seed}/{version}".encode()).hexdigest()
        self._weights = np.array(
            [[dice.between(-1, 1) * (400 if name == "ret_1" else 1) for _ in range(3)] for name in FEATURES], np.float32
        )

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities [N, 3], each row by itself."""
        if self.broken:
            return np.full((len(features), 3), np.nan, np.float32)
        scores = features[:, 0:1] * self._weights[0] + features[:, 1:2] * self._weights[1]
        # No function of the mathematical library, which differs between machines.
        raised = np.float32(1.01) + np.clip(scores, -1, 1)
        answer: NDArray[np.float32] = raised / (raised[:, 0:1] + raised[:, 1:2] + raised[:, 2:3])
        return answer


class ModelFile:
    """The file on disk, which outlives every process: one version at a time, each of them kept by its hash."""

    def __init__(self, seed: int) -> None:
        self.versions = [SimulatedModel(seed, number) for number in range(VERSIONS)]
        self.current = 0

    def replace(self, choice: float) -> int:
        """Another version is put in its place."""
        self.current = int(choice * VERSIONS)
        return self.current

    def model(self) -> OnnxModel:
        """What is in it now."""
        return cast("OnnxModel", self.versions[self.current])

    def by_hash(self, digest: str) -> OnnxModel | None:
        """The version with this hash."""
        return next((cast("OnnxModel", each) for each in self.versions if each.sha256 == digest), None)


class SimulatedShelf(OnnxShelf):
    """The production shelf over a simulated file. What it does with versions that fail is the production code's."""

    def __init__(self, file: ModelFile) -> None:
        super().__init__(load=self._loaded)
        self._file = file
        self._seen = file.current

    def _loaded(self, path: str, features: Any) -> OnnxModel:  # noqa: ARG002  as the shelf calls it
        return self._file.model()

    def version(self, path: str, sha256: str) -> OnnxModel:
        model = self._file.by_hash(sha256)
        if model is None:
            raise ModelRefused(f"{path}: there is no version {sha256}")
        self._place(path).have_at_hand(model)
        return model

    def prepare(self) -> list[Prepared | Refused]:
        if self._seen == self._file.current:
            return []
        self._seen = self._file.current
        return [
            Prepared(path, self._file.model())
            for path, digest in self.serving().items()
            if digest != self._file.model().sha256
        ]
