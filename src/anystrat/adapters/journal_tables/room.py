"""A store that may be full, and how long its writer waits for room."""

from __future__ import annotations

import threading
from typing import Final

#: So long a full disk is left alone between two attempts.
_AGAIN_SEC: Final = 0.5


class Room:
    """Whether the store has room, and who waits for it. `problem` may be read from any thread."""

    def __init__(self, what: str, where: str) -> None:
        """`what` finds no room, and `where` some could be made."""
        self.problem = ""
        self._what = what
        self._where = where
        self._given_up = threading.Event()
        self._given_up.set()

    def be_patient(self) -> None:
        """Wait for room from now on: while a journal is being opened, somebody sits before it and is told at once."""
        self._given_up.clear()

    def wait(self) -> bool:
        """Wait before another attempt; False where nobody wants to wait any more."""
        if self._given_up.is_set():
            return False
        self.problem = (
            f"no space is left for {self._what}: nothing is taken in or sent until there is; "
            f"free some on the disk of {self._where}, and the run goes on by itself"
        )
        return not self._given_up.wait(_AGAIN_SEC)

    def found(self) -> None:
        """There is room (again)."""
        self.problem = ""

    def give_up(self) -> None:
        """Nobody waits from now on, nor any longer."""
        self._given_up.set()
