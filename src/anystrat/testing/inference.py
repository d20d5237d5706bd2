"""Inference whose lateness is a list, not a clock: for tests and simulations."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anystrat.domain.protocols import InferenceModel


class ScriptedInference:
    """An `InferencePort` that is late on the calls whose number, from 0, is in `late`. `calls` counts them."""

    def __init__(self, late: Container[int] = ()) -> None:
        self.late = late
        self.calls = 0

    def predict(
        self,
        model: InferenceModel,
        features: NDArray[np.float32],
        deadline_ns: int,  # noqa: ARG002  the protocol's signature
    ) -> NDArray[np.float32] | None:
        """The model's answer, or None where this call is to be late."""
        number = self.calls
        self.calls += 1
        return None if number in self.late else model.predict(features)
