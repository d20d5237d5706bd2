"""The lanes' logs for blocks: a column each, written in place, and handed over whole instead of copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import numpy as np

from anystrat.engine.state import table_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

C = TypeVar("C", bound=tuple[Any, ...])

#: Entries that are copied sooner than kernels are bound to other memory.
_FEW: Final = 4_096


class BlockLog(Generic[C]):
    """Room for entries of one kind, `columns`, which compiled code writes to: every value has 8 bytes.

    What `take` gives, a row a column, is not written to any more. `columns` are others after `make_room` and `take`, or
    the very same.
    """

    def __init__(self, kind: type[C]) -> None:
        self._kind = kind
        self._memory = no_entries(kind)
        self.columns = columns_in(kind, self._memory)

    def make_room(self, entries: int) -> None:
        """Have room for so many entries at least; those that are there stay."""
        known = self._memory
        if entries > known.shape[1]:
            self._memory = np.empty((len(known), entries), np.int64)
            self._memory[:, : known.shape[1]] = known
            self.columns = columns_in(self._kind, self._memory)

    def take(self, count: int) -> NDArray[np.int64]:
        """The memory of the first `count` entries; see `columns_in`."""
        found = self._memory[:, :count]
        if count <= _FEW:
            return found.copy()
        room = self._memory.shape[1]
        self._memory = no_entries(self._kind)
        self.make_room(room)
        return found


def no_entries(kind: type[tuple[Any, ...]]) -> NDArray[np.int64]:
    """The memory of an empty log."""
    return np.empty((len(table_type(kind).names or ()), 0), np.int64)


def columns_in(kind: type[C], memory: NDArray[np.int64]) -> C:
    """The columns of a log in its memory, which has a row for each."""
    types = table_type(kind)
    return kind(*(row.view(types[k]) for k, row in enumerate(memory)))


def entries_of(log: tuple[Any, ...], places: Any = slice(None)) -> Iterator[tuple[Any, ...]]:
    """A log's entries as Python numbers, or those at `places`."""
    return cast("Iterator[tuple[Any, ...]]", zip(*(column[places].tolist() for column in log), strict=True))
