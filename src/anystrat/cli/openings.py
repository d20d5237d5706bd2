"""Who opens which file: strategies that read the recording they are tested on would know what comes later."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from anystrat.analysis.trust.case import Opening

# What asks strategies, and what imports them: outside of these a caller's own code begins again.
_OURS: Final = ("anystrat.analysis", "anystrat.cli", "anystrat.engine", "anystrat.plugins", "anystrat.testing")
# Libraries that open files in somebody's name.
_LIBRARIES: Final = frozenset({"anystrat", "duckdb", "fsspec", "numpy", "pandas", "polars", "pyarrow"})


class Openings:
    """Notes which files are opened from code that is neither anystrat's nor a library's, while it is on.

    Python's own audit events tell of every `open`; a library that opens files in C is not seen.
    """

    def __init__(self) -> None:
        self._found: list[Opening] = []
        self._on = False

    def __enter__(self) -> Self:
        self._on = True
        # A hook stays for the life of the process; it does nothing while this is off.
        sys.addaudithook(self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def of(self, paths: Iterable[Path]) -> Sequence[Opening]:
        """The openings of these files."""
        wanted = {os.path.realpath(path) for path in paths}
        return [each for each in self._found if each.path in wanted]

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on or event != "open" or not isinstance(arguments[0], str | bytes):
            return
        frame = _foreign(sys._getframe(1))  # noqa: SLF001  the documented way to the caller's frame
        if frame is None:
            return
        self._on = False  # what follows may open files itself
        try:
            path = os.path.realpath(os.fsdecode(arguments[0]))
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            found = Opening(path, where, str(frame.f_globals.get("__name__", "")))
            if found not in self._found:
                self._found.append(found)
        finally:
            self._on = True


def _foreign(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of code that is a strategy's own, between the opening and whoever asked for it."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_OURS):
            return None
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in _LIBRARIES:
            return frame
        frame = frame.f_back
    return None
