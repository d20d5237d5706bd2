"""Inference under a deadline: on a thread beside the caller, who goes on when the time is up.

A thread cannot be killed. One that is too late is told to stop (onnxruntime looks for that before each operator), left
alone, and replaced; where several do not come back, nothing is asked any more until one of them does.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from anystrat.domain.protocols import InferenceModel

#: Threads that were left alone and have not come back; with so many, every further inference is late at once.
MOST_LEFT_ALONE: Final = 4

_Work: TypeAlias = "tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], NDArray[np.float32]]"


@runtime_checkable
class Stoppable(Protocol):
    """What a model may offer: a way to end a call from outside."""

    def stoppable(self) -> tuple[Any, Any]:
        """(predict, stop), for one call."""
        ...


class _Worker:
    """One thread, and the two queues by which it is asked and answers."""

    def __init__(self) -> None:
        self.questions: SimpleQueue[_Work | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[NDArray[np.float32] | None, Exception | None]] = SimpleQueue()
        # A daemon: a model that hangs must not keep the process from ending.
        self.thread = threading.Thread(target=self._work, name="anystrat-inference", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while (work := self.questions.get()) is not None:
            predict, features = work
            try:
                self.answers.put((predict(features), None))
            except Exception as error:  # noqa: BLE001  it belongs to whoever asked
                self.answers.put((None, error))


class ThreadedInference:
    """The live `InferencePort`. For one caller at a time: the thread that drives the engines.

    `left_alone` is how many threads have not come back from a model.
    """

    def __init__(self, *, most_left_alone: int = MOST_LEFT_ALONE) -> None:
        self._most = most_left_alone
        self._worker: _Worker | None = None
        self._left: list[_Worker] = []

    @property
    def left_alone(self) -> int:
        """Threads that are still in a model's call whose time was up."""
        self._left = [worker for worker in self._left if worker.thread.is_alive()]
        return len(self._left)

    def predict(
        self, model: InferenceModel, features: NDArray[np.float32], deadline_ns: int
    ) -> NDArray[np.float32] | None:
        """See `InferencePort`."""
        if self._left and self.left_alone >= self._most:
            return None
        worker = self._worker
        if worker is None:
            worker = self._worker = _Worker()
        predict, stop = model.stoppable() if isinstance(model, Stoppable) else (model.predict, None)
        worker.questions.put((predict, features))
        try:
            answer, error = worker.answers.get(timeout=deadline_ns / 1e9)
        except Empty:
            self._leave(worker, stop)
            return None
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        """Let the thread end. The next inference would start another one."""
        if self._worker is not None:
            self._worker.questions.put(None)
            self._worker = None

    def _leave(self, worker: _Worker, stop: Callable[[], None] | None) -> None:
        if stop is not None:
            stop()
        # It ends when it comes back; what it says then is heard by nobody.
        worker.questions.put(None)
        self._left.append(worker)
        self._worker = None
