"""The last ticks of the very stream that a run reads, and where in it the run then begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from anystrat.adapters.file_history import last_of

if TYPE_CHECKING:
    from anystrat.domain.columns import TickColumns
    from anystrat.domain.tick import MarketTick


class Found(NamedTuple):
    """The last ticks by instrument, and the place behind them in each of the source's partitions."""

    ticks: Mapping[int, TickColumns]
    position: Mapping[str, int]


class StreamHistory(ABC):
    """A `PositionedHistory`: `wanted` says how many ticks of which instruments.

    The run begins just where this ends, so that no tick is missing in between and none comes twice. Everything is read
    at the first question, on a thread of its own. Raises what `_read` raises.
    """

    def __init__(self, wanted: Mapping[int, int]) -> None:
        self._wanted = {token: count for token, count in wanted.items() if count > 0}
        self._found: Found | None = None

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        ticks = self._once().ticks.get(instrument_token)
        return () if ticks is None or count <= 0 else [row.market_tick() for row in last_of(ticks, count).rows()]

    def position(self) -> Mapping[str, int]:
        return self._once().position

    def _once(self) -> Found:
        if self._found is None:
            with ThreadPoolExecutor(1) as thread:  # the caller's own thread may have a loop that runs
                self._found = thread.submit(self._read).result()
        return self._found

    @abstractmethod
    def _read(self) -> Found:
        """Read the stream backwards from its end, until there is enough."""
