"""What a strategy saw at a position of a block, made again for whoever asks it why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.tick import TickRow
from anystrat.domain.window import NUMBERS_ALONE, Window, history_of

if TYPE_CHECKING:
    from decimal import Decimal

    from anystrat.domain.columns import TickColumns
    from anystrat.domain.tick import MarketTick
    from anystrat.domain.window import History
    from anystrat.engine.columns.block import BlockTables


@dataclass(slots=True, eq=False)
class Past:
    """The ticks up to a position of the grouped block; those of earlier blocks have their prices alone."""

    block: TickColumns
    tables: BlockTables
    exact_history: dict[int, Decimal]
    _windows: dict[int, Window] = field(default_factory=dict)
    _held: dict[int, int] = field(default_factory=dict)

    def seen(self, position: int, count: int) -> tuple[MarketTick, History]:
        """The tick at `position`, and the last `count` with it; the history is valid until this is asked again."""
        if self.block.exact is None and not self.exact_history:
            history = self._of_numbers(position, count)
        else:
            history = history_of([self._row(p) for p in range(position - count + 1, position + 1)])
        return self._row(position).market_tick(), history

    def _of_numbers(self, position: int, count: int) -> History:
        """Without a row for each tick: most strategies read the prices alone."""
        window = self._windows.get(count)
        if window is None:
            window = self._windows[count] = Window(count)
        elif self._held[count] == position:  # what another strategy computed from it is there already
            return window.history(count)
        self._held[count] = position
        places = slice(position - count + 1, position + 1)
        ticks = self.tables.grouped["tick"][places]
        times = np.where(ticks < 0, 0, self.block.ts_ns[ticks])
        flags = np.full(count, NUMBERS_ALONE, np.int64)
        window.instrument_token = int(self.block.instrument_token[ticks[-1]])
        window.load((times.tobytes(), self.tables.price[places].tobytes(), flags.tobytes()))
        return window.history(count)

    def _row(self, position: int) -> TickRow:
        tick, price = int(self.tables.grouped["tick"][position]), float(self.tables.price[position])
        if tick < 0:
            return TickRow(0, 0, price, self.exact_history.get(position))
        exact = self.block.exact[tick] if self.block.exact is not None else None
        return TickRow(int(self.block.instrument_token[tick]), int(self.block.ts_ns[tick]), price, exact)
