"""Work that is done behind: on a thread of its own, one piece after the other, while the next one is made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

#: Pieces that wait or are being done, at most: each holds a block's columns.
_MOST: Final = 2


class Behind:
    """Runs pieces of work in the order in which they come; `run` waits while too many are under way.

    The first piece that raises is the last one that is done. What it raised, `run` and `wait` raise from then on, and
    `close` if they have not. The thread starts with the first piece and ends with `close`.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[None]] = deque()
        self._error: BaseException | None = None
        self._told = False

    def run(self, piece: Callable[[], object]) -> None:
        """Have `piece` done after those before it."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="anystrat-files")
        while len(self._under_way) >= _MOST:
            self._under_way.popleft().result()
        self._tell()
        self._under_way.append(self._thread.submit(self._do, piece))

    def wait(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            self._under_way.popleft().result()
        self._tell()

    def close(self) -> None:
        """Wait until nothing is under way, and end the thread."""
        told = self._told
        try:
            self.wait()
        except BaseException:
            if not told:
                raise
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _do(self, piece: Callable[[], object]) -> None:
        if self._error is None:
            try:
                piece()
            except BaseException as error:  # noqa: BLE001  whatever it is, it is raised where somebody can act on it
                self._error = error

    def _tell(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error
