"""One row through an ONNX session, without making its input and output anew for every call.

Input and output are bound to memory that is kept (onnxruntime calls it I/O binding), which halves what a row costs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

_FLOAT32: Final = np.dtype(np.float32)


class BoundRow:
    """A session's input [1, F] and output [1, 3] in kept memory. One caller at a time: a second one is turned away.

    `fits` says whether features can go this way: onnxruntime would read other types and layouts as if they were float32.
    """

    __slots__ = ("_answer", "_binding", "_busy", "_input", "_output", "_run", "_shape")

    def __init__(self, runtime: ModuleType, session: Any, input_name: str, output_name: str, width: int) -> None:
        self._shape = (1, width)
        self._busy = threading.Lock()
        self._input = runtime.OrtValue.ortvalue_from_numpy(np.zeros(self._shape, np.float32))
        self._output = runtime.OrtValue.ortvalue_from_shape_and_type([1, 3], np.float32)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(input_name, self._input)
        self._binding.bind_ortvalue_output(output_name, self._output)
        self._run = session.run_with_iobinding
        # A view of the output's own memory, which every run writes anew.
        self._answer: NDArray[np.float32] = self._output.numpy()

    def fits(self, features: NDArray[np.float32]) -> bool:
        """Whether these features are one row that can be copied as it lies in memory."""
        return features.shape == self._shape and features.dtype == _FLOAT32 and features.flags.c_contiguous

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """float32[1, 3] for features that fit; None where another thread is in here. Raises what onnxruntime raises."""
        if not self._busy.acquire(blocking=False):
            return None
        try:
            self._input.update_inplace(features)
            self._run(self._binding)
            return self._answer.copy()
        finally:
            self._busy.release()
