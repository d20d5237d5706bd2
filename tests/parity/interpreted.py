"""What a compiler does for kernels over tables, without compiling: the same functions on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import settings

from anystrat.engine.state import view_of


def examples(usual: int) -> int:
    """How many to try: interpreted lanes take their time, and `make mutate` asks of every mistake anew."""
    return 8 if settings.get_current_profile_name() == "mutants" else usual


class Interpreter:
    """In the place of a `Compiler`, where there is none, as when mistakes are put into kernels to see them noticed."""

    def __call__(self, function: Any) -> Any:
        return function

    def bound(self, function: Any, tables: tuple[Any, ...], numbers: str, *, others_run: bool = False) -> Bound:
        return Bound(function, tables)

    def door(self, *_: object) -> None:
        return None


class Bound:
    """Its cells are the first numbers themselves."""

    def __init__(self, function: Callable[..., int], tables: tuple[Any, ...]) -> None:
        self._function = function
        self.rebind(tables)

    def rebind(self, tables: tuple[Any, ...]) -> None:
        self._tables = tuple(map(_shown, tables))

    def cells(self, count: int) -> list[int]:
        return list(range(count))

    def call(self, cell: int, *numbers: float) -> int:
        return self._function(*self._tables, cell, *numbers)


def _shown(table: Any) -> Any:
    """The table with its columns by their names, as Python's own numbers."""
    if isinstance(table, np.ndarray):
        return _Columns(table) if table.dtype.names else view_of(table)
    return type(table)(*map(_shown, table)) if isinstance(table, tuple) else table


class _Columns:
    def __init__(self, table: Any) -> None:
        for name in table.dtype.names:
            setattr(self, name, view_of(table[name]))
