"""What happened in a history, in order: lines to read, and one hash of them all to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b


class Trace:
    """Every effect on the world outside of the process, as a line. `keep` holds on to them; the hash is there anyway."""

    def __init__(self, now: Callable[[], float], *, keep: bool = False) -> None:
        self._now = now
        self._hash = blake2b(digest_size=16)
        self._keep = keep
        self.lines: list[str] = []
        #: How often each branch that matters was taken.
        self.sometimes: Counter[str] = Counter()

    def say(self, text: str) -> None:
        """One line, with the time."""
        line = f"{self._now():12.6f}  {text}"
        self._hash.update(line.encode())
        if self._keep:
            self.lines.append(line)

    def happened(self, what: str) -> None:
        """A branch was taken: what a thousand histories never do, they do not test."""
        self.sometimes[what] += 1

    @property
    def digest(self) -> str:
        """The hash of all lines so far."""
        return self._hash.hexdigest()
