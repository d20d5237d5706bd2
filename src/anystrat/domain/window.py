"""One window per instrument: a mirrored ring, so that every strategy's view of it is one contiguous slice."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from anystrat.domain.errors import StaleHistory

if TYPE_CHECKING:
    from decimal import Decimal

    from numpy.typing import NDArray

    from anystrat.domain.tick import MarketTick, TickRow


class Window:
    """The last `capacity` ticks of one instrument, shared by all strategies that watch it.

    Each price is written at `i` and at `i + capacity`: the last `k` prices are always `prices[end - k:end]`, oldest
    first, with no copying. `view` is the same memory as plain Python floats, for interpreted code. `memo` holds what was
    computed from the window for its current tick (features, by name), so that whoever asks second gets the first's.
    """

    __slots__ = ("_slot", "capacity", "count", "end", "memo", "prices", "records", "stamp", "view")

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self.prices: NDArray[np.float64] = np.zeros(2 * self.capacity)
        # NumPy's stubs do not know that arrays have the buffer protocol.
        self.view: MutableSequence[float] = cast("Any", memoryview)(self.prices)
        self.records: list[TickRow | None] = [None] * self.capacity
        self._slot = self.capacity - 1
        self.end = 2 * self.capacity
        self.count = 0
        self.stamp = 0
        self.memo: dict[str, float] = {}

    def push(self, row: TickRow) -> None:
        """Append a tick; the oldest leaves when the window is full."""
        slot = self._slot + 1
        if slot == self.capacity:
            slot = 0
        self._slot = slot
        self.view[slot] = self.view[slot + self.capacity] = row.price
        self.records[slot] = row
        self.end = slot + self.capacity + 1
        if self.memo:
            self.memo.clear()
        if self.count < self.capacity:
            self.count += 1

    def row(self, back: int) -> TickRow:
        """The tick `back` places before the current one (0 is the current one)."""
        row = self.records[self._slot - back]
        if row is None:
            raise IndexError(f"the window holds {self.count} ticks, not {back + 1}")
        return row

    def rows(self) -> list[TickRow]:
        """Every tick that is held, oldest first."""
        return [self.row(back) for back in range(self.count - 1, -1, -1)]

    def clear(self) -> None:
        """Forget every tick."""
        self._slot, self.end, self.count = self.capacity - 1, 2 * self.capacity, 0
        self.records = [None] * self.capacity
        self.memo.clear()
        self.expire()

    def history(self, length: int) -> History:
        """The last `length` ticks as strategies see them, until the next `expire`."""
        return History(self, min(length, self.count))

    def expire(self) -> None:
        """Make every history that was handed out so far stale."""
        self.stamp += 1


class History(Sequence["MarketTick"]):
    """A read-only, lazy sequence of the last ticks of one instrument, oldest first, the current tick last.

    Valid during the call that it was handed to; a later access raises `StaleHistory`. `tuple(history)` copies.
    """

    __slots__ = ("_length", "_stamp", "_window")

    def __init__(self, window: Window, length: int) -> None:
        self._window = window
        self._length = length
        self._stamp = window.stamp

    def _live(self) -> Window:
        window = self._window
        if window.stamp != self._stamp:
            raise StaleHistory(
                "this history was handed to an earlier call and its ticks have been overwritten since; "
                "copy what you need during the call, with tuple(history) or history.prices.copy()"
            )
        return window

    @property
    def prices(self) -> NDArray[np.float64]:
        """The prices as float64, shape (len(history),), oldest first; read-only, a view: copy what you keep."""
        window = self._live()
        view = window.prices[window.end - self._length : window.end]
        view.flags.writeable = False
        return view

    def exact_prices(self) -> list[Decimal]:
        """The prices as the exact decimals that they are, oldest first; dearer than `prices`, for ties that count."""
        window = self._live()
        # Where a tie counts, prices repeat; and making a decimal of a double is what costs.
        known: dict[float, Decimal] = {}
        prices: list[Decimal] = []
        for back in range(self._length - 1, -1, -1):
            row = window.row(back)
            exact = row.exact if row.exact is not None else known.get(row.price)
            if exact is None:
                exact = known[row.price] = row.decimal
            prices.append(exact)
        return prices

    def last(self, count: int) -> History:
        """The last `count` of these ticks, as valid as this history is. Raises `IndexError` if there are fewer."""
        window = self._live()
        if not 0 <= count <= self._length:
            raise IndexError(f"history holds {self._length} ticks, not {count}")
        return History(window, count)

    @property
    def memo(self) -> dict[str, float]:
        """What was already computed for this tick, by name; shared by all strategies of the instrument."""
        return self._live().memo

    def __len__(self) -> int:
        self._live()
        return self._length

    @overload
    def __getitem__(self, index: int) -> MarketTick: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[MarketTick]: ...
    def __getitem__(self, index: int | slice) -> MarketTick | Sequence[MarketTick]:
        window, length = self._live(), self._length
        if isinstance(index, slice):
            return tuple(window.row(length - 1 - i).market_tick() for i in range(*index.indices(length)))
        position = index + length if index < 0 else index
        if not 0 <= position < length:
            raise IndexError(f"history holds {length} ticks; index {index} is outside")
        return window.row(length - 1 - position).market_tick()

    def __iter__(self) -> Iterator[MarketTick]:
        for position in range(self._length):
            yield self[position]

    def __repr__(self) -> str:
        stale = "stale" if self._window.stamp != self._stamp else f"{self._length} ticks"
        return f"<History: {stale}>"


def history_of(ticks: Sequence[TickRow]) -> History:
    """A history over ticks of your own, oldest first: for tests, training and analysis outside the engine."""
    window = Window(max(1, len(ticks)))
    for row in ticks:
        window.push(row)
    return window.history(len(ticks))
