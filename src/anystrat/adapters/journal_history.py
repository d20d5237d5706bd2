"""The last ticks of each instrument from a journal's kept inputs, so that a new run's windows are full at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import inf

from anystrat.domain.columns import TickColumns
from anystrat.domain.events import FeedGap, HistoryLoaded
from anystrat.domain.inputs import Input, decoded_inputs
from anystrat.domain.journal import Journal
from anystrat.domain.tick import MarketTick, TickRow


class JournalHistory:
    """A `HistoryProvider` of what an engine took last: at most `longest` ticks of each instrument.

    It holds what the engine's windows would: no tick that was dropped, none from before a gap that emptied them.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._ticks: dict[int, deque[TickRow]] = {}
        self._last_ns: dict[int, int] = {}

    @classmethod
    async def load(cls, journal: Journal, shards: Iterable[int], longest: int) -> JournalHistory:
        """Read all inputs that the journal keeps of these shards, once."""
        history = cls(longest)
        for shard in shards:
            async for _, _, data in journal.inputs(shard):
                history.take(decoded_inputs(data))
        return history

    def take(self, inputs: Iterable[Input]) -> None:
        """The next inputs of a shard, in their order."""
        for each in inputs:
            if isinstance(each, TickColumns):
                for row in each.rows():
                    self._take(row)
            elif isinstance(each, FeedGap) and each.rewarm:
                for token in self._ticks if each.instrument_tokens is None else each.instrument_tokens:
                    if token in self._ticks:
                        self._ticks[token].clear()
            elif isinstance(each, HistoryLoaded) and each.instrument_token not in self._last_ns:
                for ts_ns, text in zip(each.times, each.prices, strict=True):
                    self._take(TickRow(each.instrument_token, ts_ns, float(text), Decimal(text)))

    def last_ticks(self, instrument_token: int, count: int) -> Sequence[MarketTick]:
        ticks = list(self._ticks.get(instrument_token, ()))
        return [row.market_tick() for row in ticks[max(0, len(ticks) - count) :]]

    def _take(self, row: TickRow) -> None:
        token = row.instrument_token
        if not 0 < row.price < inf or row.ts_ns < self._last_ns.get(token, row.ts_ns):
            return
        self._last_ns[token] = row.ts_ns
        if token not in self._ticks:
            self._ticks[token] = deque(maxlen=self._longest)
        self._ticks[token].append(row)
