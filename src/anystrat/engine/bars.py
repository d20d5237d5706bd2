"""Bars of one instrument: opened by ticks, closed by time, by their number or by their volume.

A bar of time closes on the first accepted tick at or after its end, before that tick is handled, or on a timer event; a
bar of ticks or volume with its last tick, once that is handled. Without a tick there is no bar. The closed bar is a tick:
the close for its price, the bar's end for its time, and open, high, low and volume in its metadata.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.bars import BarKind
from anystrat.domain.exact import to_decimal
from anystrat.domain.tick import TickRow

if TYPE_CHECKING:
    from anystrat.domain.bars import BarSpec
    from anystrat.domain.window import Window
    from anystrat.engine.executor import StrategyExecutor

_NO_SLOT: Final = -(2**62)


class BarFeed:
    """The bars of one kind of one instrument: a window of closed ones, the open one, and who gets them.

    `watchers` are executors with their slots. All of them share the window, as watchers of ticks share theirs.
    """

    def __init__(self, spec: BarSpec, token: int, window: Window) -> None:
        self.spec = spec
        self.token = token
        self.window = window
        self.watchers: list[tuple[StrategyExecutor, int]] = []
        self._number = 0
        self._closed: tuple[TickRow | None, TickRow | None] = (None, None)
        self._last_slot = _NO_SLOT
        self._begin()

    def _begin(self) -> None:
        self._ticks = 0
        self._volume: Decimal | None = None
        self._slot = _NO_SLOT
        self._rows: list[TickRow] = []  # open, high, low, close

    def advance(self, number: int, row: TickRow) -> tuple[TickRow | None, TickRow | None]:
        """Take the instrument's accepted tick `number`: the bars that close before it, and with it.

        Asked again for the same tick, it says the same.
        """
        if number != self._number:
            self._number = number
            self._closed = self.take(row)
        return self._closed

    def take(self, row: TickRow) -> tuple[TickRow | None, TickRow | None]:
        """Take a tick into the bars; what closes before it, and with it."""
        before = self.close_by(row.ts_ns)
        self._add(row)
        kind, size = self.spec.kind, self.spec.size
        full = (kind is BarKind.TICKS and self._ticks >= size) or (
            kind is BarKind.VOLUME and self._volume is not None and self._volume >= size
        )
        return before, self._close(row.ts_ns) if full else None

    def close_by(self, ts_ns: int) -> TickRow | None:
        """Close the open bar if it ends by event time `ts_ns`."""
        end = self.ends_ns
        return self._close(end) if end is not None and ts_ns >= end else None

    @property
    def ends_ns(self) -> int | None:
        """When the open bar ends; None without one, or where time ends none."""
        if self.spec.kind is not BarKind.EVERY or not self._ticks:
            return None
        return (self._slot + 1) * self.spec.whole

    def clear(self) -> None:
        """Forget the open bar and the closed ones."""
        self._begin()
        self.window.clear()

    def _add(self, row: TickRow) -> None:
        if not self._ticks:
            if self.spec.kind is BarKind.EVERY:
                # A tick that is late for a bar that a timer closed belongs to the next one: no bar is made twice.
                self._slot = max(row.ts_ns // self.spec.whole, self._last_slot + 1)
            self._rows = [row] * 4
        first, high, low, _ = self._rows
        if _above(row, high):
            high = row
        if _above(low, row):
            low = row
        self._rows = [first, high, low, row]
        self._ticks += 1
        if row.volume is not None:
            volume = to_decimal(row.volume)
            if volume.is_finite() and volume > 0:
                self._volume = volume if self._volume is None else self._volume + volume

    def _close(self, end_ns: int) -> TickRow:
        first, high, low, last = self._rows
        bar = TickRow(
            self.token,
            end_ns,
            last.price,
            last.exact,
            self._volume,
            last.bid,
            last.ask,
            last.halted,
            last.auction,
            {"open": first.decimal, "high": high.decimal, "low": low.decimal, "volume": self._volume},
        )
        self._last_slot = self._slot
        self._begin()
        self.window.push(bar)
        return bar

    # -- for snapshots ----------------------------------------------------------------------------------------------

    def dump(self) -> tuple[list[Any], list[TickRow]]:
        """The open bar's numbers, and its ticks: open, high, low, close, or none."""
        volume = None if self._volume is None else str(self._volume)
        return [self._number, self._ticks, volume, self._slot, self._last_slot], self._rows

    def load(self, numbers: list[Any], rows: list[TickRow]) -> None:
        """Take over what `dump` gave."""
        self._number, self._ticks, volume, self._slot, self._last_slot = numbers
        self._volume = None if volume is None else Decimal(volume)
        self._rows = list(rows)
        self._closed = (None, None)


def _above(one: TickRow, other: TickRow) -> bool:
    return one.price > other.price or (one.price == other.price and one.decimal > other.decimal)
