"""Several streams of ticks as one, by time, without ever holding more than a block of each.

The rule: repeatedly take the head with the smallest time, ties to the earlier stream. Streams need not be sorted inside:
a row older than its predecessor comes right after it. That is a stable merge by each stream's running maximum of the
times, which can be done a block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anystrat.domain.columns import TickColumns, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream before it is opened: what its first time is, and how to open it with blocks of so many rows."""

    first_key: Callable[[], int | None]
    open: Callable[[int], Iterator[TickColumns]]


class _Head:
    """What is left of the current block of an open stream, with its running maximum."""

    __slots__ = ("_blocks", "block", "index", "keys")

    def __init__(self, index: int, blocks: Iterator[TickColumns]) -> None:
        self.index = index
        self._blocks = blocks
        self.block: TickColumns
        self.keys: NDArray[np.int64] = np.empty(0, np.int64)

    def refill(self) -> bool:
        """Take the next block; False at the end.

        The running maximum starts anew: whatever is older than what the stream has already given comes first anyway.
        """
        for block in self._blocks:
            if len(block):
                self.block = block
                self.keys = np.maximum.accumulate(block.ts_ns)
                return True
        return False

    def take(self, rows: int) -> TickColumns:
        """The first `rows` rows, which leave the block."""
        if rows == len(self.keys):
            taken = self.block
        else:
            taken = sliced(self.block, 0, rows)
            self.block = sliced(self.block, rows, len(self.keys))
        self.keys = self.keys[rows:]
        return taken


def merged(streams: Sequence[Stream], block_rows: int) -> Iterator[TickColumns]:
    """The streams as one, by time.

    A stream is opened when the others have come to its first time: a year of daily files that follow each other costs
    no more memory than one of them.
    """
    waiting = sorted(
        ((key, index) for index, stream in enumerate(streams) if (key := stream.first_key()) is not None), reverse=True
    )
    heads: list[_Head] = []
    while heads or waiting:
        while waiting and (not heads or waiting[-1] <= min((int(h.keys[-1]), h.index) for h in heads)):
            _, index = waiting.pop()
            head = _Head(index, streams[index].open(max(_FEWEST_ROWS, block_rows // (len(heads) + 1))))
            if head.refill():
                heads.append(head)
                heads.sort(key=lambda h: h.index)
        # All that any stream may still bring has a key of at least the smallest of the blocks' last keys. Equal keys
        # wait where an earlier stream may yet bring the same.
        end, last = min((int(head.keys[-1]), head.index) for head in heads)
        pieces, keys = [], []
        for head in heads:
            rows = int(np.searchsorted(head.keys, end, "right" if head.index <= last else "left"))
            if rows:
                keys.append(head.keys[:rows])
                pieces.append(head.take(rows))
        heads = [head for head in heads if len(head.keys) or head.refill()]
        if len(pieces) == 1:
            yield pieces[0]
        else:
            yield joined(pieces).taken(np.argsort(np.concatenate(keys), kind="stable"))


def sliced(block: TickColumns, start: int, stop: int) -> TickColumns:
    """Rows `start` to `stop` of a block, without copying columns."""
    cut = slice(start, stop)

    def part(column: Any) -> Any:
        return None if column is None else column[cut]

    exact = part(block.exact)
    return TickColumns(
        block.ts_ns[cut],
        block.instrument_token[cut],
        block.price[cut],
        exact if exact is not None and any(value is not None for value in exact) else None,
        *(part(column) for column in (block.volume, block.bid, block.ask, block.halted, block.auction)),
        *(part(column) for column in (block.open, block.high, block.low)),
    )
